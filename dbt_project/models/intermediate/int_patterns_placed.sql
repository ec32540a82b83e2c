with measures as (
    select * from {{ ref('measures') }}
    where measure_family = 'nhs_tt'
),

episode_flags as (
    select * from {{ ref('int_flag_patterns_listed') }}
),

snapshot_flags as (
    select * from {{ ref('int_snapshot_patterns_listed') }}
),

flags as (
    select
        false as is_at_period_end,
        flag_pattern,
        flag_name,
        flag_value
    from episode_flags
    union all
    select
        true as is_at_period_end,
        flag_pattern,
        flag_name,
        flag_value
    from snapshot_flags
),

placed as (
    select
        measures.measure_id,
        measures.subject_type,
        measures.period_anchor,
        measures.period_kinds,
        measures.denominator_flag,
        measures.denominator_exclusion_flag,
        measures.denominator_exception_flag,
        measures.numerator_flag,
        flags.is_at_period_end,
        flags.flag_pattern
    from measures
    inner join flags
        on
            measures.initial_population_flag = flags.flag_name
            and flags.flag_value
            and flags.is_at_period_end = (measures.period_anchor = 'period_end')
),

flagged as (
    select {{ flagged_columns() }}
    from placed
    {{ join_flags(['flag_pattern', 'is_at_period_end']) }}
),

final as (
    select
        measure_id,
        subject_type,
        period_anchor,
        period_kinds,
        is_at_period_end,
        flag_pattern,
        is_in_denominator,
        is_denominator_exclusion,
        is_denominator_exception,
        is_in_numerator and not is_denominator_exclusion as is_in_numerator,
        case when is_denominator_exclusion then denominator_exclusion_flag end as exclusion_reason
    from flagged
)

select * from final
