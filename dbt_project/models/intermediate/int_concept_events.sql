{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with concepts as (
    select * from {{ ref('measure_concepts') }}
),

value_sets as (
    select * from {{ ref('int_value_sets_resolved') }}
),

contacts as (
    select * from {{ ref('int_contacts_current') }}
    {{ where_touched(of='int_contacts_current') }}
),

contact_codes as (
    select * from {{ ref('int_contact_codes_current') }}
    {{ where_touched(of='int_contact_codes_current') }}
),

diagnoses as (
    select * from {{ ref('int_diagnoses_current') }}
    {{ where_touched(of='int_diagnoses_current') }}
),

observations as (
    select * from {{ ref('int_observations_current') }}
    {{ where_touched(of='int_observations_current') }}
),

procedures as (
    select * from {{ ref('int_procedures_current') }}
    {{ where_touched(of='int_procedures_current') }}
),

service_requests as (
    select * from {{ ref('int_service_requests_current') }}
    {{ where_touched(of='int_service_requests_current') }}
),

medications as (
    select * from {{ ref('int_medications_current') }}
    {{ where_touched(of='int_medications_current') }}
),

people as (
    select * from {{ ref('int_people_current') }}
    {{ where_touched(of='int_people_current') }}
),

coded as (
    select
        concepts.*,
        value_sets.code_system,
        value_sets.code
    from concepts
    inner join value_sets on concepts.value_set = value_sets.value_set
),

-- What a contact led to, where a concept asks for it.
discharges as (
    select distinct
        contact_codes.contact_id,
        contact_codes.person_id,
        value_sets.value_set
    from contact_codes
    inner join value_sets
        on contact_codes.code_system = value_sets.code_system and contact_codes.code = value_sets.code
    where contact_codes.code_role = 'discharge_disposition'
),

-- A code that names another person than its contact is nobody's.
contact_concepts as (
    select
        contact_codes.contact_id,
        contact_codes.person_id,
        coded.concept,
        coded.statuses,
        coded.result_value_set
    from contact_codes
    inner join coded
        on
            contact_codes.code_system = coded.code_system
            and contact_codes.code = coded.code
            and contact_codes.code_role = coded.code_role
    where coded.stream = 'contact'
    union all
    select
        contacts.contact_id,
        contacts.person_id,
        concepts.concept,
        concepts.statuses,
        concepts.result_value_set
    from contacts
    cross join concepts
    where concepts.stream = 'contact' and concepts.value_set is null
),

-- A contact without a stated end ends when it began.
of_contacts as (
    select
        contacts.person_id,
        contact_concepts.concept,
        contacts.contact_id as record_id,
        contacts.contact_at as starts_at,
        contacts.contact_local_date as starts_local_date,
        coalesce(contacts.contact_end_at, contacts.contact_at) as ends_at,
        coalesce(contacts.contact_end_local_date, contacts.contact_local_date) as ends_local_date,
        cast(null as double) as value_number,
        cast(null as boolean) as has_value
    from contact_concepts
    inner join contacts
        on contact_concepts.contact_id = contacts.contact_id and contact_concepts.person_id = contacts.person_id
    left join discharges
        on
            contacts.contact_id = discharges.contact_id
            and contacts.person_id = discharges.person_id
            and contact_concepts.result_value_set = discharges.value_set
    where
        {{ is_listed('contacts.contact_status', 'contact_concepts.statuses') }}
        and (contact_concepts.result_value_set is null or discharges.contact_id is not null)
),

-- An onset that is not known lies before everything, an end that is not known after everything.
of_diagnoses as (
    select
        diagnoses.person_id,
        coded.concept,
        diagnoses.diagnosis_id as record_id,
        diagnoses.onset_at as starts_at,
        diagnoses.onset_date as starts_local_date,
        diagnoses.abatement_at as ends_at,
        diagnoses.abatement_date as ends_local_date,
        cast(null as double) as value_number,
        cast(null as boolean) as has_value
    from diagnoses
    inner join coded on diagnoses.code_system = coded.code_system and diagnoses.code = coded.code
    where
        coded.stream = 'diagnosis'
        and {{ is_listed('diagnoses.verification_status', 'coded.statuses') }}
        and {{ is_listed('diagnoses.clinical_status', 'coded.second_statuses') }}
),

of_observations as (
    select
        observations.person_id,
        coded.concept,
        observations.observation_id as record_id,
        observations.effective_at as starts_at,
        observations.effective_local_date as starts_local_date,
        coalesce(observations.effective_end_at, observations.effective_at) as ends_at,
        coalesce(observations.effective_end_local_date, observations.effective_local_date) as ends_local_date,
        cast(observations.value_number as double) as value_number,
        observations.value_code is not null
        or observations.is_value_true is not null
        or observations.value_number is not null as has_value
    from observations
    inner join coded on observations.code_system = coded.code_system and observations.code = coded.code
    left join value_sets as results
        on
            coded.result_value_set = results.value_set
            and observations.value_code_system = results.code_system
            and observations.value_code = results.code
    where
        coded.stream = 'observation'
        and {{ is_listed('observations.observation_status', 'coded.statuses') }}
        and (coded.result_value_set is null or results.value_set is not null)
),

of_observations_not_done as (
    select
        observations.person_id,
        coded.concept,
        observations.observation_id as record_id,
        observations.issued_at as starts_at,
        observations.issued_local_date as starts_local_date,
        observations.issued_at as ends_at,
        observations.issued_local_date as ends_local_date,
        cast(null as double) as value_number,
        false as has_value
    from observations
    inner join coded on observations.code_system = coded.code_system and observations.code = coded.code
    inner join value_sets as reasons
        on
            coded.result_value_set = reasons.value_set
            and observations.not_done_reason_code_system = reasons.code_system
            and observations.not_done_reason_code = reasons.code
    where
        coded.stream = 'observation_not_done'
        and {{ is_listed('observations.observation_status', 'coded.statuses') }}
),

-- What is over and has no stated end was a moment; what goes on has no end yet.
of_procedures as (
    select
        procedures.person_id,
        coded.concept,
        procedures.procedure_id as record_id,
        procedures.performed_start_at as starts_at,
        procedures.performed_local_date as starts_local_date,
        coalesce(
            procedures.performed_end_at,
            case when procedures.procedure_status in ('completed', 'stopped') then procedures.performed_start_at end
        ) as ends_at,
        coalesce(
            procedures.performed_end_local_date,
            case when procedures.procedure_status in ('completed', 'stopped') then procedures.performed_local_date end
        ) as ends_local_date,
        cast(null as double) as value_number,
        cast(null as boolean) as has_value
    from procedures
    inner join coded on procedures.code_system = coded.code_system and procedures.code = coded.code
    where coded.stream = 'procedure' and {{ is_listed('procedures.procedure_status', 'coded.statuses') }}
),
{% for stream, id in [('service_request', 'service_request_id'), ('medication', 'medication_request_id')] %}
of_{{ stream }}s as (
    select
        requests.person_id,
        coded.concept,
        requests.{{ id }} as record_id,
        requests.authored_at as starts_at,
        requests.authored_local_date as starts_local_date,
        requests.authored_at as ends_at,
        requests.authored_local_date as ends_local_date,
        cast(null as double) as value_number,
        cast(null as boolean) as has_value
    from {{ stream }}s as requests
    inner join coded on requests.code_system = coded.code_system and requests.code = coded.code
    where
        coded.stream = '{{ stream }}'
        and {{ is_listed('requests.request_status', 'coded.statuses') }}
        and {{ is_listed('requests.request_intent', 'coded.second_statuses') }}
        and not coalesce(requests.is_do_not_perform, false)
),
{% endfor %}
of_people as (
    select
        people.person_id,
        concepts.concept,
        people.person_id as record_id,
        cast(null as timestamp) as starts_at,
        people.deceased_date as starts_local_date,
        cast(null as timestamp) as ends_at,
        cast(null as date) as ends_local_date,
        cast(null as double) as value_number,
        cast(null as boolean) as has_value
    from people
    cross join concepts
    where concepts.stream = 'person' and people.deceased_date is not null
),

-- A record with several codes of a concept is one event.
final as (
    select * from of_contacts
    union
    select * from of_diagnoses
    union
    select * from of_observations
    union
    select * from of_observations_not_done
    union
    select * from of_procedures
    union
    select * from of_service_requests
    union
    select * from of_medications
    union
    select * from of_people
)

select * from final
