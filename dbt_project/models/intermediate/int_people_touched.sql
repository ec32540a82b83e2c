{%- set keyed = [
    ('stg_care__referrals', 'referral_id'), ('stg_care__care_contacts', 'contact_id'),
    ('stg_outcomes__questionnaire_answers', 'response_id'), ('stg_outcomes__questionnaire_totals', 'response_id'),
    ('stg_care__contact_codes', 'contact_id'), ('stg_care__diagnoses', 'diagnosis_id'),
    ('stg_care__coded_observations', 'observation_id'), ('stg_care__procedures', 'procedure_id'),
    ('stg_care__service_requests', 'service_request_id'), ('stg_care__medications', 'medication_request_id')
] -%}
with delivered as (
    select person_token from {{ ref('stg_quality__touched_people') }}
),
{% for model, key in keyed %}
statements_{{ loop.index }} as (
    select
        {{ key }} as key_id,
        coalesce(person_token, 'unlinked') as person_token
    from {{ ref(model) }}
),

keys_{{ loop.index }} as (
    select statements_{{ loop.index }}.key_id
    from statements_{{ loop.index }}
    inner join delivered on statements_{{ loop.index }}.person_token = delivered.person_token
),
{% endfor %}
-- Whoever a delivered row names, and whoever an earlier statement of the same row named. A build for everyone asks nobody.
touched as (
    select person_token from delivered
    {%- for _ in keyed %}
    union
    select person_token
    from statements_{{ loop.index }}
    where {{ 'key_id in (select key_id from keys_' ~ loop.index ~ ')' if is_for_touched_people() else 'false' }}
    {%- endfor %}
),

linked as (
    select * from {{ ref('int_people_linked') }}
),

groups_touched as (
    select distinct linked.person_id
    from touched
    inner join linked on touched.person_token = linked.person_token
),

-- A new link renames a person, so every code of the group is named, whichever of them was the name before.
final as (
    select person_token as person_id from touched
    union
    select person_id from groups_touched
    union
    select linked.person_token
    from linked
    inner join groups_touched on linked.person_id = groups_touched.person_id
)

select * from final
