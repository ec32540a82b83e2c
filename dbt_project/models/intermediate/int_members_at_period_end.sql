{{ config(materialized="view") }}

with snapshots as (
    select * from {{ ref('int_snapshots_patterned') }}
),

placed as (
    select * from {{ ref('int_patterns_placed') }}
    where is_at_period_end
),

final as (
    select
        placed.measure_id,
        placed.subject_type,
        snapshots.referral_id as subject_id,
        snapshots.referral_id,
        snapshots.person_id,
        snapshots.period_id,
        snapshots.period_start,
        snapshots.period_end,
        true as is_in_initial_population,
        placed.is_in_denominator,
        placed.is_denominator_exclusion,
        placed.is_denominator_exception,
        placed.is_in_numerator,
        snapshots.period_end as evidence_date,
        concat(
            'open on the last day, days waiting ', coalesce(cast(snapshots.days_waiting as varchar(8)), 'none'),
            ', days since the last treatment ',
            coalesce(cast(snapshots.days_since_last_treatment as varchar(8)), 'none')
        ) as evidence,
        placed.exclusion_reason
    from snapshots
    inner join placed
        on
            snapshots.flag_pattern = placed.flag_pattern
            and {{ has_period_kind('placed.period_kinds', 'snapshots.period_kind') }}
)

select * from final
