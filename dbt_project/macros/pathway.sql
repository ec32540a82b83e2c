{#- The option in force of a pathway switch: what the settings chose, or the default of its row. -#}
{% macro pathway_switch(switch_id) -%}
    {%- set chosen = var('pathway_switches') -%}
    {%- if switch_id not in chosen -%}
        {{ exceptions.raise_compiler_error('there is no pathway switch ' ~ switch_id) }}
    {%- endif -%}
    {{ return(chosen[switch_id]) }}
{%- endmacro %}

{#- What happened to a referral that a period can be counted by: the date's name and the model that holds it. A measure
    names one of these as its period_anchor; period_end is another thing, the state of the referral on the last day. -#}
{% macro episode_anchors() -%}
    {{ return([
        'referral_received_date', 'first_assessment_date', 'first_treatment_date', 'second_treatment_date',
        'discharge_date'
    ]) }}
{%- endmacro %}

{#- The flags of a referral that do not depend on a period; the cohorts of int_episodes_flagged, listed once. -#}
{% macro episode_flags() -%}
    {{ return([
        'is_received', 'is_ended', 'has_started_treatment', 'has_second_treatment', 'has_first_assessment',
        'has_finished_course', 'has_ended_after_one_treatment', 'has_ended_without_treatment', 'is_at_caseness',
        'is_not_at_caseness', 'has_adsm_descriptor', 'is_paired_adsm', 'is_paired_phq9', 'is_paired_both',
        'has_recovered', 'is_reliably_improved', 'is_reliably_deteriorated', 'has_no_reliable_change',
        'is_reliably_recovered', 'is_first_treatment_within_6_weeks', 'is_first_treatment_within_18_weeks',
        'has_follow_up'
    ]) }}
{%- endmacro %}

{#- Days of a referral that the bands of pathway_bands are told by, and those of a referral open at a period's end. -#}
{% macro episode_clocks() -%}
    {{ return(['days_to_first_assessment', 'days_first_to_second_treatment']) }}
{%- endmacro %}

{% macro snapshot_clocks() -%}
    {{ return(['days_waiting', 'days_since_last_treatment']) }}
{%- endmacro %}

{#- The flags of the rows of a CTE, one row each: those that are columns, and the bands that its clocks lie in. -#}
{% macro flags_listed(rows, key, flags, clocks) -%}
stated as (
    {%- for flag in flags %}
    select
        {{ key }},
        '{{ flag }}' as flag_name,
        {{ flag }} as flag_value
    from {{ rows }}
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

clocked as (
    {%- for clock in clocks %}
    select
        {{ key }},
        '{{ clock }}' as clock,
        {{ clock }} as days_on_clock
    from {{ rows }}
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

banded as (
    select
        clocked.{{ key }},
        bands.flag_name,
        {{ is_in_band('clocked.days_on_clock', 'bands') }} as flag_value
    from clocked
    inner join bands on clocked.clock = bands.clock
),

listed as (
    select
        {{ key }},
        flag_name,
        flag_value
    from stated
    union all
    select
        {{ key }},
        flag_name,
        flag_value
    from banded
)
{%- endmacro %}

{#- The flags of a referral that is open on the last day of a period. -#}
{% macro snapshot_flags() -%}
    {{ return(['is_waiting_for_treatment', 'is_open_after_treatment']) }}
{%- endmacro %}

{#- Flags and bands of days as one word, and the joins it takes: rows with the same pattern have the same flags. -#}
{% macro flag_pattern(rows, clocks) -%}
    concat(
            {{ rows }}.flag_word
            {%- for clock in clocks %},
            ':', cast(coalesce({{ clock }}_bands.band_code, 0) as varchar(12))
            {%- endfor %}
        )
{%- endmacro %}

{% macro join_bands(rows, clocks) -%}
    {%- for clock in clocks %}
    left join bands as {{ clock }}_bands
        on {{ clock }}_bands.clock = '{{ clock }}' and {{ rows }}.{{ clock }} = {{ clock }}_bands.days_on_clock
    {%- endfor %}
{%- endmacro %}

{#- Switches that do not stand at their default, as the results state them. -#}
{% macro pathway_switches_stated() -%}
    {{ return(var('pathway_switches_stated')) }}
{%- endmacro %}

{#- Whether days lie in a band of pathway_bands; an open end has no bound, and who has no days is in no band. -#}
{% macro is_in_band(days, band) -%}
    coalesce(
            {{ days }} >= coalesce({{ band }}.days_from, {{ days }})
            and {{ days }} <= coalesce({{ band }}.days_to, {{ days }}),
            false
        )
{%- endmacro %}

{#- Whether the state on a period's last day can be told: the day is one of the calendar and the data speak for it. -#}
{% macro is_snapshot_computable(period_end) -%}
    {%- if var('dates_are_calendar', true) -%}
        {{ period_end }} <= {{ as_of_date() }}
    {%- else -%}
        false
    {%- endif -%}
{%- endmacro %}

{#- A number of points as text: whole ones without decimals. -#}
{% macro points_in_words(points) -%}
    case
                when {{ points }} = floor({{ points }}) then cast(cast({{ points }} as integer) as varchar(12))
                else cast({{ points }} as varchar(12))
            end
{%- endmacro %}

{#- The flags that a measure names, found among `flags` for the rows of `placed`: the columns, and the joins to them. -#}
{% macro flagged_columns() -%}
    placed.*,
        denominators.flag_value as is_in_denominator,
        coalesce(exclusions.flag_value, false) as is_denominator_exclusion,
        coalesce(exceptions.flag_value, false) as is_denominator_exception,
        numerators.flag_value as is_in_numerator
{%- endmacro %}

{% macro join_flags(keys) -%}
    {%- for kind, column in [
        ('inner', 'denominator'), ('inner', 'numerator'), ('left', 'denominator_exclusion'), ('left', 'denominator_exception')
    ] %}
    {%- set alias = column.split('_')[-1] ~ 's' %}
    {{ kind }} join flags as {{ alias }}
        on
            placed.{{ column }}_flag = {{ alias }}.flag_name
            {%- for key in keys %}
            and placed.{{ key }} = {{ alias }}.{{ key }}
            {%- endfor %}
    {%- endfor %}
{%- endmacro %}
