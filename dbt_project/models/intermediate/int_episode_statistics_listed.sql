{{ config(materialized="view") }}

with flagged as (
    select * from {{ ref('int_episodes_flagged') }}
),

contacts as (
    select * from {{ ref('int_episodes_contacts') }}
),

referrals as (
    select * from {{ ref('int_referrals_current') }}
),

internet_contacts as (
    select * from {{ ref('int_contacts_therapies') }}
    where therapy_type = 'internet_enabled_therapy' and is_treatment and is_of_its_referral
),

internet_minutes as (
    select
        referral_id,
        sum(duration_minutes) as total_minutes
    from internet_contacts
    where duration_minutes is not null
    group by referral_id
),

episodes as (
    select
        flagged.referral_id,
        flagged.has_finished_course,
        flagged.has_started_treatment,
        flagged.days_to_first_treatment,
        referrals.discharge_date,
        contacts.first_treatment_date,
        contacts.last_treatment_date,
        contacts.treatment_contacts,
        contacts.treatment_minutes,
        contacts.timed_treatment_contacts
    from flagged
    inner join contacts on flagged.referral_id = contacts.referral_id
    inner join referrals on flagged.referral_id = referrals.referral_id
),

-- What each referral adds above and below the line of each mean.
by_referral as (
    select
        'mean_wait_to_first_treatment_finished' as statistic_id,
        referral_id,
        discharge_date as anchor_date,
        days_to_first_treatment as numerator_value,
        1 as denominator_value
    from episodes
    where has_finished_course
    union all
    select
        'mean_wait_to_first_treatment_entered' as statistic_id,
        referral_id,
        first_treatment_date as anchor_date,
        days_to_first_treatment as numerator_value,
        1 as denominator_value
    from episodes
    where has_started_treatment
    union all
    select
        'mean_treatment_contacts' as statistic_id,
        referral_id,
        discharge_date as anchor_date,
        treatment_contacts as numerator_value,
        1 as denominator_value
    from episodes
    where has_finished_course
    union all
    select
        'mean_days_between_treatments' as statistic_id,
        referral_id,
        discharge_date as anchor_date,
        {{ days_between('first_treatment_date', 'last_treatment_date') }} as numerator_value,
        treatment_contacts - 1 as denominator_value
    from episodes
    where has_finished_course and treatment_contacts > 1
    union all
    select
        'mean_contact_minutes' as statistic_id,
        referral_id,
        discharge_date as anchor_date,
        treatment_minutes as numerator_value,
        timed_treatment_contacts as denominator_value
    from episodes
    where has_finished_course and timed_treatment_contacts > 0
    union all
    select
        'mean_internet_therapy_minutes' as statistic_id,
        episodes.referral_id,
        episodes.discharge_date as anchor_date,
        internet_minutes.total_minutes as numerator_value,
        1 as denominator_value
    from episodes
    inner join internet_minutes on episodes.referral_id = internet_minutes.referral_id
    where episodes.has_finished_course
),

-- A referral is once in each mean; in a count of sessions it is as often as it had one.
listed as (
    select
        statistic_id,
        referral_id,
        anchor_date,
        numerator_value,
        denominator_value,
        true as is_once_a_referral
    from by_referral
    union all
    select
        'internet_therapy_sessions' as statistic_id,
        referral_id,
        contact_local_date as anchor_date,
        1 as numerator_value,
        1 as denominator_value,
        false as is_once_a_referral
    from internet_contacts
),

-- What is dated after the day the data speak for has not happened yet.
final as (
    select * from listed
    where anchor_date <= {{ as_of_date() }}
)

select * from final
