"""Every definition row says its version and where it comes from."""

from __future__ import annotations

import csv

import pytest

from caseness.dbt_runner import project_folder
from screening.definitions import definitions

TABLES = sorted(path.stem for path in (project_folder().parent / "screening" / "definitions").glob("*.csv"))


def test_measures_name_thresholds_and_rules_that_exist() -> None:
    thresholds = {row["threshold_id"] for row in definitions("thresholds")}
    rules = {row["rule_id"] for row in definitions("pathway_rules")}
    for row in definitions("measures"):
        assert set(row["threshold_ids"].split()) <= thresholds, row["measure_id"]
        assert set(row["rule_ids"].split()) <= rules, row["measure_id"]


@pytest.mark.parametrize("table", TABLES)
def test_definitions_carry_version_and_source(table: str) -> None:
    rows = definitions(table)
    assert rows
    text = (project_folder().parent / "screening" / "definitions" / f"{table}.csv").read_text(encoding="utf-8")
    widths = {len(row) for row in csv.reader(text.splitlines())}
    assert len(widths) == 1, widths
    for row in rows:
        assert row["source"].strip(), row
        # A comma that was not quoted pushes the end of one cell into the next, and what stood there is lost.
        assert not [name for name, value in row.items() if value != value.strip()], row
        if table != "measure_benchmarks":  # a published figure has a period in place of a version
            assert int(row["definition_version"]) >= 1, row
