{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with referrals as (
    select * from {{ ref('int_referrals_current') }}
    {{ where_touched(of='int_referrals_current') }}
),

people as (
    select * from {{ ref('people') }}
    {{ where_touched(of='people') }}
),

contacts as (
    select * from {{ ref('int_episodes_contacts') }}
    {{ where_touched(of='int_episodes_contacts') }}
),

paired as (
    select * from {{ ref('int_episodes_paired') }}
    {{ where_touched(of='int_episodes_paired') }}
),

flagged as (
    select * from {{ ref('int_episodes_flagged') }}
    {{ where_touched(of='int_episodes_flagged') }}
),

age_bands as (
    select * from {{ ref('age_bands') }}
),

bands as (
    select * from {{ ref('severity_bands') }}
    where instrument_code = 'PHQ-9' and is_default and scale_code is null
),

aged as (
    select
        referrals.*,
        people.sex,
        people.ethnic_group,
        people.imd_quintile,
        people.rurality,
        {{ age_in_years('people.birth_date', 'referrals.referral_received_date') }} as age_years_at_referral
    from referrals
    left join people on referrals.person_id = people.person_id
),

final as (
    select
        aged.referral_id,
        aged.person_id,
        aged.service_code,
        aged.problem_code,
        aged.referral_source,
        aged.referral_received_date,
        aged.discharge_date,
        aged.discharge_reason,
        aged.age_years_at_referral,
        age_bands.age_band,
        aged.sex,
        aged.ethnic_group,
        aged.imd_quintile,
        aged.rurality,
        contacts.main_modality,
        cast(contacts.attended_contacts as integer) as attended_contacts,
        cast(contacts.treatment_contacts as integer) as treatment_contacts,
        cast(contacts.did_not_attend_contacts as integer) as did_not_attend_contacts,
        cast(contacts.cancelled_contacts as integer) as cancelled_contacts,
        cast(contacts.treatment_minutes as integer) as treatment_minutes,
        contacts.first_treatment_date,
        contacts.second_treatment_date,
        contacts.last_treatment_date,
        cast(flagged.days_to_first_treatment as integer) as days_to_first_treatment,
        cast(flagged.days_first_to_second_treatment as integer) as days_first_to_second_treatment,
        paired.phq9_scores,
        paired.phq9_first,
        paired.phq9_last,
        paired.gad7_scores,
        paired.gad7_first,
        paired.gad7_last,
        paired.wsas_scores,
        paired.wsas_first,
        paired.wsas_last,
        paired.anxiety_instrument_code,
        paired.anxiety_first,
        paired.anxiety_last,
        bands.band as severity_band_first,
        flagged.caseness_status,
        flagged.recovery_status,
        flagged.change_class,
        flagged.has_started_treatment,
        flagged.has_finished_course,
        flagged.is_at_caseness,
        flagged.is_not_at_caseness,
        flagged.is_paired_phq9,
        flagged.is_paired_both,
        flagged.has_recovered,
        flagged.is_reliably_improved,
        flagged.is_reliably_deteriorated,
        flagged.has_no_reliable_change,
        flagged.is_reliably_recovered,
        flagged.is_first_treatment_within_6_weeks,
        flagged.is_first_treatment_within_18_weeks
    from aged
    inner join contacts on aged.referral_id = contacts.referral_id
    inner join paired on aged.referral_id = paired.referral_id
    inner join flagged on aged.referral_id = flagged.referral_id
    left join age_bands
        on
            aged.age_years_at_referral >= age_bands.lower_age_inclusive
            and aged.age_years_at_referral < age_bands.upper_age_exclusive
    left join bands
        on paired.phq9_first >= bands.lower_bound_inclusive and paired.phq9_first < bands.upper_bound_exclusive
)

select * from final
