with events as (
    select * from {{ ref('int_concept_events') }}
),

depressed as (
    select * from {{ ref('int_contacts_depressed') }}
),

totals as (
    select * from {{ ref('int_depression_totals_submitted') }}
),

thresholds as (
    select * from {{ ref('thresholds') }}
),

people as (
    select * from {{ ref('int_people_current') }}
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
    where {{ is_computable('period_kind') }}
),

measures as (
    select
        measure_id,
        period_kinds,
        threshold_ids,
        {{ parameter('minimum_age') }} as minimum_age,
        {{ parameter_comparator('minimum_age') }} as minimum_age_comparator,
        {{ parameter('screen_end_months') }} as screen_end_months,
        {{ parameter('follow_up_days') }} as follow_up_days,
        {{ parameter_comparator('follow_up_days') }} as follow_up_days_comparator
    from {{ ref('int_measure_parameters_chosen') }}
    where period_anchor = 'screening_score'
    group by measure_id, period_kinds, threshold_ids
),

-- Who was seen stands in for who was enrolled.
seen as (
    select
        measures.measure_id,
        periods.period_id,
        periods.period_start,
        events.person_id,
        {{ months_after('periods.period_start', 'measures.screen_end_months') }} as screen_end,
        max(events.starts_local_date) as seen_date
    from events
    inner join periods
        on events.starts_local_date >= periods.period_start and events.starts_local_date <= periods.period_end
    inner join measures on {{ has_period_kind('measures.period_kinds', 'periods.period_kind') }}
    inner join people on events.person_id = people.person_id
    where
        events.concept = 'member_contact'
        and events.starts_local_date <= {{ as_of_date() }}
        and {{ meets(
            age_in_years('people.birth_date', 'periods.period_start'), 'measures.minimum_age_comparator',
            'measures.minimum_age'
        ) }}
    group by
        measures.measure_id, periods.period_id, periods.period_start, events.person_id, measures.screen_end_months
),

-- A PHQ-9M is read by the threshold of the PHQ-9, as the tools are one value set.
screens as (
    select
        measures.measure_id,
        totals.person_id,
        totals.score_id,
        thresholds.instrument_code,
        totals.total_value,
        totals.answered_at,
        totals.answered_local_date,
        {{ meets('totals.total_value', 'thresholds.comparator', 'thresholds.threshold_value') }} as is_positive
    from totals
    inner join thresholds
        on
            totals.instrument_code = thresholds.instrument_code
            or (totals.is_phq9 and thresholds.instrument_code = 'PHQ-9')
    inner join measures
        on concat(' ', measures.threshold_ids, ' ') like concat('% ', thresholds.threshold_id, ' %')
    where totals.total_value is not null and totals.person_id in (select person_id from seen)
),

in_time as (
    select
        seen.measure_id,
        seen.period_id,
        screens.person_id,
        screens.score_id,
        screens.instrument_code,
        screens.total_value,
        screens.answered_local_date,
        screens.is_positive,
        row_number() over (
            partition by seen.measure_id, seen.period_id, screens.person_id
            order by case when screens.is_positive then 0 else 1 end, screens.answered_at, screens.score_id, screens.instrument_code
        ) as screen_rank
    from seen
    inner join screens
        on
            seen.measure_id = screens.measure_id
            and seen.person_id = screens.person_id
            and screens.answered_local_date >= seen.period_start
            and screens.answered_local_date <= seen.screen_end
    where screens.answered_local_date <= {{ as_of_date() }}
),

first_screens as (
    select * from in_time
    where screen_rank = 1
),

-- What may count as follow-up, and on which day.
steps as (
    select
        person_id,
        starts_local_date as step_date,
        'a visit during depression' as step
    from depressed
    union all
    select
        person_id,
        starts_local_date as step_date,
        'a request or procedure' as step
    from events
    where concept in ('adolescent_request', 'adult_request', 'adolescent_procedure', 'adult_procedure')
),

negative_on_the_day as (
    select distinct
        first_screens.measure_id,
        first_screens.period_id,
        first_screens.person_id
    from first_screens
    inner join screens
        on
            first_screens.measure_id = screens.measure_id
            and first_screens.person_id = screens.person_id
            and first_screens.answered_local_date = screens.answered_local_date
            and first_screens.instrument_code <> screens.instrument_code
            and screens.instrument_code = 'PHQ-9'
            and not screens.is_positive
    where first_screens.is_positive
),

followed as (
    select
        first_screens.measure_id,
        first_screens.period_id,
        first_screens.person_id,
        min(steps.step_date) as step_date
    from first_screens
    inner join measures on first_screens.measure_id = measures.measure_id
    inner join steps
        on first_screens.person_id = steps.person_id and first_screens.answered_local_date <= steps.step_date
    where
        first_screens.is_positive
        and {{ meets(
            days_between('first_screens.answered_local_date', 'steps.step_date'), 'measures.follow_up_days_comparator',
            'measures.follow_up_days'
        ) }}
    group by first_screens.measure_id, first_screens.period_id, first_screens.person_id
),

final as (
    select
        seen.measure_id,
        seen.period_id,
        seen.person_id,
        true as is_member,
        first_screens.person_id is not null as is_screened,
        coalesce(first_screens.is_positive, false) as is_screened_positive,
        followed.person_id is not null or negative_on_the_day.person_id is not null as is_followed_up,
        coalesce(first_screens.answered_local_date, seen.seen_date) as evidence_date,
        concat(
            case
                when first_screens.person_id is null
                    then concat('seen ', cast(seen.seen_date as varchar(10)), ', no screen in time')
                else concat(
                    first_screens.instrument_code, ' ', {{ points_in_words('first_screens.total_value') }}, ' on ',
                    cast(first_screens.answered_local_date as varchar(10))
                )
            end,
            case
                when negative_on_the_day.person_id is not null then ', PHQ-9 negative on the same day'
                when followed.step_date is not null
                    then concat(', followed up ', cast(followed.step_date as varchar(10)))
                else ''
            end
        ) as evidence,
        cast(null as varchar(60)) as exclusion_reason
    from seen
    left join first_screens
        on
            seen.measure_id = first_screens.measure_id
            and seen.period_id = first_screens.period_id
            and seen.person_id = first_screens.person_id
    left join followed
        on
            seen.measure_id = followed.measure_id
            and seen.period_id = followed.period_id
            and seen.person_id = followed.person_id
    left join negative_on_the_day
        on
            seen.measure_id = negative_on_the_day.measure_id
            and seen.period_id = negative_on_the_day.period_id
            and seen.person_id = negative_on_the_day.person_id
)

select * from final
