{{ config(materialized="view") }}

with snapshots as (
    select * from {{ ref('int_episode_snapshots') }}
),

flags as (
    select * from {{ ref('int_snapshot_flags_listed') }}
),

measures as (
    select * from {{ ref('measures') }}
    where measure_family = 'nhs_tt' and subject_type = 'referral' and period_anchor = 'period_end'
),

placed as (
    select
        measures.measure_id,
        measures.subject_type,
        measures.period_kinds,
        measures.denominator_flag,
        measures.denominator_exclusion_flag,
        measures.denominator_exception_flag,
        measures.numerator_flag,
        flags.referral_id,
        flags.period_id
    from measures
    inner join flags on measures.initial_population_flag = flags.flag_name and flags.flag_value
),

flagged as (
    select {{ flagged_columns() }}
    from placed
    {{ join_flags(['referral_id', 'period_id']) }}
),

final as (
    select
        flagged.measure_id,
        flagged.subject_type,
        flagged.referral_id as subject_id,
        snapshots.person_id,
        snapshots.period_id,
        snapshots.period_start,
        snapshots.period_end,
        true as is_in_initial_population,
        flagged.is_in_denominator,
        flagged.is_denominator_exclusion,
        flagged.is_denominator_exception,
        flagged.is_in_numerator and not flagged.is_denominator_exclusion as is_in_numerator,
        snapshots.period_end as evidence_date,
        concat(
            'open on the last day, days waiting ', coalesce(cast(snapshots.days_waiting as varchar(8)), 'none'),
            ', days since the last treatment ',
            coalesce(cast(snapshots.days_since_last_treatment as varchar(8)), 'none')
        ) as evidence,
        case when flagged.is_denominator_exclusion then flagged.denominator_exclusion_flag end as exclusion_reason
    from flagged
    inner join snapshots
        on
            flagged.referral_id = snapshots.referral_id
            and flagged.period_id = snapshots.period_id
            and concat('+', flagged.period_kinds, '+') like concat('%+', snapshots.period_kind, '+%')
)

select * from final
