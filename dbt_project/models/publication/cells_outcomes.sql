with members as (
    select * from {{ ref('measure_members') }}
),

episodes as (
    select * from {{ ref('episodes') }}
),

measures as (
    select * from {{ ref('measures') }}
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

grouped_episodes as (
    select referral_id, 'all' as group_dimension, 'all' as group_value from episodes
    {%- for dimension in ['sex', 'age_band', 'ethnic_group', 'imd_quintile', 'rurality', 'main_modality', 'service_code', 'severity_band_first'] %}
    union all
    select
        referral_id,
        '{{ dimension }}' as group_dimension,
        coalesce(cast({{ dimension }} as varchar(60)), 'not recorded') as group_value
    from episodes
    {%- endfor %}
),

counted as (
    select
        grouped_episodes.group_dimension,
        grouped_episodes.group_value,
        members.measure_id,
        members.period_id,
        count(*) as denominator_true,
        count(distinct members.person_id) as denominator_people,
        {{ count_where('members.is_in_numerator') }} as numerator_true,
        count(distinct case when members.is_in_numerator then members.person_id end) as numerator_people,
        count(distinct case when not coalesce(members.is_in_numerator, false) then members.person_id end)
            as others_people
    from members
    inner join grouped_episodes on members.subject_id = grouped_episodes.referral_id
    where
        members.is_in_denominator
        and not members.is_denominator_exclusion
        and not members.is_denominator_exception
    group by
        grouped_episodes.group_dimension, grouped_episodes.group_value, members.measure_id, members.period_id
),

group_values as (
    select distinct group_dimension, group_value from grouped_episodes
),

-- Every cell that can have an answer; groups are published for all days and financial years only.
listed as (
    select
        group_values.group_dimension,
        group_values.group_value,
        measures.measure_id,
        periods.period_id,
        periods.period_kind,
        periods.period_label,
        periods.period_start,
        periods.period_end
    from group_values
    cross join measures
    cross join periods
    where
        (group_values.group_dimension = 'all' or periods.period_kind in ('all', 'financial_year'))
        and {{ is_computable('periods.period_kind') }}
),

final as (
    select
        listed.*,
        coalesce(counted.denominator_true, 0) as denominator_true,
        coalesce(counted.denominator_people, 0) as denominator_people,
        coalesce(counted.numerator_true, 0) as numerator_true,
        coalesce(counted.numerator_people, 0) as numerator_people,
        coalesce(counted.denominator_true, 0) - coalesce(counted.numerator_true, 0) as others_true,
        coalesce(counted.others_people, 0) as others_people
    from listed
    left join counted
        on
            listed.group_dimension = counted.group_dimension
            and listed.group_value = counted.group_value
            and listed.measure_id = counted.measure_id
            and listed.period_id = counted.period_id
)

select * from final
