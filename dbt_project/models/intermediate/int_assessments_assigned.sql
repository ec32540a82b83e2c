{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with assessments as (
    select * from {{ ref('int_assessments_scored') }}
    {{ where_touched() }}
),

referrals as (
    select * from {{ ref('int_referrals_current') }}
    {{ where_touched() }}
),

contacts as (
    select * from {{ ref('int_contacts_current') }}
    {{ where_touched() }}
),

-- Without a stated referral, the latest one that was open on the day; a day in none stays without.
by_date as (
    select
        assessments.response_id,
        assessments.instrument_code,
        referrals.referral_id,
        row_number() over (
            partition by assessments.response_id, assessments.instrument_code
            order by referrals.referral_received_date desc, referrals.referral_id asc
        ) as candidate_rank
    from assessments
    inner join referrals
        on
            assessments.person_id = referrals.person_id
            and assessments.answered_local_date >= referrals.referral_received_date
            and assessments.answered_local_date <= coalesce(referrals.discharge_date, assessments.answered_local_date)
    where assessments.referral_id is null
),

final as (
    select
        assessments.response_id,
        assessments.instrument_code,
        assessments.person_id,
        coalesce(assessments.referral_id, by_date.referral_id) as referral_id,
        case
            when assessments.referral_id is not null then 'stated'
            when by_date.referral_id is not null then 'by_date'
            else 'none'
        end as referral_assignment,
        contacts.appointment_type
    from assessments
    left join by_date
        on
            assessments.response_id = by_date.response_id
            and assessments.instrument_code = by_date.instrument_code
            and by_date.candidate_rank = 1
    left join contacts on assessments.contact_id = contacts.contact_id
)

select * from final
