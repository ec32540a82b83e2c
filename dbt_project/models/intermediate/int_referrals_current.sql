{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with statements as (
    select * from {{ ref('stg_care__referrals') }}
),

linked as (
    select * from {{ ref('int_people_linked') }}
),

{{ statements_of_touched_people('referral_id') }},

owned as (
    select
        stated.*,
        coalesce(linked.person_id, stated.person_token) as person_id
    from stated
    left join linked on stated.person_token = linked.person_token
),

ranked as (
    select
        *,
        row_number() over (partition by referral_id order by {{ latest_statement_first() }}) as statement_rank
    from owned
),

kept as (
    select * from ranked
    {{ where_touched() }}
),

final as (
    select
        referral_id,
        person_id,
        service_code,
        problem_code,
        referral_source,
        referral_received_date,
        discharge_date,
        discharge_reason
    from kept
    where statement_rank = 1 and coalesce(record_status, 'active') <> 'entered_in_error'
)

select * from final
