"""A published figure is found by its filters, answered with the nearest view where it is not, and traced to files."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from caseness import figures, release, telling
from caseness.commands.cohort import run_cohort
from caseness.errors import DamagedHomeError, NotReadyError, UsageError
from caseness.settings import Settings

RECOVERY = "nhs_tt_recovery"
RELEASE = "r_20250331_abc"
_FILE = {"load_id": "l1", "source": "service", "stream": "people", "source_file_sha256": "0" * 64}


def _row(group: str, value: str, period: str, numerator: int | None) -> dict[str, Any]:
    first, _, second = value.partition(" + ")
    return {
        "measure_id": RECOVERY,
        "period_id": period,
        "period_kind": "all",
        "period_label": period,
        "period_start": dt.date(2024, 4, 1),
        "period_end": dt.date(2025, 3, 31),
        "group_dimension": group,
        "group_value": value,
        "first_group_value": first,
        "second_group_value": second or None,
        "denominator_count": 100,
        "denominator_status": "shown",
        "numerator_count": numerator,
        "numerator_status": "shown" if numerator is not None else "suppressed",
        "rate_percent": None if numerator is None else float(numerator),
        "rate_status": "shown" if numerator is not None else "suppressed",
    }


_GROUP_COLUMNS = ("group_dimension", "group_value", "first_group_value", "second_group_value")


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """A home that holds one small release and nothing else."""
    settings = Settings(home=tmp_path)
    folder = settings.paths.releases / RELEASE
    folder.mkdir(parents=True)
    whole = [_row("all", "all", period, count) for period, count in (("all", 50), ("fy_2024", 40))]
    groups = [
        _row("sex", "female", "all", 55),
        _row("sex", "female", "fy_2024", 45),
        _row("sex", "male", "all", None),
        _row("service_code", "a / b", "all", 60),
        _row("age_band+sex", "18 to 25 + female", "all", 35),
        _row("age_band", "18 to 25", "all", 30),
        _row("age_band", "26 to 64", "all", 30),
    ]
    tables = {
        "pub_service_overview": pl.DataFrame(whole).drop(_GROUP_COLUMNS),
        "pub_outcomes_by_group": pl.DataFrame(groups),
        "release_metadata": pl.DataFrame({"key": ["disclosure_profile"], "value": ["opensafely"]}),
    }
    file = folder / "public.duckdb"
    with duckdb.connect(str(file)) as connection:
        for name, frame in tables.items():
            connection.register("made", frame.to_arrow())
            connection.execute(f"create table {name} as select * from made")
    manifest: dict[str, Any] = {
        "release_id": RELEASE,
        "build_id": "b1",
        "code_version": "1",
        "as_of_date": "2025-03-31",
        "definitions_hash": "d1",
        "deidentification": "limited_data_set",
        "disclosure_profile": "opensafely",
        "disclosure_rule": {"description": "small counts hidden"},
        "inputs": [_FILE],
        "files": {"public.duckdb": hashlib.sha256(file.read_bytes()).hexdigest()},
    }
    manifest["seal"] = release.seal_of_manifest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    pointer = {"release_id": RELEASE, "files": {"public": f"{RELEASE}/public.duckdb"}}
    settings.paths.current_release.write_text(json.dumps(pointer), encoding="utf-8")
    return settings


def _ask(home: Settings, *where: str, period: str = "all") -> dict[str, Any]:
    return run_cohort("recovery", settings=home, where=where, period=period)


@pytest.mark.parametrize(
    ("where", "period", "numerator"),
    [
        ((), "all", 50),
        ((), "fy_2024", 40),
        (("sex=female",), "fy_2024", 45),
        (("sex=female", "age_band=18 to 25"), "all", 35),
        (("age_band=18 to 25", "sex=female"), "all", 35),
        (("service_code=a / b",), "all", 60),
        (("sex=male",), "all", None),
    ],
)
def test_a_published_figure_is_found_and_traced(
    home: Settings, where: tuple[str, ...], period: str, numerator: int | None
) -> None:
    body = _ask(home, *where, period=period)
    assert (body["is_published"], body["numerator_count"]) == (True, numerator)
    assert "figure" in telling.cohort_words(body)
    traced = figures.trace(body["figure"], settings=home)
    assert traced["row"]["numerator_count"] == numerator
    assert traced["row"]["period_id"] == period
    assert (traced["release"]["release_id"], traced["build_id"], traced["inputs"]) == (RELEASE, "b1", [_FILE])
    assert traced["definition"]["measure_id"] == RECOVERY
    assert traced["definition"]["source"]
    assert "0" * 64 in telling.trace_words(traced)


def test_more_detail_than_published_is_answered_with_the_nearest_views(home: Settings) -> None:
    body = _ask(home, "sex=female", "age_band=26 to 64", period="fy_2024")
    assert not body["is_published"]
    assert body["says"] == "not published at this detail"
    assert [(near["where"], near["period_id"], near["numerator_count"]) for near in body["nearest"]] == [
        ({"sex": "female"}, "fy_2024", 45),
        ({"age_band": "26 to 64"}, "all", 30),
        ({"sex": "female"}, "all", 55),
    ]
    three = _ask(home, "sex=female", "age_band=18 to 25", "service_code=a / b")
    assert three["nearest"][0]["where"] == {"age_band": "18 to 25", "sex": "female"}
    assert "not published at this detail" in telling.cohort_words(three)
    assert "numerator_count" not in three
    assert "never published together" in three["why"]
    assert three["why"] in telling.cohort_words(three)


def test_a_view_that_the_audit_dropped_is_told_from_one_that_was_never_offered(home: Settings) -> None:
    file = home.paths.releases / RELEASE / "manifest.json"
    before = file.read_text(encoding="utf-8")
    # The second of these groups of two columns is not in the release at all.
    file.write_text(json.dumps({**json.loads(before), "dropped_by_the_audit": [f"{RECOVERY} by age_band+sex"]}))
    try:
        assert "the audit dropped it" in _ask(home, "sex=female", "age_band=26 to 64")["why"]
    finally:
        file.write_text(before, encoding="utf-8")
    assert "no such group" in _ask(home, "sex=female", "age_band=26 to 64")["why"]
    assert "a site's own file" in figures._why_not(
        RECOVERY, ["service_code"], "quarter", settings=home, release_id=RELEASE, scope="public"
    )


def test_columns_and_values_go_by_the_names_people_use(home: Settings) -> None:
    assert _ask(home, "sex=FEMALE")["numerator_count"] == _ask(home, "sex=female")["numerator_count"]
    assert _ask(home, "service=A / B")["numerator_count"] == 60


@pytest.mark.parametrize(
    ("where", "period"), [(("shoe=1",), "all"), (("sex=neither",), "all"), (("sex",), "all"), ((), "fy_1900"),
                          (("sex=male", "sex=female"), "all")],
)  # fmt: skip
def test_names_that_are_not_there_are_told_with_those_that_are(
    home: Settings, where: tuple[str, ...], period: str
) -> None:
    with pytest.raises(UsageError) as told:
        _ask(home, *where, period=period)
    assert told.value.remedy


@pytest.mark.parametrize(
    "figure",
    ["", "r_1/pub_service_overview/x/all", f"{RELEASE}/pub_service_overview/{RECOVERY}", f"{RELEASE}/nothing/1",
     f"{RELEASE}/pub_service_overview/{RECOVERY}/fy_1900", "../x/pub_measures/a"],
)  # fmt: skip
def test_a_figure_that_is_none(home: Settings, figure: str) -> None:
    with pytest.raises(UsageError):
        figures.trace(figure, settings=home)


def test_a_changed_release_is_not_traced(home: Settings) -> None:
    figure = _ask(home)["figure"]
    path = home.paths.releases / RELEASE / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace("b1", "b2"), encoding="utf-8")
    with pytest.raises(DamagedHomeError):
        figures.trace(figure, settings=home)


def test_nothing_is_published_yet(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError):
        _ask(Settings(home=tmp_path / "empty"))


def test_every_published_table_names_its_rows() -> None:
    assert all(columns and all(columns) for columns in figures.key_columns().values())
