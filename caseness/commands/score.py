"""``caseness score``: one answer sheet, scored from the definition rows."""

from __future__ import annotations

import re
from typing import Any

from caseness.errors import UsageError
from screening.definitions import definitions
from screening.scoring import AnswerState, UnknownInstrumentError, score

_WORDS = {
    "": None,
    "missing": None,
    "refused": AnswerState.REFUSED,
    "na": AnswerState.NOT_APPLICABLE,
    "not_applicable": AnswerState.NOT_APPLICABLE,
    "not_asked": AnswerState.NOT_ASKED,
}


def run_score(instrument: str, answers: str) -> dict[str, Any]:
    """Score comma-separated ``answers``: numbers, or missing, refused, na, not_asked (an empty place is missing).

    ``phq9`` finds PHQ-9. An answer outside its item's range is no wrong call: the sheet is scored as not valid, without
    a total, and ``items_out_of_range`` names the items.
    """
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
    instruments = {row["instrument_code"]: row for row in definitions("instruments")}
    known = list(instruments)
    code = next((name for name in known if _plain(name) == _plain(instrument)), instrument)
    try:
        body = score(code, parsed).as_dict()
    except UnknownInstrumentError as error:
        raise UsageError("this instrument has no definition", remedy="known: " + ", ".join(known)) from error
    except ValueError as error:
        raise UsageError(str(error), remedy="give one answer per item, in the order of the form") from error
    low, high = int(instruments[code]["item_min"]), int(instruments[code]["item_max"])
    outside = [
        number for number, answer in enumerate(parsed, start=1) if isinstance(answer, int) and not low <= answer <= high
    ]
    return {**body, "items_out_of_range": outside, "item_range": f"{low} to {high}"}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
