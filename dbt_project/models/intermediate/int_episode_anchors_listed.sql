{{ config(materialized="view") }}

with referrals as (
    select * from {{ ref('int_referrals_current') }}
),

contacts as (
    select * from {{ ref('int_episodes_contacts') }}
),

episodes as (
    select
        referrals.referral_id,
        referrals.person_id,
        referrals.referral_received_date,
        contacts.first_assessment_date,
        contacts.first_treatment_date,
        contacts.second_treatment_date,
        referrals.discharge_date
    from referrals
    inner join contacts on referrals.referral_id = contacts.referral_id
),

listed as (
    {%- for anchor in episode_anchors() %}
    select
        referral_id,
        person_id,
        '{{ anchor }}' as period_anchor,
        {{ anchor }} as anchor_date
    from episodes
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

-- What is dated after the day the data speak for has not happened yet.
final as (
    select * from listed
    where anchor_date <= {{ as_of_date() }}
)

select * from final
