{#- A value against a threshold row's own comparator. -#}
{% macro meets(value, comparator, threshold) -%}
    case {{ comparator }}
        when '>=' then {{ value }} >= {{ threshold }}
        when '>' then {{ value }} > {{ threshold }}
        when '<=' then {{ value }} <= {{ threshold }}
        when '<' then {{ value }} < {{ threshold }}
    end
{%- endmacro %}

{#- The threshold of a purpose that is in force on the day of a row, under the purpose's name; `thresholds` are the rows to
    choose from, one in force for each instrument, purpose and day. -#}
{% macro join_threshold(purpose, rows) -%}
    left join thresholds as {{ purpose }}
        on
            {{ purpose }}.purpose = '{{ purpose }}'
            and {{ rows }}.instrument_code = {{ purpose }}.instrument_code
            and {{ rows }}.answered_local_date >= {{ purpose }}.valid_from
            and {{ rows }}.answered_local_date <= coalesce({{ purpose }}.valid_to, {{ rows }}.answered_local_date)
{%- endmacro %}

{#- A number of points in whole hundredths, so that decimals of a total and of a threshold meet exactly. -#}
{% macro hundredths(number) -%}
    cast(round(({{ number }}) * 100.0) as integer)
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

{#- Whether a statement still stands: no deletion of its record is as late as it. What has no time is the earlier one. -#}
{% macro is_not_deleted(statements, record_id) -%}
    not exists (
            select 1
            from deletions
            where deletions.record_id = {{ statements }}.{{ record_id }}
                and not coalesce(
                    case
                        when deletions.recorded_at is not null then {{ statements }}.recorded_at > deletions.recorded_at
                        else {{ statements }}.delivered_at > deletions.delivered_at
                    end,
                    false
                )
        )
{%- endmacro %}

{#- The criteria of one kind of event, side by side: comparator, numerator and denominator of each, by instrument. -#}
{% macro criteria_of(criteria) -%}
    {%- for criterion in criteria %}
    max(case when criterion = '{{ criterion }}' then comparator end) as {{ criterion }}_comparator,
    max(case when criterion = '{{ criterion }}' then threshold_numerator end) as {{ criterion }}_numerator,
    max(case when criterion = '{{ criterion }}' then threshold_denominator end) as {{ criterion }}_denominator
    {{- "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#- Whether value >= numerator / denominator of unit, in whole numbers; the comparator is the criterion's own. -#}
{% macro meets_criterion(value, rules, criterion, unit='1') -%}
    {{ caseness.meets(
        '(' ~ value ~ ') * ' ~ rules ~ '.' ~ criterion ~ '_denominator',
        rules ~ '.' ~ criterion ~ '_comparator',
        rules ~ '.' ~ criterion ~ '_numerator * (' ~ unit ~ ')'
    ) }}
{%- endmacro %}

{#- One of four answers: no rule for the instrument, not assessable, met or not met. -#}
{% macro met_status(has_rule, is_assessable, is_met) -%}
    case
        when not ({{ has_rule }}) then 'no_rule'
        when not ({{ is_assessable }}) then 'not_assessable'
        when {{ is_met }} then 'met'
        else 'not_met'
    end
{%- endmacro %}

{#- A parameter of a measure, and its comparator, from the rows of a group. -#}
{% macro parameter(name) -%}
    max(case when parameter = '{{ name }}' then parameter_value end)
{%- endmacro %}

{% macro parameter_comparator(name) -%}
    max(case when parameter = '{{ name }}' then comparator end)
{%- endmacro %}

{#- Whether a value stands in a list joined by +; an empty list holds everything. -#}
{% macro is_listed(value, list) -%}
    ({{ list }} is null or concat('+', {{ list }}, '+') like concat('%+', {{ value }}, '+%'))
{%- endmacro %}

{#- Whether a measure's completeness policy lets a submitted total in. MN Community Measurement takes no total of a form with
    a missing item and no decimal, whatever its value. -#}
{% macro is_let_in(policy, totals) -%}
    ({{ policy }} <> 'mncm_integer' or (not {{ totals }}.has_missing_items and {{ totals }}.is_whole_number))
{%- endmacro %}

{#- The value of a total that was let in. The eCQMs read what was submitted; elsewhere an impossible total is none. -#}
{% macro value_let_in(policy, totals) -%}
    case when {{ policy }} <> 'mncm_integer' or {{ totals }}.is_in_range then {{ totals }}.total_value end
{%- endmacro %}

{#- The counts of a result and its rate: null, never zero, where they cannot be told. -#}
{% macro result_columns(is_rate_told) -%}
    cast(case when is_computable then initial_population_count end as bigint) as initial_population_count,
        cast(case when is_computable then stated_denominator_count - denominator_exclusion_count end as bigint)
            as denominator_count,
        cast(case when is_computable then denominator_exclusion_count end as bigint) as denominator_exclusion_count,
        cast(case when is_computable then numerator_count end as bigint) as numerator_count,
        cast(
            case
                when {{ is_rate_told }}
                    then {{ caseness.measure_rate_percent(
                        'numerator_count', 'stated_denominator_count', 'denominator_exclusion_count'
                    ) }}
            end
            as double
        ) as rate_percent
{%- endmacro %}

{#- Bounds of the Wilson interval of a rate in percent: Wilson 1927, JASA 22:209-212. Null where nobody is in it. They hold the
    rate and stay within 0 and 100, which a last binary digit could miss. -#}
{% macro wilson_bound_percent(sign, numerator, denominator, quantile) -%}
    {%- set share = '(100.0 * (' ~ numerator ~ ') / (100.0 * (' ~ denominator ~ ')))' -%}
    {%- set step = '(' ~ quantile ~ ' / (2 * (' ~ denominator ~ ')))' -%}
    {%- set inner, outer = ('least', 'greatest') if sign == '-' else ('greatest', 'least') -%}
    case
        when ({{ denominator }}) > 0
            then 100.0 * {{ outer }}(
                {{ inner }}(
                    (
                        {{ share }} + {{ quantile }} * {{ step }}
                        {{ sign }} {{ quantile }} * sqrt({{ share }} * (1 - {{ share }}) / ({{ denominator }}) + {{ step }} * {{ step }})
                    ) / (1 + {{ quantile }} * {{ quantile }} / ({{ denominator }})),
                    {{ share }}
                ),
                {{ '0' if sign == '-' else '1' }}
            )
    end
{%- endmacro %}

{#- Both bounds of the interval of a result's rate, null where the rate is not told. -#}
{% macro rate_bound_columns(is_rate_told) -%}
    {%- for name, sign in [('lower', '-'), ('upper', '+')] -%}
    cast(
            case
                when {{ is_rate_told }}
                    then {{ caseness.wilson_bound_percent(
                        sign, 'numerator_count', 'stated_denominator_count - denominator_exclusion_count', 'normal_quantile'
                    ) }}
            end
            as double
        ) as rate_{{ name }}_percent{{ ",\n        " if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#- A flag that was joined under this name; a measure that names none has it false. -#}
{% macro flag_of(rows) -%}
    coalesce({{ rows }}.flag_value, false)
{%- endmacro %}
