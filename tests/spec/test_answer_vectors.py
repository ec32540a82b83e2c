"""All 262,144 answers to a PHQ-9 and all 16,384 to a GAD-7, counted: how many have each total, screen and algorithm.

The models' own SQL runs over a table of all vectors. The arithmetic beside it knows the published rules only. Python
scores one vector of each kind (same total, same symptoms, same item 9); the long way through the door is a slow test.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pytest

from screening.scoring import score
from tests.fixtures.service import Service

ITEMS = {"PHQ-9": 9, "GAD-7": 7}
# From int_answers_current on; views are found by name and need no second run.
_MODELS = ("int_assessments_assigned", "assessments")


def vectors(instrument: str) -> np.ndarray:
    """Every answer vector, one a row; row n holds the digits of n to the base of 4, the first item first."""
    width = ITEMS[instrument]
    return np.arange(4**width)[:, None] // 4 ** np.arange(width) % 4


def algorithm(answers: np.ndarray) -> np.ndarray:
    """The PHQ-9 diagnostic algorithm as published: symptoms from 2, item 9 from 1, item 1 or 2 among them."""
    symptoms = answers >= np.array([2, 2, 2, 2, 2, 2, 2, 2, 1])
    is_core, count = symptoms[:, 0] | symptoms[:, 1], symptoms.sum(axis=1)
    return np.select([is_core & (count >= 5), is_core & (count >= 2)], ["major", "other"], "none")


@pytest.fixture(scope="module")
def copy(specified: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A copy of the built warehouse that may be written to."""
    path = tmp_path_factory.mktemp("vectors") / "copy.duckdb"
    shutil.copyfile(specified.settings.paths.current, path)
    with duckdb.connect(str(path)) as connection:
        yield connection


def _models(specified: Service) -> dict[str, Any]:
    manifest = json.loads((specified.settings.paths.dbt_target / "manifest.json").read_text(encoding="utf-8"))
    return {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}


@pytest.fixture(scope="module")
def scored(specified: Service, copy: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    """Columns of the assessments of all vectors, in the order of ``vectors``."""
    models = _models(specified)
    copy.execute("delete from intermediate.int_totals_current; delete from intermediate.int_answers_current")
    for instrument, width in ITEMS.items():
        copy.execute(
            "insert into intermediate.int_answers_current (response_id, instrument_code, item_number, person_id, "
            "answer_state, answer_value, answer_value_kind, answered_at, answered_local_date, response_status) "
            f"select cast(n as varchar), '{instrument}', item + 1, 'somebody', 'answered', "
            "n // cast(4 ** item as integer) % 4, 'scored_value', "
            "timestamp '2026-01-05 10:00:00', date '2026-01-05', 'completed' "
            f"from range({4**width}) as numbers(n) cross join range({width}) as items(item)"
        )
    for name in _MODELS:
        table = f"{models[name]['schema']}.{name}"
        copy.execute(f"drop table {table}")
        copy.execute(f"create table {table} as {models[name]['compiled_code']}")
    return {
        instrument: copy.execute(
            f"select * from marts.assessments where instrument_code = '{instrument}' "
            "order by cast(response_id as integer)"
        ).fetchnumpy()
        for instrument in ITEMS
    }


def _representatives(answers: np.ndarray, *kinds: Any) -> list[tuple[tuple[int, ...], int]]:
    """One vector of each kind and how many there are of it."""
    _, first, count = np.unique(np.column_stack(kinds), axis=0, return_index=True, return_counts=True)
    return [(tuple(map(int, answers[n])), int(size)) for n, size in zip(first, count, strict=True)]


def test_phq9_totals_screens_and_algorithm(scored: dict[str, dict[str, Any]]) -> None:
    found, answers = scored["PHQ-9"], vectors("PHQ-9")
    totals = answers.sum(axis=1)
    assert len(found["measure_total"]) == 262_144
    for column in ("answered_sum", "total_complete_case", "total_prorated", "measure_total"):
        np.testing.assert_array_equal(found[column], totals)
    assert [int((found["measure_total"] == total).sum()) for total in range(6)] == [1, 9, 45, 165, 486, 1206]
    bands = ["minimal", "mild", "moderate", "moderately_severe", "severe"]
    np.testing.assert_array_equal(found["severity_band"], np.array(bands)[np.digitize(totals, [5, 10, 15, 20])])
    assert int(found["is_screen_positive"].sum()) == int(found["is_at_caseness"].sum()) == 231_182
    np.testing.assert_array_equal(found["is_screen_positive"], totals >= 10)
    np.testing.assert_array_equal(found["diagnostic_algorithm"], algorithm(answers))
    assert Counter(found["diagnostic_algorithm"]) == {
        "major": 130_304,
        "other": 65_792,
        "none": 262_144 - 130_304 - 65_792,
    }
    np.testing.assert_array_equal(found["risk_item_status"] == "positive", answers[:, 8] >= 1)


def test_gad7_totals_and_screens(scored: dict[str, dict[str, Any]]) -> None:
    found, totals = scored["GAD-7"], vectors("GAD-7").sum(axis=1)
    assert len(found["measure_total"]) == 16_384
    np.testing.assert_array_equal(found["measure_total"], totals)
    assert [int((found["measure_total"] == total).sum()) for total in range(6)] == [1, 7, 28, 84, 203, 413]
    bands = ["minimal", "mild", "moderate", "severe"]
    np.testing.assert_array_equal(found["severity_band"], np.array(bands)[np.digitize(totals, [5, 10, 15])])
    assert int(found["is_at_caseness"].sum()) == 13_792
    assert int(found["is_screen_positive"].sum()) == 10_320


def test_python_gives_the_same_counts() -> None:
    answers = vectors("PHQ-9")
    symptoms, core = (answers[:, :8] >= 2).sum(axis=1), (answers[:, :2] >= 2).any(axis=1)
    found: Counter[str] = Counter()
    for vector, count in _representatives(answers, answers.sum(axis=1), symptoms, core, answers[:, 8]):
        one = score("PHQ-9", vector)
        found[one.diagnostic_algorithm] += count
        found["screen"] += count * bool(one.is_screen_positive)
        found["caseness"] += count * bool(one.is_at_caseness)
    assert (found["major"], found["other"], found["screen"], found["caseness"]) == (130_304, 65_792, 231_182, 231_182)
    answers = vectors("GAD-7")
    found.clear()
    for vector, count in _representatives(answers, answers.sum(axis=1)):
        one = score("GAD-7", vector)
        found["screen"] += count * bool(one.is_screen_positive)
        found["caseness"] += count * bool(one.is_at_caseness)
    assert (found["caseness"], found["screen"]) == (13_792, 10_320)


def test_a_reversed_item_is_turned_once_and_only_where_the_key_is_still_to_apply(
    scored: dict[str, dict[str, Any]], specified: Service, copy: duckdb.DuckDBPyConnection
) -> None:
    """No instrument so far has a reversed item, so one is made: of 0 to 3, the place 1 is the value 2."""
    items = _models(specified)["int_items_scored"]["compiled_code"]
    copy.execute("begin")
    try:
        copy.execute(
            "update intermediate.instrument_items set is_reverse_keyed = true "
            "where instrument_code = 'GAD-7' and item_number = 2"
        )
        copy.execute("delete from intermediate.int_answers_current where instrument_code <> 'GAD-7'")
        copy.execute(
            "update intermediate.int_answers_current set answer_value_kind = 'answer_position' "
            "where cast(response_id as integer) < 8192"
        )
        found = copy.execute(
            "select distinct answer_value_kind, items.item_number = 2, answer_value, scored_value "
            f"from ({items}) as items inner join intermediate.int_answers_current as answers "
            "on items.response_id = answers.response_id and items.item_number = answers.item_number "
            "where items.item_number in (1, 2) order by all"
        ).fetchall()
    finally:
        copy.execute("rollback")
    turned = [(True, 0, 3), (True, 1, 2), (True, 2, 1), (True, 3, 0)]
    kept = [(False, value, value) for value in range(4)]
    assert found == [
        *(("answer_position", *row) for row in [*kept, *turned]),
        *(("scored_value", *row) for row in [*kept, *((True, value, value) for value in range(4))]),
    ]
