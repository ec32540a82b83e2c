{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

{%- set total = {
    'complete_case': 'measure_hundredths_complete_case', 'prorate_2': 'measure_hundredths_prorated'
}[pathway_switch('item_policy')] %}

with referrals as (
    select * from {{ ref('int_referrals_current') }}
    {{ where_touched(of='int_referrals_current') }}
),

assigned_scores as (
    select * from {{ ref('int_episode_scores') }}
    {{ where_touched(of='int_episode_scores') }}
),

pathway_rules as (
    select * from {{ ref('pathway_rules') }}
),

adsm as (
    select * from {{ ref('adsm') }}
),

-- In hundredths, of the scores that count: a score, or an attempt whose values are out of range.
scores as (
    select
        referral_id,
        instrument_code,
        answered_at,
        response_id,
        {{ total }} as hundredths,
        is_valid as is_score,
        is_valid
        {%- if pathway_switch('first_score') == 'first_by_first_treatment' %}
        and is_by_first_treatment
        {%- endif %} as may_be_first
    from assigned_scores
    where is_score_counted and ({{ total }} is not null or not is_valid)
),

ranked as (
    select
        *,
        row_number() over (
            partition by referral_id, instrument_code
            order by case when may_be_first then 0 else 1 end, answered_at, response_id
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
        max(case when ranked.first_rank = 1 and ranked.may_be_first then ranked.hundredths end) as first_score,
        max(
            case
                when
                    ranked.last_rank = 1
                    and ranked.is_score
                    and {{ meets('ranked.score_count', 'pathway_rules.comparator', 'pathway_rules.threshold_value') }}
                    then ranked.hundredths
            end
        ) as last_score
    from ranked
    cross join pathway_rules
    where pathway_rules.rule_id = 'minimum_scores_for_last'
    group by ranked.referral_id, ranked.instrument_code
),

-- The day whose thresholds and disorder-specific measures hold; an open referral has no other than its receipt.
dated as (
    select
        referral_id,
        person_id,
        problem_code,
        {%- if pathway_switch('threshold_version_date') == 'discharge' %}
        coalesce(discharge_date, referral_received_date) as threshold_version_date
        {%- else %}
        referral_received_date as threshold_version_date
        {%- endif %}
    from referrals
),

-- The disorder-specific measure of the problem; of two rows that fit, the closer one.
described as (
    select
        dated.referral_id,
        adsm.instrument_code,
        row_number() over (
            partition by dated.referral_id order by length(adsm.code_prefix) desc, adsm.instrument_code asc
        ) as prefix_rank
    from dated
    inner join adsm
        on
            dated.problem_code like concat(adsm.code_prefix, '%')
            and dated.threshold_version_date >= adsm.valid_from
            and dated.threshold_version_date <= coalesce(adsm.valid_to, dated.threshold_version_date)
),

paired as (
    select
        dated.referral_id,
        dated.person_id,
        dated.threshold_version_date,
        {%- for prefix, instrument in [('phq9', 'PHQ-9'), ('gad7', 'GAD-7'), ('wsas', 'WSAS')] %}
        cast(
            coalesce(max(case when per_instrument.instrument_code = '{{ instrument }}' then score_count end), 0) as integer
        ) as {{ prefix }}_scores,
        max(case when per_instrument.instrument_code = '{{ instrument }}' then first_score end)
            as {{ prefix }}_first_hundredths,
        max(case when per_instrument.instrument_code = '{{ instrument }}' then last_score end)
            as {{ prefix }}_last_hundredths,
        {%- endfor %}
        described.instrument_code as adsm_instrument_code,
        cast(
            coalesce(max(case when per_instrument.instrument_code = described.instrument_code then score_count end), 0)
            as integer
        ) as adsm_scores,
        max(case when per_instrument.instrument_code = described.instrument_code then first_score end)
            as adsm_first_hundredths,
        max(case when per_instrument.instrument_code = described.instrument_code then last_score end)
            as adsm_last_hundredths
    from dated
    left join described on dated.referral_id = described.referral_id and described.prefix_rank = 1
    left join per_instrument on dated.referral_id = per_instrument.referral_id
    group by dated.referral_id, dated.person_id, dated.threshold_version_date, described.instrument_code
),

chosen as (
    select
        *,
        {%- if pathway_switch('anxiety_measure') == 'adsm_pair_else_gad7' %}
        adsm_first_hundredths is not null and adsm_last_hundredths is not null as is_anxiety_adsm
        {%- else %}
        false as is_anxiety_adsm
        {%- endif %}
    from paired
),

measured as (
    select
        *,
        case when is_anxiety_adsm then adsm_instrument_code else 'GAD-7' end as anxiety_instrument_code,
        case when is_anxiety_adsm then adsm_scores else gad7_scores end as anxiety_scores,
        case when is_anxiety_adsm then adsm_first_hundredths else gad7_first_hundredths end as anxiety_first_hundredths,
        case when is_anxiety_adsm then adsm_last_hundredths else gad7_last_hundredths end as anxiety_last_hundredths
    from chosen
),

final as (
    select
        referral_id,
        person_id,
        threshold_version_date,
        {%- for prefix in ['phq9', 'gad7', 'wsas'] %}
        {{ prefix }}_scores,
        cast({{ prefix }}_first_hundredths / 100.0 as integer) as {{ prefix }}_first,
        cast({{ prefix }}_last_hundredths / 100.0 as integer) as {{ prefix }}_last,
        {%- endfor %}
        adsm_instrument_code,
        adsm_scores,
        cast(adsm_first_hundredths / 100.0 as double) as adsm_first,
        cast(adsm_last_hundredths / 100.0 as double) as adsm_last,
        anxiety_instrument_code,
        anxiety_scores,
        cast(anxiety_first_hundredths / 100.0 as double) as anxiety_first,
        cast(anxiety_last_hundredths / 100.0 as double) as anxiety_last,
        phq9_first_hundredths,
        phq9_last_hundredths,
        anxiety_first_hundredths,
        anxiety_last_hundredths
    from measured
)

select * from final
