{{ config(materialized="view") }}
{%- set flags = [
    'has_finished_course', 'is_at_caseness', 'is_not_at_caseness', 'is_paired_phq9', 'is_paired_both', 'has_recovered',
    'is_reliably_improved', 'is_reliably_deteriorated', 'has_no_reliable_change', 'is_reliably_recovered',
    'is_first_treatment_within_6_weeks', 'is_first_treatment_within_18_weeks'
] %}

with episodes as (
    select * from {{ ref('int_episodes_flagged') }}
),

final as (
    {%- for flag in flags %}
    select
        referral_id,
        person_id,
        '{{ flag }}' as flag_name,
        {{ flag }} as flag_value
    from episodes
    {{ "union all" if not loop.last }}
    {%- endfor %}
)

select * from final
