{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

{%- set scales = [('phq9', "'PHQ-9'"), ('anxiety', 'paired.anxiety_instrument_code')] %}
{%- set purposes = ['caseness', 'reliable_change'] %}
{%- set rule_ids = [
    'finished_course_minimum_treatments', 'first_treatment_6_weeks', 'first_treatment_18_weeks', 'follow_up_minimum_days'
] %}

with referrals as (
    select * from {{ ref('int_referrals_current') }}
    {{ where_touched(of='int_referrals_current') }}
),

contacts as (
    select * from {{ ref('int_episodes_contacts') }}
    {{ where_touched(of='int_episodes_contacts') }}
),

paired as (
    select * from {{ ref('int_episodes_paired') }}
    {{ where_touched(of='int_episodes_paired') }}
),

thresholds as (
    select * from {{ ref('thresholds') }}
    where authority = 'nhs_tt' and is_default and scale_code is null
),

pathway_rules as (
    select * from {{ ref('pathway_rules') }}
),

rules as (
    select
        {%- for rule in rule_ids %}
        max(case when rule_id = '{{ rule }}' then comparator end) as {{ rule }}_comparator,
        max(case when rule_id = '{{ rule }}' then threshold_value end) as {{ rule }}{{ "," if not loop.last }}
        {%- endfor %}
    from pathway_rules
),

-- In hundredths, so that decimals compare exactly: the thresholds that were in force on the day that the switch names, of PHQ-9 and of the course's anxiety measure.
criteria as (
    select
        paired.referral_id,
        {%- for prefix, instrument in scales %}
        {%- for purpose in purposes %}
        max(
            case
                when thresholds.instrument_code = {{ instrument }} and thresholds.purpose = '{{ purpose }}'
                    then thresholds.comparator
            end
        ) as {{ prefix }}_{{ purpose }}_comparator,
        max(
            case
                when thresholds.instrument_code = {{ instrument }} and thresholds.purpose = '{{ purpose }}'
                    then {{ hundredths('thresholds.threshold_value') }}
            end
        ) as {{ prefix }}_{{ purpose }}{{ "," if not loop.last }}
        {%- endfor %}{{ "," if not loop.last }}
        {%- endfor %}
    from paired
    inner join thresholds
        on
            paired.threshold_version_date >= thresholds.valid_from
            and paired.threshold_version_date <= coalesce(thresholds.valid_to, paired.threshold_version_date)
    group by paired.referral_id
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
        {{ days_between('referrals.referral_received_date', 'contacts.first_assessment_date') }}
            as days_to_first_assessment,
        {{ days_between('referrals.discharge_date', 'contacts.last_follow_up_date') }} as days_to_last_follow_up,
        referrals.discharge_date is not null as is_ended,
        contacts.first_assessment_date is not null as has_first_assessment,
        contacts.second_treatment_date is not null as has_second_treatment,
        paired.adsm_instrument_code is not null as has_adsm_descriptor,
        paired.adsm_first is not null and paired.adsm_last is not null as is_paired_adsm,
        {%- for prefix, _ in scales %}
        paired.{{ prefix }}_last is not null as has_{{ prefix }}_last,
        paired.{{ prefix }}_first is not null as has_{{ prefix }}_first,
        {{ meets('paired.' ~ prefix ~ '_first_hundredths', 'criteria.' ~ prefix ~ '_caseness_comparator', 'criteria.' ~ prefix ~ '_caseness') }}
            as is_{{ prefix }}_first_at_caseness,
        {{ meets('paired.' ~ prefix ~ '_last_hundredths', 'criteria.' ~ prefix ~ '_caseness_comparator', 'criteria.' ~ prefix ~ '_caseness') }}
            as is_{{ prefix }}_last_at_caseness,
        {%- for change, later, earlier in [('drop', 'first', 'last'), ('rise', 'last', 'first')] %}
        {%- set difference = '(paired.' ~ prefix ~ '_' ~ later ~ '_hundredths - paired.' ~ prefix ~ '_' ~ earlier ~ '_hundredths)' %}
        {%- if pathway_switch('reliable_change_comparator') == 'more_than' %}
        {{ difference }} > criteria.{{ prefix }}_reliable_change as has_{{ prefix }}_{{ change }},
        {%- else %}
        {{ meets(difference, 'criteria.' ~ prefix ~ '_reliable_change_comparator', 'criteria.' ~ prefix ~ '_reliable_change') }}
            as has_{{ prefix }}_{{ change }},
        {%- endif %}
        {%- endfor %}
        {%- endfor %}
        rules.*
    from referrals
    inner join contacts on referrals.referral_id = contacts.referral_id
    inner join paired on referrals.referral_id = paired.referral_id
    left join criteria on referrals.referral_id = criteria.referral_id
    cross join rules
),

-- How many of the scales have both ends, and what each of them says; a scale without both says nothing.
compared as (
    select
        *,
        case when has_phq9_first and has_phq9_last then 1 else 0 end
        + case when has_anxiety_first and has_anxiety_last then 1 else 0 end as paired_scales,
        coalesce(has_phq9_drop, false) or coalesce(has_anxiety_drop, false) as has_drop,
        coalesce(has_phq9_rise, false) or coalesce(has_anxiety_rise, false) as has_rise
    from questioned
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
            {%- if pathway_switch('one_first_score_missing') == 'not_assessable' %}
            when not (has_phq9_first and has_anxiety_first) then 'not_assessable'
            {%- endif %}
            when is_phq9_first_at_caseness or is_anxiety_first_at_caseness then 'at_caseness'
            when not is_phq9_first_at_caseness and not is_anxiety_first_at_caseness then 'not_at_caseness'
            else 'not_assessable'
        end as caseness_status,
        case
            when paired_scales < {{ 1 if pathway_switch('change_with_fewer_scores') == 'by_the_paired_scale' else 2 }}
                then 'not_assessable'
            when has_drop and not has_rise then 'reliable_improvement'
            when has_rise {{ '' if pathway_switch('change_rule') == 'children' else 'and not has_drop' }}
                then 'reliable_deterioration'
            else 'no_reliable_change'
        end as change_class
    from compared
),

-- Recovery is asked of finished courses at caseness; of the others whose caseness is known it is not asked.
assessed as (
    select
        *,
        case
            when not has_finished_course or caseness_status = 'not_at_caseness' then 'not_applicable'
            when caseness_status = 'not_assessable' then 'not_assessable'
            when not is_phq9_last_at_caseness and not is_anxiety_last_at_caseness then 'recovered'
            {%- if pathway_switch('one_last_score_missing') == 'not_assessable' %}
            when not (has_phq9_last and has_anxiety_last) then 'not_assessable'
            {%- endif %}
            else 'not_recovered'
        end as recovery_status
    from classed
),

cohorts as (
    select
        *,
        caseness_status = 'at_caseness' as is_at_caseness,
        caseness_status = 'not_at_caseness' as is_not_at_caseness,
        recovery_status = 'recovered' as has_recovered,
        has_phq9_last as is_paired_phq9,
        has_phq9_last and has_anxiety_last as is_paired_both,
        is_ended and treatment_contacts = 1 as has_ended_after_one_treatment,
        is_ended and not has_started_treatment as has_ended_without_treatment,
        coalesce(
            {{ meets('days_to_last_follow_up', 'follow_up_minimum_days_comparator', 'follow_up_minimum_days') }}, false
        ) as has_follow_up,
        has_finished_course and change_class = 'reliable_improvement' as is_reliably_improved,
        has_finished_course and change_class = 'reliable_deterioration' as is_reliably_deteriorated,
        has_finished_course and change_class = 'no_reliable_change' as has_no_reliable_change,
        coalesce(
            {{ meets('days_to_first_treatment', 'first_treatment_6_weeks_comparator', 'first_treatment_6_weeks') }}, false
        ) as is_first_treatment_within_6_weeks,
        coalesce(
            {{ meets('days_to_first_treatment', 'first_treatment_18_weeks_comparator', 'first_treatment_18_weeks') }}, false
        ) as is_first_treatment_within_18_weeks
    from assessed
),

flags as (
    select
        referral_id,
        person_id,
        discharge_date,
        days_to_first_treatment,
        days_first_to_second_treatment,
        days_to_first_assessment,
        caseness_status,
        recovery_status,
        change_class,
        true as is_received,
        is_ended,
        has_first_assessment,
        has_started_treatment,
        has_second_treatment,
        has_finished_course,
        has_ended_after_one_treatment,
        has_ended_without_treatment,
        has_follow_up,
        is_at_caseness,
        is_not_at_caseness,
        has_adsm_descriptor,
        is_paired_adsm,
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
),

-- All flags in one word, so that referrals whom no measure tells apart can be counted together.
final as (
    select
        *,
        concat(
            {%- for flag in episode_flags() %}
            case when {{ flag }} then 'y' else 'n' end{{ "," if not loop.last }}
            {%- endfor %}
        ) as flag_word
    from flags
)

select * from final
