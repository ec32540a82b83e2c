with courses as (
    select * from {{ ref('int_courses_identified') }}
),

exclusions as (
    select * from {{ ref('measure_exclusions') }}
),

events as (
    select * from {{ ref('int_concept_events') }}
),

-- From the start of the identification period to the end of the follow-up window, both days in it.
matched as (
    select
        courses.measure_id,
        courses.period_id,
        courses.person_id,
        exclusions.exclusion_order,
        exclusions.exclusion_family,
        events.starts_local_date
    from courses
    inner join exclusions on courses.measure_family = exclusions.measure_family
    inner join events on courses.person_id = events.person_id and exclusions.concept = events.concept
    where
        case exclusions.timing
            when 'starts_by_end'
                then coalesce(events.starts_local_date <= courses.window_end, true)
            when 'starts_within'
                then
                    events.starts_local_date >= courses.identification_start
                    and events.starts_local_date <= courses.window_end
            when 'ends_within'
                then
                    events.ends_local_date >= courses.identification_start
                    and events.ends_local_date <= courses.window_end
            when 'overlaps'
                then
                    coalesce(events.starts_local_date <= courses.window_end, true)
                    and coalesce(events.ends_local_date >= courses.identification_start, true)
        end
),

ranked as (
    select
        *,
        row_number() over (
            partition by measure_id, period_id, person_id order by exclusion_order, starts_local_date nulls first
        ) as reason_rank
    from matched
),

final as (
    select
        measure_id,
        period_id,
        person_id,
        exclusion_family,
        starts_local_date as exclusion_date
    from ranked
    where reason_rank = 1
)

select * from final
