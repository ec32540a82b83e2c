{#- The columns named are the table's grain: never missing, never twice. -#}
{% test unique_key(model, columns) %}
with repeated as (
    select
        {{ columns | join(', ') }},
        count(*) as times
    from {{ model }}
    group by {{ columns | join(', ') }}
),

final as (
    select * from repeated
    where
        times > 1
        {%- for column in columns %}
        or {{ column }} is null
        {%- endfor %}
)

select * from final
{% endtest %}
