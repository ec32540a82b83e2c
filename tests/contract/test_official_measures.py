"""The official CMS159 and CMS2 cases through ingest and build: every population of every case is as published.

``test_fhir_measures.py`` writes the measures down a second time, in Python over the landed rows; it stays independent.
"""

from __future__ import annotations

import csv
import datetime as dt
import shutil
from pathlib import Path

import pytest

import ingestion
from caseness.settings import IdentifierPolicy
from tests.fixtures.service import Service

_MEASURES = {"CMS159": 34, "CMS2": 18}
_COLUMNS = {
    "initial_population": "is_in_initial_population",
    "denominator": "is_in_denominator",
    "denominator_exclusion": "is_denominator_exclusion",
    "denominator_exception": "is_denominator_exception",
    "numerator": "is_in_numerator",
}


def _delivered(cases: Path, expected: list[dict[str, str]], folder: Path) -> list[Path]:
    """Each case is a delivery that states its person: in two, an order names another person than the file's own."""
    for row in expected:
        target = folder / row["case_id"]
        target.mkdir(parents=True)
        shutil.copyfile(cases / f"{row['case_id']}.json", target / "case.json")
        (target / "delivery.yml").write_text(f"person: {row['case_id']}\n", encoding="utf-8")
    return [folder]


@pytest.mark.parametrize("measure", sorted(_MEASURES))
def test_every_population_of_every_official_case(shared_data: Path, tmp_path: Path, measure: str) -> None:
    folder = shared_data / "ecqm" / measure
    if not folder.is_dir():
        pytest.skip(f"the official cases of {measure} are not on this machine")
    expected = list(csv.DictReader((folder / "expected.csv").read_text(encoding="utf-8").splitlines()))
    assert len(expected) == _MEASURES[measure]
    service = Service(tmp_path / "home", identifiers=IdentifierPolicy.DROP, as_of_date=dt.date(2027, 6, 30))
    paths = _delivered(folder / "cases", expected, tmp_path / "in")
    ingestion.ingest(paths, settings=service.settings, source="fhir")
    service.build()
    names = [name for name in _COLUMNS if name in expected[0]]
    found = {
        row[0]: dict(zip(names, map(int, row[1:]), strict=True))
        for row in service.ask(
            f"select subject_id, {', '.join(_COLUMNS[name] for name in names)} from marts.measure_members "
            f"where measure_id = '{measure.lower()}' and period_id = 'cy_2026'"
        )
    }
    tokens = ingestion.person_tokens("fhir", [row["case_id"] for row in expected], settings=service.settings)
    wrong = {}
    for row in expected:
        official = {name: int(row[name]) for name in names}
        counted = found.get(tokens[row["case_id"]], dict.fromkeys(names, 0))
        if counted != official:
            wrong[row["name"]] = (counted, official)
    assert not wrong
    official_sum = [sum(int(row[name]) for row in expected) for name in ("denominator", "numerator")]
    (result,) = service.ask(
        "select initial_population_count, numerator_count, denominator_count + denominator_exclusion_count, "
        f"result_status from marts.measure_results where measure_id = '{measure.lower()}' and period_id = 'cy_2026'"
    )
    assert result == (official_sum[0], official_sum[1], official_sum[0], "computed")
    evidence = service.ask(
        "select evidence, exclusion_reason from marts.measure_members "
        f"where measure_id = '{measure.lower()}' and is_denominator_exclusion and period_id = 'cy_2026'"
    )
    assert evidence
    assert all(reason and reason in text for text, reason in evidence)
