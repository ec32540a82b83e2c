{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with statements as (
    select * from {{ ref('stg_care__care_contacts') }}
),

deletions as (
    select * from {{ ref('stg_quality__record_deletions') }}
    where record_kind = 'contact'
),

linked as (
    select * from {{ ref('int_people_linked') }}
),

{{ statements_of_touched_people('contact_id') }},

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
        row_number() over (partition by contact_id order by {{ latest_statement_first() }}) as statement_rank
    from owned
),

kept as (
    select * from ranked
    {{ where_touched() }}
),

final as (
    select
        contact_id,
        referral_id,
        person_id,
        contact_at,
        contact_local_date,
        contact_end_at,
        contact_end_local_date,
        contact_status,
        attendance_code,
        is_planned,
        appointment_type,
        modality,
        duration_minutes,
        therapist_id
    from kept
    where statement_rank = 1 and coalesce(record_status, 'active') <> 'entered_in_error'
        and {{ is_not_deleted('kept', 'contact_id') }}
)

select * from final
