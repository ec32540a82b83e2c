{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

{%- set scored_columns = [
    'contact_id', 'definition_version', 'answered_at', 'answered_local_date', 'response_status', 'items_expected',
    'items_answered', 'items_missing', 'items_refused', 'items_not_applicable', 'items_invalid', 'answered_sum',
    'greatest_possible_total', 'total_complete_case', 'total_prorated', 'prorated_numerator', 'prorated_denominator',
    'submitted_total', 'measure_total', 'measure_total_hundredths', 'measure_total_basis', 'caseness_value', 'is_prorated',
    'is_complete', 'is_valid', 'has_total_mismatch', 'risk_item_status'
] %}

with assessments as (
    select * from {{ ref('int_assessments_scored') }}
),

referrals as (
    select * from {{ ref('int_referrals_current') }}
    {{ where_touched(of='int_referrals_current') }}
),

contacts as (
    select * from {{ ref('int_contacts_current') }}
    {{ where_touched(of='int_contacts_current') }}
),

appointments as (
    select * from {{ ref('appointment_types') }}
),

-- Without a stated referral, the latest one that was open on the day; a day in none stays without.
by_date as (
    select
        assessments.response_id,
        assessments.instrument_code,
        referrals.referral_id,
        referrals.discharge_date,
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

placed as (
    select
        assessments.response_id,
        assessments.instrument_code,
        assessments.person_id,
        {%- for column in scored_columns %}
        assessments.{{ column }},
        {%- endfor %}
        stated.referral_id is not null as is_stated,
        assessments.referral_id is not null and stated.referral_id is null as is_stated_wrongly,
        coalesce(stated.referral_id, by_date.referral_id) as referral_id,
        coalesce(stated.discharge_date, by_date.discharge_date) as discharge_date,
        contacts.appointment_type
    from assessments
    left join referrals as stated
        on assessments.referral_id = stated.referral_id and assessments.person_id = stated.person_id
    left join by_date
        on
            assessments.response_id = by_date.response_id
            and assessments.instrument_code = by_date.instrument_code
            and by_date.candidate_rank = 1
    left join contacts on assessments.contact_id = contacts.contact_id and assessments.person_id = contacts.person_id
),

timed as (
    select
        placed.*,
        coalesce(placed.answered_local_date > placed.discharge_date, false) as is_after_discharge,
        coalesce(appointments.is_follow_up, false) as is_follow_up
    from placed
    left join appointments on placed.appointment_type = appointments.appointment_type
),

-- Scores that count: inside the episode, and not from a follow-up appointment, unless the switch lets both count.
final as (
    select
        response_id,
        instrument_code,
        person_id,
        referral_id,
        {%- for column in scored_columns %}
        {{ column }},
        {%- endfor %}
        case
            when is_stated then 'stated'
            when is_stated_wrongly then 'stated_wrongly'
            when referral_id is not null then 'by_date'
            else 'none'
        end as referral_assignment,
        appointment_type,
        is_after_discharge,
        is_follow_up,
        referral_id is not null
        {%- if pathway_switch('scores_after_discharge') == 'never' %}
        and not is_after_discharge
        and not is_follow_up
        {%- endif %} as is_score_counted
    from timed
)

select * from final
