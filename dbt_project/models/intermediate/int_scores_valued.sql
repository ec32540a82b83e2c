{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with assessments as (
    select * from {{ ref('int_assessments_assigned') }}
    {{ where_touched(of='int_assessments_assigned') }}
),

referrals as (
    select * from {{ ref('int_episodes_contacts') }}
    {{ where_touched(of='int_episodes_contacts') }}
),

sessions as (
    select * from {{ ref('int_sessions_numbered') }}
    {{ where_touched(of='int_sessions_numbered') }}
),

policies as (
    select * from {{ ref('completeness_policies') }}
),

bands as (
    select * from {{ ref('severity_bands') }}
    where is_default and scale_code is null
),

-- A prorated total is a fraction of the items answered: on this scale, which every such number divides, all are whole.
scales as (
    select
        instrument_code,
        max(score_scale) as score_scale
    from policies
    where method = 'prorate'
    group by instrument_code
),

-- The derived total, prorated where it must be; the submitted one only where no items came.
valued as (
    select
        assessments.response_id,
        assessments.instrument_code,
        referrals.referral_id,
        referrals.person_id,
        referrals.main_modality,
        assessments.answered_at,
        assessments.answered_local_date,
        assessments.is_valid,
        case
            when assessments.total_complete_case is not null then 'complete'
            when assessments.total_prorated is not null then 'prorated'
            when assessments.answered_sum is null and assessments.measure_total is not null then 'submitted'
            else 'none'
        end as score_basis,
        case
            when assessments.total_complete_case is not null then assessments.total_complete_case
            when assessments.total_prorated is not null then assessments.prorated_numerator
            when assessments.answered_sum is null then assessments.measure_total
        end as value_numerator,
        case
            when assessments.total_complete_case is null and assessments.total_prorated is not null
                then assessments.prorated_denominator
            else 1
        end as value_denominator,
        coalesce(scales.score_scale, 1) as score_scale
    from assessments
    inner join referrals
        on assessments.referral_id = referrals.referral_id and assessments.person_id = referrals.person_id
    left join scales on assessments.instrument_code = scales.instrument_code
    where assessments.is_score_counted and assessments.response_status <> 'in_progress'
),

scored as (
    select
        valued.*,
        bands.band as severity_band,
        valued.is_valid and valued.value_numerator is not null as is_score,
        case
            when valued.is_valid
                then
                    cast(valued.value_numerator as bigint)
                    * {{ whole_division('valued.score_scale', 'valued.value_denominator') }}
        end as scaled_score
    from valued
    left join bands
        on
            valued.instrument_code = bands.instrument_code
            and {{ whole_division('valued.value_numerator', 'valued.value_denominator') }} >= bands.lower_bound_inclusive
            and {{ whole_division('valued.value_numerator', 'valued.value_denominator') }} < bands.upper_bound_exclusive
    where valued.value_numerator is not null or not valued.is_valid
),

-- A score belongs to the session it comes before or on whose day it is given.
placed as (
    select
        scored.*,
        sessions.session_number,
        sessions.session_local_date,
        cast(
            floor({{ days_between('starts.first_session_local_date', 'scored.answered_local_date') }} / 7.0) as integer
        ) as week_of_treatment
    from scored
    left join sessions
        on
            scored.referral_id = sessions.referral_id
            and scored.answered_local_date <= sessions.session_local_date
            and scored.answered_local_date > coalesce(sessions.previous_session_local_date, cast('0001-01-01' as date))
    left join sessions as starts
        on scored.referral_id = starts.referral_id and starts.session_number = 1
),

ranked as (
    select
        *,
        row_number() over (
            partition by referral_id, instrument_code, is_score, answered_local_date
            order by answered_at desc, response_id desc
        ) as day_rank,
        row_number() over (
            partition by referral_id, instrument_code, is_score, session_number
            order by answered_at desc, response_id desc
        ) as session_rank,
        row_number() over (
            partition by referral_id, instrument_code
            order by answered_at desc, response_id desc
        ) as attempt_rank
    from placed
),

final as (
    select
        instrument_code,
        referral_id,
        person_id,
        main_modality,
        answered_local_date,
        week_of_treatment,
        session_number,
        session_local_date,
        score_basis,
        value_numerator,
        value_denominator,
        cast(scaled_score as bigint) as scaled_score,
        cast(score_scale as bigint) as score_scale,
        severity_band,
        is_score,
        is_score and day_rank = 1 as is_last_of_day,
        is_score and session_rank = 1 and session_number is not null as is_last_of_session,
        attempt_rank = 1 as is_last_attempt
    from ranked
)

select * from final
