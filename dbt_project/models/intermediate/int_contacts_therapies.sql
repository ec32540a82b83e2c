{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with statements as (
    select * from {{ ref('stg_care__procedures') }}
),

deletions as (
    select * from {{ ref('stg_quality__record_deletions') }}
    where record_kind = 'procedure'
),

linked as (
    select * from {{ ref('int_people_linked') }}
),

contacts as (
    select * from {{ ref('int_contacts_flagged') }}
    {{ where_touched() }}
),

therapy_types as (
    select * from {{ ref('therapy_types') }}
),

owned as (
    select
        statements.*,
        coalesce(linked.person_id, statements.person_token) as person_id
    from statements
    left join linked on statements.person_token = linked.person_token
),

-- All statements of a touched person's procedures, whoever they name.
touched as (
    select * from owned
    {% if is_incremental() -%}
        where procedure_id in (select procedure_id from owned {{ where_touched() }})
    {%- endif %}
),

-- The latest statement of a procedure counts, with all its codes.
ranked as (
    select
        *,
        dense_rank() over (
            partition by procedure_id
            order by recorded_at desc nulls last, delivered_at desc nulls last, load_id desc
        ) as statement_rank,
        row_number() over (
            partition by procedure_id, code_system, code order by {{ latest_statement_first() }}
        ) as code_rank
    from touched
),

procedures as (
    select * from ranked
    where statement_rank = 1 and code_rank = 1 and procedure_status = 'completed'
        and {{ is_not_deleted('ranked', 'procedure_id') }}
),

-- Therapy by the procedure codes of a contact of the same person, or by the contact's own modality.
named as (
    select
        contacts.contact_id,
        therapy_types.therapy_type
    from contacts
    inner join procedures
        on contacts.contact_id = procedures.contact_id and contacts.person_id = procedures.person_id
    inner join therapy_types
        on procedures.code_system = therapy_types.code_system and procedures.code = therapy_types.code
    union
    select
        contacts.contact_id,
        therapy_types.therapy_type
    from contacts
    inner join therapy_types
        on therapy_types.code_system = 'contact_modality' and contacts.modality = therapy_types.code
),

final as (
    select
        named.contact_id,
        contacts.referral_id,
        contacts.person_id,
        contacts.contact_local_date,
        contacts.duration_minutes,
        contacts.is_treatment,
        contacts.is_of_its_referral,
        named.therapy_type
    from named
    inner join contacts on named.contact_id = contacts.contact_id
)

select * from final
