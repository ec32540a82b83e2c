"""GLOBEM: the two halves of the PHQ-4 and the day's own sums are read, everything derived is left."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path

import pytest

import ingestion
from tests.fixtures.mapped import home_with, read_file
from tests.fixtures.small_service import home_settings


def test_the_halves_of_a_phq4_are_totals(tmp_path: Path) -> None:
    path = tmp_path / "ema.csv"
    path.write_text(
        "pid,date,phq4_EMA,phq4_anxiety_EMA,phq4_depression_EMA,pss4_EMA,positive_affect_EMA,negative_affect_EMA\n"
        "p1,2019-06-02,5.0,2.0,3.0,,11.0,0.0\np1,2019-06-05,,,,3.0,5.0,2.0\n",
        encoding="utf-8",
    )
    found = read_file(path, home_with(tmp_path, None))
    totals = found.of("questionnaire_totals", "instrument_code", "total_value")
    assert sorted(totals) == [("GAD-2", 2.0), ("PHQ-2", 3.0)]
    assert found.quarantined == [(2, "", "not_contracted")]


def test_instruments_without_a_definition_wait(tmp_path: Path) -> None:
    path = tmp_path / "dep_weekly.csv"
    path.write_text("pid,date,phq4,dep,BDI2\np1,2019-06-02,1.0,False,\np1,2019-06-11,,True,18.0\n", encoding="utf-8")
    found = read_file(path, home_with(tmp_path, None))
    assert found.quarantined == [(1, "instrument_code", "unknown_code"), (2, "instrument_code", "unknown_code")]


def test_steps_of_a_day(tmp_path: Path) -> None:
    steps = "f_steps:fitbit_steps_intraday_rapids_sumsteps:allday"
    path = tmp_path / "steps.csv"
    path.write_text(f"pid,date,{steps},{steps}_norm\np1,2019-06-02,8784.0,0.2\np1,2019-06-03,,\n", encoding="utf-8")
    found = read_file(path, home_with(tmp_path, None))
    assert found.of("activity_periods", "steps", "started_at", "ended_at") == [
        (8784, dt.datetime(2019, 6, 2), dt.datetime(2019, 6, 2, 23, 59, 59))
    ]
    assert found.quarantined == [(2, "", "not_contracted")]


def test_steps_of_somebody_else_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "steps.csv").write_text("person,day,steps\np1,2019-06-02,8784\n", encoding="utf-8")
    assert read_file(tmp_path / "steps.csv", home_with(tmp_path, None)).report is None


@pytest.mark.parametrize(
    ("year", "rows_in", "admitted", "rules"),
    [
        (1, 1052, 752, {"not_contracted": 270, "unknown_code": 30}),
        (2, 1074, 746, {"not_contracted": 268, "unknown_code": 60}),
        (3, 1234, 1029, {"not_contracted": 145, "unknown_code": 60}),
        (4, 1060, 827, {"not_contracted": 173, "unknown_code": 60}),
    ],
)
def test_the_sample(
    shared_data: Path, tmp_path: Path, year: int, rows_in: int, admitted: int, rules: dict[str, int]
) -> None:
    sample = shared_data / "globem_sample" / f"INS-W-sample_{year}"
    settings = home_settings(tmp_path / "home")
    report = ingestion.ingest([sample], settings=settings, time_zone="America/Los_Angeles").as_dict()
    assert (report["rows_in"], report["rows_admitted"], report["files_refused"]) == (rows_in, admitted, 0)
    assert Counter(report["quarantined_by_rule"]) == rules
    assert [Path(name).name for name in report["files_unrecognised"]] == ["platform.csv"]
