{#- The declared groups, as publication_tables.csv has them: at most two columns of cohort_episodes, and the kinds of
    period. The whole service is the group of no column. A compilation without them takes one of each. -#}
{% macro cohort_groups() -%}
    {%- set declared = var('cohort_groups', [
        {'columns': ['sex'], 'period_kinds': ['all', 'financial_year']},
        {'columns': ['service_code', 'sex'], 'period_kinds': ['all']}
    ]) -%}
    {{ return([{'columns': [], 'period_kinds': []}] + declared) }}
{%- endmacro %}

{#- Every column that a declared group is made of, each once. -#}
{% macro cohort_columns() -%}
    {%- set found = [] -%}
    {%- for group in caseness.cohort_groups() -%}
        {%- for column in group['columns'] if column not in found -%}
            {%- do found.append(column) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{#- Restricts to the kinds of period a group is made for; the whole service is made for every one. -#}
{% macro of_period_kinds(group) -%}
    {%- if group['period_kinds'] -%}
        where period_kind in ('{{ group["period_kinds"] | join("', '") }}')
    {%- endif -%}
{%- endmacro %}

{#- The name of a group's dimension. -#}
{% macro cohort_dimension(columns) -%}
    '{{ columns | join("+") if columns else "all" }}'
{%- endmacro %}

{#- The coded columns of a group. -#}
{% macro cohort_codes(columns) -%}
    {%- set found = [] -%}
    {%- for column in columns -%}
        {%- do found.append(column ~ '_code') -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{#- A coded column of a group, by place; where the group has none, everybody is one. -#}
{% macro cohort_code(columns, place) -%}
    {{ columns[place] ~ '_code' if columns | length > place else '0' }}
{%- endmacro %}

{#- People in rows of cohort_codes that were counted together by is_owned and person_code: those of one course are as many
    as their courses, those of several count once. Rows are named where there are several tables. -#}
{% macro people_among(rows=none) -%}
    {%- set of = rows ~ '.' if rows else '' -%}
    {{ caseness.sum_where(of ~ 'courses', of ~ 'is_owned and ' ~ of ~ 'person_code is null') }}
    + count(distinct {{ of }}person_code)
{%- endmacro %}
