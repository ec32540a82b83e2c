{{ config(materialized="view") }}
{%- set models = {
    'int_courses_followed': ['has_index', 'has_exclusion', 'is_in_remission', 'is_response', 'has_follow_up_score'],
    'int_screenings_judged': ['has_qualifying_contact', 'has_exclusion', 'has_exception', 'is_screened_and_followed'],
    'int_members_screened': ['is_member', 'is_screened', 'is_screened_positive', 'is_followed_up'],
    'int_members_monitored': ['has_depression_contact', 'has_score_in_part']
} %}

with final as (
    {%- for model, flags in models.items() %}
    {%- set is_last_model = loop.last %}
    {%- for flag in flags %}
    select
        measure_id,
        period_id,
        person_id,
        '{{ flag }}' as flag_name,
        {{ flag }} as flag_value
    from {{ ref(model) }}
    {{ "union all" if not (loop.last and is_last_model) }}
    {%- endfor %}
    {%- endfor %}
)

select * from final
