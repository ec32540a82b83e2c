{{ config(materialized="view") }}

with members as (
    select * from {{ ref('stg_quality__value_set_members') }}
),

named as (
    select distinct
        value_set,
        oid
    from {{ ref('value_set_members') }}
),

-- A site's licensed set may go by another title: its OID is what the definition means.
final as (
    select
        value_set,
        code_system,
        code
    from members
    union
    select
        named.value_set,
        members.code_system,
        members.code
    from members
    inner join named on members.oid = named.oid
)

select * from final
