{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with statements as (
    select * from {{ ref('stg_outcomes__questionnaire_answers') }}
),

deletions as (
    select * from {{ ref('stg_quality__record_deletions') }}
    where record_kind = 'response'
),

linked as (
    select * from {{ ref('int_people_linked') }}
),

referrals as (
    select * from {{ ref('int_referrals_current') }}
),

-- A form that names nobody belongs to whoever its referral belongs to; without either it stays unlinked.
owned as (
    select
        statements.*,
        coalesce(linked.person_id, statements.person_token, referrals.person_id, 'unlinked') as person_id
    from statements
    left join linked on statements.person_token = linked.person_token
    left join referrals on statements.referral_id = referrals.referral_id
),

-- All statements of a touched person's keys, whoever they name: a correction may move a row to another person.
touched as (
    select * from owned
    {% if is_incremental() -%}
        where response_id in (select response_id from owned {{ where_touched() }})
    {%- endif %}
),

ranked as (
    select
        *,
        row_number() over (partition by response_id, instrument_code, item_number order by {{ latest_statement_first() }}) as statement_rank
    from touched
),

kept as (
    select * from ranked
    {{ where_touched() }}
),

final as (
    select
        response_id,
        instrument_code,
        item_number,
        person_id,
        referral_id,
        contact_id,
        answer_state,
        answer_value,
        answer_value_kind,
        answered_at,
        answered_local_date,
        response_status
    from kept
    where statement_rank = 1 and response_status <> 'entered_in_error'
        and {{ is_not_deleted('kept', 'response_id') }}
)

select * from final
