{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with statements as (
    select * from {{ ref('stg_people__people') }}
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

touched as (
    select * from owned
    {{ where_touched() }}
),

ranked as (
    select
        *,
        row_number() over (
            partition by person_id
            order by recorded_at nulls first, delivered_at nulls first, load_id, source_row_number
        ) as statement_rank
    from touched
),

final as (
    select
        person_id,
        {{ latest_present('birth_date', 'statement_rank') }} as birth_date,
        {{ latest_present('sex', 'statement_rank') }} as sex,
        {{ latest_present('ethnicity_code', 'statement_rank') }} as ethnicity_code,
        {{ latest_present('imd_decile', 'statement_rank') }} as imd_decile,
        {{ latest_present('rurality', 'statement_rank') }} as rurality,
        {{ latest_present('time_zone', 'statement_rank') }} as time_zone,
        {{ latest_present('deceased_date', 'statement_rank') }} as deceased_date,
        count(distinct person_token) as identity_count
    from ranked
    group by person_id
)

select * from final
