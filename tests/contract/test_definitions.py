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


def test_measures_of_people_name_concepts_and_measures_that_exist() -> None:
    """A misspelt name would silently take nobody in, or exclude nobody."""
    measures = {row["measure_id"]: row for row in definitions("measures")}
    families = {row["measure_family"] for row in measures.values()}
    concepts = {row["concept"] for row in definitions("measure_concepts")}
    for row in definitions("measure_exclusions"):
        assert row["concept"] in concepts, row
        assert row["measure_family"] in families, row
        assert row["timing"] in {"starts_by_end", "starts_within", "ends_within", "overlaps"}, row
    lists = {row["measure_id"]: row["exclusion_list_status"] for row in definitions("measure_exclusion_lists")}
    assert set(lists.values()) == {"read", "read_in_part", "not_read"}
    excluding = {row["measure_family"] for row in definitions("measure_exclusions")}
    for measure_id, row in measures.items():
        if row["period_anchor"] == "index_score":
            assert (lists[measure_id] != "not_read") == (row["measure_family"] in excluding), measure_id
    versions = {(row["measure_id"], row["parameter"]): set[int]() for row in definitions("measure_parameters")}
    for row in definitions("measure_parameters"):
        version = int(row["definition_version"])
        assert version <= int(measures[row["measure_id"]]["definition_version"]), row
        versions[row["measure_id"], row["parameter"]].add(version)
        assert row["verification"] in {"read", "unverified"}, row
    assert all(1 in found for found in versions.values())


def test_value_sets_of_concepts_are_shipped_or_known_to_be_the_sites() -> None:
    shipped = {row["value_set"] for row in definitions("value_set_members")}
    named = {row[column] for row in definitions("measure_concepts") for column in ("value_set", "result_value_set")}
    assert named - shipped - {""} == {"Nursing Facility Visit"}
