"""One service under three profiles: intervals and outcomes are the same, results by year are not told."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import pytest

import ingestion
from caseness.commands.build import run_build
from caseness.commands.check import run_check
from caseness.commands.evaluate import run_evaluate
from caseness.commands.publish import run_publish
from caseness.settings import Settings
from ingestion import deidentification
from tests.fixtures.small_service import (
    START,
    Course,
    delivery_tables,
    fetch,
    home_settings,
    state_delivery,
    write_delivery,
    write_rows,
)

COURSES = [
    Course("recovers"),
    Course("waits_long", treatment_days=(50, 57, 80)),
    Course("waits_very_long", treatment_days=(130, 137)),
    Course("worse", phq9=(12, 20), gad7=(9, 15)),
    Course("still_open", is_discharged=False),
    Course("one_contact", treatment_days=(9,)),
    Course("below", phq9=(4, 3), gad7=(2, 2)),
    *(Course(f"more{number}", phq9=(18, 15, 11, 6 + number % 5)) for number in range(20)),
]
PROFILES: dict[str, dict[str, Any]] = {
    "limited_data_set": {},
    "shift": {"deidentification": "expert_determination", "expert_report": "E-1", "date_shift_weeks": 8},
    "safe_harbor": {"deidentification": "safe_harbor"},
}
_CUSTOM_PERIOD = "2024-01-01/2024-12-31"


def _relative(value: object) -> str:
    return str((dt.date.fromisoformat(str(value)[:10]) - START).days) if value else ""


def _as_safe_harbor(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """The same rows as a sender under safe_harbor writes them: its own random codes, days from the referral."""
    written = []
    for row in rows:
        new: dict[str, object] = {}
        for name, value in row.items():
            if name == "person_code":
                new[name] = hashlib.sha256(str(value).encode()).hexdigest()[:32]
            elif name == "birth_date":
                new |= {"birth_year": str(value)[:4], "index_year": str(START.year)}
            elif name.endswith(("_date", "_at")):
                new[f"{name}_days_from_index"] = _relative(value)
            else:
                new[name] = value
        written.append(new)
    return written


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Settings]:
    folder = tmp_path_factory.mktemp("profiles")
    made = {}
    for name, changes in PROFILES.items():
        settings = home_settings(folder / name, **changes)
        delivery = folder / f"in_{name}"
        if name == "safe_harbor":
            for stream, rows in delivery_tables(COURSES).items():
                write_rows(delivery / f"{stream}.csv", _as_safe_harbor(rows))
            state_delivery(delivery)
        else:
            write_delivery(delivery, COURSES)
        report = ingestion.ingest([delivery], settings=settings).as_dict()
        assert (report["files_refused"], report["rows_quarantined"]) == (0, 0), report["problems"]
        run_build(settings=settings, measurement_periods=[_CUSTOM_PERIOD])
        made[name] = settings
    return made


_EPISODES = """
    select referral_id, has_finished_course, days_to_first_treatment, days_first_to_second_treatment,
        treatment_contacts, phq9_first, phq9_last, gad7_first, gad7_last, caseness_status, change_class, has_recovered,
        is_reliably_recovered, is_first_treatment_within_6_weeks, is_first_treatment_within_18_weeks, main_modality
    from marts.episodes order by referral_id
"""
_WEEKS = """
    select referral_id, instrument_code, week_of_treatment, is_baseline, total_prorated, severity_band
    from marts.trajectories order by all
"""
_RESULTS = """
    select measure_id, initial_population_count, denominator_count, denominator_exclusion_count, numerator_count,
        rate_percent, result_status
    from marts.measure_results where period_id {} 'all' order by all
"""
# Of the measures that all days are a period of, and that do not count days up to its last: others need a calendar.
_OF_ALL_DAYS = _RESULTS.format("=").replace(
    "order by",
    "and measure_id in (select measure_id from intermediate.measures where period_kinds like '%all%' "
    "and period_anchor <> 'period_end') order by",
)


@pytest.mark.parametrize("profile", ["shift", "safe_harbor"])
@pytest.mark.parametrize("question", [_EPISODES, _WEEKS, _OF_ALL_DAYS], ids=["episodes", "weeks", "all_days"])
def test_intervals_and_outcomes_are_those_of_true_dates(
    homes: dict[str, Settings], profile: str, question: str
) -> None:
    true = fetch(homes["limited_data_set"], question)
    assert len(true) >= 10
    assert fetch(homes[profile], question) == true


@pytest.mark.parametrize("profile", ["shift", "safe_harbor"])
def test_results_that_need_a_calendar_are_not_computable(homes: dict[str, Settings], profile: str) -> None:
    rows = fetch(homes[profile], _RESULTS.format("<>"))
    assert len(rows) >= 10
    assert {row[1:] for row in rows} == {(None, None, None, None, None, "not_computable")}
    assert fetch(homes[profile], "select count(*) from marts.measure_members where period_id <> 'all'") == [(0,)]
    true = fetch(homes["limited_data_set"], _RESULTS.format("<>"))
    assert "computed" in {row[-1] for row in true}


@pytest.mark.parametrize("profile", ["shift", "safe_harbor"])
def test_a_measure_of_calendar_windows_is_told_as_not_computable(homes: dict[str, Settings], profile: str) -> None:
    """It has no period of all days; there it stands all the same, so that nobody takes its absence for a zero."""
    question = (
        "select count(*), count(denominator_count), count(rate_lower_percent), min(result_status), max(result_status) "
        "from marts.measure_results where period_id = 'all' "
        "and measure_id in ('cms159', 'cms2', 'mncm_remission_6_months')"
    )
    assert fetch(homes[profile], question) == [(3, 0, 0, "not_computable", "not_computable")]
    assert fetch(homes["limited_data_set"], question) == [(0, 0, 0, None, None)]


@pytest.mark.parametrize("profile", ["shift", "safe_harbor"])
def test_how_long_somebody_waits_up_to_a_day_is_not_computable_without_a_calendar(
    homes: dict[str, Settings], profile: str
) -> None:
    question = (
        "select count(*), count(denominator_count), min(result_status), max(result_status) from marts.measure_results "
        "where period_id = 'all' and measure_id in "
        "(select measure_id from intermediate.measures where period_anchor = 'period_end')"
    )
    ((count, *rest),) = fetch(homes[profile], question)
    assert count >= 10
    assert rest == [0, "not_computable", "not_computable"]


def test_dates_of_the_warehouse_are_not_the_true_ones(homes: dict[str, Settings]) -> None:
    question = "select distinct referral_received_date from marts.episodes"
    assert fetch(homes["limited_data_set"], question) == [(START,)]
    assert fetch(homes["safe_harbor"], question) == [(deidentification.index_day(),)]
    shifted = {day for (day,) in fetch(homes["shift"], question)}
    assert len(shifted) > 5
    assert {(day - START).days % 7 for day in shifted} == {0}


def test_the_person_of_safe_harbor_is_the_senders_own_code(homes: dict[str, Settings]) -> None:
    people = {token for (token,) in fetch(homes["safe_harbor"], "select person_id from marts.people")}
    assert people == {
        f"s1_small_service_{hashlib.sha256(f'P{course.code}'.encode()).hexdigest()[:32]}" for course in COURSES
    }


@pytest.mark.parametrize("profile", ["shift", "safe_harbor"])
def test_a_release_says_its_profile_and_tells_nothing_by_year(homes: dict[str, Settings], profile: str) -> None:
    import duckdb

    settings = homes[profile]
    run_check(settings=settings)
    run_evaluate(settings=settings)
    report = run_publish(settings=settings).as_dict()
    with duckdb.connect(
        str(settings.paths.releases / report["release_id"] / "public.duckdb"), read_only=True
    ) as release:
        facts = dict(release.execute("select key, value from release_metadata").fetchall())
        periods = release.execute("select distinct period_id from pub_service_overview").fetchall()
        flow = release.execute("select count(*) from pub_severity_flow").fetchall()
    assert facts["deidentification"] == settings.deidentification.value
    assert facts["date_form"] == deidentification.date_form(settings)
    assert "no calendar dates" in facts["statement"]
    assert facts["as_of_date"] == facts["data_period_start"] == "no calendar date"
    assert (periods, flow) == ([("all",)], [(0,)])


def test_another_profile_does_not_build_this_home(homes: dict[str, Settings]) -> None:
    from caseness.errors import UsageError

    changed = homes["shift"].with_changes(date_shift_weeks=7)
    with pytest.raises(UsageError, match="another de-identification profile"):
        run_build(settings=changed)
