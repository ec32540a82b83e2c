{%- set columns = cohort_columns() -%}
with members as (
    select * from {{ ref('measure_members') }}
),

cohorts as (
    select * from {{ ref('cohort_episodes') }}
),

value_codes as (
    select * from {{ ref('cohort_values') }}
),

-- People with several courses count once. They are few, so that only they need to be told apart.
repeating as (
    select
        person_id,
        row_number() over (order by person_id) as person_code
    from cohorts
    where person_id is not null
    group by person_id
    having count(*) > 1
),

coded as (
    select
        cohorts.referral_id,
        cohorts.person_id is not null as is_owned,
        {%- for column in columns %}
        {{ column }}_values.value_code as {{ column }}_code,
        {%- endfor %}
        repeating.person_code
    from cohorts
    left join repeating on cohorts.person_id = repeating.person_id
    {%- for column in columns %}
    inner join value_codes as {{ column }}_values
        on {{ column }}_values.column_name = '{{ column }}' and cohorts.{{ column }} = {{ column }}_values.column_value
    {%- endfor %}
),

final as (
    select
        measure_values.value_code as measure_code,
        period_values.value_code as period_code,
        members.evidence_date,
        coalesce(members.is_in_numerator, false) as is_in_numerator,
        {%- for column in columns %}
        coded.{{ column }}_code,
        {%- endfor %}
        coded.is_owned,
        coded.person_code
    from members
    inner join coded on members.subject_id = coded.referral_id
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
