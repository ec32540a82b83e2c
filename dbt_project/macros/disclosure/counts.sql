{#- The rules of disclosure control. A count is judged by the people in it as well as by itself: eight courses of seven
    people are seven people. Profile columns come from disclosure_profiles. -#}

{#- Whether a count, or the people behind it, is too small to show. -#}
{% macro is_redacted(count, people) -%}
    (
        ({{ count }} > 0 and least({{ count }}, {{ people }}) <= profile.redact_at_or_below)
        or ({{ count }} = 0 and not profile.is_zero_shown)
    )
{%- endmacro %}

{#- shown, suppressed, zero or not_applicable. -#}
{% macro count_status(count, people, also_suppressed='false') -%}
    case
        when {{ count }} is null then 'not_applicable'
        when {{ caseness.is_redacted(count, people) }} or ({{ also_suppressed }}) then 'suppressed'
        when {{ count }} = 0 then 'zero'
        else 'shown'
    end
{%- endmacro %}

{#- The count rounded once from its own true value, in whole numbers; null unless it may be shown. -#}
{% macro rounded_count(count, people, also_suppressed='false') -%}
    cast(
        case
            when {{ count }} is null or {{ caseness.is_redacted(count, people) }} or ({{ also_suppressed }}) then null
            when {{ count }} = 0 then 0
            when profile.rounding_mode = 'midpoint'
                then
                    {{ caseness.whole_division(count ~ ' + profile.rounding_base - 1', 'profile.rounding_base') }}
                    * profile.rounding_base - {{ caseness.whole_division('profile.rounding_base', '2') }}
            else
                {{ caseness.rounded_half_up(count, 'profile.rounding_base') }} * profile.rounding_base
        end
        as bigint
    )
{%- endmacro %}

{#- Everyone or nobody of a group, or nearly so: the rate would tell it of each of them. Hiding everyone alone would not
    do: a count that must be larger than a shown one, and is hidden, would be everyone. -#}
{% macro tells_of_all_or_none(numerator, numerator_people, others, others_people) -%}
    {{ numerator }} + {{ others }} > 0
    and least({{ numerator }}, {{ numerator_people }}, {{ others }}, {{ others_people }}) <= profile.all_or_none_margin
{%- endmacro %}

{#- State of the number of rows that a quality rule looked at: small ones are not told at all. -#}
{% macro quality_status() -%}
    {{ caseness.count_status(
        'findings.rows_checked',
        'findings.people_checked',
        'findings.rows_checked > 0 and findings.rows_checked < profile.quality_rounding_base'
    ) }}
{%- endmacro %}
