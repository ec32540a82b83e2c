{#- A value against a threshold row's own comparator. -#}
{% macro meets(value, comparator, threshold) -%}
    case {{ comparator }}
        when '>=' then {{ value }} >= {{ threshold }}
        when '>' then {{ value }} > {{ threshold }}
        when '<=' then {{ value }} <= {{ threshold }}
        when '<' then {{ value }} < {{ threshold }}
    end
{%- endmacro %}

{#- A rate in percent over a denominator less its exclusions; null, never zero, when nobody is in it. -#}
{% macro measure_rate_percent(numerator, denominator, exclusions='0') -%}
    case
        when ({{ denominator }}) - ({{ exclusions }}) > 0
            then 100.0 * ({{ numerator }}) / (({{ denominator }}) - ({{ exclusions }}))
    end
{%- endmacro %}

{#- Which statement of a key is current: the latest recorded, then delivered, then a stable order. -#}
{% macro latest_statement_first() -%}
    recorded_at desc nulls last, delivered_at desc nulls last, load_id desc, source_row_number desc
{%- endmacro %}
