{{ config(materialized="view") }}

with contacts as (
    select * from {{ ref('int_contacts_current') }}
),

attendance as (
    select * from {{ ref('attendance_codes') }}
),

appointments as (
    select * from {{ ref('appointment_types') }}
),

referrals as (
    select * from {{ ref('int_referrals_current') }}
),

flagged as (
    select
        contacts.*,
        case when referrals.referral_id is not null then contacts.person_id = referrals.person_id end as is_of_its_referral,
        coalesce(attendance.is_attended, false) or coalesce(not contacts.is_planned, false) as is_attended,
        coalesce(attendance.is_did_not_attend, false) as is_did_not_attend,
        coalesce(attendance.is_cancelled, false) as is_cancelled,
        coalesce(appointments.is_treatment, false) as is_treatment_type,
        coalesce(appointments.is_assessment, false) as is_assessment_type,
        coalesce(appointments.is_follow_up, false) as is_follow_up
    from contacts
    left join attendance on contacts.attendance_code = attendance.attendance_code
    left join referrals on contacts.referral_id = referrals.referral_id
    left join appointments on contacts.appointment_type = appointments.appointment_type
),

final as (
    select
        *,
        is_attended and is_treatment_type as is_treatment,
        is_attended and is_assessment_type as is_assessment
    from flagged
)

select * from final
