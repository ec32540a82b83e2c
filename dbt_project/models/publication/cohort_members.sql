with members as (
    select * from {{ ref('measure_members') }}
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

cohorts as (
    select * from {{ ref('cohort_episodes') }}
),

final as (
    select
        members.measure_id,
        members.period_id,
        periods.period_kind,
        members.person_id,
        members.evidence_date,
        coalesce(members.is_in_numerator, false) as is_in_numerator,
        cohorts.sex,
        cohorts.age_band,
        cohorts.ethnic_group,
        cohorts.imd_quintile,
        cohorts.rurality,
        cohorts.main_modality,
        cohorts.service_code,
        cohorts.severity_band_first,
        cohorts.payer_category,
        cohorts.main_product
    from members
    inner join periods on members.period_id = periods.period_id
    inner join cohorts on members.subject_id = cohorts.referral_id
    where
        members.is_in_denominator
        and not members.is_denominator_exclusion
        and not members.is_denominator_exception
)

select * from final
