{%- set stages = ['referrals_received', 'first_treatments', 'finished_courses', 'discharged'] %}
with episodes as (
    select * from {{ ref('episodes') }}
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

dated as (
    select person_id, 'referrals_received' as stage, referral_received_date as stage_date from episodes
    union all
    select person_id, 'first_treatments' as stage, first_treatment_date as stage_date from episodes
    union all
    select person_id, 'finished_courses' as stage, discharge_date as stage_date from episodes
    where has_finished_course
    union all
    select person_id, 'discharged' as stage, discharge_date as stage_date from episodes
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
        dated.stage,
        count(*) as episodes_true,
        count(distinct dated.person_id) as episodes_people
    from dated
    inner join periods on dated.stage_date >= periods.period_start and dated.stage_date <= periods.period_end
    group by periods.period_id, dated.stage
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
