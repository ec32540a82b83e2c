"""Scoring, as a specification: each row of the table runs through Python and through the warehouse."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import ingestion
from screening.scoring import AnswerState, Score, UnknownInstrumentError, score
from tests.fixtures.service import Service, person, sheet

# r refused, n not applicable, - missing, . not asked. Totals: complete-case, prorated (half up), band, item 9.
CASES = """
instrument answers            complete prorated band               risk
PHQ-9      0,0,0,0,0,0,0,0,0  0        0        minimal            negative
PHQ-9      1,1,1,1,0,0,0,0,0  4        4        minimal            negative
PHQ-9      1,1,1,1,1,0,0,0,0  5        5        mild               negative
PHQ-9      3,3,3,0,0,0,0,0,0  9        9        mild               negative
PHQ-9      3,3,3,1,0,0,0,0,0  10       10       moderate           negative
PHQ-9      3,3,3,3,2,0,0,0,0  14       14       moderate           negative
PHQ-9      3,3,3,3,3,0,0,0,0  15       15       moderately_severe  negative
PHQ-9      3,3,3,3,3,3,1,0,0  19       19       moderately_severe  negative
PHQ-9      3,3,3,3,3,3,2,0,0  20       20       severe             negative
PHQ-9      3,3,3,3,3,3,3,3,3  27       27       severe             positive
PHQ-9      0,0,0,0,0,0,0,0,1  1        1        minimal            positive
PHQ-9      1,1,1,1,0,0,0,0,r  none     5        minimal            declined
PHQ-9      1,1,1,1,1,1,1,-,-  none     9        mild               missing
PHQ-9      2,2,2,1,1,0,0,-,-  none     10       moderate           missing
PHQ-9      1,1,1,1,1,1,-,-,-  none     none     none               missing
PHQ-9      1,1,1,1,1,1,1,1,.  none     9        mild               not_asked
PHQ-9      1,1,1,1,1,1,1,4,0  none     none     none               negative
PHQ-9      1,1,1,1,1,1,1,1,7  none     none     none               missing
PHQ-8      3,3,3,1,0,0,0,0    10       10       moderate           not_asked
PHQ-2      3,0                3        3        none               not_asked
GAD-7      0,0,0,0,0,0,0      0        0        minimal            not_applicable
GAD-7      1,1,1,1,1,0,0      5        5        mild               not_applicable
GAD-7      3,3,3,1,0,0,0      10       10       moderate           not_applicable
GAD-7      3,3,3,3,3,0,0      15       15       severe             not_applicable
GAD-7      3,3,3,3,3,-,-      none     21       severe             not_applicable
GAD-7      3,3,3,3,-,-,-      none     none     none               not_applicable
GAD-2      1,2                3        3        none               not_applicable
WSAS       8,8,8,8,8          40       40       moderately_severe_or_worse not_applicable
WSAS       n,8,2,0,0          none     13       significant        not_applicable
WSAS       n,-,2,0,0          none     none     none               not_applicable
"""
_STATES = {"r": AnswerState.REFUSED, "n": AnswerState.NOT_APPLICABLE, ".": AnswerState.NOT_ASKED, "-": None}
_FIELDS = (
    "items_answered",
    "items_missing",
    "items_refused",
    "items_not_applicable",
    "items_invalid",
    "answered_sum",
    "total_complete_case",
    "total_prorated",
    "prorated_numerator",
    "prorated_denominator",
    "measure_total",
    "is_prorated",
    "is_complete",
    "is_valid",
    "severity_band",
    "is_at_caseness",
    "is_screen_positive",
    "diagnostic_algorithm",
    "risk_item_status",
)


def _cases() -> list[dict[str, Any]]:
    lines = [line.split() for line in CASES.strip().splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def _answers(text: str) -> list[int | AnswerState | None]:
    return [_STATES[part] if part in _STATES else int(part) for part in text.split(",")]


def _words(answers: list[int | AnswerState | None]) -> list[int | str | None]:
    return [answer.value if isinstance(answer, AnswerState) else answer for answer in answers]


@pytest.mark.parametrize("case", _cases(), ids=lambda case: f"{case['instrument']} {case['answers']}")
def test_python_scores_as_specified(case: dict[str, Any]) -> None:
    found = score(case["instrument"], _answers(case["answers"]))
    shown = {name: "none" if value is None else str(value) for name, value in found.as_dict().items()}
    assert (shown["total_complete_case"], shown["total_prorated"]) == (case["complete"], case["prorated"])
    assert (shown["severity_band"], shown["risk_item_status"]) == (case["band"], case["risk"])


def _random_sheets(count: int) -> list[tuple[str, list[int | AnswerState | None]]]:
    chosen = random.Random(11)
    pool: list[int | AnswerState | None] = [0, 1, 2, 3, 0, 1, 2, 3, None, AnswerState.REFUSED, AnswerState.NOT_ASKED, 4]
    sizes = {"PHQ-9": 9, "PHQ-8": 8, "PHQ-2": 2, "GAD-7": 7, "GAD-2": 2, "WSAS": 5}
    names = sorted(sizes)
    sheets = []
    for _ in range(count):
        name = chosen.choice(names)
        weights = [4] * 8 + [1, 1, 1, 0.3]
        sheets.append((name, chosen.choices(pool, weights, k=sizes[name])))
    return sheets


def _sheets() -> list[tuple[str, list[int | AnswerState | None]]]:
    return [(case["instrument"], _answers(case["answers"])) for case in _cases()] + _random_sheets(1500)


def streams() -> dict[str, list[dict[str, Any]]]:
    """The table and the random sheets as a delivery, all of one person."""
    rows = []
    for number, (instrument, answers) in enumerate(_sheets()):
        rows += sheet(f"r{number}", instrument, _words(answers), "2026-01-05")
    return {"people": [person("p_sheets")], "questionnaire_answers": rows}


def test_the_warehouse_scores_as_python_does(specified: Service) -> None:
    owner = specified.tokens("p_sheets")["p_sheets"]
    found = Counter(
        specified.ask(
            f"select instrument_code, {', '.join(_FIELDS)} from marts.assessments where person_id = '{owner}'"
        )
    )
    expected = Counter(
        (name, *(getattr(score(name, answers), part) for part in _FIELDS)) for name, answers in _sheets()
    )
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("instrument", "items", "first_totals"),
    [("PHQ-9", 9, [1, 9, 45, 165, 486, 1206]), ("GAD-7", 7, [1, 7, 28, 84, 203, 413])],
)
def test_every_answer_vector(tmp_path: Path, instrument: str, items: int, first_totals: list[int]) -> None:
    vectors = list(product(range(4), repeat=items))
    frame = pl.DataFrame(
        {"response_code": [f"v{n}" for n in range(len(vectors))], "answers": [list(v) for v in vectors]}
    )
    long = frame.explode("answers").with_columns(
        (pl.int_range(pl.len()).over("response_code") + 1).alias("item_number"),
        pl.lit("p_sheets").alias("person_code"),
        pl.lit(instrument).alias("instrument_code"),
        pl.lit("answered").alias("answer_state"),
        pl.lit("scored_value").alias("answer_value_kind"),
        pl.lit("2026-01-05T10:00:00Z").alias("answered_at"),
        pl.lit("completed").alias("response_status"),
    )
    service = Service(tmp_path / "home")
    folder = tmp_path / "in"
    folder.mkdir()
    long.rename({"answers": "answer_value"}).write_parquet(folder / "questionnaire_answers.parquet")
    (folder / "delivery.yml").write_text("source: small\ntime_zone: Europe/London\n", encoding="utf-8")
    report = ingestion.ingest([folder], settings=service.settings).as_dict()
    assert report["rows_admitted"] == len(vectors) * items
    service.build()
    parts = (
        "answered_sum",
        "total_complete_case",
        "total_prorated",
        "severity_band",
        "is_at_caseness",
        "is_screen_positive",
        "diagnostic_algorithm",
        "risk_item_status",
    )
    found = Counter(service.ask(f"select {', '.join(parts)} from marts.assessments"))
    scores: list[Score] = [score(instrument, vector) for vector in vectors]
    assert found == Counter(tuple(getattr(one, part) for part in parts) for one in scores)
    by_total = Counter(one.total_complete_case for one in scores)
    assert [by_total[number] for number in range(6)] == first_totals


def test_unknown_instruments_and_short_sheets_are_refused() -> None:
    with pytest.raises(UnknownInstrumentError):
        score("PHQ-10", [0])
    with pytest.raises(ValueError, match="9 items"):
        score("PHQ-9", [0, 1])
