with trajectories as (
    select * from {{ ref('trajectories') }}
),

episodes as (
    select * from {{ ref('episodes') }}
),

codes as (
    select * from {{ ref('cohort_codes') }}
),

flow_weeks as (
    select * from {{ ref('flow_weeks') }}
),

bands as (
    select distinct instrument_code, band from {{ ref('severity_bands') }}
    where instrument_code in ('PHQ-9', 'GAD-7') and is_default and scale_code is null
),

-- Only courses that began long enough ago to have reached the later week: a question of the calendar, so that without
-- one the table is empty.
reachable as (
    select
        episodes.referral_id,
        codes.is_owned,
        codes.person_code,
        flow_weeks.from_week,
        flow_weeks.to_week
    from episodes
    inner join codes on episodes.referral_id = codes.referral_id
    cross join flow_weeks
    where
        episodes.first_treatment_date is not null
        and {{ days_between('episodes.first_treatment_date', as_of_date()) }}
        >= 7 * (flow_weeks.to_week + 1)
),

windowed as (
    select
        trajectories.referral_id,
        trajectories.instrument_code,
        trajectories.week_of_treatment,
        flow_weeks.from_week,
        flow_weeks.to_week,
        case
            when
                (flow_weeks.from_week = 0 and trajectories.is_baseline)
                or (
                    flow_weeks.from_week > 0
                    and trajectories.week_of_treatment > flow_weeks.from_week - flow_weeks.window_weeks
                    and trajectories.week_of_treatment <= flow_weeks.from_week
                )
                then trajectories.severity_band
        end as from_band,
        case
            when
                trajectories.week_of_treatment > flow_weeks.to_week - flow_weeks.window_weeks
                and trajectories.week_of_treatment <= flow_weeks.to_week
                then trajectories.severity_band
        end as to_band
    from trajectories
    cross join flow_weeks
),

seen as (
    select
        referral_id,
        instrument_code,
        from_week,
        to_week,
        {{ latest_present('from_band', 'week_of_treatment') }} as from_band,
        {{ latest_present('to_band', 'week_of_treatment') }} as to_band
    from windowed
    where from_band is not null or to_band is not null
    group by referral_id, instrument_code, from_week, to_week
),

instruments as (
    select distinct instrument_code from bands
),

-- Courses of people of one course are one number; those of several stay apart, to count once.
moved as (
    select
        instruments.instrument_code,
        reachable.from_week,
        reachable.to_week,
        reachable.is_owned,
        reachable.person_code,
        coalesce(seen.from_band, 'not_answered') as from_band,
        coalesce(seen.to_band, 'not_answered') as to_band,
        count(*) as courses
    from reachable
    cross join instruments
    left join seen
        on
            reachable.referral_id = seen.referral_id
            and reachable.from_week = seen.from_week
            and reachable.to_week = seen.to_week
            and instruments.instrument_code = seen.instrument_code
    group by
        instruments.instrument_code,
        reachable.from_week,
        reachable.to_week,
        reachable.is_owned,
        reachable.person_code,
        coalesce(seen.from_band, 'not_answered'),
        coalesce(seen.to_band, 'not_answered')
),

counted as (
    select
        instrument_code,
        from_week,
        to_week,
        from_band,
        to_band,
        sum(courses) as episodes_true,
        {{ people_among() }} as episodes_people
    from moved
    group by instrument_code, from_week, to_week, from_band, to_band
),

-- Of each band: where most went, and how many courses and people went elsewhere.
ranked as (
    select
        *,
        row_number() over (
            partition by instrument_code, from_week, to_week, from_band order by episodes_true desc, to_band asc
        ) as place
    from counted
),

elsewhere as (
    select
        moved.instrument_code,
        moved.from_week,
        moved.to_week,
        moved.from_band,
        sum(moved.courses) as others_true,
        {{ people_among('moved') }} as others_people
    from moved
    inner join ranked
        on
            moved.instrument_code = ranked.instrument_code
            and moved.from_week = ranked.from_week
            and moved.to_week = ranked.to_week
            and moved.from_band = ranked.from_band
    where ranked.place = 1 and moved.to_band <> ranked.to_band
    group by moved.instrument_code, moved.from_week, moved.to_week, moved.from_band
),

band_names as (
    select instrument_code, band from bands
    union all
    select instrument_code, 'not_answered' as band from instruments
),

final as (
    select
        from_bands.instrument_code,
        flow_weeks.from_week,
        flow_weeks.to_week,
        from_bands.band as from_band,
        to_bands.band as to_band,
        coalesce(counted.episodes_true, 0) as episodes_true,
        coalesce(counted.episodes_people, 0) as episodes_people,
        coalesce(elsewhere.others_true, 0) as others_true,
        coalesce(elsewhere.others_people, 0) as others_people
    from band_names as from_bands
    inner join band_names as to_bands on from_bands.instrument_code = to_bands.instrument_code
    cross join flow_weeks
    left join counted
        on
            from_bands.instrument_code = counted.instrument_code
            and flow_weeks.from_week = counted.from_week
            and flow_weeks.to_week = counted.to_week
            and from_bands.band = counted.from_band
            and to_bands.band = counted.to_band
    left join elsewhere
        on
            from_bands.instrument_code = elsewhere.instrument_code
            and flow_weeks.from_week = elsewhere.from_week
            and flow_weeks.to_week = elsewhere.to_week
            and from_bands.band = elsewhere.from_band
    where {{ is_computable("'to_week'") }}
)

select * from final
