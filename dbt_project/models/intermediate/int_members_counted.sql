with subjects as (
    select * from {{ ref('int_subjects_counted') }}
),

snapshots as (
    select * from {{ ref('int_snapshots_counted') }}
),

placed as (
    select * from {{ ref('int_patterns_placed') }}
),

people as (
    select * from {{ ref('int_members_by_person') }}
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

dated as (
    select
        placed.measure_id,
        subjects.therapy_type,
        periods.period_id,
        placed.is_in_denominator,
        placed.is_denominator_exclusion,
        placed.is_denominator_exception,
        placed.is_in_numerator,
        subjects.subjects_count
    from subjects
    inner join placed
        on
            not placed.is_at_period_end
            and subjects.flag_pattern = placed.flag_pattern
            and subjects.subject_type = placed.subject_type
            and subjects.period_anchor = placed.period_anchor
    inner join periods
        on
            subjects.anchor_date >= periods.period_start
            and subjects.anchor_date <= periods.period_end
            and {{ has_period_kind('placed.period_kinds', 'periods.period_kind') }}
    where {{ is_computable('periods.period_kind') }}
),

at_period_end as (
    select
        placed.measure_id,
        cast(null as varchar(40)) as therapy_type,
        snapshots.period_id,
        placed.is_in_denominator,
        placed.is_denominator_exclusion,
        placed.is_denominator_exception,
        placed.is_in_numerator,
        snapshots.subjects_count
    from snapshots
    inner join placed on placed.is_at_period_end and snapshots.flag_pattern = placed.flag_pattern
    inner join periods
        on
            snapshots.period_id = periods.period_id
            and {{ has_period_kind('placed.period_kinds', 'periods.period_kind') }}
),

by_person as (
    select
        measure_id,
        cast(null as varchar(40)) as therapy_type,
        period_id,
        is_in_denominator,
        is_denominator_exclusion,
        is_denominator_exception,
        is_in_numerator,
        1 as subjects_count
    from people
),

members as (
    select * from dated
    union all
    select * from at_period_end
    union all
    select * from by_person
),

-- The same rows as measure_members, counted before they are listed: those of one day and one pattern are members together.
final as (
    select
        measure_id,
        therapy_type,
        period_id,
        sum(subjects_count) as initial_population_count,
        sum(case when is_in_denominator then subjects_count else 0 end) as stated_denominator_count,
        sum(
            case
                when is_in_denominator and (is_denominator_exclusion or is_denominator_exception) then subjects_count
                else 0
            end
        ) as denominator_exclusion_count,
        sum(case when is_in_denominator and is_in_numerator then subjects_count else 0 end) as numerator_count
    from members
    group by measure_id, therapy_type, period_id
)

select * from final
