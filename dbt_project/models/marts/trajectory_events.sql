{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with steps as (
    select * from {{ ref('int_session_steps_compared') }}
    {{ where_touched(of='int_session_steps_compared') }}
),

judged as (
    select * from {{ ref('int_course_events_judged') }}
    {{ where_touched(of='int_course_events_judged') }}
),

happened as (
    select
        referral_id,
        person_id,
        instrument_code,
        'sudden_gain' as event_kind,
        row_number() over (partition by referral_id, instrument_code order by from_session) as event_number,
        week_of_treatment,
        to_session as session_number,
        from_local_date,
        to_local_date,
        scaled_before as scaled_from,
        scaled_after as scaled_to,
        score_scale,
        sum_before / (sessions_each_side * score_scale) as mean_before,
        sum_after / (sessions_each_side * score_scale) as mean_after
    from steps
    where is_sudden_gain
    union all
    select
        referral_id,
        person_id,
        instrument_code,
        event_kind,
        1 as event_number,
        week_of_treatment,
        session_number,
        from_local_date,
        to_local_date,
        scaled_from,
        scaled_to,
        score_scale,
        null as mean_before,
        null as mean_after
    from judged
    where has_happened
),

final as (
    select
        referral_id,
        person_id,
        instrument_code,
        event_kind,
        cast(event_number as integer) as event_number,
        to_local_date as event_local_date,
        cast(week_of_treatment as integer) as week_of_treatment,
        cast(session_number as integer) as session_number,
        case when event_kind = 'sustained_remission' then 'days' else 'points' end as size_unit,
        cast(
            case
                when event_kind = 'sustained_remission' then {{ days_between('from_local_date', 'to_local_date') }}
                else abs((scaled_from - scaled_to) / score_scale)
            end as double
        ) as size,
        from_local_date,
        cast(scaled_from / score_scale as double) as score_before,
        cast(scaled_to / score_scale as double) as score_after,
        cast(mean_before as double) as mean_before,
        cast(mean_after as double) as mean_after
    from happened
)

select * from final
