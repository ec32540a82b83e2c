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

owned as (
    select
        statements.*,
        coalesce(linked.person_id, statements.person_token) as person_id
    from statements
    left join linked on statements.person_token = linked.person_token
),

-- All statements of a touched person's keys, whoever they name: a correction may move a row to another person.
touched as (
    select * from owned
    {% if is_incremental() -%}
        where contact_id in (select contact_id from owned {{ where_touched() }})
    {%- endif %}
),

ranked as (
    select
        *,
        row_number() over (partition by contact_id order by {{ latest_statement_first() }}) as statement_rank
    from touched
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
