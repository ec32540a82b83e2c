{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with statements as (
    select * from {{ ref('stg_outcomes__questionnaire_totals') }}
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

{{ statements_of_touched_people('response_id') }},

-- A form that names nobody belongs to whoever its referral belongs to; without either it stays unlinked.
owned as (
    select
        stated.*,
        coalesce(linked.person_id, stated.person_token, referrals.person_id, 'unlinked') as person_id
    from stated
    left join linked on stated.person_token = linked.person_token
    left join referrals on case when stated.person_token is null then stated.referral_id end = referrals.referral_id
),

ranked as (
    select
        *,
        row_number() over (partition by response_id, instrument_code order by {{ latest_statement_first() }}) as statement_rank
    from owned
),

kept as (
    select * from ranked
    {{ where_touched() }}
),

final as (
    select
        response_id,
        instrument_code,
        person_id,
        referral_id,
        contact_id,
        total_value,
        answered_at,
        answered_local_date,
        response_status
    from kept
    where statement_rank = 1 and response_status <> 'entered_in_error'
        and {{ is_not_deleted('kept', 'response_id') }}
)

select * from final
