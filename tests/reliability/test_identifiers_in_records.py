"""Invented identifiers in every field of health records of other senders: FHIR, OMOP, REDCap and SDTM keep none.

The policy is the laxer one: fields outside a contract are passed over, so that what reaches a part is all that counts.
"""

from __future__ import annotations

import copy
import csv
import gzip
import io
import itertools
import json
import random
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import ingestion
from caseness.commands.build import run_build
from caseness.settings import IdentifierPolicy, Settings
from tests.contract import test_sources_redcap as redcap
from tests.fixtures.depth import times
from tests.fixtures.identifiers import ENCODINGS, KINDS, Identifier, of_kind
from tests.fixtures.small_service import home_settings
from tests.reliability.test_identifiers_seeded import leaked

_IN_A_FILE = 3
_CLEAN = 2
Place = tuple[Any, ...]
Rows = list[dict[str, Any]]


def _leaves(value: Any, path: Place = ()) -> Iterator[Place]:
    """Every text and number of a record, except its kind."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _leaves(one, (*path, name))
    elif isinstance(value, list):
        for at, one in enumerate(value[:2]):
            yield from _leaves(one, (*path, at))
    elif isinstance(value, str | int | float) and path != ("resourceType",):
        yield path


def _put(record: dict[str, Any], path: Place, value: str) -> dict[str, Any]:
    changed = copy.deepcopy(record)
    at: Any = changed
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return changed


class _Sample:
    """A few rows of one kind, and how they are written."""

    def __init__(self, source: str, name: str, rows: Rows, extra: dict[str, str] | None = None) -> None:
        self.source, self.name, self.rows, self.extra = source, name, rows, extra or {}
        self.places = sorted({path for row in rows for path in _leaves(row)}, key=str)

    def write(self, folder: Path, place: Place, values: list[str]) -> None:
        """Clean rows, and one for each value, which stands in one place."""
        holders = [row for row in self.rows if place in set(_leaves(row))]
        rows = [*self.rows[:_CLEAN], *(_put(holders[n % len(holders)], place, v) for n, v in enumerate(values))]
        folder.mkdir(parents=True)
        for name, text in self.extra.items():
            (folder / name).write_text(text, encoding="utf-8")
        if self.name.endswith(".ndjson"):
            for number, row in enumerate(rows):
                if place != ("id",):
                    row["id"] = f"{row.get('id')}-{number}"
            text = "".join(json.dumps(row) + "\n" for row in rows)
        else:
            out = io.StringIO()
            writer = csv.DictWriter(out, list(self.rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            text = out.getvalue()
        (folder / self.name).write_text(text, encoding="utf-8")


def _fhir(shared: Path) -> Iterator[_Sample]:
    for path in sorted((shared / "fhir" / "generated_60_patients").glob("*.ndjson.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in itertools.islice(lines, 4)]
        yield _Sample("fhir", path.name.removesuffix(".gz"), rows)
    forms = [json.loads(path.read_text()) for path in sorted((shared / "fhir").glob("phq9_*/*.json"))]
    yield _Sample(
        "fhir", "QuestionnaireResponse.ndjson", [f for f in forms if "Response" in str(f["resourceType"])][:3]
    )


def _omop(shared: Path) -> Iterator[_Sample]:
    names = ["person", "visit_occurrence", "condition_occurrence", "procedure_occurrence", "drug_exposure"]
    names += ["observation", "measurement", "death", "payer_plan_period"]
    with zipfile.ZipFile(shared / "omop" / "Synthea27Nj_5.4.zip") as archive:
        inner = {Path(name).name.lower(): name for name in archive.namelist()}
        tables = {name: archive.read(inner[f"{name}.csv"]).decode() for name in (*names, "concept")}
    concepts = {"CONCEPT.csv": tables["concept"]}
    for name in names:
        rows = list(itertools.islice(csv.DictReader(io.StringIO(tables[name])), 4))
        if rows:
            yield _Sample("omop", f"{name.upper()}.csv", rows, concepts)


def _sdtm(shared: Path) -> Iterator[_Sample]:
    text = (shared / "trials" / "admiral_sdtm_qs" / "example_qs.csv").read_text(encoding="utf-8")
    yield _Sample("sdtm", "qs.csv", list(itertools.islice(csv.DictReader(io.StringIO(text)), 4)))


def _redcap(folder: Path) -> Iterator[_Sample]:
    rows = [redcap.form(str(n), "1", "1 2 3 0 1 2 3 0 1", total="13") for n in range(1, 4)]
    data = redcap.export(folder, rows)
    beside = {path.name: path.read_text(encoding="utf-8") for path in data.parent.iterdir() if path != data}
    text = data.read_text(encoding="utf-8")
    yield _Sample("redcap", data.name, list(csv.DictReader(io.StringIO(text))), beside)


def _everything_said(settings: Settings) -> set[str]:
    """Every text in every table of the build."""
    said: set[str] = set()
    with duckdb.connect(str(settings.paths.current), read_only=True) as connection:
        columns = connection.execute(
            "select table_schema, table_name, column_name from information_schema.columns "
            "where data_type in ('VARCHAR', 'DATE', 'VARCHAR[]')"
        ).fetchall()
        for schema, table, column in columns:
            found = connection.execute(f'select distinct "{column}"::varchar from "{schema}"."{table}"').fetchall()
            said |= {row[0] for row in found if row[0]}
    return said


@pytest.mark.parametrize("block", range(times(1, deep=12)))
def test_no_identifier_of_a_record_is_kept(block: int, shared_data: Path, tmp_path: Path) -> None:
    chance = random.Random(block)
    settings = home_settings(tmp_path / "home", programme_start_date="2015-01-01", identifiers=IdentifierPolicy.DROP)
    (tmp_path / "redcap").mkdir()
    samples = [*_fhir(shared_data), *_omop(shared_data), *_sdtm(shared_data), *_redcap(tmp_path / "redcap")]
    assert Counter(sample.source for sample in samples) >= Counter({"fhir": 6, "omop": 6, "sdtm": 1, "redcap": 1})
    cases = [
        (sample, place, kind, encoding)
        for sample in samples
        for place in sample.places
        for kind, encoding in itertools.product(sorted(KINDS), ENCODINGS)
    ]
    chance.shuffle(cases)
    sent: list[tuple[str, Place, Identifier]] = []
    for number, (sample, place, kind, encoding) in enumerate(cases[: times(120, deep=900)]):
        values = of_kind(kind, _IN_A_FILE, encoding=encoding, seed=block * 100_000 + number)
        sample.write(tmp_path / "in" / f"f{number}", place, values)
        sent.extend((f"{sample.source}/{sample.name}", place, Identifier(kind, encoding, value)) for value in values)
    report = ingestion.ingest([tmp_path / "in"], settings=settings).as_dict()
    assert report["rows_in"] == report["rows_admitted"] + report["rows_quarantined"]
    assert not [p for p in report["problems"] if p["rule"] in ("reader_failed", "reader_died")], report["problems"][:3]
    assert report["rows_admitted"] > 0
    also: set[str] = set()
    if block == 0 and times(1, deep=2) == 2:
        run_build(settings=settings)
        also = _everything_said(settings)
    assert leaked(settings, report, sent, also) == Counter()
