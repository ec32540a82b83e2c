with counted as (
    select * from {{ ref('int_members_counted') }}
    where therapy_type is not null
),

measures as (
    select * from {{ ref('measures') }}
    where subject_type = 'course_of_therapy'
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

therapies as (
    select distinct
        therapy_type,
        therapy_name,
        intensity
    from {{ ref('therapy_types') }}
),

-- Every therapy in every period, so that an empty cell is a row and not a gap.
listed as (
    select
        measures.measure_id,
        therapies.therapy_type,
        therapies.therapy_name,
        therapies.intensity,
        periods.period_id,
        periods.period_start,
        periods.period_end,
        {{ is_computable('periods.period_kind') }} as is_computable,
        coalesce(counted.initial_population_count, 0) as initial_population_count,
        coalesce(counted.stated_denominator_count, 0) as stated_denominator_count,
        coalesce(counted.denominator_exclusion_count, 0) as denominator_exclusion_count,
        coalesce(counted.numerator_count, 0) as numerator_count
    from measures
    cross join therapies
    inner join periods
        on {{ has_period_kind('measures.period_kinds', 'periods.period_kind') }}
    left join counted
        on
            measures.measure_id = counted.measure_id
            and periods.period_id = counted.period_id
            and therapies.therapy_type = counted.therapy_type
),

final as (
    select
        measure_id,
        therapy_type,
        therapy_name,
        intensity,
        period_id,
        period_start,
        period_end,
        {{ result_columns('is_computable') }},
        case
            when not is_computable then 'not_computable'
            when stated_denominator_count - denominator_exclusion_count > 0 then 'computed'
            else 'no_denominator'
        end as result_status,
        '{{ pathway_switches_stated() }}' as pathway_switches
    from listed
)

select * from final
