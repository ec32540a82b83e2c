-- A chain of links longer than the rounds of label propagation would leave one person with two ids.
with links as (
    select * from {{ ref('stg_people__person_links') }}
),

linked as (
    select * from {{ ref('int_people_linked') }}
),

final as (
    select links.person_token
    from links
    inner join linked as one on links.person_token = one.person_token
    inner join linked as other on links.linked_person_token = other.person_token
    where one.person_id <> other.person_id
)

select * from final
