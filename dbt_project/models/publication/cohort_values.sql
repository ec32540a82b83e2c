with episodes as (
    select * from {{ ref('cohort_episodes') }}
),

measures as (
    select * from {{ ref('measures') }}
    where is_published
),

periods as (
    select * from {{ ref('cohort_periods') }}
),

listed as (
    {%- for column in cohort_columns() %}
    select distinct
        '{{ column }}' as column_name,
        {{ column }} as column_value
    from episodes
    union all
    {%- endfor %}
    select
        'measure_id' as column_name,
        measure_id as column_value
    from measures
    union all
    select
        'period_id' as column_name,
        period_id as column_value
    from periods
),

final as (
    select
        column_name,
        column_value,
        cast(row_number() over (partition by column_name order by column_value) as smallint) as value_code
    from listed
)

select * from final
