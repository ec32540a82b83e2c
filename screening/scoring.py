"""Scoring of one answer sheet, from the same definition rows as the warehouse's SQL. Whole numbers only."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

from screening.definitions import definitions

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


class AnswerState(StrEnum):
    """Why an item has no value. Four different things, none of them zero."""

    MISSING = "missing"
    REFUSED = "refused"
    NOT_APPLICABLE = "not_applicable"
    NOT_ASKED = "not_asked"


class UnknownInstrumentError(ValueError):
    """The instrument has no definition rows."""


@dataclass(frozen=True)
class ScaleScore:
    """One scale of a sheet: a subscale, or the total on another scale. The exact score is numerator / denominator."""

    scale_code: str
    items_expected: int
    items_answered: int
    answered_sum: int
    score_numerator: int | None
    score_denominator: int | None
    score_hundredths: int | None
    is_prorated: bool
    severity_band: str | None
    symptom_count: int | None
    has_enough_symptoms: bool | None


@dataclass(frozen=True)
class Judgement:
    """What a rule that does not decide by default says: another authority's cut, or another scheme of bands."""

    rule_id: str
    purpose: str
    authority: str
    is_met: bool | None
    severity_band: str | None


@dataclass(frozen=True)
class Score:
    """A scored answer sheet. Totals are ``None`` where the policy does not allow one; never zero in its place."""

    instrument_code: str
    definition_version: int
    items_expected: int
    items_answered: int
    items_missing: int
    items_refused: int
    items_not_applicable: int
    items_invalid: int
    answered_sum: int
    greatest_possible_total: int | None
    total_complete_case: int | None
    total_prorated: int | None
    prorated_numerator: int | None
    prorated_denominator: int | None
    measure_total: int | None
    is_prorated: bool
    is_complete: bool
    is_valid: bool
    severity_band: str | None
    is_at_caseness: bool | None
    is_screen_positive: bool | None
    diagnostic_algorithm: str
    triage_level: str
    risk_item_status: str
    scales: tuple[ScaleScore, ...]
    judgements: tuple[Judgement, ...]

    def as_dict(self) -> dict[str, Any]:
        """The score as JSON-ready facts."""
        return asdict(self)


Answers = Sequence[int | AnswerState | None]


def score(instrument_code: str, answers: Answers, *, sex: str | None = None) -> Score:
    """Score ``answers`` (one per item, in order of the form; as scored values, reverse keys already applied).

    ``None`` is a missing answer. A value outside the item's range makes the sheet invalid: no total at all. The
    prorated total is sum * items / answered, rounded half up in integers. Limits: ``completeness_policies.csv``.
    ``sex`` (male, female) answers the cuts that depend on it; they stand in ``judgements`` and decide nothing else.
    Raises ``UnknownInstrumentError``, and ``ValueError`` when the number of answers is not the number of items, or
    when only totals of the instrument are known (``judge_total``).
    """
    instrument = _instrument(instrument_code)
    if not instrument["item_count"]:
        raise ValueError(f"the items of {instrument_code} are not defined here, only its total can be judged")
    expected = int(instrument["item_count"])
    if len(answers) != expected:
        raise ValueError(f"{instrument_code} has {expected} items, {len(answers)} answers were given")
    low, high = int(instrument["item_min"]), int(instrument["item_max"])
    values = [answer for answer in answers if isinstance(answer, int) and not isinstance(answer, AnswerState)]
    good = [value for value in values if low <= value <= high]
    invalid = len(values) - len(good)
    states = [answer for answer in answers if isinstance(answer, AnswerState)]
    answered, total = len(good), sum(good)
    needed = _items_needed(instrument)
    may_score = invalid == 0 and instrument["has_total"] == "true"
    complete = total if may_score and answered >= needed["complete"] else None
    measured = total if may_score and answered >= needed["measure"] else None
    may_prorate = may_score and answered >= needed["prorate"]
    prorated = (2 * total * expected + answered) // (2 * answered) if may_prorate and answered else None
    exact = Fraction(total * expected, answered) if prorated is not None else None
    value = next((Fraction(one) for one in (complete, exact, measured) if one is not None), None)
    caseness = Fraction(measured) if measured is not None else None
    if instrument["caseness_value"] == "exact_value":
        caseness = value
    scales = _scales(instrument_code, answers, low, high)
    return Score(
        instrument_code=instrument_code,
        definition_version=int(instrument["definition_version"]),
        items_expected=expected,
        items_answered=answered,
        items_missing=expected - answered - invalid - _count(states, "refused") - _count(states, "not_applicable"),
        items_refused=_count(states, "refused"),
        items_not_applicable=_count(states, "not_applicable"),
        items_invalid=invalid,
        answered_sum=total,
        greatest_possible_total=_greatest_possible(instrument, answers),
        total_complete_case=complete,
        total_prorated=prorated,
        prorated_numerator=total * expected if prorated is not None else None,
        prorated_denominator=answered if prorated is not None else None,
        measure_total=measured,
        is_prorated=prorated is not None and answered < expected,
        is_complete=answered == expected,
        is_valid=invalid == 0,
        severity_band=_band(instrument_code, value),
        is_at_caseness=_meets_any(instrument_code, "caseness", caseness),
        is_screen_positive=_meets_any(instrument_code, "screen", None if complete is None else Fraction(complete)),
        diagnostic_algorithm=_algorithm(instrument_code, answers, low, high, scales),
        triage_level=_triage(instrument_code, answers, low, high),
        risk_item_status=_risk(instrument, answers, low, high),
        scales=scales,
        judgements=_judgements(instrument_code, value, caseness, complete, sex),
    )


@dataclass(frozen=True)
class TotalScore:
    """A total that came without answers. Hundredths of a point hold the decimals that an instrument may have."""

    instrument_code: str
    definition_version: int
    measure_total: int | None
    measure_total_hundredths: int | None
    is_valid: bool
    severity_band: str | None
    is_at_caseness: bool | None
    is_screen_positive: bool | None

    def as_dict(self) -> dict[str, Any]:
        """The total as JSON-ready facts."""
        return asdict(self)


def judge_total(instrument_code: str, total: int | str | Fraction) -> TotalScore:
    """Judge a submitted ``total`` (score points; a text such as ``2.31`` where the instrument has decimals).

    A total outside its bounds, with more decimals than the instrument has, or of an instrument without a total, is not
    valid and is judged no further; an instrument that states no bound has none. Raises ``UnknownInstrumentError``, and
    ``ValueError`` when the text is no number.
    """
    instrument = _instrument(instrument_code)
    value = Fraction(total)
    is_valid = (
        instrument["has_total"] == "true"
        and (not instrument["total_min"] or value >= int(instrument["total_min"]))
        and (not instrument["total_max"] or value <= int(instrument["total_max"]))
        and (value * 10 ** int(instrument["total_decimals"])).denominator == 1
    )
    judged = value if is_valid else None
    is_whole = judged is not None and int(instrument["total_decimals"]) == 0
    return TotalScore(
        instrument_code=instrument_code,
        definition_version=int(instrument["definition_version"]),
        measure_total=int(value) if is_whole else None,
        measure_total_hundredths=None if judged is None else int(judged * 100),
        is_valid=is_valid,
        severity_band=_band(instrument_code, judged),
        is_at_caseness=_meets_any(instrument_code, "caseness", judged),
        is_screen_positive=_meets_any(instrument_code, "screen", judged),
    )


def _instrument(instrument_code: str) -> dict[str, str]:
    found = _rows("instruments", instrument_code)
    if not found:
        raise UnknownInstrumentError(instrument_code)
    return found[0]


def _items_needed(instrument: dict[str, str]) -> dict[str, float]:
    """How many answers each policy asks for; without a row none is enough."""
    rows = _rows("completeness_policies", instrument["instrument_code"])
    by_policy = {row["policy_code"]: int(row["minimum_items_answered"]) for row in rows}
    return {
        "complete": by_policy.get("complete_case", math.inf),
        "measure": by_policy.get(instrument["nhs_measure_policy"], math.inf),
        "prorate": max((by_policy[row["policy_code"]] for row in rows if row["method"] == "prorate"), default=math.inf),
    }


def _rows(name: str, instrument_code: str) -> list[dict[str, str]]:
    return [row for row in definitions(name) if row["instrument_code"] == instrument_code]


def _count(states: Sequence[AnswerState], name: str) -> int:
    return sum(state.value == name for state in states)


def _band(
    instrument_code: str, value: Fraction | None, scale_code: str = "", *, scheme: str | None = None
) -> str | None:
    """The band of the exact value, by default: bounds are compared as fractions, so that rounding moves nobody."""
    if value is None:
        return None
    for row in _rows("severity_bands", instrument_code):
        if row["scale_code"] != scale_code or (row["scheme"] != scheme if scheme else row["is_default"] != "true"):
            continue
        if Fraction(row["lower_bound_inclusive"]) <= value < Fraction(row["upper_bound_exclusive"]):
            return row["band"]
    return None


def _meets_any(instrument_code: str, purpose: str, value: Fraction | None) -> bool | None:
    """Against the default thresholds now in force (those without an end); ``None`` without a value or a threshold."""
    rows = [
        row
        for row in _rows("thresholds", instrument_code)
        if row["purpose"] == purpose
        and row["is_default"] == "true"
        and not (row["valid_to"] or row["scale_code"] or row["applies_to_sex"])
    ]
    if value is None or not rows:
        return None
    return any(_COMPARE[row["comparator"]](value, Fraction(row["threshold_value"])) for row in rows)


def _judgements(
    instrument_code: str, value: Fraction | None, caseness: Fraction | None, complete: int | None, sex: str | None
) -> tuple[Judgement, ...]:
    """Every rule of a total that is not the default, those of another sex left out."""
    sex = None if sex == "unknown" else sex
    found = []
    for row in _rows("thresholds", instrument_code):
        if row["is_default"] == "true" or row["judges"] != "total" or row["scale_code"] or row["valid_to"]:
            continue
        if row["applies_to_sex"] and sex not in (None, row["applies_to_sex"]):
            continue
        asked = caseness if row["purpose"] == "caseness" else complete
        is_unknown = asked is None or (row["applies_to_sex"] != "" and sex is None)
        is_met = None if is_unknown else _COMPARE[row["comparator"]](asked, Fraction(row["threshold_value"]))
        found.append(Judgement(row["threshold_id"], row["purpose"], row["authority"], is_met, None))
    rows = [row for row in _rows("severity_bands", instrument_code) if row["is_default"] != "true"]
    for scheme in dict.fromkeys(row["scheme"] for row in rows if not row["scale_code"]):
        band = _band(instrument_code, value, scheme=scheme)
        found.append(Judgement(f"{instrument_code}.{scheme}", "severity", scheme, None, band))
    return tuple(found)


def _greatest_possible(instrument: dict[str, str], answers: Answers) -> int | None:
    """The greatest total that the form leaves a person whom some of its items do not concern."""
    if not instrument["total_max"]:
        return None
    items = _rows("instrument_items", instrument["instrument_code"])
    left_out = sum(
        answers[int(row["item_number"]) - 1] is AnswerState.NOT_APPLICABLE
        for row in items
        if row["may_be_not_applicable"] == "true"
    )
    return int(instrument["total_max"]) - left_out * int(instrument["item_max"])


def _usable(answer: int | AnswerState | None, low: int, high: int) -> int | None:
    """The answer where it is one: a number of the item's range."""
    return answer if isinstance(answer, int) and not isinstance(answer, AnswerState) and low <= answer <= high else None


def _scales(instrument_code: str, answers: Answers, low: int, high: int) -> tuple[ScaleScore, ...]:
    """The scales of a sheet; one answer out of its range leaves none of them a score."""
    is_valid = all(isinstance(one, AnswerState | None) or low <= one <= high for one in answers)
    found = []
    for scale in _rows("instrument_scales", instrument_code):
        members = [
            row for row in _rows("instrument_scale_items", instrument_code) if row["scale_code"] == scale["scale_code"]
        ]
        given = [_usable(answers[int(row["item_number"]) - 1], low, high) for row in members]
        values = [one for one in given if one is not None]
        is_whole = is_valid and len(values) == len(members)
        raw = None
        if is_valid and len(values) >= int(scale["minimum_items_answered"]):
            raw = (sum(values), 1) if is_whole else (sum(values) * len(members), len(values))
        exact = _converted(scale, raw)
        symptoms = None
        if is_whole and scale["minimum_symptoms"]:
            symptoms = sum(one >= int(scale["symptom_at_or_above"]) for one in values)
        found.append(
            ScaleScore(
                scale_code=scale["scale_code"],
                items_expected=len(members),
                items_answered=len(values),
                answered_sum=sum(values),
                score_numerator=exact and exact[0],
                score_denominator=exact and exact[1],
                score_hundredths=exact and (200 * exact[0] + exact[1]) // (2 * exact[1]),
                is_prorated=raw is not None and not is_whole,
                severity_band=_band(instrument_code, exact and Fraction(*exact), scale["scale_code"]),
                symptom_count=symptoms,
                has_enough_symptoms=None if symptoms is None else symptoms >= int(scale["minimum_symptoms"]),
            )
        )
    return tuple(found)


def _converted(scale: dict[str, str], raw: tuple[int, int] | None) -> tuple[int, int] | None:
    """A raw score (numerator, denominator) on the scale's own measure: times a number, or by a table."""
    if raw is None:
        return None
    if scale["conversion"] == "multiplied":
        return raw[0] * int(scale["multiplier"]), raw[1]
    for row in _rows("scale_conversions", scale["instrument_code"]):
        if row["scale_code"] == scale["scale_code"] and (int(row["raw_score"]), 1) == raw:
            return int(row["score_numerator"]), int(row["score_denominator"])
    return None


def _triage(instrument_code: str, answers: Answers, low: int, high: int) -> str:
    """The highest level an answer gives; ``not_assessable`` when an open answer could still give a higher one."""
    rules = _rows("triage_rules", instrument_code)
    if not rules:
        return "not_applicable"
    met, still_open = {0: "none"}, {0}
    for rule in rules:
        level, answer = int(rule["level_order"]), answers[int(rule["item_number"]) - 1]
        value = _usable(answer, low, high)
        gate = _usable(answers[int(rule["asked_if_item"]) - 1], low, high) if rule["asked_if_item"] else None
        may_be_left_out = not isinstance(answer, int) and answer is not AnswerState.REFUSED
        if value is not None:
            if _COMPARE[rule["comparator"]](value, int(rule["threshold_value"])):
                met[level] = rule["triage_level"]
        elif gate is None or gate >= int(rule["asked_if_at_or_above"]) or not may_be_left_out:
            still_open.add(level)
    return "not_assessable" if max(still_open) > max(met) else met[max(met)]


def _algorithm(instrument_code: str, answers: Answers, low: int, high: int, scales: tuple[ScaleScore, ...]) -> str:
    """``major``, ``other`` or ``none`` of all answers it asks for; ``not_assessable`` when one of them is not there.

    An instrument of clusters has one outcome, met when each of its clusters has enough symptoms.
    """
    for row in _rows("diagnostic_cluster_outcomes", instrument_code):
        enough = [scale.has_enough_symptoms for scale in scales]
        return "not_assessable" if None in enough else row["outcome"] if all(enough) else "none"
    rows = _rows("diagnostic_algorithms", instrument_code)
    if not rows:
        return "not_applicable"
    symptoms = core = 0
    for row in rows:
        answer = answers[int(row["item_number"]) - 1]
        if answer is None or isinstance(answer, AnswerState) or not low <= answer <= high:
            return "not_assessable"
        if answer >= int(row["symptom_at_or_above"]):
            symptoms += 1
            core += row["is_core"] == "true"
    for row in _rows("diagnostic_algorithm_outcomes", instrument_code):
        if core and int(row["minimum_symptoms"]) <= symptoms <= int(row["maximum_symptoms"]):
            return row["outcome"]
    return "none"


def _risk(instrument: dict[str, str], answers: Answers, low: int, high: int) -> str:
    rows = _rows("risk_items", instrument["instrument_code"])
    if not rows:
        return instrument["risk_status_without_item"]
    found = []
    for row in rows:
        answer = answers[int(row["item_number"]) - 1]
        if isinstance(answer, AnswerState):
            found.append({"refused": "declined", "not_asked": "not_asked"}.get(answer.value, "missing"))
        elif answer is None or not low <= answer <= high:
            found.append("missing")
        else:
            is_positive = _COMPARE[row["comparator"]](answer, int(row["threshold_value"]))
            found.append("positive" if is_positive else "negative")
    precedence = {row["risk_item_status"]: int(row["precedence"]) for row in definitions("risk_item_statuses")}
    return min(found, key=precedence.__getitem__)
