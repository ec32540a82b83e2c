{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with valued as (
    select * from {{ ref('int_scores_valued') }}
    {{ where_touched(of='int_scores_valued') }}
),

rule_rows as (
    select * from {{ ref('trajectory_rules') }}
),

instruments as (
    select
        instrument_code,
        case when higher_is = 'worse' then 1 else -1 end as worse_sign
    from {{ ref('instruments') }}
),

remission_rules as (
    select
        instrument_code,
        {{ criteria_of(['score', 'days', 'breaks']) }}
    from rule_rows
    where event_kind = 'sustained_remission'
    group by instrument_code
),

relapse_rules as (
    select
        instrument_code,
        {{ criteria_of(['score']) }}
    from rule_rows
    where event_kind = 'relapse'
    group by instrument_code
),

early_rules as (
    select
        instrument_code,
        {{ criteria_of(['points', 'sessions']) }}
    from rule_rows
    where event_kind = 'early_response'
    group by instrument_code
),

days as (
    select
        *,
        row_number() over (partition by referral_id, instrument_code order by answered_local_date) as day_number
    from valued
    where is_last_of_day
),

watched as (
    select
        days.*,
        {{ meets_criterion('days.scaled_score', 'remission_rules', 'score', 'days.score_scale') }} as is_in_remission
    from days
    inner join remission_rules on days.instrument_code = remission_rules.instrument_code
),

numbered as (
    select
        *,
        {{ count_where('not is_in_remission') }} over (
            partition by referral_id, instrument_code order by day_number rows unbounded preceding
        ) as breaks
    from watched
),

sustained_pairs as (
    select
        later.referral_id,
        later.person_id,
        later.instrument_code,
        later.week_of_treatment,
        earlier.answered_local_date as from_local_date,
        later.answered_local_date as to_local_date,
        earlier.scaled_score as scaled_from,
        later.scaled_score as scaled_to,
        later.score_scale,
        row_number() over (
            partition by later.referral_id, later.instrument_code
            order by later.day_number, earlier.day_number
        ) as pair_rank
    from numbered as later
    inner join numbered as earlier
        on
            later.referral_id = earlier.referral_id
            and later.instrument_code = earlier.instrument_code
            and later.day_number > earlier.day_number
    inner join remission_rules on later.instrument_code = remission_rules.instrument_code
    where
        later.is_in_remission
        and earlier.is_in_remission
        and {{ meets_criterion(
            days_between('earlier.answered_local_date', 'later.answered_local_date'), 'remission_rules', 'days'
        ) }}
        and {{ meets_criterion('later.breaks - earlier.breaks', 'remission_rules', 'breaks') }}
),

sustained as (
    select * from sustained_pairs
    where pair_rank = 1
),

relapses_ranked as (
    select
        days.referral_id,
        days.person_id,
        days.instrument_code,
        days.week_of_treatment,
        sustained.to_local_date as from_local_date,
        days.answered_local_date as to_local_date,
        sustained.scaled_to as scaled_from,
        days.scaled_score as scaled_to,
        days.score_scale,
        row_number() over (
            partition by days.referral_id, days.instrument_code order by days.day_number
        ) as relapse_rank
    from days
    inner join sustained
        on days.referral_id = sustained.referral_id and days.instrument_code = sustained.instrument_code
    inner join relapse_rules on days.instrument_code = relapse_rules.instrument_code
    where
        days.answered_local_date > sustained.to_local_date
        and {{ meets_criterion('days.scaled_score', 'relapse_rules', 'score', 'days.score_scale') }}
),

-- Of the first sessions, the first score that has improved enough on the first score of the course.
early_ranked as (
    select
        sessions.referral_id,
        sessions.person_id,
        sessions.instrument_code,
        sessions.week_of_treatment,
        sessions.session_number,
        days.answered_local_date as from_local_date,
        sessions.answered_local_date as to_local_date,
        days.scaled_score as scaled_from,
        sessions.scaled_score as scaled_to,
        sessions.score_scale,
        {{ meets_criterion(
            'instruments.worse_sign * (days.scaled_score - sessions.scaled_score)',
            'early_rules', 'points', 'sessions.score_scale'
        ) }} as is_early_response
    from days
    inner join valued as sessions
        on
            days.referral_id = sessions.referral_id
            and days.instrument_code = sessions.instrument_code
            and days.day_number = 1
            and sessions.is_last_of_session
            and sessions.answered_local_date > days.answered_local_date
    inner join instruments on days.instrument_code = instruments.instrument_code
    inner join early_rules on days.instrument_code = early_rules.instrument_code
    where {{ meets_criterion('sessions.session_number', 'early_rules', 'sessions') }}
),

early as (
    select
        *,
        row_number() over (
            partition by referral_id, instrument_code
            order by case when is_early_response then 0 else 1 end, session_number
        ) as early_rank
    from early_ranked
),

final as (
    select
        referral_id,
        person_id,
        instrument_code,
        'sustained_remission' as event_kind,
        true as has_happened,
        week_of_treatment,
        cast(null as bigint) as session_number,
        from_local_date,
        to_local_date,
        scaled_from,
        scaled_to,
        score_scale
    from sustained
    union all
    select
        referral_id,
        person_id,
        instrument_code,
        'relapse' as event_kind,
        true as has_happened,
        week_of_treatment,
        cast(null as bigint) as session_number,
        from_local_date,
        to_local_date,
        scaled_from,
        scaled_to,
        score_scale
    from relapses_ranked
    where relapse_rank = 1
    union all
    select
        referral_id,
        person_id,
        instrument_code,
        'early_response' as event_kind,
        is_early_response as has_happened,
        week_of_treatment,
        session_number,
        from_local_date,
        to_local_date,
        scaled_from,
        scaled_to,
        score_scale
    from early
    where early_rank = 1
)

select * from final
