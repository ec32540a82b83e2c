{#- Whether a row of the model `of`, a table by person, is of somebody whom the delivery touched. -#}
{% macro is_of_touched_person(of, touched) -%}
    {{ return(adapter.dispatch('is_of_touched_person', 'caseness')(of, touched)) }}
{%- endmacro %}

{#- Rows are found by their place: a join by person would unpack every column of every row first. -#}
{% macro default__is_of_touched_person(of, touched) -%}
    {%- if of -%}
        rowid in (select rowid from {{ ref(of) }} where person_id in (select person_id from {{ touched }}))
    {%- else -%}
        person_id in (select person_id from {{ touched }})
    {%- endif -%}
{%- endmacro %}

{% macro spark__is_of_touched_person(of, touched) -%}
    person_id in (select person_id from {{ touched }})
{%- endmacro %}
