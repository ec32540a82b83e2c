"""The alternative: what an analyst who knows DuckDB writes over the landed Parquet for the results of a build.

One query a result; temporary tables that several results share are made first and count in the sum. They honour
corrections (the latest statement of a key), records entered in error, forms with an owner only through their referral,
scores after discharge, follow-up appointments, prorated and impossible totals. What they take for granted is refused
when it does not hold: PHQ-9 and GAD-7 only, no links between people, no deletions, no problem descriptors (so that the
anxiety measure is GAD-7), every switch of the pathway at its default. What they leave out: constants of an instrument
(version, number of items, greatest total, triage), the switches stated beside a result, courses of therapy and what is
counted on the last day of a period. Clinical numbers stand here as an analyst writes them; the tests of equality keep
them right.

``python -m benchmarks.build.by_hand HOME DATABASE`` writes the results of a home into a database; seconds as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import duckdb

from caseness.settings import Settings
from ingestion.landing import landed_parts

RESULTS = (
    "assessments",
    "episodes",
    "trajectories",
    "session_scores",
    "course_changes",
    "trajectory_events",
    "measure_results",
)
_STREAMS = ("people", "referrals", "care_contacts", "questionnaire_totals", "questionnaire_answers")
_ABSENT = ("person_links", "record_deletions")
_LATEST = "recorded_at desc nulls last, delivered_at desc nulls last, load_id desc, source_row_number desc"
_HUNDRED = 100.0

_REFERRALS = f"""
create temp table current_referrals as
select * exclude (person_token), person_token as person_id
from (
    select referral_id, person_token, service_code, problem_code, referral_source, referral_received_date,
        discharge_date, discharge_reason, record_status
    from landed_referrals
    qualify row_number() over (partition by referral_id order by {_LATEST}) = 1
)
where coalesce(record_status, 'active') <> 'entered_in_error'
"""

_CONTACTS = f"""
create temp table current_contacts as
select c.contact_id, c.referral_id, c.person_token as person_id, c.contact_at, c.contact_local_date,
    c.modality, c.duration_minutes, c.appointment_type = '06' as is_follow_up, r.referral_id is not null as is_own,
    coalesce(c.attendance_code in (5, 6), false) or coalesce(not c.is_planned, false) as is_attended,
    coalesce(c.attendance_code in (3, 7), false) as is_did_not_attend,
    coalesce(c.attendance_code in (2, 4), false) as is_cancelled,
    coalesce(c.appointment_type in ('02', '03', '05'), false)
    and (coalesce(c.attendance_code in (5, 6), false) or coalesce(not c.is_planned, false)) as is_treatment,
    coalesce(c.appointment_type in ('01', '03'), false)
    and (coalesce(c.attendance_code in (5, 6), false) or coalesce(not c.is_planned, false)) as is_assessment
from (
    from landed_care_contacts qualify row_number() over (partition by contact_id order by {_LATEST}) = 1
) as c
left join current_referrals as r on c.referral_id = r.referral_id and c.person_token = r.person_id
where coalesce(c.record_status, 'active') <> 'entered_in_error'
"""

_COURSES = """
create temp table courses as
with counted as (
    select referral_id,
        count(*) filter (is_attended) as attended_contacts,
        count(*) filter (is_treatment) as treatment_contacts,
        count(*) filter (is_did_not_attend) as did_not_attend_contacts,
        count(*) filter (is_cancelled) as cancelled_contacts,
        sum(duration_minutes) filter (is_treatment) as treatment_minutes,
        min(contact_local_date) filter (is_assessment) as first_assessment_date,
        max(contact_local_date) filter (is_follow_up) as last_follow_up_date,
        min(contact_local_date) filter (is_treatment) as first_treatment_date,
        max(contact_local_date) filter (is_treatment) as last_treatment_date,
        (list(contact_local_date order by contact_at, contact_id) filter (is_treatment))[2] as second_treatment_date
    from current_contacts where is_own group by referral_id
),
modalities as (
    select referral_id, modality as main_modality from current_contacts
    where is_own and is_treatment and modality is not null
    group by referral_id, modality
    qualify row_number() over (partition by referral_id order by count(*) desc, min(contact_at), modality) = 1
)
select r.*, m.main_modality, c.* exclude (referral_id)
from current_referrals as r left join counted as c using (referral_id) left join modalities as m using (referral_id)
"""

_SESSIONS = """
create temp table sessions as
select referral_id, contact_local_date as session_local_date,
    row_number() over (partition by referral_id order by contact_local_date) as session_number
from (select distinct referral_id, contact_local_date from current_contacts where is_own and is_treatment)
"""

_SCORED = f"""
create temp table scored as
with answers as (
    select a.*, coalesce(a.person_token, r.person_id, 'unlinked') as person_id,
        coalesce(a.answer_state = 'answered' and a.answer_value between 0 and 3, false) as is_usable
    from (
        from landed_questionnaire_answers
        qualify row_number() over (partition by response_id, instrument_code, item_number order by {_LATEST}) = 1
    ) as a
    left join current_referrals as r on a.referral_id = r.referral_id
    where a.response_status <> 'entered_in_error'
),
sheets as (
    select response_id, instrument_code, max(person_id) as person_id, max(referral_id) as referral_id,
        max(contact_id) as contact_id, max(answered_at) as answered_at, max(answered_local_date) as answered_local_date,
        case when bool_or(response_status = 'in_progress') then 'in_progress' else min(response_status) end
            as response_status,
        count(*) filter (is_usable) as items_answered,
        count(*) filter (answer_state = 'answered' and not is_usable) as items_invalid,
        count(*) filter (answer_state = 'refused') as items_refused,
        count(*) filter (answer_state = 'not_applicable') as items_not_applicable,
        coalesce(sum(answer_value) filter (is_usable), 0) as answered_sum,
        count(*) filter (is_usable and answer_value >= case item_number when 9 then 1 else 2 end) as symptoms,
        count(*) filter (is_usable and item_number <= 2 and answer_value >= 2) as core_symptoms,
        any_value(
            case
                when answer_state = 'answered' and not is_usable then 'missing'
                when is_usable and answer_value >= 1 then 'positive'
                when is_usable then 'negative'
                when answer_state = 'refused' then 'declined'
                when answer_state = 'not_asked' then 'not_asked'
                else 'missing'
            end
        ) filter (item_number = 9) as item_9_status
    from answers where item_number <= case instrument_code when 'PHQ-9' then 9 else 7 end
    group by response_id, instrument_code
),
totals as (
    select t.*, coalesce(t.person_token, r.person_id, 'unlinked') as person_id
    from (
        from landed_questionnaire_totals
        qualify row_number() over (partition by response_id, instrument_code order by {_LATEST}) = 1
    ) as t
    left join current_referrals as r on t.referral_id = r.referral_id
    where t.response_status <> 'entered_in_error'
),
together as (
    select response_id, instrument_code, coalesce(s.person_id, t.person_id) as person_id,
        coalesce(s.referral_id, t.referral_id) as stated_referral_id,
        coalesce(s.contact_id, t.contact_id) as contact_id,
        coalesce(s.answered_at, t.answered_at) as answered_at,
        coalesce(s.answered_local_date, t.answered_local_date) as answered_local_date,
        coalesce(s.response_status, t.response_status) as response_status,
        s.answered_sum, t.total_value as submitted_total,
        case instrument_code when 'PHQ-9' then 9 else 7 end as items,
        case instrument_code when 'PHQ-9' then 7 else 5 end as fewest_items,
        coalesce(s.items_answered, 0) as items_answered, coalesce(s.items_invalid, 0) as items_invalid,
        coalesce(s.items_refused, 0) as items_refused, coalesce(s.items_not_applicable, 0) as items_not_applicable,
        coalesce(s.symptoms, 0) as symptoms, coalesce(s.core_symptoms, 0) as core_symptoms,
        case instrument_code when 'PHQ-9' then coalesce(s.item_9_status, 'missing') else 'not_applicable' end
            as risk_item_status
    from sheets as s full join totals as t using (response_id, instrument_code)
),
judged as (
    select *, coalesce(
            submitted_total between 0 and items * 3 and submitted_total = floor(submitted_total), false
        ) as is_submitted,
        items_invalid = 0 and response_status <> 'in_progress' as may_be_scored
    from together
),
totalled as (
    select *,
        case when may_be_scored and items_answered >= items then answered_sum end as total_complete_case,
        case when may_be_scored and items_answered >= fewest_items then answered_sum * items end as prorated_numerator,
        case when may_be_scored and items_answered >= fewest_items then items_answered end as prorated_denominator
    from judged
)
select *, prorated_denominator is not null and items_answered < items as is_prorated,
    (2 * prorated_numerator + prorated_denominator) // (2 * prorated_denominator) as total_prorated,
    items_invalid = 0 and (submitted_total is null or is_submitted) as is_valid,
    case
        when not may_be_scored then 'none'
        when is_submitted then 'submitted'
        when total_complete_case is not null then 'derived'
        else 'none'
    end as measure_total_basis,
    case when may_be_scored then case when is_submitted then submitted_total else total_complete_case end end
        as measure_total
from totalled
"""

_ASSIGNED = """
create temp table assigned as
with by_date as (
    select s.response_id, s.instrument_code, r.referral_id, r.discharge_date
    from scored as s
    inner join current_referrals as r
        on s.person_id = r.person_id and s.answered_local_date >= r.referral_received_date
        and s.answered_local_date <= coalesce(r.discharge_date, s.answered_local_date)
    where s.stated_referral_id is null
    qualify row_number() over (
        partition by s.response_id, s.instrument_code order by r.referral_received_date desc, r.referral_id
    ) = 1
)
select s.*, coalesce(r.referral_id, d.referral_id) as referral_id,
    case
        when r.referral_id is not null then 'stated'
        when s.stated_referral_id is not null then 'stated_wrongly'
        when d.referral_id is not null then 'by_date'
        else 'none'
    end as referral_assignment,
    coalesce(r.referral_id, d.referral_id) is not null
    and not coalesce(s.answered_local_date > coalesce(r.discharge_date, d.discharge_date), false)
    and not coalesce(c.is_follow_up, false) as is_score_counted,
    case
        when total_complete_case is not null then total_complete_case
        when total_prorated is not null then prorated_numerator
        else measure_total
    end as value_numerator,
    case when total_complete_case is null and total_prorated is not null then prorated_denominator else 1 end
        as value_denominator,
    case
        when value_numerator is null then null
        when value_numerator < 5 * value_denominator then 'minimal'
        when value_numerator < 10 * value_denominator then 'mild'
        when value_numerator < 15 * value_denominator then 'moderate'
        when s.instrument_code = 'PHQ-9' and value_numerator < 20 * value_denominator then 'moderately_severe'
        else 'severe'
    end as severity_band
from scored as s
left join current_referrals as r on s.stated_referral_id = r.referral_id and s.person_id = r.person_id
left join by_date as d on s.response_id = d.response_id and s.instrument_code = d.instrument_code
left join current_contacts as c on s.contact_id = c.contact_id and s.person_id = c.person_id
"""

_ASSESSMENTS = f"""
create table assessments as
select concat(response_id, '.', instrument_code) as assessment_id, response_id, person_id, referral_id,
    referral_assignment, contact_id, instrument_code, answered_at, answered_local_date, response_status, items_answered,
    items - items_answered - items_invalid - items_refused - items_not_applicable as items_missing, items_refused,
    items_not_applicable, items_invalid, answered_sum, total_complete_case, total_prorated, prorated_numerator,
    prorated_denominator, submitted_total, measure_total, measure_total * {_HUNDRED} as measure_total_hundredths,
    measure_total_basis, is_prorated, items_answered = items as is_complete, is_valid,
    coalesce(total_complete_case <> submitted_total, false) as has_total_mismatch, severity_band,
    measure_total >= case instrument_code when 'PHQ-9' then 10 else 8 end as is_at_caseness,
    case when total_complete_case is not null or measure_total_basis = 'submitted'
        then coalesce(total_complete_case, measure_total) >= 10 end as is_screen_positive,
    case
        when instrument_code = 'GAD-7' then 'not_applicable'
        when response_status = 'in_progress' or items_answered < 9 then 'not_assessable'
        when core_symptoms > 0 and symptoms >= 5 then 'major'
        when core_symptoms > 0 and symptoms >= 2 then 'other'
        else 'none'
    end as diagnostic_algorithm,
    risk_item_status
from assigned
"""

_PEOPLE = """
create temp table current_people as
with ranked as (
    select *, row_number() over (
            partition by person_token
            order by recorded_at nulls first, delivered_at nulls first, load_id, source_row_number
        ) as place
    from landed_people
)
select person_token as person_id, arg_max(birth_date, place) filter (birth_date is not null) as birth_date,
    arg_max(sex, place) filter (sex is not null) as sex,
    case arg_max(ethnicity_code, place) filter (ethnicity_code is not null)
        when 'A' then 'White' when 'B' then 'White' when 'C' then 'White'
        when 'D' then 'Mixed' when 'E' then 'Mixed' when 'F' then 'Mixed' when 'G' then 'Mixed'
        when 'H' then 'Asian or Asian British' when 'J' then 'Asian or Asian British'
        when 'K' then 'Asian or Asian British' when 'L' then 'Asian or Asian British'
        when 'M' then 'Black or Black British' when 'N' then 'Black or Black British'
        when 'P' then 'Black or Black British' when 'R' then 'Other' when 'S' then 'Other'
        when 'Z' then 'Not stated' when '99' then 'Not known'
    end as ethnic_group,
    (arg_max(imd_decile, place) filter (imd_decile is not null) + 1) // 2 as imd_quintile,
    arg_max(rurality, place) filter (rurality is not null) as rurality
from ranked group by person_token
"""

_EPISODE_FLAGS = """
create temp table flagged as
with ends as (
    select referral_id, instrument_code,
        count(*) filter (is_valid) as scores,
        arg_min(measure_total, (answered_at, response_id)) filter (is_valid) as first_score,
        arg_max(case when is_valid then measure_total else -1 end, (answered_at, response_id)) as newest
    from assigned
    where is_score_counted and response_status <> 'in_progress' and (measure_total is not null or not is_valid)
    group by referral_id, instrument_code
),
wide as (
    select c.*, coalesce(p.scores, 0) as phq9_scores, p.first_score as phq9_first,
        case when p.scores >= 2 and p.newest >= 0 then p.newest end as phq9_last,
        coalesce(g.scores, 0) as gad7_scores, g.first_score as gad7_first,
        case when g.scores >= 2 and g.newest >= 0 then g.newest end as gad7_last
    from courses as c
    left join ends as p on c.referral_id = p.referral_id and p.instrument_code = 'PHQ-9'
    left join ends as g on c.referral_id = g.referral_id and g.instrument_code = 'GAD-7'
),
classed as (
    select *, coalesce(discharge_date is not null and treatment_contacts >= 2, false) as has_finished_course,
        case
            when phq9_first >= 10 or gad7_first >= 8 then 'at_caseness'
            when phq9_first < 10 and gad7_first < 8 then 'not_at_caseness'
            else 'not_assessable'
        end as caseness_status,
        coalesce(phq9_first - phq9_last >= 6, false) or coalesce(gad7_first - gad7_last >= 4, false) as has_drop,
        coalesce(phq9_last - phq9_first >= 6, false) or coalesce(gad7_last - gad7_first >= 4, false) as has_rise,
        case
            when phq9_first is null or phq9_last is null or gad7_first is null or gad7_last is null
                then 'not_assessable'
            when has_drop and not has_rise then 'reliable_improvement'
            when has_rise and not has_drop then 'reliable_deterioration'
            else 'no_reliable_change'
        end as change_class,
        case
            when not has_finished_course or caseness_status = 'not_at_caseness' then 'not_applicable'
            when caseness_status = 'not_assessable' then 'not_assessable'
            when phq9_last < 10 and gad7_last < 8 then 'recovered'
            else 'not_recovered'
        end as recovery_status,
        first_treatment_date - referral_received_date as days_to_first_treatment,
        second_treatment_date - first_treatment_date as days_first_to_second_treatment,
        first_assessment_date - referral_received_date as days_to_first_assessment
    from wide
)
select *, first_treatment_date is not null as has_started_treatment,
    caseness_status = 'at_caseness' as is_at_caseness, caseness_status = 'not_at_caseness' as is_not_at_caseness,
    phq9_last is not null as is_paired_phq9, phq9_last is not null and gad7_last is not null as is_paired_both,
    recovery_status = 'recovered' as has_recovered,
    has_finished_course and change_class = 'reliable_improvement' as is_reliably_improved,
    has_finished_course and change_class = 'reliable_deterioration' as is_reliably_deteriorated,
    has_finished_course and change_class = 'no_reliable_change' as has_no_reliable_change,
    has_recovered and is_reliably_improved as is_reliably_recovered,
    coalesce(days_to_first_treatment <= 42, false) as is_first_treatment_within_6_weeks,
    coalesce(days_to_first_treatment <= 126, false) as is_first_treatment_within_18_weeks
from classed
"""

_EPISODES = """
create table episodes as
with aged as (
    select f.*, p.sex, p.ethnic_group, p.imd_quintile, p.rurality,
        year(referral_received_date) - year(birth_date) - cast(
            month(referral_received_date) * 100 + day(referral_received_date)
            < month(birth_date) * 100 + day(birth_date)
            as integer
        ) as age_years_at_referral
    from flagged as f left join current_people as p using (person_id)
)
select referral_id, person_id, service_code, problem_code, referral_source, referral_received_date, discharge_date,
    discharge_reason, age_years_at_referral,
    case
        when age_years_at_referral < 0 or age_years_at_referral >= 200 then null
        when age_years_at_referral < 18 then 'under 18'
        when age_years_at_referral < 26 then '18 to 25'
        when age_years_at_referral < 65 then '26 to 64'
        when age_years_at_referral < 75 then '65 to 74'
        when age_years_at_referral >= 75 then '75 and over'
    end as age_band,
    sex, ethnic_group, imd_quintile, rurality, main_modality, coalesce(attended_contacts, 0) as attended_contacts,
    coalesce(treatment_contacts, 0) as treatment_contacts,
    coalesce(did_not_attend_contacts, 0) as did_not_attend_contacts,
    coalesce(cancelled_contacts, 0) as cancelled_contacts, treatment_minutes, first_treatment_date,
    second_treatment_date, last_treatment_date, days_to_first_treatment, days_first_to_second_treatment, phq9_scores,
    phq9_first, phq9_last, gad7_scores, gad7_first, gad7_last, 0 as wsas_scores, null::integer as wsas_first,
    null::integer as wsas_last, 'GAD-7' as anxiety_instrument_code, gad7_first as anxiety_first,
    gad7_last as anxiety_last,
    case
        when phq9_first < 5 then 'minimal' when phq9_first < 10 then 'mild' when phq9_first < 15 then 'moderate'
        when phq9_first < 20 then 'moderately_severe' when phq9_first >= 20 then 'severe'
    end as severity_band_first,
    caseness_status, recovery_status, change_class, has_started_treatment, has_finished_course, is_at_caseness,
    is_not_at_caseness, is_paired_phq9, is_paired_both, has_recovered, is_reliably_improved, is_reliably_deteriorated,
    has_no_reliable_change, is_reliably_recovered, is_first_treatment_within_6_weeks,
    is_first_treatment_within_18_weeks
from aged
"""

_TRAJECTORIES = """
create table trajectories as
select a.referral_id, c.person_id, a.instrument_code,
    cast(floor((a.answered_local_date - c.first_treatment_date) / 7.0) as integer) as week_of_treatment,
    a.answered_local_date, coalesce(a.total_prorated, a.measure_total) as total_prorated, a.is_prorated,
    a.severity_band, a.answered_local_date <= c.first_treatment_date and row_number() over (
        partition by a.referral_id, a.instrument_code, a.answered_local_date <= c.first_treatment_date
        order by a.answered_at desc, a.response_id desc
    ) = 1 as is_baseline,
    c.main_modality
from assigned as a inner join courses as c on a.referral_id = c.referral_id
where c.first_treatment_date is not null and a.is_score_counted and a.is_valid
    and coalesce(a.total_prorated, a.measure_total) is not null
qualify is_baseline or row_number() over (
    partition by a.referral_id, a.instrument_code, week_of_treatment order by a.answered_at desc, a.response_id desc
) = 1
"""

_VALUED = """
create temp table valued as
select a.response_id, a.instrument_code, c.referral_id, c.person_id, c.main_modality, a.answered_at,
    a.answered_local_date, a.severity_band, a.value_denominator,
    case when a.answered_sum is null or a.total_prorated is not null then a.value_numerator end as numerator,
    a.is_valid and numerator is not null as is_score,
    case
        when a.total_complete_case is not null then 'complete'
        when a.total_prorated is not null then 'prorated'
        else 'submitted'
    end as score_basis,
    case a.instrument_code when 'PHQ-9' then 56 else 30 end as score_scale,
    case when a.is_valid then cast(numerator as bigint) * (score_scale // a.value_denominator) end as scaled,
    n.session_number, n.session_local_date,
    cast(floor((a.answered_local_date - c.first_treatment_date) / 7.0) as integer) as week_of_treatment,
    is_score and row_number() over (
        partition by c.referral_id, a.instrument_code, is_score, a.answered_local_date
        order by a.answered_at desc, a.response_id desc
    ) = 1 as is_last_of_day,
    is_score and n.session_number is not null and row_number() over (
        partition by c.referral_id, a.instrument_code, is_score, n.session_number
        order by a.answered_at desc, a.response_id desc
    ) = 1 as is_last_of_session
from assigned as a
inner join courses as c on a.referral_id = c.referral_id and a.person_id = c.person_id
asof left join sessions as n on c.referral_id = n.referral_id and a.answered_local_date <= n.session_local_date
where a.is_score_counted and a.response_status <> 'in_progress'
    and (case when a.answered_sum is null or a.total_prorated is not null then a.value_numerator end is not null
        or not a.is_valid)
"""

_SESSION_SCORES = """
create table session_scores as
select referral_id, person_id, instrument_code, session_number, session_local_date, answered_local_date,
    week_of_treatment, (2 * scaled + score_scale) // (2 * score_scale) as total_prorated, numerator as score_numerator,
    value_denominator as score_denominator, score_basis, score_basis = 'prorated' as is_prorated, severity_band,
    main_modality
from valued where is_last_of_session
"""

# t of two means of three scores each, critical value 2.776; whole numbers, so that nothing is rounded.
_EVENTS = """
create temp table events as
with session_rows as (
    select *, lead(session_number) over courses = session_number + 1 as is_step,
        lead(scaled) over courses as scaled_after, lead(answered_local_date) over courses as to_local_date,
        lead(week_of_treatment) over courses as week_after,
        count(*) over before as n_before, sum(scaled) over before as sum_before,
        sum(scaled * scaled) over before as squares_before,
        count(*) over later as n_after, sum(scaled) over later as sum_after,
        sum(scaled * scaled) over later as squares_after
    from valued where is_last_of_session and instrument_code = 'PHQ-9'
    window courses as (partition by referral_id order by session_number),
        before as (partition by referral_id order by session_number range between 2 preceding and current row),
        later as (partition by referral_id order by session_number range between 1 following and 3 following)
),
steps as (
    select *, n_before = 3 and n_after = 3 as is_assessable,
        is_assessable and scaled - scaled_after >= 6 * score_scale and (scaled - scaled_after) * 4 >= scaled
        and sum_before > sum_after and 2 * (sum_before - sum_after) ** 2 * 1000 ** 2 > 2776 ** 2 * (
            3 * (squares_before + squares_after) - sum_before ** 2 - sum_after ** 2
        ) as is_sudden_gain
    from session_rows where is_step
),
days as (
    select *, row_number() over (partition by referral_id, instrument_code order by answered_local_date) as day_number,
        sum(cast(scaled >= 5 * score_scale as integer)) over (
            partition by referral_id, instrument_code order by answered_local_date
        ) as breaks
    from valued where is_last_of_day
),
-- The first score of an unbroken stretch in remission, against each later one of it.
stretches as (
    select *, min(answered_local_date) over (partition by referral_id, breaks) as from_date,
        arg_min(scaled, answered_local_date) over (partition by referral_id, breaks) as from_scaled
    from days where instrument_code = 'PHQ-9' and scaled < 5 * score_scale
),
sustained as (
    from stretches where answered_local_date - from_date >= 28
    qualify row_number() over (partition by referral_id order by answered_local_date) = 1
),
relapses as (
    select d.*, s.answered_local_date as from_date, s.scaled as from_scaled
    from days as d inner join sustained as s on d.referral_id = s.referral_id
    where d.instrument_code = 'PHQ-9' and d.answered_local_date > s.answered_local_date
        and d.scaled >= 10 * d.score_scale
    qualify row_number() over (partition by d.referral_id order by d.answered_local_date) = 1
),
early as (
    select v.*, d.answered_local_date as from_date, d.scaled as from_scaled,
        d.scaled - v.scaled >= case v.instrument_code when 'PHQ-9' then 6 else 5 end * v.score_scale as is_response
    from days as d inner join valued as v
        on d.referral_id = v.referral_id and d.instrument_code = v.instrument_code
    where d.day_number = 1 and v.is_last_of_session and v.answered_local_date > d.answered_local_date
        and v.session_number <= 3
    qualify row_number() over (
        partition by v.referral_id, v.instrument_code order by is_response desc, v.session_number
    ) = 1
)
select referral_id, person_id, instrument_code, 'sudden_gain' as event_kind, is_sudden_gain as has_happened,
    is_assessable, row_number() over (partition by referral_id, is_sudden_gain order by session_number) as event_number,
    week_after as week_of_treatment, session_number + 1 as session_number, answered_local_date as from_date,
    to_local_date as to_date, scaled as from_scaled, scaled_after as to_scaled, score_scale,
    sum_before / (3 * score_scale) as mean_before, sum_after / (3 * score_scale) as mean_after
from steps
union all
select referral_id, person_id, instrument_code, 'sustained_remission', true, true, 1, week_of_treatment, null,
    from_date, answered_local_date, from_scaled, scaled, score_scale, null, null
from sustained
union all
select referral_id, person_id, instrument_code, 'relapse', true, true, 1, week_of_treatment, null, from_date,
    answered_local_date, from_scaled, scaled, score_scale, null, null
from relapses
union all
select referral_id, person_id, instrument_code, 'early_response', is_response, true, 1, week_of_treatment,
    session_number, from_date, answered_local_date, from_scaled, scaled, score_scale, null, null
from early
"""

_TRAJECTORY_EVENTS = """
create table trajectory_events as
select referral_id, person_id, instrument_code, event_kind, event_number, to_date as event_local_date,
    week_of_treatment, session_number,
    case event_kind when 'sustained_remission' then 'days' else 'points' end as size_unit,
    case event_kind when 'sustained_remission' then to_date - from_date
        else abs((from_scaled - to_scaled) / score_scale) end as size,
    from_date as from_local_date, from_scaled / score_scale as score_before, to_scaled / score_scale as score_after,
    mean_before, mean_after
from events where has_happened
"""

_COURSE_CHANGES = """
create table course_changes as
with attempts as (
    select referral_id, person_id, instrument_code, max(main_modality) as main_modality,
        arg_max(is_score, (answered_at, response_id)) as is_last_a_score
    from valued group by referral_id, person_id, instrument_code
),
days as (
    select *, lead(answered_local_date) over (
            partition by referral_id, instrument_code order by answered_local_date
        ) - answered_local_date as days_until_next
    from valued where is_last_of_day
),
spans as (
    select referral_id, instrument_code, count(*) as score_days, min(answered_local_date) as first_date,
        max(answered_local_date) as newest_date, any_value(score_scale) as score_scale,
        arg_min(scaled, answered_local_date) as scaled_first, arg_max(scaled, answered_local_date) as scaled_newest,
        arg_min(severity_band, answered_local_date) as first_band,
        arg_max(severity_band, answered_local_date) as newest_band,
        arg_min(score_basis, answered_local_date) = 'prorated' as is_first_prorated,
        arg_max(score_basis, answered_local_date) = 'prorated' as is_newest_prorated,
        min(answered_local_date) filter (scaled < 5 * score_scale) as first_remission_date,
        sum(days_until_next) as days_observed,
        case when count(days_until_next) > 0 then coalesce(
            sum(days_until_next) filter (
                scaled >= case instrument_code when 'PHQ-9' then 10 else 8 end * score_scale
            ), 0
        ) end as days_at_caseness
    from days group by referral_id, instrument_code
),
happened as (
    select referral_id, instrument_code,
        bool_or(event_kind = 'sustained_remission') as is_sustained, bool_or(event_kind = 'relapse') as is_relapsed,
        bool_or(event_kind = 'early_response') as is_early_assessable,
        bool_or(event_kind = 'early_response' and has_happened) as is_early,
        bool_or(event_kind = 'sudden_gain' and is_assessable) as is_gain_assessable,
        count(*) filter (event_kind = 'sudden_gain' and has_happened) as gains,
        bool_or(event_kind = 'sudden_gain') as has_steps
    from events group by referral_id, instrument_code
),
paired as (
    select a.*, s.* exclude (referral_id, instrument_code), h.* exclude (referral_id, instrument_code),
        coalesce(s.score_days >= 2 and a.is_last_a_score, false) as is_paired, a.instrument_code = 'PHQ-9' as is_phq9,
        s.scaled_first - s.scaled_newest as gain
    from attempts as a
    left join spans as s on a.referral_id = s.referral_id and a.instrument_code = s.instrument_code
    left join happened as h on a.referral_id = h.referral_id and a.instrument_code = h.instrument_code
)
select referral_id, person_id, instrument_code, main_modality, coalesce(score_days, 0) as score_days,
    case
        when score_days is null then 'no_score' when not is_last_a_score then 'last_invalid'
        when score_days < 2 then 'first_only' else 'paired'
    end as pair_status,
    first_date as first_local_date, case when is_paired then newest_date end as last_local_date,
    scaled_first / score_scale as first_score, case when is_paired then scaled_newest / score_scale end as last_score,
    case when is_paired then gain / score_scale end as improvement_points, first_band,
    case when is_paired then newest_band end as last_band, is_first_prorated,
    case when is_paired then is_newest_prorated end as is_last_prorated,
    case when is_paired then not is_first_prorated and not is_newest_prorated end as is_pair_complete,
    case
        when not is_paired then 'not_assessable' when scaled_first = 0 then 'undefined'
        when gain * 2 >= scaled_first then 'met' else 'not_met'
    end as response_status,
    case
        when not is_phq9 then 'no_rule' when not is_paired then 'not_assessable'
        when scaled_newest < 5 * score_scale then 'met' else 'not_met'
    end as remission_status,
    case
        when not is_phq9 then 'no_rule' when not is_paired then 'not_assessable'
        when gain >= 5 * score_scale then 'met' else 'not_met'
    end as mcid_status,
    case
        when not is_paired then 'not_assessable' when scaled_first = 0 then 'undefined'
        when gain * 1000 >= case when is_phq9 then 210 else 268 end * scaled_first then 'met' else 'not_met'
    end as noticed_change_status,
    case
        when not coalesce(is_early_assessable, false) then 'not_assessable' when is_early then 'met' else 'not_met'
    end as early_response_status,
    case
        when not is_phq9 then 'no_rule' when not coalesce(is_gain_assessable, false) then 'not_assessable'
        when gains > 0 then 'met' else 'not_met'
    end as sudden_gain_status,
    case when has_steps then gains end as sudden_gains_count,
    case
        when not is_phq9 then 'no_rule' when not coalesce(newest_date - first_date >= 28, false) then 'not_assessable'
        when coalesce(is_sustained, false) then 'met' else 'not_met'
    end as sustained_remission_status,
    case
        when not is_phq9 then 'no_rule' when not coalesce(is_sustained, false) then 'not_applicable'
        when is_relapsed then 'met' else 'not_met'
    end as relapse_status,
    days_observed, days_at_caseness,
    case
        when not is_phq9 then 'no_rule' when first_date is null then 'no_score'
        when scaled_first < 5 * score_scale then 'at_start' when first_remission_date is not null then 'reached'
        else 'not_reached'
    end as first_remission_status,
    case when is_phq9 and scaled_first >= 5 * score_scale then first_remission_date - first_date end
        as days_to_first_remission
from paired
"""

_FINISHED, _STARTED = "has_finished_course", "has_started_treatment"
_SECOND, _ASSESSED = "second_treatment_date is not null", "first_assessment_date is not null"
# measure: (date, population, in the denominator, left out of it, in the numerator)
_MEASURES: dict[str, tuple[str, str, str, str, str]] = {
    "recovery": ("discharge_date", _FINISHED, "true", "is_not_at_caseness", "has_recovered"),
    "reliable_improvement": ("discharge_date", _FINISHED, "true", "false", "is_reliably_improved"),
    "reliable_recovery": ("discharge_date", _FINISHED, "true", "is_not_at_caseness", "is_reliably_recovered"),
    "reliable_deterioration": ("discharge_date", _FINISHED, "true", "false", "is_reliably_deteriorated"),
    "no_reliable_change": ("discharge_date", _FINISHED, "true", "false", "has_no_reliable_change"),
    "not_at_caseness": ("discharge_date", _FINISHED, "true", "false", "is_not_at_caseness"),
    "first_treatment_6_weeks": ("discharge_date", _FINISHED, "true", "false", "is_first_treatment_within_6_weeks"),
    "first_treatment_18_weeks": ("discharge_date", _FINISHED, "true", "false", "is_first_treatment_within_18_weeks"),
    "paired_completeness": ("discharge_date", _FINISHED, "true", "false", "is_paired_both"),
    "paired_phq9": ("discharge_date", _FINISHED, "true", "false", "is_paired_phq9"),
    "at_caseness": ("discharge_date", _FINISHED, "true", "false", "is_at_caseness"),
    "ended_after_one_treatment": ("discharge_date", "true", "true", "false", "treatment_contacts = 1"),
    "access_attrition": ("discharge_date", "true", "true", f"not {_STARTED}", "treatment_contacts = 1"),
    "appropriate_paired_adsm": ("discharge_date", _FINISHED, "false", "false", "false"),
    "follow_up": ("discharge_date", _FINISHED, "true", "false", "last_follow_up_date - discharge_date >= 30"),
    "entered_treatment_6_weeks": (
        "first_treatment_date",
        _STARTED,
        "true",
        "false",
        "is_first_treatment_within_6_weeks",
    ),
    "entered_treatment_18_weeks": (
        "first_treatment_date",
        _STARTED,
        "true",
        "false",
        "is_first_treatment_within_18_weeks",
    ),
    "second_treatment_over_28_days": (
        "second_treatment_date",
        _SECOND,
        "true",
        "false",
        "days_first_to_second_treatment >= 29",
    ),
    "second_treatment_over_90_days": (
        "second_treatment_date",
        _SECOND,
        "true",
        "false",
        "days_first_to_second_treatment >= 91",
    ),
    **{
        f"first_assessment_{name}": (
            "first_assessment_date",
            _ASSESSED,
            "true",
            "false",
            f"days_to_first_assessment {to}",
        )
        for name, to in {
            "within_28_days": "<= 28",
            "after_29_to_56_days": "between 29 and 56",
            "after_57_to_90_days": "between 57 and 90",
            "after_over_90_days": ">= 91",
        }.items()
    },
}
_QUANTILE = 1.9599639845400536


def _measure_results() -> str:
    """Counted by day once for each date, then by period: days are few, and so are the joins."""
    by_day = []
    for date in sorted({row[0] for row in _MEASURES.values()}):
        counts = ", ".join(
            f"""{{'measure_id': 'nhs_tt_{name}', 'population': count(*) filter ({population}),
                'stated': count(*) filter ({population} and {within}),
                'excluded': count(*) filter ({population} and {within} and {out}),
                'numerator': count(*) filter ({population} and {within} and not ({out}) and {numerator})}}"""
            for name, (anchor, population, within, out, numerator) in _MEASURES.items()
            if anchor == date
        )
        by_day.append(
            f"select day, unnest(counts, recursive := true) from (select {date} as day, [{counts}] as counts "
            f"from flagged where {date} is not null group by {date})"
        )
    measures = ", ".join(f"('nhs_tt_{name}')" for name in _MEASURES)
    return f"""
create table measure_results as
with by_day as ({" union all ".join(by_day)}),
counted as (
    select m.measure_id, p.period_id, p.period_start, p.period_end, coalesce(sum(d.population), 0) as population,
        coalesce(sum(d.stated), 0) as stated, coalesce(sum(d.excluded), 0) as excluded,
        coalesce(sum(d.numerator), 0) as numerator
    from (values {measures}) as m (measure_id) cross join periods as p
    left join by_day as d on m.measure_id = d.measure_id and d.day between p.period_start and p.period_end
    where p.period_kind in ('all', 'financial_year', 'quarter', 'custom')
    group by all
),
rated as (
    select *, stated - excluded as n, numerator / n as share, {_QUANTILE} as z from counted
)
select measure_id, period_id, period_start, period_end, population as initial_population_count, n as denominator_count,
    excluded as denominator_exclusion_count, numerator as numerator_count,
    case when n > 0 then 100.0 * share end as rate_percent,
    case when n > 0 then greatest(0, least(share, (share + z * z / (2 * n) - z * sqrt(
        share * (1 - share) / n + z * z / (4 * n * n))) / (1 + z * z / n))) * 100 end as rate_lower_percent,
    case when n > 0 then least(1, greatest(share, (share + z * z / (2 * n) + z * sqrt(
        share * (1 - share) / n + z * z / (4 * n * n))) / (1 + z * z / n))) * 100 end as rate_upper_percent,
    case when n > 0 then 'computed' else 'no_denominator' end as result_status
from rated
"""


def statements() -> list[tuple[str, str]]:
    """Queries in order, each with the name of its table."""
    return [
        ("current_referrals", _REFERRALS),
        ("current_contacts", _CONTACTS),
        ("courses", _COURSES),
        ("sessions", _SESSIONS),
        ("scored", _SCORED),
        ("assigned", _ASSIGNED),
        ("assessments", _ASSESSMENTS),
        ("current_people", _PEOPLE),
        ("flagged", _EPISODE_FLAGS),
        ("episodes", _EPISODES),
        ("trajectories", _TRAJECTORIES),
        ("valued", _VALUED),
        ("session_scores", _SESSION_SCORES),
        ("events", _EVENTS),
        ("trajectory_events", _TRAJECTORY_EVENTS),
        ("course_changes", _COURSE_CHANGES),
        ("measure_results", _measure_results()),
    ]


def run_all(settings: Settings, database: Path) -> dict[str, float]:
    """Write every result into a new database; seconds by query, threads and memory as in the settings.

    The periods are taken from the build. Raises ``ValueError`` where the landed rows are not what the queries assume.
    """
    parts = landed_parts(settings)
    if any(parts.get(stream) for stream in _ABSENT):
        raise ValueError(f"the hand-written queries know nothing of {' or '.join(_ABSENT)}")
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": settings.threads,
        "memory_limit": f"{settings.memory_limit_megabytes}MB",
        "temp_directory": str(database.parent),
        "preserve_insertion_order": False,
    }
    seconds = {}
    with duckdb.connect(str(database), config=config) as connection:
        connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
        for stream in _STREAMS:
            files = ", ".join(f"'{part}'" for part in parts[stream])
            connection.execute(f"create temp view landed_{stream} as from read_parquet([{files}])")
        connection.execute(f"attach '{settings.paths.current}' as built (read_only)")
        connection.execute("create temp table periods as from built.raw.measurement_periods")
        _refuse(connection)
        for name, statement in statements():
            started = time.perf_counter()
            connection.execute(statement)
            seconds[name] = time.perf_counter() - started
        connection.execute("checkpoint")
    return seconds


def _refuse(connection: duckdb.DuckDBPyConnection) -> None:
    found = connection.execute(
        """
        select count(*) from (
            select instrument_code from landed_questionnaire_totals
            union all select instrument_code from landed_questionnaire_answers
            union all select 'problem' from landed_referrals where problem_code is not null
            union all select 'position' from landed_questionnaire_answers where answer_value_kind <> 'scored_value'
        ) where instrument_code not in ('PHQ-9', 'GAD-7')
        """
    ).fetchone()
    if found and found[0]:
        raise ValueError("the hand-written queries know PHQ-9 and GAD-7 by scored values, and no problem descriptors")


def differences(settings: Settings, database: Path) -> dict[str, tuple[int, int]]:
    """Rows of each result that only the queries have, and that only the build has; rates to nine decimals."""
    found = {}
    with duckdb.connect() as connection:
        connection.execute("set enable_progress_bar = false")
        connection.execute(f"attach '{settings.paths.current}' as built (read_only)")
        connection.execute(f"attach '{database}' as hand (read_only)")
        for result in RESULTS:
            described = connection.execute(f"describe hand.main.{result}").fetchall()
            columns = ", ".join(f"round({row[0]}, 9)" if row[1] == "DOUBLE" else row[0] for row in described)
            ours = f"select {columns} from built.marts.{result}"
            if result == "measure_results":
                ours += " where measure_id in (select measure_id from hand.main.measure_results)"
            theirs = f"select {columns} from hand.main.{result}"
            counts = []
            for one, other in ((theirs, ours), (ours, theirs)):
                row = connection.execute(f"select count(*) from (({one}) except all ({other}))").fetchone()
                counts.append(int(row[0]) if row else -1)
            found[result] = (counts[0], counts[1])
    return found


def main() -> None:
    """Run the queries over a home."""
    print(json.dumps(run_all(Settings(home=Path(sys.argv[1])), Path(sys.argv[2]))))


if __name__ == "__main__":
    main()
