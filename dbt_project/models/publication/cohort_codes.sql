{%- set columns = cohort_columns() -%}
with cohorts as (
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

final as (
    select
        cohorts.referral_id,
        cohorts.person_id is not null as is_owned,
        {%- for column in columns %}
        {{ column }}_values.value_code as {{ column }}_code,
        {%- endfor %}
        cast(repeating.person_code as integer) as person_code
    from cohorts
    left join repeating on cohorts.person_id = repeating.person_id
    {%- for column in columns %}
    inner join value_codes as {{ column }}_values
        on {{ column }}_values.column_name = '{{ column }}' and cohorts.{{ column }} = {{ column }}_values.column_value
    {%- endfor %}
)

select * from final
