"""Scoring of one answer sheet, from the same definition rows as the warehouse's SQL. Whole numbers only."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
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
    risk_item_status: str

    def as_dict(self) -> dict[str, Any]:
        """The score as JSON-ready facts."""
        return asdict(self)


def score(instrument_code: str, answers: Sequence[int | AnswerState | None]) -> Score:
    """Score ``answers`` (one per item, in order of the form; as scored values, reverse keys already applied).

    ``None`` is a missing answer. A value outside the item's range makes the sheet invalid: no total at all. The
    prorated total is sum * items / answered, rounded half up in integers. Limits: ``completeness_policies.csv``.
    Raises ``UnknownInstrumentError``, and ``ValueError`` when the number of answers is not the number of items.
    """
    found = [row for row in definitions("instruments") if row["instrument_code"] == instrument_code]
    if not found:
        raise UnknownInstrumentError(instrument_code)
    instrument = found[0]
    expected = int(instrument["item_count"])
    if len(answers) != expected:
        raise ValueError(f"{instrument_code} has {expected} items, {len(answers)} answers were given")
    low, high = int(instrument["item_min"]), int(instrument["item_max"])
    values = [answer for answer in answers if isinstance(answer, int) and not isinstance(answer, AnswerState)]
    good = [value for value in values if low <= value <= high]
    invalid = len(values) - len(good)
    states = [answer for answer in answers if isinstance(answer, AnswerState)]
    answered, total = len(good), sum(good)
    minimum = {row["policy_code"]: row for row in _rows("completeness_policies", instrument_code)}
    prorate_items = min(int(row["minimum_items_answered"]) for row in minimum.values() if row["method"] == "prorate")
    complete_items = int(minimum["complete_case"]["minimum_items_answered"])
    measure_items = int(minimum[instrument["nhs_measure_policy"]]["minimum_items_answered"])
    may_score = invalid == 0
    may_prorate = may_score and answered >= prorate_items
    complete = total if may_score and answered >= complete_items else None
    measured = total if may_score and answered >= measure_items else None
    prorated = (2 * total * expected + answered) // (2 * answered) if may_prorate and answered else None
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
        total_complete_case=complete,
        total_prorated=prorated,
        prorated_numerator=total * expected if prorated is not None else None,
        prorated_denominator=answered if prorated is not None else None,
        measure_total=measured,
        is_prorated=prorated is not None and answered < expected,
        is_complete=answered == expected,
        is_valid=invalid == 0,
        severity_band=_band(instrument_code, total, complete, prorated, measured, expected, answered),
        is_at_caseness=_meets_any(instrument_code, "caseness", measured),
        is_screen_positive=_meets_any(instrument_code, "screen", complete),
        diagnostic_algorithm=_algorithm(instrument_code, answers, low, high),
        risk_item_status=_risk(instrument, answers, low, high),
    )


def _rows(name: str, instrument_code: str) -> list[dict[str, str]]:
    return [row for row in definitions(name) if row["instrument_code"] == instrument_code]


def _count(states: Sequence[AnswerState], name: str) -> int:
    return sum(state.value == name for state in states)


def _band(
    instrument_code: str,
    total: int,
    complete: int | None,
    prorated: int | None,
    measured: int | None,
    expected: int,
    answered: int,
) -> str | None:
    """The band of the exact value: bounds are compared as fractions, so that rounding moves nobody."""
    if complete is not None:
        numerator, denominator = complete, 1
    elif prorated is not None:
        numerator, denominator = total * expected, answered
    elif measured is not None:
        numerator, denominator = measured, 1
    else:
        return None
    for row in _rows("severity_bands", instrument_code):
        lower, upper = int(row["lower_bound_inclusive"]), int(row["upper_bound_exclusive"])
        if lower * denominator <= numerator < upper * denominator:
            return row["band"]
    return None


def _meets_any(instrument_code: str, purpose: str, total: int | None) -> bool | None:
    """Against the thresholds now in force (those without an end); ``None`` without a total or a threshold."""
    rows = [row for row in _rows("thresholds", instrument_code) if row["purpose"] == purpose and not row["valid_to"]]
    if total is None or not rows:
        return None
    return any(_COMPARE[row["comparator"]](total, float(row["threshold_value"])) for row in rows)


def _algorithm(instrument_code: str, answers: Sequence[int | AnswerState | None], low: int, high: int) -> str:
    """``major``, ``other`` or ``none`` of all answers it asks for; ``not_assessable`` when one of them is not there."""
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


def _risk(instrument: dict[str, str], answers: Sequence[int | AnswerState | None], low: int, high: int) -> str:
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
