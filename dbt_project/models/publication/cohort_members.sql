{%- set columns = cohort_columns() -%}
with members as (
    select * from {{ ref('int_members_by_referral') }}
),

cohorts as (
    select * from {{ ref('cohort_codes') }}
),

value_codes as (
    select * from {{ ref('cohort_values') }}
),

final as (
    select
        measure_values.value_code as measure_code,
        period_values.value_code as period_code,
        members.evidence_date,
        coalesce(members.is_in_numerator, false) as is_in_numerator,
        {%- for column in columns %}
        cohorts.{{ column }}_code,
        {%- endfor %}
        cohorts.is_owned,
        cohorts.person_code
    from members
    inner join cohorts on members.subject_id = cohorts.referral_id
    inner join value_codes as measure_values
        on measure_values.column_name = 'measure_id' and members.measure_id = measure_values.column_value
    inner join value_codes as period_values
        on period_values.column_name = 'period_id' and members.period_id = period_values.column_value
    where
        members.is_in_denominator
        and not members.is_denominator_exclusion
        and not members.is_denominator_exception
)

select * from final
