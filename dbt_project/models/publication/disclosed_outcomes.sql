with cells as (
    select * from {{ ref('cells_outcomes') }}
),

profile as (
    select * from {{ ref('disclosure_profiles') }}
    where disclosure_profile = '{{ var("disclosure_profile", "opensafely") }}'
),

counts as (
    select
        cells.group_dimension,
        cells.group_value,
        cells.first_group_value,
        cells.second_group_value,
        cells.period_id,
        cells.period_kind,
        cells.period_label,
        cells.period_start,
        cells.period_end,
        cells.measure_id,
        {{ rounded_count('cells.denominator_true', 'cells.denominator_people') }} as denominator_count,
        {{ count_status('cells.denominator_true', 'cells.denominator_people') }} as denominator_status,
        {{ rounded_count(
            'cells.numerator_true', 'cells.numerator_people',
            tells_of_all_or_none(
                'cells.numerator_true', 'cells.numerator_people', 'cells.others_true', 'cells.others_people'
            )
        ) }} as numerator_count,
        case
            when cells.denominator_true = 0 and profile.is_zero_shown then 'not_applicable'
            else {{ count_status(
                'cells.numerator_true', 'cells.numerator_people',
                tells_of_all_or_none(
                    'cells.numerator_true', 'cells.numerator_people', 'cells.others_true', 'cells.others_people'
                )
            ) }}
        end as numerator_status
    from cells
    cross join profile
),

final as (
    select
        group_dimension,
        group_value,
        first_group_value,
        second_group_value,
        period_id,
        period_kind,
        period_label,
        period_start,
        period_end,
        measure_id,
        denominator_count,
        denominator_status,
        case when numerator_status in ('shown', 'zero') then numerator_count end as numerator_count,
        numerator_status,
        case
            when denominator_status = 'shown' and numerator_status = 'shown'
                then round({{ measure_rate_percent('numerator_count', 'denominator_count') }}, 1)
        end as rate_percent,
        case
            when denominator_status = 'zero' or numerator_status = 'not_applicable' then 'not_applicable'
            when denominator_status = 'shown' and numerator_status = 'shown' then 'shown'
            else 'suppressed'
        end as rate_status
    from counts
)

select * from final
