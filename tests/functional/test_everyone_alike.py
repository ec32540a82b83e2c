"""A release says nothing of each person by saying it of all of them."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from caseness.commands.check import run_check
from caseness.commands.evaluate import run_evaluate
from caseness.commands.publish import run_publish
from tests.fixtures.service import Service, contact, person, referral, total

# first and fifth PHQ-9 of twelve courses each: week 0 and week 4
BANDS = {"alike": [(16, 12)] * 12, "apart": [(21, 17)] * 12 + [(21, 9)] * 12}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alike")
    service = Service(folder / "home")
    streams: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("people", "referrals", "care_contacts", "questionnaire_totals")
    }
    first = dt.date(2025, 2, 3)
    days = [(first + dt.timedelta(days=7 * week)).isoformat() for week in (0, 4)]
    for name, courses in BANDS.items():
        for number, scores in enumerate(courses):
            code = f"{name}{number}"
            streams["people"].append(person("p_" + code))
            streams["referrals"].append(referral(code, "2025-01-06", "2025-06-02"))
            for day, score in zip(days, scores, strict=True):
                streams["care_contacts"].append(contact(f"{code}_{day}", code, day))
                streams["questionnaire_totals"].append(total(f"{code}_{day}_p", code, "PHQ-9", score, day))
                streams["questionnaire_totals"].append(total(f"{code}_{day}_g", code, "GAD-7", 9 + number % 3, day))
    assert service.deliver(folder / "in", streams)["rows_quarantined"] == 0
    service.build()
    run_check(settings=service.settings)
    run_evaluate(settings=service.settings)
    report = run_publish(settings=service.settings).as_dict()
    return Path(service.settings.paths.releases / report["release_id"] / "public.duckdb")


def _ask(file: Path, statement: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(statement).fetchall()


def _flow(file: Path, band: str) -> dict[str, tuple[int | None, str]]:
    rows = _ask(
        file,
        "select to_band, episodes_count, episodes_status from pub_severity_flow "
        f"where instrument_code = 'PHQ-9' and from_week = 0 and from_band = '{band}'",
    )
    return {row[0]: row[1:] for row in rows}


def test_a_band_that_moves_as_one_is_hidden_whole(release: Path) -> None:
    found = _flow(release, "moderately_severe")
    assert len(found) == 6
    assert set(found.values()) == {(None, "suppressed")}


def test_a_band_that_parts_is_shown(release: Path) -> None:
    found = _flow(release, "severe")
    assert found["moderately_severe"] == found["mild"] == (10, "shown")
    assert found["severe"] == (0, "zero")


def test_a_numerator_of_everyone_or_nobody_is_hidden(release: Path) -> None:
    rows = _ask(
        release,
        "select denominator_status, numerator_status, rate_status from pub_service_overview "
        "where period_id = 'all' and measure_id in ('nhs_tt_first_treatment_6_weeks', 'nhs_tt_reliable_deterioration')",
    )
    assert rows == [("shown", "suppressed", "suppressed")] * 2


def test_what_the_audit_dropped_is_not_in_the_file(release: Path) -> None:
    """In this service the attacker narrows a numerator by severity, so there is something to drop."""
    manifest = json.loads((release.parent / "manifest.json").read_text(encoding="utf-8"))
    dropped = [family.partition(" by ") for family in manifest["dropped_by_the_audit"] if " by " in family]
    assert dropped
    for measure, _, dimension in dropped:
        where = f"group_dimension = '{dimension}' and measure_id = '{measure}'"
        assert _ask(release, f"select count(*) from pub_outcomes_by_group where {where}") == [(0,)]
    assert (
        manifest["tables"]["pub_outcomes_by_group"] == _ask(release, "select count(*) from pub_outcomes_by_group")[0][0]
    )


def test_calendar_years_and_measures_of_people_stay_in_the_warehouse(release: Path) -> None:
    """No declared table names their kind of period, and the measures are not published."""
    for table in ("pub_service_overview", "pub_activity", "pub_outcomes_by_group"):
        kinds = {row[0] for row in _ask(release, f"select distinct period_kind from {table}")}
        assert "calendar_year" not in kinds
    assert {"all", "financial_year", "quarter"} <= {
        row[0] for row in _ask(release, "select distinct period_kind from pub_service_overview")
    }
    measures = {row[0] for row in _ask(release, "select measure_id from pub_measures")}
    assert not measures & {"cms159", "cms2", "hedis_dsf_e_screening"}
