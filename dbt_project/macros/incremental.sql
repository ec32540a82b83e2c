{#- dbt's own question, which asks the engine; a compilation without an engine takes the answer of a full build. A model
    that is written into the one that reads it has nothing to ask for: the build says whether it is for everyone. -#}
{% macro is_incremental() -%}
    {%- if var('is_compiled_only', false) -%}
        {{ return(false) }}
    {%- endif -%}
    {%- if model.config.materialized == 'ephemeral' -%}
        {{ return(is_for_touched_people()) }}
    {%- endif -%}
    {%- if execute and model.config.materialized == 'incremental' and dbt.is_incremental() != is_for_touched_people() -%}
        {{ exceptions.raise_compiler_error(model.name ~ ' would be written for other people than the models it reads') }}
    {%- endif -%}
    {{ return(dbt.is_incremental()) }}
{%- endmacro %}

{#- Whether the build adds deliveries to an earlier one, as the command says that runs it. -#}
{% macro is_for_touched_people() -%}
    {{ return(var('is_for_touched_people', false)) }}
{%- endmacro %}

{#- A model by person keeps everyone the delivery did not touch: their rows are deleted first, then written anew. -#}
{% macro delete_touched_people() -%}
    {%- if is_incremental() -%}
        delete from {{ this }} where person_id in (select person_id from {{ ref('int_people_touched') }})
    {%- else -%}
        select 1
    {%- endif -%}
{%- endmacro %}

{#- Restricts a CTE to the people the delivery touched; on a full build to nobody less. `of` names the model that is read, a
    table by person, so that an engine may look at the person of each row before it reads the rest of it. -#}
{% macro where_touched(of=none) -%}
    {%- set touched = ref('int_people_touched') -%}
    {%- if is_incremental() -%}
        where {{ caseness.is_of_touched_person(of, touched) }}
    {%- endif -%}
{%- endmacro %}

{#- From `statements`, those that a build has to look at: everyone's, or all statements of the keys of touched people, whoever
    they name, since a correction may move a row to another person. What names nobody may be anybody's. -#}
{% macro statements_of_touched_people(record_id) -%}
    {%- set touched = ref('int_people_touched') -%}
    {%- if is_incremental() -%}
codes_of_touched as (
    select person_id as person_token from {{ touched }}
    union
    select linked.person_token
    from linked
    inner join {{ touched }} as touched_people on linked.person_id = touched_people.person_id
),

keys_of_touched as (
    select {{ record_id }} from statements
    where person_token is null or person_token in (select person_token from codes_of_touched)
),

stated as (
    select * from statements
    where {{ record_id }} in (select {{ record_id }} from keys_of_touched)
)
    {%- else -%}
stated as (
    select * from statements
)
    {%- endif -%}
{%- endmacro %}
