with touched as (
    select person_token from {{ ref('stg_quality__touched_people') }}
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
