{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with events as (
    select * from {{ ref('int_concept_events') }}
    {{ where_touched(of='int_concept_events') }}
),

contacts as (
    select * from events
    where concept = 'course_contact'
),

diagnoses as (
    select * from events
    where concept = 'depression_diagnosis'
),

-- To the minute where both sides have one, else by the day.
final as (
    select distinct
        contacts.person_id,
        contacts.record_id as contact_id,
        contacts.starts_at,
        contacts.starts_local_date,
        contacts.ends_at,
        contacts.ends_local_date
    from contacts
    inner join diagnoses
        on
            contacts.person_id = diagnoses.person_id
            and case
                when diagnoses.starts_at is not null then diagnoses.starts_at <= contacts.ends_at
                else coalesce(diagnoses.starts_local_date <= contacts.ends_local_date, true)
            end
            and case
                when diagnoses.ends_at is not null then diagnoses.ends_at >= contacts.starts_at
                else coalesce(diagnoses.ends_local_date >= contacts.starts_local_date, true)
            end
)

select * from final
