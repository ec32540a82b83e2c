"""Invented identifiers of every kind in every column of every stream, in four ways of writing: none is kept."""

from __future__ import annotations

import csv
import itertools
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import ingestion
from caseness.settings import Settings
from ingestion.contracts import Column, Contract, contracts
from tests.fixtures.depth import times
from tests.fixtures.identifiers import ENCODINGS, KINDS, Identifier, of_kind
from tests.fixtures.small_service import home_settings

_IN_A_FILE = 4
SHORT_NUMBER = re.compile(r"[0-9]{1,6}")
HASHES = re.compile(r"[0-9a-f]{32,64}")


def _clean(column: Column, number: int) -> str:
    """A value the column admits, another for another row where it can be."""
    if column.kind == "token":
        return f"K{number}"
    if column.kind in ("enumeration",):
        return column.values[0]
    if column.kind == "boolean":
        return "true"
    if column.kind == "date":
        return f"2024-03-{1 + number % 28:02d}"
    if column.kind == "timestamp":
        return f"2024-03-{1 + number % 28:02d}T10:00:00Z"
    if column.kind == "time_zone":
        return "Europe/London"
    if column.kind in ("integer", "decimal"):
        low = float(column.minimum or 0)
        return str(int(max(low, 0)) if low <= 1 else int(low))
    return ""


def _seeded(contract: Contract, column: Column, values: list[str], path: Path) -> None:
    """Three clean rows, and one row for each identifier, which stands in one column."""
    names = [c.name for c in contract.columns if c.is_required or c.name == column.name]
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(names)
        by_name = {c.name: c for c in contract.columns}
        for number in range(3):
            writer.writerow([_clean(by_name[name], number) for name in names])
        for number, value in enumerate(values, start=3):
            writer.writerow([value if name == column.name else _clean(by_name[name], number) for name in names])


def _places() -> Iterator[tuple[Contract, Column]]:
    for contract in contracts().values():
        for column in contract.columns:
            yield contract, column


def kept_values(settings: Settings) -> dict[str, set[str]]:
    """Every different text and number that lies in a part, by stream and column; times as they would be read."""
    found: dict[str, set[str]] = defaultdict(set)
    for stream, parts in ingestion.landed_parts(settings).items():
        for part in parts:
            frame = pl.read_parquet(part)
            for name in frame.columns:
                found[f"{stream}.{name}"] |= set(map(str, frame.get_column(name).drop_nulls().unique().to_list()))
    return found


def history_columns() -> set[str]:
    """Columns for days before the service: a birth, or when an illness began and ended.

    They admit any day, so a date of birth in one of them is no different from one that belongs there.
    """
    return {
        f"{contract.stream}.{name}"
        for contract in contracts().values()
        for column in contract.columns
        if column.kind in ("date", "timestamp") and not column.is_service_date
        for name in (column.landed_name, column.local_date_as)
        if name
    }


def told(home: Path) -> str:
    """What journal, manifest, logs and marks say, without hashes."""
    texts = []
    for path in home.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".jsonl", ".toml", ".csv"):
            texts.append(HASHES.sub("", path.read_text(encoding="utf-8")))
    for path in (home / "quarantine").glob("*.parquet"):
        frame = pl.read_parquet(path).select(pl.selectors.string().exclude("load_id"))
        texts.extend(str(row) for row in frame.unique().iter_rows())
    return "\n".join(set("\n".join(texts).splitlines()))


def leaked(
    settings: Settings,
    report: dict[str, Any],
    sent: list[tuple[str, Any, Identifier]],
    also: Collection[str] = (),
) -> Counter[tuple[str, Any, str]]:
    """Which identifiers lie in a part, in ``also``, or in what home and report say; short digit strings stand apart."""
    kept = kept_values(settings)
    everywhere = set().union(*kept.values(), also)
    in_service = set().union(*(values for name, values in kept.items() if name not in history_columns()))
    words = told(settings.home) + HASHES.sub("", json.dumps({**report, "sources": []}))
    found: Counter[tuple[str, Any, str]] = Counter()
    short = 0
    for file, place, identifier in sent:
        text = identifier.text
        if SHORT_NUMBER.fullmatch(text.replace(" ", "")):
            short += text in everywhere
        elif text in (in_service if identifier.kind == "birth_date" else everywhere) or (
            len(text) > 4 and text in words
        ):
            found[file, place, identifier.kind] += 1
    print(f"identifiers {len(sent)}, leaked {sum(found.values())}, short digit strings in bounded integers {short}")
    return found


@pytest.mark.parametrize("block", range(times(1, deep=20)))
def test_no_identifier_is_kept(block: int, tmp_path: Path) -> None:
    chance = random.Random(block)
    settings = home_settings(tmp_path / "home", programme_start_date="2015-01-01")
    cases = list(itertools.product(_places(), sorted(KINDS), ENCODINGS))
    chance.shuffle(cases)
    sent: list[tuple[str, str, Identifier]] = []
    folder = tmp_path / "in"
    for number, ((contract, column), kind, encoding) in enumerate(cases[: times(150, deep=1250)]):
        values = of_kind(kind, _IN_A_FILE, encoding=encoding, seed=block * 100_000 + number)
        own = folder / f"f{number}"
        own.mkdir(parents=True)
        _seeded(contract, column, values, own / f"{contract.stream}.csv")
        sent.extend((contract.stream, column.name, Identifier(kind, encoding, value)) for value in values)
    report = ingestion.ingest([folder], settings=settings).as_dict()
    assert report["rows_in"] == report["rows_admitted"] + report["rows_quarantined"]
    assert not [p for p in report["problems"] if p["rule"] in ("reader_failed", "reader_died")]
    assert leaked(settings, report, sent) == Counter()


def test_clean_rows_are_not_refused(tmp_path: Path) -> None:
    """A hundred thousand rows as services send them (a few thousand in the short form): no file is refused."""
    from benchmarks.synthetic_service import generate

    settings = home_settings(tmp_path / "home")
    generate(target=tmp_path / "service", people=times(60, deep=1500), years=1)
    report: dict[str, Any] = ingestion.ingest([tmp_path / "service" / "exports"], settings=settings).as_dict()
    assert report["files_refused"] == 0, report["problems"]
    by_rule = report["quarantined_by_rule"]
    assert by_rule.get("identifier_values", 0) == 0
    # The service sends a few faulty rows on purpose; they alone are held back.
    assert set(by_rule) <= {"range", "unknown_code", "required", "integer", "date", "answer_consistency"}, by_rule
    assert report["rows_quarantined"] <= 0.01 * report["rows_in"]
    assert report["rows_in"] >= times(3_000, deep=100_000)
