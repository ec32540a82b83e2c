with changes as (
    select * from {{ ref('course_changes') }}
),

trajectories as (
    select * from {{ ref('trajectories') }}
),

episodes as (
    select * from {{ ref('episodes') }}
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

flow_weeks as (
    select * from {{ ref('flow_weeks') }}
),

band_rows as (
    select * from {{ ref('severity_bands') }}
    where is_default and scale_code is null
),

instruments as (
    select distinct instrument_code from band_rows
),

band_names as (
    select distinct instrument_code, band, band_order from band_rows
    union all
    select instrument_code, 'not_answered' as band, 0 as band_order from instruments
),

-- The whole course, and from week to later week.
spans as (
    select
        'first_to_last' as span,
        cast(null as integer) as from_week,
        cast(null as integer) as to_week,
        cast(null as integer) as window_weeks
    union all
    select
        concat('week_', from_week, '_to_', to_week) as span,
        from_week,
        to_week,
        window_weeks
    from flow_weeks
),

started as (
    select
        referral_id,
        first_treatment_date,
        {{ days_between('first_treatment_date', as_of_date()) }} as days_since_start
    from episodes
    where first_treatment_date is not null
),

-- Only courses that began long enough ago to have reached the later week.
followed as (
    select
        started.referral_id,
        started.first_treatment_date,
        spans.span,
        spans.from_week,
        spans.to_week,
        spans.window_weeks
    from started
    cross join spans
    where spans.to_week is null or floor(started.days_since_start / 7.0) >= spans.to_week + 1
),

windowed as (
    select
        trajectories.referral_id,
        trajectories.instrument_code,
        spans.span,
        trajectories.week_of_treatment,
        case
            when
                (spans.from_week = 0 and trajectories.is_baseline)
                or (
                    spans.from_week > 0
                    and trajectories.week_of_treatment > spans.from_week - spans.window_weeks
                    and trajectories.week_of_treatment <= spans.from_week
                )
                then trajectories.severity_band
        end as from_band,
        case
            when
                trajectories.week_of_treatment > spans.to_week - spans.window_weeks
                and trajectories.week_of_treatment <= spans.to_week
                then trajectories.severity_band
        end as to_band
    from trajectories
    cross join spans
    where spans.to_week is not null
),

seen as (
    select
        referral_id,
        instrument_code,
        span,
        {{ latest_present('from_band', 'week_of_treatment') }} as from_band,
        {{ latest_present('to_band', 'week_of_treatment') }} as to_band
    from windowed
    where from_band is not null or to_band is not null
    group by referral_id, instrument_code, span
    union all
    select
        referral_id,
        instrument_code,
        'first_to_last' as span,
        first_band as from_band,
        last_band as to_band
    from changes
),

moved as (
    select
        followed.first_treatment_date,
        followed.span,
        seen.instrument_code,
        coalesce(seen.from_band, 'not_answered') as from_band,
        coalesce(seen.to_band, 'not_answered') as to_band,
        count(*) as courses
    from followed
    inner join seen on followed.referral_id = seen.referral_id and followed.span = seen.span
    inner join instruments on seen.instrument_code = instruments.instrument_code
    group by
        followed.first_treatment_date,
        followed.span,
        seen.instrument_code,
        coalesce(seen.from_band, 'not_answered'),
        coalesce(seen.to_band, 'not_answered')
),

-- Who answered on neither side is the rest, so that nobody is written out for every instrument.
everyone as (
    select
        first_treatment_date,
        span,
        count(*) as courses
    from followed
    group by first_treatment_date, span
),

answered as (
    select
        first_treatment_date,
        span,
        instrument_code,
        sum(courses) as courses
    from moved
    group by first_treatment_date, span, instrument_code
),

all_moves as (
    select
        first_treatment_date,
        span,
        instrument_code,
        from_band,
        to_band,
        courses
    from moved
    union all
    select
        everyone.first_treatment_date,
        everyone.span,
        instruments.instrument_code,
        'not_answered' as from_band,
        'not_answered' as to_band,
        everyone.courses - coalesce(answered.courses, 0) as courses
    from everyone
    cross join instruments
    left join answered
        on
            everyone.first_treatment_date = answered.first_treatment_date
            and everyone.span = answered.span
            and instruments.instrument_code = answered.instrument_code
),

counted as (
    select
        periods.period_id,
        all_moves.span,
        all_moves.instrument_code,
        all_moves.from_band,
        all_moves.to_band,
        sum(all_moves.courses) as courses
    from all_moves
    inner join periods
        on
            periods.period_kind = 'all'
            or (
                all_moves.first_treatment_date >= periods.period_start
                and all_moves.first_treatment_date <= periods.period_end
            )
    group by periods.period_id, all_moves.span, all_moves.instrument_code, all_moves.from_band, all_moves.to_band
),

-- Every combination, so that nobody is a row and not a gap.
listed as (
    select
        periods.period_id,
        periods.period_start,
        periods.period_end,
        spans.span,
        spans.from_week,
        spans.to_week,
        from_bands.instrument_code,
        from_bands.band as from_band,
        to_bands.band as to_band,
        from_bands.band_order as from_band_order,
        to_bands.band_order as to_band_order,
        case
            when spans.to_week is null then {{ is_computable('periods.period_kind') }}
            else {{ is_computable("'to_week'") }}
        end as is_computable
    from periods
    cross join spans
    cross join band_names as from_bands
    inner join band_names as to_bands on from_bands.instrument_code = to_bands.instrument_code
),

final as (
    select
        listed.period_id,
        listed.period_start,
        listed.period_end,
        listed.instrument_code,
        listed.span,
        listed.from_week,
        listed.to_week,
        listed.from_band,
        listed.to_band,
        cast(listed.from_band_order as integer) as from_band_order,
        cast(listed.to_band_order as integer) as to_band_order,
        cast(case when listed.is_computable then coalesce(counted.courses, 0) end as bigint) as episodes_count,
        case when listed.is_computable then 'computed' else 'not_computable' end as result_status
    from listed
    left join counted
        on
            listed.period_id = counted.period_id
            and listed.span = counted.span
            and listed.instrument_code = counted.instrument_code
            and listed.from_band = counted.from_band
            and listed.to_band = counted.to_band
)

select * from final
