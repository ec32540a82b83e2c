"""``caseness score``: one answer sheet, scored from the definition rows."""

from __future__ import annotations

import re
from typing import Any

from caseness.errors import UsageError
from screening.definitions import definitions
from screening.scoring import AnswerState, judge_total, score

_WORDS = {
    "": None,
    "missing": None,
    "refused": AnswerState.REFUSED,
    "na": AnswerState.NOT_APPLICABLE,
    "not_applicable": AnswerState.NOT_APPLICABLE,
    "not_asked": AnswerState.NOT_ASKED,
}


_SEXES = ("female", "male")


def run_score(
    instrument: str, answers: str | None, *, total: str | None = None, sex: str | None = None
) -> dict[str, Any]:
    """Score comma-separated ``answers``: numbers, or missing, refused, na, not_asked (an empty place is missing).

    ``phq9`` finds PHQ-9. An answer outside its item's range is no wrong call: the sheet is scored as not valid, without
    a total, and ``items_out_of_range`` names the items. ``total`` judges a total that came without answers; ``sex``
    (male, female) answers the cuts that depend on it.
    """
    instruments = {row["instrument_code"]: row for row in definitions("instruments")}
    code = next((name for name in instruments if _plain(name) == _plain(instrument)), instrument)
    if code not in instruments:
        near = [name for name in instruments if _plain(name).startswith(_plain(instrument))]
        raise UsageError("this instrument has no definition", remedy="known: " + ", ".join(near or list(instruments)))
    if sex not in (None, *_SEXES):
        raise UsageError("a cut is known by these sexes only", remedy="--sex " + " or --sex ".join(_SEXES))
    if (answers is None) == (total is None):
        raise UsageError("give either the answers or --total", remedy="for example: caseness score PHQ-9 --total 12")
    if total is not None:
        try:
            return judge_total(code, total).as_dict()
        except (ValueError, ZeroDivisionError) as error:
            raise UsageError(
                "the total is no number", remedy="for example: caseness score MI-ALONE --total 2.31"
            ) from error
    return _of_answers(code, str(answers), sex)


def _of_answers(code: str, answers: str, sex: str | None) -> dict[str, Any]:
    instrument = next(row for row in definitions("instruments") if row["instrument_code"] == code)
    parsed: list[int | AnswerState | None] = []
    for number, text in enumerate(answers.split(","), start=1):
        word = text.strip().lower()
        if word in _WORDS:
            parsed.append(_WORDS[word])
        else:
            try:
                parsed.append(int(word))
            except ValueError as error:
                raise UsageError(
                    f"answer {number} is neither a whole number nor one of missing, refused, na, not_asked",
                    remedy="for example: caseness score PHQ-9 1,2,0,missing,3,1,0,0,refused",
                ) from error
    try:
        body = score(code, parsed, sex=sex).as_dict()
    except ValueError as error:
        remedy = "give one answer per item, in the order of the form" if instrument["item_count"] else "give --total"
        raise UsageError(str(error), remedy=remedy) from error
    low, high = int(instrument["item_min"]), int(instrument["item_max"])
    outside = [
        number for number, answer in enumerate(parsed, start=1) if isinstance(answer, int) and not low <= answer <= high
    ]
    return {**body, "items_out_of_range": outside, "item_range": f"{low} to {high}"}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
