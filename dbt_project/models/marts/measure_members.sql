{{ config(materialized="view") }}

with by_referral as (
    select * from {{ ref('int_members_by_referral') }}
),

described as (
    select * from {{ ref('int_episodes_described') }}
),

at_period_end as (
    select * from {{ ref('int_members_at_period_end') }}
),

by_person as (
    select * from {{ ref('int_members_by_person') }}
),

-- A view: at the size of a country it has a hundred million rows, and measure_results counts them without listing them.
final as (
    select
        by_referral.measure_id,
        by_referral.subject_type,
        by_referral.subject_id,
        by_referral.person_id,
        by_referral.period_id,
        by_referral.period_start,
        by_referral.period_end,
        by_referral.is_in_initial_population,
        by_referral.is_in_denominator,
        by_referral.is_denominator_exclusion,
        by_referral.is_denominator_exception,
        by_referral.is_in_numerator,
        by_referral.evidence_date,
        described.evidence,
        by_referral.exclusion_reason
    from by_referral
    inner join described on by_referral.referral_id = described.referral_id
    union all
    select
        measure_id,
        subject_type,
        subject_id,
        person_id,
        period_id,
        period_start,
        period_end,
        is_in_initial_population,
        is_in_denominator,
        is_denominator_exclusion,
        is_denominator_exception,
        is_in_numerator,
        evidence_date,
        evidence,
        exclusion_reason
    from at_period_end
    union all
    select
        measure_id,
        subject_type,
        subject_id,
        person_id,
        period_id,
        period_start,
        period_end,
        is_in_initial_population,
        is_in_denominator,
        is_denominator_exclusion,
        is_denominator_exception,
        is_in_numerator,
        evidence_date,
        evidence,
        exclusion_reason
    from by_person
)

select * from final
