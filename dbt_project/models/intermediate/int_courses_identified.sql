with possible as (
    select * from {{ ref('int_courses_possible') }}
),

measures as (
    select * from {{ ref('int_course_measures_described') }}
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
    where {{ is_computable('period_kind') }}
),

people as (
    select * from {{ ref('int_people_current') }}
),

windows as (
    select
        measures.*,
        periods.period_id,
        {{ months_after('periods.period_start', 'measures.identification_start_months') }} as identification_start,
        {{ months_after('periods.period_start', 'measures.identification_end_months') }} as identification_end
    from measures
    inner join periods on {{ has_period_kind('measures.period_kinds', 'periods.period_kind') }}
),

-- The first score decides, also about the age. Of two scores of one instant the worse counts.
ranked as (
    select
        windows.measure_id,
        windows.measure_family,
        windows.completeness_policy,
        windows.period_id,
        windows.identification_start,
        windows.minimum_age,
        windows.minimum_age_comparator,
        windows.follow_up_months,
        windows.follow_up_first_days,
        windows.follow_up_last_days,
        windows.remission_score,
        windows.remission_score_comparator,
        windows.response_percent,
        windows.response_percent_comparator,
        windows.follow_up_scores,
        windows.follow_up_scores_comparator,
        possible.person_id,
        possible.score_id as index_score_id,
        possible.answered_local_date as index_date,
        possible.total_value as index_value,
        row_number() over (
            partition by windows.measure_id, windows.period_id, possible.person_id
            order by
                possible.answered_at asc, possible.total_value desc, possible.score_id asc, possible.contact_id asc
        ) as index_rank
    from windows
    inner join possible
        on
            windows.measure_id = possible.measure_id
            and possible.contact_end_local_date >= windows.identification_start
            and possible.contact_end_local_date < windows.identification_end
    where possible.contact_end_local_date <= {{ as_of_date() }} and possible.answered_local_date <= {{ as_of_date() }}
),

final as (
    select
        ranked.measure_id,
        ranked.measure_family,
        ranked.completeness_policy,
        ranked.period_id,
        ranked.person_id,
        ranked.identification_start,
        ranked.index_score_id,
        ranked.index_date,
        ranked.index_value,
        {{ days_after(months_after('ranked.index_date', 'ranked.follow_up_months'), 'ranked.follow_up_first_days') }}
            as window_start,
        {{ days_after(months_after('ranked.index_date', 'ranked.follow_up_months'), 'ranked.follow_up_last_days') }}
            as window_end,
        ranked.remission_score,
        ranked.remission_score_comparator,
        ranked.response_percent,
        ranked.response_percent_comparator,
        ranked.follow_up_scores,
        ranked.follow_up_scores_comparator
    from ranked
    inner join people on ranked.person_id = people.person_id
    where
        ranked.index_rank = 1
        and {{ meets(
            age_in_years('people.birth_date', 'ranked.index_date'), 'ranked.minimum_age_comparator', 'ranked.minimum_age'
        ) }}
)

select * from final
