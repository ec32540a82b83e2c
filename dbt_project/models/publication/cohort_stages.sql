{{ config(materialized="view") }}

with episodes as (
    select * from {{ ref('episodes') }}
),

codes as (
    select * from {{ ref('cohort_codes') }}
),

courses as (
    select
        episodes.*,
        codes.is_owned,
        codes.person_code
    from episodes
    inner join codes on episodes.referral_id = codes.referral_id
),

final as (
    select 'referrals_received' as stage, referral_received_date as stage_date, is_owned, person_code from courses
    union all
    select 'first_treatments' as stage, first_treatment_date as stage_date, is_owned, person_code from courses
    union all
    select 'finished_courses' as stage, discharge_date as stage_date, is_owned, person_code from courses
    where has_finished_course
    union all
    select 'discharged' as stage, discharge_date as stage_date, is_owned, person_code from courses
)

select * from final
