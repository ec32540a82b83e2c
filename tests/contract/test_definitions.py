"""Every definition row says its version and where it comes from."""

from __future__ import annotations

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
    for row in rows:
        assert row["source"].strip(), row
        if table != "measure_benchmarks":  # a published figure has a period in place of a version
            assert int(row["definition_version"]) >= 1, row
