{#- Whole days from one date to a later one. -#}
{% macro days_between(earlier, later) -%}
    {{ return(adapter.dispatch('days_between', 'caseness')(earlier, later)) }}
{%- endmacro %}

{% macro default__days_between(earlier, later) -%}
    date_diff('day', {{ earlier }}, {{ later }})
{%- endmacro %}

{% macro spark__days_between(earlier, later) -%}
    datediff({{ later }}, {{ earlier }})
{%- endmacro %}

{#- Completed years of life on a day. -#}
{% macro age_in_years(birth_date, on_date) -%}
    cast(
        extract(year from {{ on_date }}) - extract(year from {{ birth_date }})
        - case
            when
                extract(month from {{ on_date }}) < extract(month from {{ birth_date }})
                or (
                    extract(month from {{ on_date }}) = extract(month from {{ birth_date }})
                    and extract(day from {{ on_date }}) < extract(day from {{ birth_date }})
                )
                then 1
            else 0
        end
        as integer
    )
{%- endmacro %}

{#- The last day the data speak for, from the settings. -#}
{% macro as_of_date() -%}
    cast('{{ var("as_of_date") }}' as date)
{%- endmacro %}

{#- A date some days later, or earlier where they are negative. -#}
{% macro days_after(on_date, days) -%}
    {{ return(adapter.dispatch('days_after', 'caseness')(on_date, days)) }}
{%- endmacro %}

{% macro default__days_after(on_date, days) -%}
    ({{ on_date }} + cast({{ days }} as integer))
{%- endmacro %}

{% macro spark__days_after(on_date, days) -%}
    date_add({{ on_date }}, cast({{ days }} as integer))
{%- endmacro %}

{#- A date some calendar months later; where that month is too short, its last day. -#}
{% macro months_after(on_date, months) -%}
    {{ return(adapter.dispatch('months_after', 'caseness')(on_date, months)) }}
{%- endmacro %}

{% macro default__months_after(on_date, months) -%}
    cast({{ on_date }} + to_months(cast({{ months }} as integer)) as date)
{%- endmacro %}

{% macro spark__months_after(on_date, months) -%}
    add_months({{ on_date }}, cast({{ months }} as integer))
{%- endmacro %}
