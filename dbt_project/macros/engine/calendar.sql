{#- Whether a result over a period can be told. Where dates are shifted or count days from an index, no date says when
    something happened, and only the period that holds everything means anything. -#}
{% macro is_computable(period_kind) -%}
    {%- if var('dates_are_calendar', true) -%}
        true
    {%- else -%}
        {{ period_kind }} = 'all'
    {%- endif -%}
{%- endmacro %}
