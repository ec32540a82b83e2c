{#- dbt's own question, which asks the engine; a compilation without an engine takes the answer of a full build. -#}
{% macro is_incremental() -%}
    {%- if var('is_compiled_only', false) -%}
        {{ return(false) }}
    {%- endif -%}
    {{ return(dbt.is_incremental()) }}
{%- endmacro %}

{#- A model by person keeps everyone the delivery did not touch: their rows are deleted first, then written anew. -#}
{% macro delete_touched_people() -%}
    {%- if is_incremental() -%}
        delete from {{ this }} where person_id in (select person_id from {{ ref('int_people_touched') }})
    {%- else -%}
        select 1
    {%- endif -%}
{%- endmacro %}

{#- Restricts a CTE to the people the delivery touched; on a full build to nobody less. -#}
{% macro where_touched(column='person_id') -%}
    {%- set touched = ref('int_people_touched') -%}
    {%- if is_incremental() -%}
        where {{ column }} in (select person_id from {{ touched }})
    {%- endif -%}
{%- endmacro %}
