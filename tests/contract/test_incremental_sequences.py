"""Random histories of a small service, cut into deliveries that come in any order.

Each build adds to an earlier one, and the last is the build of everything at once, table by table and by the content
hash that was kept up on the way.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

import ingestion
from caseness import dbt_runner
from caseness.commands import build
from caseness.commands.build import run_build
from caseness.content import content_hash
from caseness.dbt_runner import DbtSummary
from caseness.settings import Settings
from tests.fixtures.small_service import (
    Course,
    answer_rows,
    delivery_tables,
    home_settings,
    items_of,
    marts_content,
    state_delivery,
    write_delivery,
    write_rows,
)

_PEOPLE = ("1", "2", "3", "4", "5")
_TOP = {"PHQ-9": 27, "GAD-7": 21}
Statement = tuple[str, dict[str, Any]]


def _history(draw: random.Random) -> Iterator[list[Statement]]:
    """Rows that arrive together: whole courses first, then what changes them. Which comes when is drawn afterwards."""
    courses = [
        Course(
            code,
            phq9=tuple(draw.randint(0, 27) for _ in range(draw.randint(1, 3))),
            gad7=tuple(draw.randint(0, 21) for _ in range(draw.randint(1, 3))),
            treatment_days=tuple(sorted(draw.sample(range(5, 120), draw.randint(1, 4)))),
            is_discharged=draw.random() < 0.8,
        )
        for code in _PEOPLE
    ]
    tables = {course.code: delivery_tables([course]) for course in courses}
    for made in tables.values():
        for stream, rows in made.items():
            half = draw.randint(0, len(rows))
            yield [(stream, dict(row)) for row in rows[:half]]
            yield [(stream, dict(row)) for row in rows[half:]]
    for _ in range(12):
        yield _change(draw, tables[draw.choice(_PEOPLE)])


def _change(draw: random.Random, tables: dict[str, list[dict[str, object]]]) -> list[Statement]:
    """A correction, a voided or deleted record, a row on another person, a late form, a total, or a link."""
    code = str(tables["people"][0]["person_code"])[1:]
    other = f"P{draw.choice(_PEOPLE)}"
    contact = dict(draw.choice(tables["care_contacts"]))
    answers = tables["questionnaire_answers"]
    response = draw.choice(answers)["response_code"]
    form = [dict(row) for row in answers if row["response_code"] == response]
    recorded = f"2025-01-{draw.randint(1, 28):02d}T08:00:00Z"
    late = f"{draw.randint(1, 3)}"
    instrument = draw.choice(list(_TOP))
    match draw.randrange(8):
        case 0:
            return [("care_contacts", contact | {"record_status": "entered_in_error", "recorded_at": recorded})]
        case 1:
            return [("care_contacts", contact | {"person_code": other})]
        case 2:
            return [("referrals", dict(tables["referrals"][0]) | {"person_code": other, "recorded_at": recorded})]
        case 3:
            return [("questionnaire_answers", row | {"response_status": "amended", "answer_value": 3}) for row in form]
        case 4:
            kind, record = draw.choice(
                [("contact", contact["contact_code"]), ("response", response), ("response", f"L{late}")]
            )
            return [("record_deletions", {"record_kind": kind, "record_code": record, "recorded_at": recorded})]
        case 5:
            items = items_of(instrument, draw.randint(0, _TOP[instrument]))
            rows = [dict(row) for row in answer_rows(code, 7, instrument, items, day=90)]
            owner = draw.choice(["", other])
            return [
                ("questionnaire_answers", row | {"response_code": f"L{late}", "person_code": owner}) for row in rows
            ]
        case 6:
            total = {name: form[0][name] for name in ("response_code", "person_code", "referral_code", "answered_at")}
            value = draw.randint(0, 30)
            status = {"instrument_code": form[0]["instrument_code"], "response_status": "completed"}
            return [("questionnaire_totals", total | status | {"total_value": value})]
        case _:
            link = {"person_code": f"P{code}", "linked_person_code": other, "linked_namespace": "small_service"}
            return [("person_links", link)] if other != f"P{code}" else []


def _deliveries(folder: Path, draw: random.Random, count: int) -> list[Path]:
    """The history in ``count`` deliveries of their own times, in a random order."""
    cut: list[dict[str, list[dict[str, Any]]]] = [{} for _ in range(count)]
    for together in _history(draw):
        chosen = draw.choice(cut)
        for stream, row in together:
            chosen.setdefault(stream, []).append(row)
    folders = []
    for number, streams in enumerate(cut):
        target = folder / f"delivery_{number}"
        for stream, rows in streams.items():
            write_rows(target / f"{stream}.csv", rows)
        if streams:
            state_delivery(target, delivered_at=f"2025-0{number + 1}-28T20:00:00Z")
            folders.append(target)
    draw.shuffle(folders)
    return folders


def _hash_of_everything(settings: Settings) -> str:
    with duckdb.connect(str(settings.paths.current), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        return content_hash(connection)


def _assert_any_sequence_ends_alike(folder: Path, seed: int, deliveries: int) -> None:
    draw = random.Random(seed)
    folders = _deliveries(folder / "in", draw, deliveries)
    whole, stepwise = home_settings(folder / "whole"), home_settings(folder / "stepwise")
    ingestion.ingest(folders, settings=whole)
    expected = run_build(settings=whole)
    for number, one in enumerate(folders):
        ingestion.ingest([one], settings=stepwise)
        report = run_build(settings=stepwise)
        assert report.is_full_build == (number == 0)
        assert report.content_hash == _hash_of_everything(stepwise), f"the sums are off after step {number}"
    content, of_whole = marts_content(stepwise), marts_content(whole)
    for table, rows in of_whole.items():
        assert content[table] == rows, f"seed {seed}: marts.{table} differs"
    assert report.content_hash == expected.content_hash
    assert len(content["episodes"]) > 0 < len(content["assessments"])


def test_a_large_delivery_in_steps_ends_in_one_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_BYTES_KEPT_A_ROW", 1e9)
    _assert_any_sequence_ends_alike(tmp_path, seed=20261126, deliveries=3)


def test_every_model_and_test_runs_once_whether_a_delivery_is_large_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each command of a build ran, as dbt itself lists it."""
    settings = home_settings(tmp_path / "home")
    ingestion.ingest([write_delivery(tmp_path / "in", [Course("1")])], settings=settings)
    run_build(settings=settings)
    ran: list[set[str]] = []

    def running(words: Sequence[str], **options: Any) -> DbtSummary:
        summary = dbt_runner.run_dbt(words, **options)
        results = json.loads((settings.paths.dbt_target / "run_results.json").read_text(encoding="utf-8"))["results"]
        ran.append({row["unique_id"] for row in results})
        return summary

    monkeypatch.setattr(build, "run_dbt", running)
    everything = {}
    for kind, bytes_kept in (("small", 0.0), ("large", 1e9)):
        monkeypatch.setattr(build, "_BYTES_KEPT_A_ROW", bytes_kept)
        ingestion.ingest([write_delivery(tmp_path / kind, [Course(kind)])], settings=settings)
        ran.clear()
        assert not run_build(settings=settings).is_full_build
        assert len(ran) == (2 + len(build._STEPS) if kind == "large" else 1)
        assert sum(map(len, ran)) == len(set.union(*ran)), "something ran twice"
        everything[kind] = set.union(*ran)
    ran.clear()
    run_build(settings=settings, full_refresh=True)
    whole = {name for name in set.union(*ran) if not name.startswith("seed.")}
    assert everything["small"] == everything["large"] == whole
    assert sum(name.startswith("test.") for name in whole) > 25


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_any_sequence_of_deliveries_ends_in_one_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(build, "_BYTES_KEPT_A_ROW", 1e9 if seed % 2 else 0.0)
    _assert_any_sequence_ends_alike(tmp_path, seed=seed, deliveries=6)
