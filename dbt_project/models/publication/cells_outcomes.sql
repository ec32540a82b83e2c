{%- set groups = cohort_groups() -%}
with members as (
    select * from {{ ref('cohort_members') }}
),

value_codes as (
    select * from {{ ref('cohort_values') }}
),

measures as (
    select * from value_codes
    where column_name = 'measure_id'
),

periods as (
    select
        stated.*,
        value_codes.value_code as period_code
    from {{ ref('cohort_periods') }} as stated
    inner join value_codes on value_codes.column_name = 'period_id' and stated.period_id = value_codes.column_value
),

counted as (
    {%- for group in groups %}
    {%- set columns = group['columns'] %}
    select
        {{ cohort_dimension(columns) }} as group_dimension,
        {{ cohort_code(columns, 0) }} as first_code,
        {{ cohort_code(columns, 1) }} as second_code,
        measure_code,
        period_code,
        count(*) as denominator_true,
        {{ count_where('is_owned') }} as denominator_owned,
        {{ count_where('is_in_numerator') }} as numerator_true,
        {{ count_where('is_in_numerator and is_owned') }} as numerator_owned
    from members
    group by {{ (cohort_codes(columns) + ['measure_code', 'period_code']) | join(', ') }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

repeated as (
    select * from members
    where person_code is not null
),

by_person as (
    {%- for group in groups %}
    {%- set columns = group['columns'] %}
    select
        {{ cohort_dimension(columns) }} as group_dimension,
        {{ cohort_code(columns, 0) }} as first_code,
        {{ cohort_code(columns, 1) }} as second_code,
        measure_code,
        period_code,
        person_code,
        count(*) as courses,
        {{ count_where('is_in_numerator') }} as numerator_courses
    from repeated
    group by {{ (cohort_codes(columns) + ['measure_code', 'period_code', 'person_code']) | join(', ') }}
    having count(*) > 1
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

counted_again as (
    select
        group_dimension,
        first_code,
        second_code,
        measure_code,
        period_code,
        sum(courses - 1) as denominator_again,
        sum(greatest(numerator_courses - 1, 0)) as numerator_again,
        sum(greatest(courses - numerator_courses - 1, 0)) as others_again
    from by_person
    group by group_dimension, first_code, second_code, measure_code, period_code
),

-- Every pair of values of two columns, whether anybody has both or not: a gap would tell what is hidden.
group_values as (
    {%- for group in groups %}
    {%- set columns = group['columns'] %}
    select
        {{ cohort_dimension(columns) }} as group_dimension,
        {{ "firsts.column_value" if columns else "'all'" }} as first_group_value,
        {{ "firsts.value_code" if columns else "0" }} as first_code,
        {{ "seconds.column_value" if columns | length > 1 else "cast(null as varchar(60))" }} as second_group_value,
        {{ "seconds.value_code" if columns | length > 1 else "0" }} as second_code,
        periods.period_id
    from periods
    {%- if columns %}
    inner join value_codes as firsts on firsts.column_name = '{{ columns[0] }}'
    {%- endif %}
    {%- if columns | length > 1 %}
    inner join value_codes as seconds on seconds.column_name = '{{ columns[1] }}'
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
        group_values.first_code,
        group_values.second_code,
        measures.column_value as measure_id,
        measures.value_code as measure_code,
        periods.period_id,
        periods.period_code,
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
            and listed.first_code = counted.first_code
            and listed.second_code = counted.second_code
            and listed.measure_code = counted.measure_code
            and listed.period_code = counted.period_code
    left join counted_again
        on
            listed.group_dimension = counted_again.group_dimension
            and listed.first_code = counted_again.first_code
            and listed.second_code = counted_again.second_code
            and listed.measure_code = counted_again.measure_code
            and listed.period_code = counted_again.period_code
)

select * from final
