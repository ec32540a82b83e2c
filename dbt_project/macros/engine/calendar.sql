{#- Whether a result over a period can be told. Where dates are shifted or count days from an index, no date says when
    something happened, and only the period that holds everything means anything. -#}
{% macro is_computable(period_kind) -%}
    {%- if var('dates_are_calendar', true) -%}
        true
    {%- else -%}
        {{ period_kind }} = 'all'
    {%- endif -%}
{%- endmacro %}

{#- Whether a measure has a period of this kind. Where dates are no calendar dates, a measure that has no period of all
    days is told there, as one that cannot be computed. -#}
{% macro has_period_kind(period_kinds, period_kind) -%}
    concat('+', {{ period_kinds }}, '+') like concat('%+', {{ period_kind }}, '+%')
{%- endmacro %}

{% macro is_told_in(period_kinds, period_kind) -%}
    {%- if var('dates_are_calendar', true) -%}
        {{ caseness.has_period_kind(period_kinds, period_kind) }}
    {%- else -%}
        ({{ caseness.has_period_kind(period_kinds, period_kind) }} or {{ period_kind }} = 'all')
    {%- endif -%}
{%- endmacro %}
