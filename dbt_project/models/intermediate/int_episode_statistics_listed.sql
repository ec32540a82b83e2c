{{ config(materialized="view") }}

with episodes as (
    select * from {{ ref('int_episodes_flagged') }}
),

contacts as (
    select * from {{ ref('int_episodes_contacts') }}
),

internet_contacts as (
    select * from {{ ref('int_contacts_therapies') }}
    where therapy_type = 'internet_enabled_therapy' and is_treatment and is_of_its_referral
),

anchors as (
    select * from {{ ref('int_episode_anchors_listed') }}
),

internet_minutes as (
    select
        referral_id,
        sum(duration_minutes) as total_minutes
    from internet_contacts
    where duration_minutes is not null
    group by referral_id
),

-- What each referral adds above and below the line of each mean.
by_referral as (
    select
        'mean_wait_to_first_treatment_finished' as statistic_id,
        referral_id,
        'discharge_date' as period_anchor,
        days_to_first_treatment as numerator_value,
        1 as denominator_value
    from episodes
    where has_finished_course
    union all
    select
        'mean_wait_to_first_treatment_entered' as statistic_id,
        referral_id,
        'first_treatment_date' as period_anchor,
        days_to_first_treatment as numerator_value,
        1 as denominator_value
    from episodes
    where has_started_treatment
    union all
    select
        'mean_treatment_contacts' as statistic_id,
        episodes.referral_id,
        'discharge_date' as period_anchor,
        contacts.treatment_contacts as numerator_value,
        1 as denominator_value
    from episodes
    inner join contacts on episodes.referral_id = contacts.referral_id
    where episodes.has_finished_course
    union all
    select
        'mean_days_between_treatments' as statistic_id,
        episodes.referral_id,
        'discharge_date' as period_anchor,
        {{ days_between('contacts.first_treatment_date', 'contacts.last_treatment_date') }} as numerator_value,
        contacts.treatment_contacts - 1 as denominator_value
    from episodes
    inner join contacts on episodes.referral_id = contacts.referral_id
    where episodes.has_finished_course and contacts.treatment_contacts > 1
    union all
    select
        'mean_contact_minutes' as statistic_id,
        episodes.referral_id,
        'discharge_date' as period_anchor,
        contacts.treatment_minutes as numerator_value,
        contacts.timed_treatment_contacts as denominator_value
    from episodes
    inner join contacts on episodes.referral_id = contacts.referral_id
    where episodes.has_finished_course and contacts.timed_treatment_contacts > 0
    union all
    select
        'mean_internet_therapy_minutes' as statistic_id,
        episodes.referral_id,
        'discharge_date' as period_anchor,
        internet_minutes.total_minutes as numerator_value,
        1 as denominator_value
    from episodes
    inner join internet_minutes on episodes.referral_id = internet_minutes.referral_id
    where episodes.has_finished_course
),

final as (
    select
        by_referral.statistic_id,
        by_referral.referral_id,
        anchors.anchor_date,
        by_referral.numerator_value,
        by_referral.denominator_value
    from by_referral
    inner join anchors
        on by_referral.referral_id = anchors.referral_id and by_referral.period_anchor = anchors.period_anchor
    union all
    select
        'internet_therapy_sessions' as statistic_id,
        referral_id,
        contact_local_date as anchor_date,
        1 as numerator_value,
        1 as denominator_value
    from internet_contacts
    where contact_local_date <= {{ as_of_date() }}
)

select * from final
