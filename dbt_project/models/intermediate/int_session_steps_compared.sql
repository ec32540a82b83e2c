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

rules as (
    select
        instrument_code,
        {{ criteria_of(['points', 'share', 't', 'sessions']) }}
    from rule_rows
    where event_kind = 'sudden_gain'
    group by instrument_code
),

instruments as (
    select
        instrument_code,
        case when higher_is = 'worse' then 1 else -1 end as worse_sign
    from {{ ref('instruments') }}
),

scores as (
    select * from valued
    where is_last_of_session
),

steps as (
    select
        earlier.referral_id,
        earlier.person_id,
        earlier.instrument_code,
        earlier.session_number as from_session,
        later.session_number as to_session,
        earlier.answered_local_date as from_local_date,
        later.answered_local_date as to_local_date,
        later.week_of_treatment,
        earlier.scaled_score as scaled_before,
        later.scaled_score as scaled_after,
        earlier.score_scale
    from scores as earlier
    inner join scores as later
        on
            earlier.referral_id = later.referral_id
            and earlier.instrument_code = later.instrument_code
            and later.session_number = earlier.session_number + 1
),

-- Sums and squares of the consecutive sessions on each side, those of the step included.
sided as (
    select
        steps.referral_id,
        steps.instrument_code,
        steps.from_session,
        {{ count_where('scores.session_number <= steps.from_session') }} as count_before,
        {{ count_where('scores.session_number > steps.from_session') }} as count_after,
        {{ sum_where('scores.scaled_score', 'scores.session_number <= steps.from_session') }} as sum_before,
        {{ sum_where('scores.scaled_score', 'scores.session_number > steps.from_session') }} as sum_after,
        sum(scores.scaled_score * scores.scaled_score) as squares
    from steps
    inner join rules on steps.instrument_code = rules.instrument_code
    inner join scores
        on
            steps.referral_id = scores.referral_id
            and steps.instrument_code = scores.instrument_code
            and scores.session_number > steps.from_session - rules.sessions_numerator
            and scores.session_number <= steps.from_session + rules.sessions_numerator
    group by steps.referral_id, steps.instrument_code, steps.from_session
),

-- With k scores on each side, t^2 = (k - 1) (difference of sums)^2 / (k * squares - sums^2): whole numbers only.
measured as (
    select
        steps.*,
        instruments.worse_sign * (steps.scaled_before - steps.scaled_after) as scaled_improvement,
        instruments.worse_sign * (sided.sum_before - sided.sum_after) as sum_improvement,
        cast(rules.sessions_numerator * sided.squares as bigint)
        - cast(sided.sum_before * sided.sum_before + sided.sum_after * sided.sum_after as bigint) as scatter,
        sided.sum_before,
        sided.sum_after,
        sided.count_before = rules.sessions_numerator and sided.count_after = rules.sessions_numerator as is_assessable
    from steps
    inner join instruments on steps.instrument_code = instruments.instrument_code
    inner join rules on steps.instrument_code = rules.instrument_code
    inner join sided
        on
            steps.referral_id = sided.referral_id
            and steps.instrument_code = sided.instrument_code
            and steps.from_session = sided.from_session
),

judged as (
    select
        measured.*,
        {{ meets_criterion('measured.scaled_improvement', 'rules', 'points', 'measured.score_scale') }} as is_points_met,
        {{ meets_criterion('measured.scaled_improvement', 'rules', 'share', 'measured.scaled_before') }} as is_share_met,
        measured.sum_improvement > 0
        and {{ meets(
            '(rules.sessions_numerator - 1) * cast(measured.sum_improvement * measured.sum_improvement as bigint)'
            ~ ' * rules.t_denominator * rules.t_denominator',
            'rules.t_comparator',
            'rules.t_numerator * rules.t_numerator * measured.scatter'
        ) }} as is_t_met,
        rules.sessions_numerator as sessions_each_side
    from measured
    inner join rules on measured.instrument_code = rules.instrument_code
),

final as (
    select
        *,
        is_assessable and is_points_met and is_share_met and is_t_met as is_sudden_gain
    from judged
)

select * from final
