{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with people as (
    select * from {{ ref('int_people_current') }}
    {{ where_touched(of='int_people_current') }}
),

ethnic_categories as (
    select * from {{ ref('ethnic_categories') }}
),

final as (
    select
        people.person_id,
        people.birth_date,
        people.sex,
        people.ethnicity_code,
        ethnic_categories.ethnic_group,
        people.imd_decile,
        cast({{ whole_division('people.imd_decile + 1', '2') }} as integer) as imd_quintile,
        people.rurality,
        people.time_zone,
        people.deceased_date,
        cast(people.identity_count as integer) as identity_count
    from people
    left join ethnic_categories on people.ethnicity_code = ethnic_categories.ethnicity_code
)

select * from final
