{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with referrals as (
    select * from {{ ref('int_referrals_current') }}
    {{ where_touched() }}
),

assessments as (
    select * from {{ ref('int_assessments_scored') }}
    {{ where_touched() }}
),

assigned as (
    select * from {{ ref('int_assessments_assigned') }}
    {{ where_touched() }}
),

pathway_rules as (
    select * from {{ ref('pathway_rules') }}
),

-- Of the scores that count: a score, or an attempt whose values are out of range.
scores as (
    select
        assigned.referral_id,
        assessments.instrument_code,
        assessments.answered_at,
        assessments.response_id,
        assessments.measure_total,
        assessments.is_valid and assessments.measure_total is not null as is_score
    from assessments
    inner join assigned
        on
            assessments.response_id = assigned.response_id
            and assessments.instrument_code = assigned.instrument_code
    where
        assigned.is_score_counted
        and assessments.response_status <> 'in_progress'
        and (assessments.measure_total is not null or not assessments.is_valid)
),

ranked as (
    select
        *,
        row_number() over (
            partition by referral_id, instrument_code
            order by case when is_score then 0 else 1 end, answered_at, response_id
        ) as first_rank,
        row_number() over (
            partition by referral_id, instrument_code
            order by answered_at desc, response_id desc
        ) as last_rank,
        sum(case when is_score then 1 else 0 end) over (partition by referral_id, instrument_code) as score_count
    from scores
),

-- An out-of-range latest score blocks: the one before it could show an improvement that was lost.
per_instrument as (
    select
        ranked.referral_id,
        ranked.instrument_code,
        max(ranked.score_count) as score_count,
        max(case when ranked.first_rank = 1 and ranked.is_score then ranked.measure_total end) as first_score,
        max(
            case
                when
                    ranked.last_rank = 1
                    and ranked.is_score
                    and {{ meets('ranked.score_count', 'pathway_rules.comparator', 'pathway_rules.threshold_value') }}
                    then ranked.measure_total
            end
        ) as last_score
    from ranked
    cross join pathway_rules
    where pathway_rules.rule_id = 'minimum_scores_for_last'
    group by ranked.referral_id, ranked.instrument_code
),

final as (
    select
        referrals.referral_id,
        referrals.person_id,
        {%- for prefix, instrument in [('phq9', 'PHQ-9'), ('gad7', 'GAD-7'), ('wsas', 'WSAS')] %}
        cast(
            coalesce(max(case when per_instrument.instrument_code = '{{ instrument }}' then score_count end), 0) as integer
        ) as {{ prefix }}_scores,
        cast(max(case when per_instrument.instrument_code = '{{ instrument }}' then first_score end) as integer)
            as {{ prefix }}_first,
        cast(max(case when per_instrument.instrument_code = '{{ instrument }}' then last_score end) as integer)
            as {{ prefix }}_last{{ "," if not loop.last }}
        {%- endfor %}
    from referrals
    left join per_instrument on referrals.referral_id = per_instrument.referral_id
    group by referrals.referral_id, referrals.person_id
)

select * from final
