{{ config(materialized="view") }}

with subjects as (
    select * from {{ ref('int_subjects_patterned') }}
),

placed as (
    select * from {{ ref('int_patterns_placed') }}
    where not is_at_period_end
),

anchors as (
    select * from {{ ref('int_episode_anchors_listed') }}
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

final as (
    select
        placed.measure_id,
        placed.subject_type,
        subjects.subject_id,
        subjects.referral_id,
        subjects.person_id,
        periods.period_id,
        periods.period_start,
        periods.period_end,
        true as is_in_initial_population,
        placed.is_in_denominator,
        placed.is_denominator_exclusion,
        placed.is_denominator_exception,
        placed.is_in_numerator,
        anchors.anchor_date as evidence_date,
        placed.exclusion_reason
    from subjects
    inner join placed
        on subjects.flag_pattern = placed.flag_pattern and subjects.subject_type = placed.subject_type
    inner join anchors
        on subjects.referral_id = anchors.referral_id and placed.period_anchor = anchors.period_anchor
    inner join periods
        on
            anchors.anchor_date >= periods.period_start
            and anchors.anchor_date <= periods.period_end
            and {{ has_period_kind('placed.period_kinds', 'periods.period_kind') }}
    where {{ is_computable('periods.period_kind') }}
)

select * from final
