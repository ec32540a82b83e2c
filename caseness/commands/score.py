"""``caseness score``: one answer sheet, scored from the definition rows."""

from __future__ import annotations

from caseness.errors import UsageError
from screening.definitions import definitions
from screening.scoring import AnswerState, Score, UnknownInstrumentError, score

_WORDS = {
    "": None,
    "missing": None,
    "refused": AnswerState.REFUSED,
    "na": AnswerState.NOT_APPLICABLE,
    "not_applicable": AnswerState.NOT_APPLICABLE,
    "not_asked": AnswerState.NOT_ASKED,
}


def run_score(instrument: str, answers: str) -> Score:
    """Score comma-separated ``answers``: numbers, or missing, refused, na, not_asked (an empty place is missing)."""
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
    known = [row["instrument_code"] for row in definitions("instruments")]
    code = next((name for name in known if name.lower() == instrument.lower()), instrument)
    try:
        return score(code, parsed)
    except UnknownInstrumentError as error:
        raise UsageError("this instrument has no definition", remedy="known: " + ", ".join(known)) from error
    except ValueError as error:
        raise UsageError(str(error), remedy="give one answer per item, in the order of the form") from error
