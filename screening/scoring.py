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
        severity_band=_band(instrument_code, value),
        is_at_caseness=_meets_any(instrument_code, "caseness", caseness),
        is_screen_positive=_meets_any(instrument_code, "screen", None if complete is None else Fraction(complete)),
        diagnostic_algorithm=_algorithm(instrument_code, answers, low, high),
        risk_item_status=_risk(instrument, answers, low, high),
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


def _band(instrument_code: str, value: Fraction | None, scale_code: str = "") -> str | None:
    """The default band of the exact value: bounds are compared as fractions, so that rounding moves nobody."""
    if value is None:
        return None
    for row in _rows("severity_bands", instrument_code):
        if row["scale_code"] != scale_code or row["is_default"] != "true":
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
