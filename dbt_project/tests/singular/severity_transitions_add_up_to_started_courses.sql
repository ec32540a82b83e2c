with transitions as (
    select * from {{ ref('severity_transitions') }}
),

episodes as (
    select * from {{ ref('episodes') }}
),

started as (
    select {{ count_where('has_started_treatment') }} as courses from episodes
),

counted as (
    select
        instrument_code,
        sum(episodes_count) as courses
    from transitions
    where period_id = 'all' and span = 'first_to_last'
    group by instrument_code
),

final as (
    select
        counted.instrument_code,
        counted.courses,
        started.courses as started_courses
    from counted
    cross join started
    where counted.courses <> started.courses
)

select * from final
