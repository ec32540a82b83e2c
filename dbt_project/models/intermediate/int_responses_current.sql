{{ config(materialized="ephemeral") }}

with answers as (
    select * from {{ ref('int_answers_current') }}
    {{ where_touched(of='int_answers_current') }}
),

totals as (
    select * from {{ ref('int_totals_current') }}
    {{ where_touched(of='int_totals_current') }}
),

from_answers as (
    select
        response_id,
        instrument_code,
        max(person_id) as person_id,
        max(referral_id) as referral_id,
        max(contact_id) as contact_id,
        max(answered_at) as answered_at,
        max(answered_local_date) as answered_local_date,
        case
            when {{ any_where("response_status = 'in_progress'") }} then 'in_progress'
            else min(response_status)
        end as response_status
    from answers
    group by response_id, instrument_code
),

final as (
    select
        coalesce(from_answers.response_id, totals.response_id) as response_id,
        coalesce(from_answers.instrument_code, totals.instrument_code) as instrument_code,
        coalesce(from_answers.person_id, totals.person_id) as person_id,
        coalesce(from_answers.referral_id, totals.referral_id) as referral_id,
        coalesce(from_answers.contact_id, totals.contact_id) as contact_id,
        coalesce(from_answers.answered_at, totals.answered_at) as answered_at,
        coalesce(from_answers.answered_local_date, totals.answered_local_date) as answered_local_date,
        coalesce(from_answers.response_status, totals.response_status) as response_status,
        from_answers.response_id is not null as has_items,
        totals.total_value as submitted_total
    from from_answers
    full outer join totals
        on
            from_answers.response_id = totals.response_id
            and from_answers.instrument_code = totals.instrument_code
)

select * from final
