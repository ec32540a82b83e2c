{%- set rounds = 4 -%}
with links as (
    select
        person_token,
        linked_person_token
    from {{ ref('stg_people__person_links') }}
    where person_token is not null and linked_person_token is not null
),

neighbours as (
    select person_token, linked_person_token as neighbour_token from links
    union
    select linked_person_token, person_token from links
    union
    select person_token, person_token as neighbour_token from links
    union
    select linked_person_token, linked_person_token as neighbour_token from links
),

labels_0 as (
    select distinct
        person_token,
        person_token as person_id
    from neighbours
),
{% for step in range(1, rounds + 1) %}
labels_{{ step }} as (
    select
        neighbours.person_token,
        min(labels.person_id) as person_id
    from neighbours
    inner join labels_{{ step - 1 }} as labels on neighbours.neighbour_token = labels.person_token
    group by neighbours.person_token
),
{% endfor %}
final as (
    select
        person_token,
        person_id
    from labels_{{ rounds }}
)

select * from final
