{%- set stages = ['referrals_received', 'first_treatments', 'finished_courses', 'discharged'] %}
with dated as (
    select * from {{ ref('cohort_stages') }}
),

periods as (
    select * from {{ ref('cohort_periods') }}
),

-- A day's people of one course are one number; those of several stay apart, to count once a period.
by_day as (
    select
        stage,
        stage_date,
        is_owned,
        person_code,
        count(*) as courses
    from dated
    where stage_date is not null
    group by stage, stage_date, is_owned, person_code
),

-- Every stage, so that one that nobody reached is a zero and not a gap.
stages as (
    {%- for stage in stages %}
    select '{{ stage }}' as stage
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

counted as (
    select
        periods.period_id,
        by_day.stage,
        sum(by_day.courses) as episodes_true,
        {{ people_among('by_day') }} as episodes_people
    from by_day
    inner join periods on by_day.stage_date >= periods.period_start and by_day.stage_date <= periods.period_end
    group by periods.period_id, by_day.stage
),

final as (
    select
        periods.period_id,
        periods.period_kind,
        periods.period_label,
        periods.period_start,
        periods.period_end,
        stages.stage,
        coalesce(counted.episodes_true, 0) as episodes_true,
        coalesce(counted.episodes_people, 0) as episodes_people
    from periods
    cross join stages
    left join counted on periods.period_id = counted.period_id and stages.stage = counted.stage
    where {{ is_computable('periods.period_kind') }}
)

select * from final
