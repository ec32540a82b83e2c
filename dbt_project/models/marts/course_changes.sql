{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with spans as (
    select * from {{ ref('int_scores_spanned') }}
    {{ where_touched(of='int_scores_spanned') }}
),

steps as (
    select * from {{ ref('int_session_steps_compared') }}
    {{ where_touched(of='int_session_steps_compared') }}
),

events as (
    select * from {{ ref('int_course_events_judged') }}
    {{ where_touched(of='int_course_events_judged') }}
),

instruments as (
    select
        instrument_code,
        case when higher_is = 'worse' then 1 else -1 end as worse_sign
    from {{ ref('instruments') }}
),

thresholds as (
    select * from {{ ref('thresholds') }}
    where is_default and scale_code is null
),

rule_rows as (
    select * from {{ ref('trajectory_rules') }}
),

rules as (
    select
        instrument_code,
        {{ any_where("event_kind = 'sudden_gain'") }} as has_sudden_gain_rule,
        {{ any_where("event_kind = 'sustained_remission'") }} as has_sustained_remission_rule,
        {{ any_where("event_kind = 'relapse'") }} as has_relapse_rule,
        {{ any_where("event_kind = 'early_response'") }} as has_early_response_rule
    from rule_rows
    group by instrument_code
),

purposes as (
    select
        instrument_code,
        {{ any_where("purpose = 'response_share'") }} as has_response_rule,
        {{ any_where("purpose = 'remission'") }} as has_remission_rule,
        {{ any_where("purpose = 'caseness'") }} as has_caseness_rule
    from thresholds
    group by instrument_code
),

remission_rules as (
    select
        instrument_code,
        {{ criteria_of(['days']) }}
    from rule_rows
    where event_kind = 'sustained_remission'
    group by instrument_code
),

mcid_rules as (
    select
        instrument_code,
        {{ criteria_of(['points']) }}
    from rule_rows
    where event_kind = 'mcid'
    group by instrument_code
),

noticed_rules as (
    select
        instrument_code,
        {{ criteria_of(['share']) }}
    from rule_rows
    where event_kind = 'noticed_change'
    group by instrument_code
),

gains as (
    select
        referral_id,
        instrument_code,
        {{ count_where('is_sudden_gain') }} as sudden_gains,
        {{ any_where('is_assessable') }} as is_assessable
    from steps
    group by referral_id, instrument_code
),

happened as (
    select
        referral_id,
        instrument_code,
        {{ any_where("event_kind = 'sustained_remission'") }} as is_sustained,
        {{ any_where("event_kind = 'relapse'") }} as is_relapsed,
        {{ any_where("event_kind = 'early_response'") }} as is_early_assessable,
        {{ any_where("event_kind = 'early_response' and has_happened") }} as is_early_response
    from events
    group by referral_id, instrument_code
),

paired as (
    select
        spans.*,
        spans.pair_status = 'paired' as is_paired,
        instruments.worse_sign * (spans.scaled_first - spans.scaled_newest) as scaled_improvement
    from spans
    inner join instruments on spans.instrument_code = instruments.instrument_code
),

judged as (
    select
        paired.referral_id,
        paired.instrument_code,
        {{ any_where(
            "thresholds.purpose = 'response_share' and " ~ meets(
                'paired.scaled_improvement', 'thresholds.comparator', 'thresholds.threshold_value * paired.scaled_first'
            )
        ) }} as is_response
    from paired
    inner join thresholds
        on
            paired.instrument_code = thresholds.instrument_code
            and paired.newest_local_date >= thresholds.valid_from
            and paired.newest_local_date <= coalesce(thresholds.valid_to, paired.newest_local_date)
    group by paired.referral_id, paired.instrument_code
),

final as (
    select
        paired.referral_id,
        paired.person_id,
        paired.instrument_code,
        paired.main_modality,
        cast(paired.score_days as integer) as score_days,
        paired.pair_status,
        paired.first_local_date,
        case when paired.is_paired then paired.newest_local_date end as last_local_date,
        cast(paired.scaled_first / paired.score_scale as double) as first_score,
        cast(case when paired.is_paired then paired.scaled_newest / paired.score_scale end as double) as last_score,
        cast(
            case when paired.is_paired then paired.scaled_improvement / paired.score_scale end as double
        ) as improvement_points,
        paired.first_band,
        case when paired.is_paired then paired.newest_band end as last_band,
        paired.first_basis = 'prorated' as is_first_prorated,
        case when paired.is_paired then paired.newest_basis = 'prorated' end as is_last_prorated,
        case
            when paired.is_paired then paired.first_basis <> 'prorated' and paired.newest_basis <> 'prorated'
        end as is_pair_complete,
        case
            when not coalesce(purposes.has_response_rule, false) then 'no_rule'
            when not paired.is_paired then 'not_assessable'
            when paired.scaled_first = 0 then 'undefined'
            when judged.is_response then 'met'
            else 'not_met'
        end as response_status,
        {{ met_status(
            'coalesce(purposes.has_remission_rule, false)', 'paired.is_paired', 'paired.is_newest_in_remission'
        ) }} as remission_status,
        {{ met_status(
            'mcid_rules.instrument_code is not null', 'paired.is_paired',
            meets_criterion('paired.scaled_improvement', 'mcid_rules', 'points', 'paired.score_scale')
        ) }} as mcid_status,
        case
            when noticed_rules.instrument_code is null then 'no_rule'
            when not paired.is_paired then 'not_assessable'
            when paired.scaled_first = 0 then 'undefined'
            when {{ meets_criterion('paired.scaled_improvement', 'noticed_rules', 'share', 'paired.scaled_first') }} then 'met'
            else 'not_met'
        end as noticed_change_status,
        {{ met_status(
            'coalesce(rules.has_early_response_rule, false)', 'coalesce(happened.is_early_assessable, false)',
            'happened.is_early_response'
        ) }} as early_response_status,
        {{ met_status(
            'coalesce(rules.has_sudden_gain_rule, false)', 'coalesce(gains.is_assessable, false)',
            'gains.sudden_gains > 0'
        ) }} as sudden_gain_status,
        cast(gains.sudden_gains as integer) as sudden_gains_count,
        {{ met_status(
            'coalesce(rules.has_sustained_remission_rule, false)',
            'coalesce(' ~ meets_criterion(
                days_between('paired.first_local_date', 'paired.newest_local_date'), 'remission_rules', 'days'
            ) ~ ', false)',
            'coalesce(happened.is_sustained, false)'
        ) }} as sustained_remission_status,
        case
            when not coalesce(rules.has_relapse_rule, false) then 'no_rule'
            when not coalesce(happened.is_sustained, false) then 'not_applicable'
            when happened.is_relapsed then 'met'
            else 'not_met'
        end as relapse_status,
        cast(paired.days_observed as integer) as days_observed,
        cast(case when purposes.has_caseness_rule then paired.days_at_caseness end as integer) as days_at_caseness,
        case
            when not coalesce(purposes.has_remission_rule, false) then 'no_rule'
            when paired.first_local_date is null then 'no_score'
            when paired.is_first_in_remission then 'at_start'
            when paired.first_remission_local_date is not null then 'reached'
            else 'not_reached'
        end as first_remission_status,
        cast(
            case
                when not paired.is_first_in_remission
                    then {{ days_between('paired.first_local_date', 'paired.first_remission_local_date') }}
            end
            as integer
        ) as days_to_first_remission
    from paired
    left join rules on paired.instrument_code = rules.instrument_code
    left join purposes on paired.instrument_code = purposes.instrument_code
    left join remission_rules on paired.instrument_code = remission_rules.instrument_code
    left join mcid_rules on paired.instrument_code = mcid_rules.instrument_code
    left join noticed_rules on paired.instrument_code = noticed_rules.instrument_code
    left join judged
        on paired.referral_id = judged.referral_id and paired.instrument_code = judged.instrument_code
    left join gains
        on paired.referral_id = gains.referral_id and paired.instrument_code = gains.instrument_code
    left join happened
        on paired.referral_id = happened.referral_id and paired.instrument_code = happened.instrument_code
)

select * from final
