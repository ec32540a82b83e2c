"""``caseness explain MEASURE --subject ID``: from the build's rows, step by step, why someone counts or does not."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from caseness import build_state, journal, warehouse
from caseness.commands.explain import measure_row
from caseness.errors import NotReadyError, UsageError
from caseness.settings import Settings
from screening.definitions import definitions
from screening.pathway import PathwayRules, classed, paired_scores

_MOST_SUBJECTS = 20
_FLAG_COLUMNS = (
    "initial_population_flag",
    "denominator_flag",
    "denominator_exclusion_flag",
    "denominator_exception_flag",
    "numerator_flag",
)
_COURSES = """
    select
        referrals.referral_id, referrals.problem_code, referrals.referral_received_date, referrals.discharge_date,
        contacts.treatment_contacts, contacts.first_treatment_date
    from intermediate.int_referrals_current as referrals
    inner join intermediate.int_episodes_contacts as contacts on referrals.referral_id = contacts.referral_id
    where referrals.referral_id = ?
"""
_CONTACTS = """
    select
        contact_local_date, attendance_code, is_planned, appointment_type, modality, is_attended, is_treatment_type,
        is_follow_up, is_treatment
    from intermediate.int_contacts_flagged
    where referral_id = ? and is_of_its_referral
    order by contact_at, contact_id
"""
_SCORES = "select * from intermediate.int_episode_scores where referral_id = ? order by answered_at, response_id"
_MEMBERS = """
    select
        subject_type, period_id, is_in_initial_population, is_in_denominator, is_denominator_exclusion,
        is_denominator_exception, is_in_numerator, evidence_date, evidence, exclusion_reason
    from marts.measure_members
    where measure_id = ? and subject_id = ?
    order by period_start, period_end desc, period_id
"""


def run_explain_subject(measure: str, subject: str, *, settings: Settings) -> dict[str, Any]:
    """Every step from the subject's rows to its place in the measure.

    ``subject``: a referral's or a person's id as the build has it (``caseness token`` gives a person's). Raises
    ``UsageError`` for a measure or subject that is not there, ``NotReadyError`` without a build.
    """
    row = measure_row(measure)
    state = build_state.ready(settings)
    if state["rules"]["definitions_hash"] != build_state.definitions_hash():
        raise NotReadyError("the build was made with other definitions than these", remedy="run `caseness build` first")
    with warehouse.reader(settings.paths.current, settings, with_deliveries=True) as connection:
        subjects = _subjects(connection, row, subject)
        journal.append(settings.paths.journal, "explain_subject", measure_id=row["measure_id"], count=len(subjects))
        rules = PathwayRules(state["rules"].get("pathway_switches", {}))
        explained = [_explained(connection, row, one, rules) for one in subjects[:_MOST_SUBJECTS]]
    return {
        "measure_id": row["measure_id"],
        "name": row["name"],
        "definition_version": int(row["definition_version"]),
        "formula": row["formula"],
        "source": row["source"],
        "build_id": state["build_id"],
        "subjects": explained,
        "subjects_not_told": max(0, len(subjects) - _MOST_SUBJECTS),
    }


def _subjects(connection: Any, row: dict[str, str], subject: str) -> list[tuple[str, str]]:
    """(kind, id) of every subject of the measure that the id names: the referral itself, or all of a person's."""
    told = connection.execute(
        "select referral_id from marts.episodes where referral_id = ? or person_id = ? "
        "order by referral_received_date, referral_id",
        [subject, subject],
    ).fetchall()
    members = connection.execute(
        "select distinct subject_id from marts.measure_members "
        "where measure_id = ? and (subject_id = ? or person_id = ?) order by 1",
        [row["measure_id"], subject, subject],
    ).fetchall()
    people = connection.execute("select person_id from marts.people where person_id = ?", [subject]).fetchall()
    if row["subject_type"] == "referral":
        found = [("referral", referral) for (referral,) in told]
    elif members:
        found = [(row["subject_type"], one) for (one,) in members]
    else:
        found = [(row["subject_type"], one) for (one,) in people]
    if not found:
        raise UsageError(
            "the build has nobody of this id"
            if not (told or people)
            else "nothing of this id is counted by the measure",
            remedy="a referral_id or person_id of the build: caseness sql, or caseness token for a sender's code",
        )
    return found


def _explained(connection: Any, row: dict[str, str], subject: tuple[str, str], rules: PathwayRules) -> dict[str, Any]:
    kind, subject_id = subject
    steps = _course_steps(connection, row, subject_id, rules) if kind == "referral" else []
    cursor = connection.execute(_MEMBERS, [row["measure_id"], subject_id])
    names = [column[0] for column in cursor.description]
    places = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
    return {
        "subject_type": kind,
        "subject_id": subject_id,
        "steps": steps,
        "counts": [{"period_id": one["period_id"], "counts_as": _place(one), **_evidence(one)} for one in places]
        or [{"period_id": None, "counts_as": "not in the initial population of any period"}],
    }


def _place(member: dict[str, Any]) -> str:
    if not member["is_in_denominator"]:
        return "in the initial population only"
    if member["is_denominator_exclusion"]:
        return f"excluded from the denominator ({member['exclusion_reason']})"
    if member["is_denominator_exception"]:
        return "an exception: taken out of the denominator"
    return (
        "in the denominator and the numerator" if member["is_in_numerator"] else "in the denominator, not the numerator"
    )


def _evidence(member: dict[str, Any]) -> dict[str, Any]:
    return {"evidence_date": member["evidence_date"], "evidence": member["evidence"]}


def _course_steps(connection: Any, row: dict[str, str], referral_id: str, rules: PathwayRules) -> list[dict[str, Any]]:
    courses = connection.execute(_COURSES, [referral_id]).pl()
    scores = connection.execute(_SCORES, [referral_id]).pl()
    contacts = connection.execute(_CONTACTS, [referral_id]).pl()
    flags = dict(
        connection.execute(
            "select listed.flag_name, listed.flag_value from intermediate.int_flag_patterns_listed as listed "
            "inner join intermediate.int_episodes_patterned as episodes on listed.flag_pattern = episodes.flag_pattern "
            "where episodes.referral_id = ?",
            [referral_id],
        ).fetchall()
    )
    if row["period_anchor"] == "period_end":
        flags = _snapshot_flags(connection, row, referral_id)
    (course,) = classed(courses, scores, rules).to_dicts()
    return [
        _step("referral", _referral_words(course)),
        _step("contacts", _contact_words(contacts, course), rows=[_contact_row(one) for one in contacts.to_dicts()]),
        _rule_step("finished course", "finished_course_minimum_treatments", course),
        _step("scores", _switch_words(rules), rows=_score_rows(scores, rules)),
        *_scale_steps(course),
        _step(
            "caseness",
            f"{course['caseness_status']}: PHQ-9 or {course['anxiety_instrument_code']} at caseness at first",
        ),
        _step("change", f"{course['change_class']}: a reliable change of one scale against none the other way"),
        _step("flags of the measure", _flag_words(row, flags), rows=_disagreements(course, flags)),
    ]


def _snapshot_flags(connection: Any, row: dict[str, str], referral_id: str) -> dict[str, bool]:
    """Flags of the referral as it stood at the end of the periods it was open at, named by the period."""
    found = connection.execute(
        "select snapshots.period_id, listed.flag_name, listed.flag_value "
        "from intermediate.int_snapshots_patterned as snapshots "
        "inner join intermediate.int_snapshot_patterns_listed as listed "
        "on snapshots.flag_pattern = listed.flag_pattern "
        "where snapshots.referral_id = ? order by snapshots.period_end, snapshots.period_id",
        [referral_id],
    ).fetchall()
    named = {row[column] for column in _FLAG_COLUMNS if row[column]}
    return {f"{flag} at the end of {period}": value for period, flag, value in found if flag in named}


def _step(name: str, says: str, *, rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"step": name, "says": says, "rows": rows or []}


def _referral_words(course: dict[str, Any]) -> str:
    left = course["discharge_date"]
    return f"received {course['referral_received_date']}, " + (f"discharged {left}" if left else "not discharged")


def _contact_words(contacts: pl.DataFrame, course: dict[str, Any]) -> str:
    return f"{contacts.height} contacts, {course['treatment_contacts']} of them treatments"


def _contact_row(contact: dict[str, Any]) -> dict[str, Any]:
    why = (
        "not attended"
        if not contact["is_attended"]
        else "a follow-up"
        if contact["is_follow_up"]
        else "treatment"
        if contact["is_treatment"]
        else "not an appointment for treatment"
    )
    return {
        "day": contact["contact_local_date"],
        "attendance_code": contact["attendance_code"],
        "appointment_type": contact["appointment_type"],
        "modality": contact["modality"],
        "counts": "yes" if contact["is_treatment"] else "no",
        "because": why,
    }


def _rule_step(name: str, rule_id: str, course: dict[str, Any]) -> dict[str, Any]:
    (rule,) = [row for row in definitions("pathway_rules") if row["rule_id"] == rule_id]
    return _step(
        name,
        f"{_answer(course['has_finished_course'])}: {'' if course['discharge_date'] else 'not '}discharged, treatments "
        f"{course['treatment_contacts']}, needed {rule['comparator']} {rule['threshold_value']} "
        f"({rule_id}, version {rule['definition_version']}; {rule['source']})",
    )


def _switch_words(rules: PathwayRules) -> str:
    return "; ".join(
        f"{switch}: {rules.option(switch)}" for switch in ("item_policy", "scores_after_discharge", "first_score")
    )


def _score_rows(scores: pl.DataFrame, rules: PathwayRules) -> list[dict[str, Any]]:
    """Every score of the course with the use it has, or why it has none."""
    paired = paired_scores(scores, rules).to_dicts()
    use = {(one["instrument_code"], one[f"{end}_response_id"]): end for one in paired for end in ("last", "first")}
    column = f"measure_hundredths_{'prorated' if rules.option('item_policy') == 'prorate_2' else 'complete_case'}"
    rows = []
    for one in scores.to_dicts():
        is_left_out = rules.option("scores_after_discharge") == "never"
        why = (
            "after discharge"
            if one["is_after_discharge"] and is_left_out
            else "from a follow-up appointment"
            if one["is_follow_up"] and is_left_out
            else "not valid: no score, and as the latest it blocks"
            if not one["is_valid"]
            else "not enough items answered"
            if one[column] is None
            else "between"
        )
        rows.append(
            {
                "instrument_code": one["instrument_code"],
                "day": one["answered_local_date"],
                "total": _number(one[column]),
                "use": use.get((one["instrument_code"], one["response_id"]), f"none ({why})"),
            }
        )
    return rows


def _scale_steps(course: dict[str, Any]) -> list[dict[str, Any]]:
    """First and last score of both scales against the thresholds that held for the course."""
    steps = []
    for scale in ("phq9", "anxiety"):
        instrument = course[f"{scale}_instrument_code"]
        first, last = course[f"{scale}_first_hundredths"], course[f"{scale}_last_hundredths"]
        says = [f"first {_number(first)}, last {_number(last)}"]
        for purpose in ("caseness", "reliable_change"):
            says += [
                f"{purpose.replace('_', ' ')} {one['comparator']} {one['threshold_value']} ({one['threshold_id']}; "
                f"{one['verification']}; {one['source']})"
                for one in definitions("thresholds")
                if one["instrument_code"] == instrument
                and one["purpose"] == purpose
                and one["authority"] == "nhs_tt"
                and one["is_default"] == "true"
                and not one["scale_code"]
                and _is_in_force(one, course["_threshold_date"])
            ]
        answers = {
            "first at caseness": course[f"is_{scale}_first_at_caseness"],
            "last at caseness": course[f"is_{scale}_last_at_caseness"],
            "reliable drop": course[f"has_{scale}_drop"],
            "reliable rise": course[f"has_{scale}_rise"],
        }
        says.append(", ".join(f"{name}: {_answer(value)}" for name, value in answers.items()))
        steps.append(_step(str(instrument), "; ".join(says)))
    return steps


def _is_in_force(threshold: dict[str, str], day: dt.date) -> bool:
    return threshold["valid_from"] <= day.isoformat() and (
        not threshold["valid_to"] or day.isoformat() <= threshold["valid_to"]
    )


def _flag_words(row: dict[str, str], flags: dict[str, bool]) -> str:
    if row["period_anchor"] == "period_end":
        return "; ".join(f"{name}: {_answer(value)}" for name, value in flags.items()) or "open at the end of no period"
    named = [(column.removesuffix("_flag").replace("_", " "), row[column]) for column in _FLAG_COLUMNS if row[column]]
    return ", ".join(f"{role}: {flag} = {_answer(flags.get(flag))}" for role, flag in named)


def _disagreements(course: dict[str, Any], flags: dict[str, bool]) -> list[dict[str, Any]]:
    """Where the build says otherwise than these steps; nothing, unless caseness is at fault."""
    return [
        {"flag": name, "build": value, "steps": course[name], "what to do": "report it with the build id"}
        for name, value in sorted(flags.items())
        if name in course and course[name] != value
    ]


def _answer(value: bool | None) -> str:
    return "not assessable" if value is None else "yes" if value else "no"


def _number(value: Any) -> str:
    return "none" if value is None else f"{value / 100:g}"
