{%- set groups = cohort_groups() -%}
with members as (
    select * from {{ ref('cohort_members') }}
),

episodes as (
    select * from {{ ref('cohort_episodes') }}
),

measures as (
    select * from {{ ref('measures') }}
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

counted as (
    {%- for group in groups %}
    {%- set columns = group['columns'] %}
    select
        {{ cohort_dimension(columns) }} as group_dimension,
        {{ cohort_value(columns, 0) }} as first_group_value,
        {{ cohort_value(columns, 1) }} as second_group_value,
        measure_id,
        period_id,
        count(*) as denominator_true,
        count(person_id) as denominator_owned,
        {{ count_where('is_in_numerator') }} as numerator_true,
        {{ count_where('is_in_numerator and person_id is not null') }} as numerator_owned
    from members
    {{ of_period_kinds(group) }}
    group by {{ (columns + ['measure_id', 'period_id']) | join(', ') }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- People with several courses count once. They are few, so that only they need to be counted person by person.
repeating as (
    select person_id from episodes
    group by person_id
    having count(*) > 1
),

repeated as (
    select * from members
    where person_id in (select person_id from repeating)
),

by_person as (
    {%- for group in groups %}
    {%- set columns = group['columns'] %}
    select
        {{ cohort_dimension(columns) }} as group_dimension,
        {{ cohort_value(columns, 0) }} as first_group_value,
        {{ cohort_value(columns, 1) }} as second_group_value,
        measure_id,
        period_id,
        person_id,
        count(*) as courses,
        {{ count_where('is_in_numerator') }} as numerator_courses
    from repeated
    {{ of_period_kinds(group) }}
    group by {{ (columns + ['measure_id', 'period_id', 'person_id']) | join(', ') }}
    having count(*) > 1
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

counted_again as (
    select
        group_dimension,
        first_group_value,
        second_group_value,
        measure_id,
        period_id,
        sum(courses - 1) as denominator_again,
        sum(greatest(numerator_courses - 1, 0)) as numerator_again,
        sum(greatest(courses - numerator_courses - 1, 0)) as others_again
    from by_person
    group by group_dimension, first_group_value, second_group_value, measure_id, period_id
),

column_values as (
    {%- for column in cohort_columns() %}
    select distinct
        '{{ column }}' as column_name,
        {{ column }} as column_value
    from episodes
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Every pair of values of two columns, whether anybody has both or not: a gap would tell what is hidden.
group_values as (
    {%- for group in groups %}
    {%- set columns = group['columns'] %}
    select
        {{ cohort_dimension(columns) }} as group_dimension,
        {{ "firsts.column_value" if columns else "'all'" }} as first_group_value,
        {{ "seconds.column_value" if columns | length > 1 else "cast(null as varchar(60))" }} as second_group_value,
        periods.period_id
    from periods
    {%- if columns %}
    inner join column_values as firsts on firsts.column_name = '{{ columns[0] }}'
    {%- endif %}
    {%- if columns | length > 1 %}
    inner join column_values as seconds on seconds.column_name = '{{ columns[1] }}'
    {%- endif %}
    {{ of_period_kinds(group) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Every cell that can have an answer.
listed as (
    select
        group_values.group_dimension,
        group_values.first_group_value,
        group_values.second_group_value,
        measures.measure_id,
        periods.period_id,
        periods.period_kind,
        periods.period_label,
        periods.period_start,
        periods.period_end
    from group_values
    cross join measures
    inner join periods on group_values.period_id = periods.period_id
    where {{ is_computable('periods.period_kind') }}
),

final as (
    select
        listed.group_dimension,
        listed.first_group_value,
        listed.second_group_value,
        case
            when listed.second_group_value is null then listed.first_group_value
            else concat(listed.first_group_value, ' + ', listed.second_group_value)
        end as group_value,
        listed.measure_id,
        listed.period_id,
        listed.period_kind,
        listed.period_label,
        listed.period_start,
        listed.period_end,
        coalesce(counted.denominator_true, 0) as denominator_true,
        coalesce(counted.denominator_owned, 0) - coalesce(counted_again.denominator_again, 0) as denominator_people,
        coalesce(counted.numerator_true, 0) as numerator_true,
        coalesce(counted.numerator_owned, 0) - coalesce(counted_again.numerator_again, 0) as numerator_people,
        coalesce(counted.denominator_true, 0) - coalesce(counted.numerator_true, 0) as others_true,
        coalesce(counted.denominator_owned, 0) - coalesce(counted.numerator_owned, 0)
        - coalesce(counted_again.others_again, 0) as others_people
    from listed
    left join counted
        on
            listed.group_dimension = counted.group_dimension
            and listed.first_group_value = counted.first_group_value
            and coalesce(listed.second_group_value, '') = coalesce(counted.second_group_value, '')
            and listed.measure_id = counted.measure_id
            and listed.period_id = counted.period_id
    left join counted_again
        on
            listed.group_dimension = counted_again.group_dimension
            and listed.first_group_value = counted_again.first_group_value
            and coalesce(listed.second_group_value, '') = coalesce(counted_again.second_group_value, '')
            and listed.measure_id = counted_again.measure_id
            and listed.period_id = counted_again.period_id
)

select * from final
