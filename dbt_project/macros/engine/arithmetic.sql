{#- Integer division that never passes through a binary fraction; both sides are whole and not negative. -#}
{% macro whole_division(dividend, divisor) -%}
    {{ return(adapter.dispatch('whole_division', 'caseness')(dividend, divisor)) }}
{%- endmacro %}

{% macro default__whole_division(dividend, divisor) -%}
    (({{ dividend }}) // nullif({{ divisor }}, 0))
{%- endmacro %}

{% macro spark__whole_division(dividend, divisor) -%}
    (({{ dividend }}) div nullif({{ divisor }}, 0))
{%- endmacro %}

{#- A whole number, rounded half up, of numerator / denominator. -#}
{% macro rounded_half_up(numerator, denominator) -%}
    {{ caseness.whole_division('2 * (' ~ numerator ~ ') + (' ~ denominator ~ ')', '2 * (' ~ denominator ~ ')') }}
{%- endmacro %}

{#- Rows for which a condition holds. -#}
{% macro count_where(condition) -%}
    sum(case when {{ condition }} then 1 else 0 end)
{%- endmacro %}

{#- The sum of a number over the rows for which a condition holds. -#}
{% macro sum_where(number, condition) -%}
    sum(case when {{ condition }} then {{ number }} else 0 end)
{%- endmacro %}

{#- Whether a condition holds for any row of the group. -#}
{% macro any_where(condition) -%}
    max(case when {{ condition }} then 1 else 0 end) = 1
{%- endmacro %}

{#- The value of the row with the greatest rank among rows where the value is present. -#}
{% macro latest_present(value, rank) -%}
    {{ return(adapter.dispatch('latest_present', 'caseness')(value, rank)) }}
{%- endmacro %}

{% macro default__latest_present(value, rank) -%}
    arg_max({{ value }}, case when {{ value }} is not null then {{ rank }} end)
{%- endmacro %}

{% macro spark__latest_present(value, rank) -%}
    max_by({{ value }}, case when {{ value }} is not null then {{ rank }} end)
{%- endmacro %}
