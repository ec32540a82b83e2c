{{ config(materialized="view") }}

with parameters as (
    select * from {{ ref('int_measure_parameters_chosen') }}
    where period_anchor = 'index_score'
),

final as (
    select
        measure_id,
        measure_family,
        period_kinds,
        completeness_policy,
        {{ parameter('minimum_age') }} as minimum_age,
        {{ parameter_comparator('minimum_age') }} as minimum_age_comparator,
        {{ parameter('identification_start_months') }} as identification_start_months,
        {{ parameter('identification_end_months') }} as identification_end_months,
        {{ parameter('index_days_before_contact') }} as index_days_before_contact,
        {{ parameter('index_days_after_contact') }} as index_days_after_contact,
        {{ parameter('index_score') }} as index_score,
        {{ parameter_comparator('index_score') }} as index_score_comparator,
        {{ parameter('follow_up_months') }} as follow_up_months,
        {{ parameter('follow_up_first_days') }} as follow_up_first_days,
        {{ parameter('follow_up_last_days') }} as follow_up_last_days,
        {{ parameter('remission_score') }} as remission_score,
        {{ parameter_comparator('remission_score') }} as remission_score_comparator,
        {{ parameter('response_percent') }} as response_percent,
        {{ parameter_comparator('response_percent') }} as response_percent_comparator,
        {{ parameter('follow_up_scores') }} as follow_up_scores,
        {{ parameter_comparator('follow_up_scores') }} as follow_up_scores_comparator
    from parameters
    group by measure_id, measure_family, period_kinds, completeness_policy
)

select * from final
