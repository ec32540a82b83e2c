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

days as (
    select * from {{ ref('int_score_days_judged') }}
    {{ where_touched(of='int_score_days_judged') }}
),

pathway_rules as (
    select * from {{ ref('pathway_rules') }}
),

attempts as (
    select
        referral_id,
        person_id,
        instrument_code,
        max(main_modality) as main_modality,
        {{ any_where('is_last_attempt and is_score') }} as is_last_attempt_a_score
    from valued
    group by referral_id, person_id, instrument_code
),

ranked as (
    select
        *,
        row_number() over (partition by referral_id, instrument_code order by answered_local_date) as first_rank,
        row_number() over (partition by referral_id, instrument_code order by answered_local_date desc) as last_rank
    from days
),

spanned as (
    select
        referral_id,
        instrument_code,
        count(*) as score_days,
        min(answered_local_date) as first_local_date,
        max(answered_local_date) as newest_local_date,
        max(case when first_rank = 1 then scaled_score end) as scaled_first,
        max(case when last_rank = 1 then scaled_score end) as scaled_newest,
        max(score_scale) as score_scale,
        max(case when first_rank = 1 then severity_band end) as first_band,
        max(case when last_rank = 1 then severity_band end) as newest_band,
        max(case when first_rank = 1 then score_basis end) as first_basis,
        max(case when last_rank = 1 then score_basis end) as newest_basis,
        {{ any_where('first_rank = 1 and is_in_remission') }} as is_first_in_remission,
        {{ any_where('last_rank = 1 and is_in_remission') }} as is_newest_in_remission,
        min(case when is_in_remission then answered_local_date end) as first_remission_local_date,
        sum(days_until_next) as days_observed,
        sum(case when is_at_caseness then days_until_next when days_until_next is not null then 0 end) as days_at_caseness
    from ranked
    group by referral_id, instrument_code
),

-- An out-of-range newest score blocks the last one: the one before it could show an improvement that was lost.
final as (
    select
        attempts.referral_id,
        attempts.person_id,
        attempts.instrument_code,
        attempts.main_modality,
        coalesce(spanned.score_days, 0) as score_days,
        case
            when spanned.score_days is null then 'no_score'
            when not attempts.is_last_attempt_a_score then 'last_invalid'
            when not {{ meets('spanned.score_days', 'pathway_rules.comparator', 'pathway_rules.threshold_value') }}
                then 'first_only'
            else 'paired'
        end as pair_status,
        spanned.first_local_date,
        spanned.newest_local_date,
        spanned.scaled_first,
        spanned.scaled_newest,
        spanned.score_scale,
        spanned.first_band,
        spanned.newest_band,
        spanned.first_basis,
        spanned.newest_basis,
        spanned.is_first_in_remission,
        spanned.is_newest_in_remission,
        spanned.first_remission_local_date,
        spanned.days_observed,
        spanned.days_at_caseness
    from attempts
    left join spanned
        on attempts.referral_id = spanned.referral_id and attempts.instrument_code = spanned.instrument_code
    cross join pathway_rules
    where pathway_rules.rule_id = 'minimum_scores_for_last'
)

select * from final
