{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

{%- set scales = [('phq9', 'PHQ-9'), ('gad7', 'GAD-7')] %}
{%- set purposes = ['caseness', 'reliable_change'] %}

with referrals as (
    select * from {{ ref('int_referrals_current') }}
    {{ where_touched() }}
),

contacts as (
    select * from {{ ref('int_episodes_contacts') }}
    {{ where_touched() }}
),

paired as (
    select * from {{ ref('int_episodes_paired') }}
    {{ where_touched() }}
),

thresholds as (
    select * from {{ ref('thresholds') }}
    where authority = 'nhs_tt'
),

pathway_rules as (
    select * from {{ ref('pathway_rules') }}
),

rules as (
    select
        {%- for rule in ['finished_course_minimum_treatments', 'first_treatment_6_weeks', 'first_treatment_18_weeks'] %}
        max(case when rule_id = '{{ rule }}' then comparator end) as {{ rule }}_comparator,
        max(case when rule_id = '{{ rule }}' then threshold_value end) as {{ rule }}{{ "," if not loop.last }}
        {%- endfor %}
    from pathway_rules
),

-- The threshold version that was in force when the person was referred.
criteria as (
    select
        referrals.referral_id,
        {%- for prefix, instrument in scales %}
        {%- for purpose in purposes %}
        max(
            case
                when thresholds.instrument_code = '{{ instrument }}' and thresholds.purpose = '{{ purpose }}'
                    then thresholds.comparator
            end
        ) as {{ prefix }}_{{ purpose }}_comparator,
        max(
            case
                when thresholds.instrument_code = '{{ instrument }}' and thresholds.purpose = '{{ purpose }}'
                    then thresholds.threshold_value
            end
        ) as {{ prefix }}_{{ purpose }}{{ "," if not loop.last }}
        {%- endfor %}{{ "," if not loop.last }}
        {%- endfor %}
    from referrals
    inner join thresholds
        on
            referrals.referral_received_date >= thresholds.valid_from
            and referrals.referral_received_date <= coalesce(thresholds.valid_to, referrals.referral_received_date)
    group by referrals.referral_id
),

-- Each question is true, false, or null where a score is missing.
questioned as (
    select
        referrals.referral_id,
        referrals.person_id,
        referrals.referral_received_date,
        referrals.discharge_date,
        contacts.treatment_contacts,
        {{ days_between('referrals.referral_received_date', 'contacts.first_treatment_date') }}
            as days_to_first_treatment,
        {{ days_between('contacts.first_treatment_date', 'contacts.second_treatment_date') }}
            as days_first_to_second_treatment,
        contacts.first_treatment_date is not null as has_started_treatment,
        paired.phq9_last is not null as is_paired_phq9,
        paired.phq9_last is not null and paired.gad7_last is not null as is_paired_both,
        paired.phq9_first is not null
        and paired.gad7_first is not null
        and paired.phq9_last is not null
        and paired.gad7_last is not null as has_all_four_scores,
        {%- for prefix, _ in scales %}
        {{ meets('paired.' ~ prefix ~ '_first', 'criteria.' ~ prefix ~ '_caseness_comparator', 'criteria.' ~ prefix ~ '_caseness') }}
            as is_{{ prefix }}_first_at_caseness,
        {{ meets('paired.' ~ prefix ~ '_last', 'criteria.' ~ prefix ~ '_caseness_comparator', 'criteria.' ~ prefix ~ '_caseness') }}
            as is_{{ prefix }}_last_at_caseness,
        {{ meets('(paired.' ~ prefix ~ '_first - paired.' ~ prefix ~ '_last)', 'criteria.' ~ prefix ~ '_reliable_change_comparator', 'criteria.' ~ prefix ~ '_reliable_change') }}
            as has_{{ prefix }}_drop,
        {{ meets('(paired.' ~ prefix ~ '_last - paired.' ~ prefix ~ '_first)', 'criteria.' ~ prefix ~ '_reliable_change_comparator', 'criteria.' ~ prefix ~ '_reliable_change') }}
            as has_{{ prefix }}_rise,
        {%- endfor %}
        rules.*
    from referrals
    inner join contacts on referrals.referral_id = contacts.referral_id
    inner join paired on referrals.referral_id = paired.referral_id
    inner join criteria on referrals.referral_id = criteria.referral_id
    cross join rules
),

classed as (
    select
        *,
        coalesce(
            discharge_date is not null
            and {{ meets('treatment_contacts', 'finished_course_minimum_treatments_comparator', 'finished_course_minimum_treatments') }},
            false
        ) as has_finished_course,
        case
            when is_phq9_first_at_caseness or is_gad7_first_at_caseness then 'at_caseness'
            when not is_phq9_first_at_caseness and not is_gad7_first_at_caseness then 'not_at_caseness'
            else 'not_assessable'
        end as caseness_status,
        case
            when not has_all_four_scores then 'not_assessable'
            when (has_phq9_drop or has_gad7_drop) and not (has_phq9_rise or has_gad7_rise) then 'reliable_improvement'
            when (has_phq9_rise or has_gad7_rise) and not (has_phq9_drop or has_gad7_drop) then 'reliable_deterioration'
            else 'no_reliable_change'
        end as change_class
    from questioned
),

cohorts as (
    select
        *,
        caseness_status = 'at_caseness' as is_at_caseness,
        caseness_status = 'not_at_caseness' as is_not_at_caseness,
        coalesce(
            has_finished_course
            and caseness_status = 'at_caseness'
            and not is_phq9_last_at_caseness
            and not is_gad7_last_at_caseness,
            false
        ) as has_recovered,
        has_finished_course and change_class = 'reliable_improvement' as is_reliably_improved,
        has_finished_course and change_class = 'reliable_deterioration' as is_reliably_deteriorated,
        has_finished_course and change_class = 'no_reliable_change' as has_no_reliable_change,
        coalesce(
            {{ meets('days_to_first_treatment', 'first_treatment_6_weeks_comparator', 'first_treatment_6_weeks') }}, false
        ) as is_first_treatment_within_6_weeks,
        coalesce(
            {{ meets('days_to_first_treatment', 'first_treatment_18_weeks_comparator', 'first_treatment_18_weeks') }}, false
        ) as is_first_treatment_within_18_weeks
    from classed
),

final as (
    select
        referral_id,
        person_id,
        discharge_date,
        days_to_first_treatment,
        days_first_to_second_treatment,
        caseness_status,
        change_class,
        has_started_treatment,
        has_finished_course,
        is_at_caseness,
        is_not_at_caseness,
        is_paired_phq9,
        is_paired_both,
        has_recovered,
        is_reliably_improved,
        is_reliably_deteriorated,
        has_no_reliable_change,
        has_recovered and is_reliably_improved as is_reliably_recovered,
        is_first_treatment_within_6_weeks,
        is_first_treatment_within_18_weeks
    from cohorts
)

select * from final
