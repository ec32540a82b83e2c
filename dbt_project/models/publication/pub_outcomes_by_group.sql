with outcomes as (
    select * from {{ ref('disclosed_outcomes') }}
    where group_dimension <> 'all'
),

final as (
    select
        period_id,
        period_kind,
        period_label,
        period_start,
        period_end,
        group_dimension,
        group_value,
        first_group_value,
        second_group_value,
        measure_id,
        denominator_count,
        denominator_status,
        numerator_count,
        numerator_status,
        rate_percent,
        rate_status
    from outcomes
)

select * from final
