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

-- A contact counts for a referral of the same person; one that names another person's referral is a finding.
contacts as (
    select * from {{ ref('int_contacts_flagged') }}
    {{ where_touched() }} {{ 'and' if is_incremental() else 'where' }} is_of_its_referral
),

treatments as (
    select
        referral_id,
        contact_local_date,
        row_number() over (partition by referral_id order by contact_at, contact_id) as treatment_number
    from contacts
    where is_treatment
),

second_treatments as (
    select
        referral_id,
        contact_local_date as second_treatment_date
    from treatments
    where treatment_number = 2
),

modality_counts as (
    select
        referral_id,
        modality,
        row_number() over (
            partition by referral_id
            order by count(*) desc, min(contact_at), modality
        ) as modality_rank
    from contacts
    where is_treatment and modality is not null
    group by referral_id, modality
),

main_modalities as (
    select
        referral_id,
        modality as main_modality
    from modality_counts
    where modality_rank = 1
),

counted as (
    select
        referral_id,
        {{ count_where('is_attended') }} as attended_contacts,
        {{ count_where('is_treatment') }} as treatment_contacts,
        {{ count_where('is_did_not_attend') }} as did_not_attend_contacts,
        {{ count_where('is_cancelled') }} as cancelled_contacts,
        sum(case when is_treatment then duration_minutes end) as treatment_minutes,
        {{ count_where('is_treatment and duration_minutes > 0') }} as timed_treatment_contacts,
        min(case when is_assessment then contact_local_date end) as first_assessment_date,
        max(case when is_follow_up then contact_local_date end) as last_follow_up_date,
        min(case when is_treatment then contact_local_date end) as first_treatment_date,
        max(case when is_treatment then contact_local_date end) as last_treatment_date
    from contacts
    group by referral_id
),

final as (
    select
        referrals.referral_id,
        referrals.person_id,
        main_modalities.main_modality,
        coalesce(counted.attended_contacts, 0) as attended_contacts,
        coalesce(counted.treatment_contacts, 0) as treatment_contacts,
        coalesce(counted.did_not_attend_contacts, 0) as did_not_attend_contacts,
        coalesce(counted.cancelled_contacts, 0) as cancelled_contacts,
        counted.treatment_minutes,
        coalesce(counted.timed_treatment_contacts, 0) as timed_treatment_contacts,
        counted.first_assessment_date,
        counted.last_follow_up_date,
        counted.first_treatment_date,
        second_treatments.second_treatment_date,
        counted.last_treatment_date
    from referrals
    left join counted on referrals.referral_id = counted.referral_id
    left join second_treatments on referrals.referral_id = second_treatments.referral_id
    left join main_modalities on referrals.referral_id = main_modalities.referral_id
)

select * from final
