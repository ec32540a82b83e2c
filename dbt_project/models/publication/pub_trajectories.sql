with means as (
    select * from {{ ref('stg_outcomes__trajectory_means') }}
),

profile as (
    select * from {{ ref('disclosure_profiles') }}
    where disclosure_profile = '{{ var("disclosure_profile", "opensafely") }}'
),

counted as (
    select
        means.*,
        profile.minimum_n_for_statistics,
        profile.statistic_decimals,
        {{ rounded_count('means.starters_count', 'means.starters_people_count') }} as starters_shown,
        {{ count_status('means.starters_count', 'means.starters_people_count') }} as starters_status,
        {{ rounded_count('means.observed_count', 'means.observed_people_count') }} as observed_shown,
        {{ count_status('means.observed_count', 'means.observed_people_count') }} as observed_status
    from means
    cross join profile
),

judged as (
    select
        *,
        starters_status = 'shown'
        and observed_status = 'shown'
        and least(observed_count, observed_people_count) >= minimum_n_for_statistics
        -- Without spread the mean is everybody's score.
        and observed_ci_low < observed_ci_high as is_statistic_allowed
    from counted
),

final as (
    select
        instrument_code,
        stratum_dimension,
        stratum_value,
        cast(week_of_treatment as integer) as week_of_treatment,
        starters_shown as starters_count,
        starters_status,
        observed_shown as observed_count,
        observed_status,
        case when is_statistic_allowed then round(observed_mean, statistic_decimals) end as observed_mean,
        case when is_statistic_allowed then round(observed_ci_low, statistic_decimals) end as observed_ci_low,
        case when is_statistic_allowed then round(observed_ci_high, statistic_decimals) end as observed_ci_high,
        case
            when observed_count = 0 then 'not_applicable' when is_statistic_allowed then 'shown' else 'suppressed'
        end as observed_mean_status,
        case when is_statistic_allowed then round(model_mean, statistic_decimals) end as model_mean,
        case when is_statistic_allowed then round(model_ci_low, statistic_decimals) end as model_ci_low,
        case when is_statistic_allowed then round(model_ci_high, statistic_decimals) end as model_ci_high,
        case
            when model_mean is null then 'not_applicable' when is_statistic_allowed then 'shown' else 'suppressed'
        end as model_status,
        method
    from judged
)

select * from final
