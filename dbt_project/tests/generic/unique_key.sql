{#- The columns named are the table's grain: never missing, never twice. A build that adds to an earlier one, which was tested,
    asks it of the keys of the people it touches, against everybody's: the others are as they were. -#}
{% test unique_key(model, columns, is_by_person=false) %}
{%- set touched_people = ref('int_people_touched') %}
{%- set is_of_touched = is_by_person and is_for_touched_people() %}
with rows_tested as (
    select * from {{ model }}
),

{% if is_of_touched -%}
touched as (
    select person_id from {{ touched_people }}
),

keys as (
    select distinct
        {{ columns | join(',\n        ') }}
    from rows_tested
    where person_id in (select person_id from touched)
),

tested as (
    select
        {%- for column in columns %}
        keys.{{ column }},
        {%- endfor %}
        count(rows_tested.{{ columns[0] }}) as times
    from keys
    left join rows_tested
        on
            {%- for column in columns %}
            {{ 'and ' if not loop.first }}keys.{{ column }} = rows_tested.{{ column }}
            {%- endfor %}
    group by
        {%- for column in columns %}
        keys.{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
),
{%- else -%}
tested as (
    select
        {{ columns | join(',\n        ') }},
        count(*) as times
    from rows_tested
    group by
        {{ columns | join(',\n        ') }}
),
{%- endif %}

final as (
    select * from tested
    where
        times > 1
        {%- for column in columns %}
        or {{ column }} is null
        {%- endfor %}
)

select * from final
{% endtest %}
