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

episodes as (
    select * from {{ ref('int_episodes_flagged') }}
    {{ where_touched(of='int_episodes_flagged') }}
),

therapies as (
    select * from {{ ref('int_contacts_therapies') }}
    {{ where_touched(of='int_contacts_therapies') }}
),

pathway_rules as (
    select * from {{ ref('pathway_rules') }}
    where rule_id = 'course_of_therapy_minimum_treatments'
),

-- Treatment contacts of one therapy within a finished course of treatment, from its receipt to its discharge.
counted as (
    select
        referrals.referral_id,
        referrals.person_id,
        therapies.therapy_type,
        count(*) as treatment_contacts_of_therapy
    from referrals
    inner join episodes on referrals.referral_id = episodes.referral_id and episodes.has_finished_course
    inner join therapies
        on
            referrals.referral_id = therapies.referral_id
            and therapies.is_of_its_referral
            and therapies.is_treatment
            and therapies.contact_local_date >= referrals.referral_received_date
            and therapies.contact_local_date <= referrals.discharge_date
    group by referrals.referral_id, referrals.person_id, therapies.therapy_type
),

-- A referral with contacts of several therapies has a course of each that has enough of them.
final as (
    select
        concat(counted.referral_id, ':', counted.therapy_type) as course_of_therapy_id,
        counted.referral_id,
        counted.person_id,
        counted.therapy_type,
        cast(counted.treatment_contacts_of_therapy as integer) as treatment_contacts_of_therapy
    from counted
    cross join pathway_rules
    where {{ meets('counted.treatment_contacts_of_therapy', 'pathway_rules.comparator', 'pathway_rules.threshold_value') }}
)

select * from final
