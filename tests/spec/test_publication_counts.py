"""Counts are judged by the people behind them: seven people with twelve courses are seven people, and hidden.

Under the profile `opensafely` 1 to 7 is hidden and the rest rounded to the nearest 5, so twelve courses of eight people
show as 10. The published tables are made from the shared build and from hand-written results of check and evaluate.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from caseness import warehouse
from caseness.dbt_runner import run_dbt
from tests.fixtures.service import AS_OF, Service, contact, drawn, person, referral, total

# A service and a month of its own each: 12 courses counted, or 12 of 24 in the numerator, of 7 and of 8 people.
MONTHS = """
service    month   counted others
service_07 2024-03 7       0
service_08 2024-04 8       0
service_21 2024-05 7       12
service_22 2024-06 8       12
"""
# PHQ-9 bands eight and twelve weeks after the first treatment; twelve courses of so many people, week=score.
FLOW = """
people scores      from to
7      8=6,12=2    mild minimal
8      8=6,12=25   mild severe
8      8=12,12=2   moderate minimal
7      8=12,12=25  moderate severe
"""
# GAD-7: the last score within the two weeks up to week 8 and to week 12, so of weeks 7 and 8 and of 11 and 12.
WINDOWS = """
scores             from         to
7=12,11=17         moderate     severe
8=7,12=2           mild         minimal
8=12,10=17         moderate     not_answered
6=17,12=2          not_answered minimal
9=17,11=12         not_answered moderate
8=17,13=7          severe       not_answered
7=2,8=12,11=17,12=7 moderate    mild
"""


def _owners(people: int) -> list[int]:
    """Twelve courses of so many people, by number: the first ones have two."""
    return [*range(people), *range(12 - people)]


def _weeks(row: dict[str, str]) -> list[tuple[int, int]]:
    return [(int(week), int(score)) for week, score in (one.split("=") for one in row["scores"].split(","))]


def streams() -> dict[str, list[dict[str, Any]]]:
    """The tables as a delivery."""
    names = ("people", "referrals", "care_contacts", "questionnaire_totals")
    made: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    known: set[str] = set()

    def course(
        code: str, owner: str, service: str, first: dt.date, last: dt.date, scores: dict[str, list[Any]]
    ) -> None:
        if owner not in known:
            known.add(owner)
            made["people"].append(person(owner))
        row = referral(code, first.isoformat(), last.isoformat(), owner=owner)
        made["referrals"].append({**row, "service_code": service})
        for number in (0, 7):
            day = (first + dt.timedelta(days=number)).isoformat()
            made["care_contacts"].append(contact(f"{code}_{number}", code, day, owner=owner))
        for instrument, values in scores.items():
            for day_number, value in values:
                day = (first + dt.timedelta(days=day_number)).isoformat()
                row = total(f"{code}{instrument}{day}", code, instrument, value, day, owner=owner)
                made["questionnaire_totals"].append(row)

    well, unwell = (
        {"PHQ-9": [(0, 16), (7, 8)], "GAD-7": [(0, 9), (7, 4)]},
        {"PHQ-9": [(0, 16), (7, 15)], "GAD-7": [(0, 9), (7, 9)]},
    )
    for row in drawn(MONTHS):
        first, service = dt.date.fromisoformat(row["month"] + "-02"), row["service"]
        counted = zip(_owners(int(row["counted"])), repeat(well))
        others = zip(range(100, 100 + int(row["others"])), repeat(unwell))
        for number, (owner, scores) in enumerate(chain(counted, others)):
            last = first + dt.timedelta(days=20)
            course(f"{service}c{number}", f"p_{service}o{owner}", service, first, last, scores)
    started, ended = dt.date(2023, 7, 3), dt.date(2023, 12, 1)
    for kind, row in enumerate(drawn(FLOW)):
        for number, owner in enumerate(_owners(int(row["people"]))):
            values = [(7 * week, score) for week, score in _weeks(row)]
            course(f"flow{kind}c{number}", f"p_flow{kind}o{owner}", "service_30", started, ended, {"PHQ-9": values})
    for number, row in enumerate(drawn(WINDOWS)):
        values = [(7 * week, score) for week, score in _weeks(row)]
        course(f"window{number}", f"p_window{number}", "service_31", started, ended, {"GAD-7": values})
    return made


_SHOWN, _HIDDEN = (10, "shown"), (None, "suppressed")

# Of a week's scores: rows, people, interval; under opensafely and midpoint6 (which hides no count) statistics need 8.
MEANS = """
week rows people low high opensafely midpoint6
0    40   40     9   11   shown      shown
1    8    8      9   11   shown      shown
2    7    7      9   11   suppressed suppressed
3    12   7      9   11   suppressed suppressed
4    12   12     10  10   suppressed suppressed
"""
FINDINGS = """
rule     checked people failed people_failed checked_shown failed_shown
many     449     40     12     8             400           10
one      449     7      0      0             none          0
few      449     40     12     7             400           none
small    99      40     0      0             none          0
least    100     40     0      0             100           0
"""


def _results(folder: Path) -> dict[str, Path]:
    """Hand-written result tables of check and evaluate."""
    means = [
        {
            "instrument_code": "PHQ-9",
            "stratum_dimension": "all",
            "stratum_value": "all",
            "week_of_treatment": int(row["week"]),
            "starters_count": 40,
            "starters_people_count": 40,
            "observed_count": int(row["rows"]),
            "observed_people_count": int(row["people"]),
            "model_mean": 10.0,
            "model_ci_low": 9.0,
            "model_ci_high": 11.0,
            "observed_mean": 10.0,
            "observed_ci_low": float(row["low"]),
            "observed_ci_high": float(row["high"]),
            "method": "written by hand",
        }
        for row in drawn(MEANS)
    ]
    findings = [
        {
            "rule_id": row["rule"],
            "table_name": "marts.episodes",
            "column_name": "",
            "check_kind": "is_true",
            "severity": "warning",
            "rows_checked": int(row["checked"]),
            "people_checked": int(row["people"]),
            "rows_failed": int(row["failed"]),
            "people_failed_at_least": int(row["people_failed"]),
            "failed_share": None,
            "threshold_share": 0.0,
            "status": "failed",
            "reason": "",
            "example": "",
            "remedy": "",
            "build_id": "",
        }
        for row in drawn(FINDINGS)
    ]
    folder.mkdir(parents=True)
    made = {}
    for name, rows in (("trajectory_means", means), ("check_findings", findings)):
        made[name] = folder / f"{name}.parquet"
        pl.DataFrame(rows).write_parquet(made[name])
    return made


class Published:
    """A copy of the shared build with its published tables, before any audit."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, models: dict[str, Any]) -> None:
        self._connection, self._models = connection, models

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        return self._connection.execute(statement).fetchall()

    def under(self, profile: str, model: str, columns: str) -> list[tuple[Any, ...]]:
        """Columns of one published table as another profile makes it."""
        code = self._models[model]["compiled_code"]
        assert "'opensafely'" in code
        return self.ask(f"select {columns} from ({code.replace('opensafely', profile)}) as made order by all")

    def without_anybody(self, model: str, columns: str) -> list[tuple[Any, ...]]:
        """Columns of a model when no referral was ever received."""
        self._connection.execute("begin; delete from marts.episodes")
        try:
            code = self._models[model]["compiled_code"]
            return self.ask(f"select distinct {columns} from ({code}) as made order by all")
        finally:
            self._connection.execute("rollback")


@pytest.fixture(scope="module")
def published(specified: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("published")
    settings = specified.settings.with_changes(home=folder / "home")
    copy = folder / "copy.duckdb"
    shutil.copyfile(specified.settings.paths.current, copy)
    for path in settings.paths.folders():
        path.mkdir(parents=True, exist_ok=True)
    with warehouse.writer(copy, settings) as connection:
        for name, file in _results(folder / "results").items():
            warehouse.create_result_view(connection, name, file)
    variables = {"as_of_date": AS_OF.isoformat(), "disclosure_profile": "opensafely"}
    run_dbt(["run", "--select", "tag:publication"], database=copy, settings=settings, variables=variables)
    manifest = json.loads((settings.paths.dbt_target / "manifest.json").read_text(encoding="utf-8"))
    models = {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    with duckdb.connect(str(copy)) as connection:
        yield Published(connection, models)


def _period(month: str) -> str:
    last = {"2024-03": 31, "2024-04": 30, "2024-05": 31, "2024-06": 30}[month]
    return f"custom_{month}-01_{month}-{last}"


@pytest.mark.parametrize(("month", "expected"), [("2024-03", _HIDDEN), ("2024-04", _SHOWN)], ids=["7", "8"])
def test_activity_counts_people(published: Published, month: str, expected: tuple[Any, ...]) -> None:
    found = published.ask(
        "select stage, episodes_count, episodes_status from publication.pub_activity "
        f"where period_id = '{_period(month)}' order by stage"
    )
    stages = ("discharged", "finished_courses", "first_treatments", "referrals_received")
    assert found == [(stage, *expected) for stage in stages]


def test_a_stage_that_nobody_reached_is_zero_and_not_a_gap(published: Published) -> None:
    found = published.without_anybody("cells_activity", "stage, episodes_true, episodes_people")
    stages = ("discharged", "finished_courses", "first_treatments", "referrals_received")
    assert found == [(stage, 0, 0) for stage in stages]


@pytest.mark.parametrize(("month", "expected"), [("2024-03", _HIDDEN), ("2024-04", _SHOWN)], ids=["7", "8"])
def test_the_overview_counts_people(published: Published, month: str, expected: tuple[Any, ...]) -> None:
    found = published.ask(
        "select distinct denominator_count, denominator_status from publication.pub_service_overview "
        f"where period_id = '{_period(month)}' and measure_id like 'nhs_tt_%'"
    )
    assert found == [expected]


@pytest.mark.parametrize(("service", "expected"), [("service_07", _HIDDEN), ("service_08", _SHOWN)], ids=["7", "8"])
def test_a_group_counts_people(published: Published, service: str, expected: tuple[Any, ...]) -> None:
    found = published.ask(
        "select distinct denominator_count, denominator_status from publication.pub_outcomes_by_group "
        f"where group_value = '{service}' and period_id in ('all', 'fy_2023') and denominator_status <> 'zero' "
        "and measure_id like 'nhs_tt_%'"
    )
    assert found == [expected]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (
            "pub_outcomes_by_group where group_value = 'service_21' and period_id = 'all'",
            (*_HIDDEN, None, "suppressed"),
        ),
        ("pub_outcomes_by_group where group_value = 'service_22' and period_id = 'all'", (*_SHOWN, 40.0, "shown")),
        (f"pub_service_overview where period_id = '{_period('2024-05')}'", (*_HIDDEN, None, "suppressed")),
        (f"pub_service_overview where period_id = '{_period('2024-06')}'", (*_SHOWN, 40.0, "shown")),
    ],
    ids=["group of 7", "group of 8", "overview of 7", "overview of 8"],
)
def test_a_numerator_counts_people(published: Published, where: str, expected: tuple[Any, ...]) -> None:
    """Of 24 courses, shown as 25, twelve recovered; those are of seven or of eight people."""
    found = published.ask(
        "select denominator_count, denominator_status, numerator_count, numerator_status, rate_percent, rate_status "
        f"from publication.{where} and measure_id = 'nhs_tt_recovery'"
    )
    assert found == [(25, "shown", *expected)]


@pytest.mark.parametrize(("to_band", "expected"), [("minimal", _HIDDEN), ("severe", _SHOWN)], ids=["7", "8"])
def test_the_severity_flow_counts_people(published: Published, to_band: str, expected: tuple[Any, ...]) -> None:
    found = published.ask(
        "select episodes_count, episodes_status from publication.pub_severity_flow where instrument_code = 'PHQ-9' "
        f"and from_week = 8 and from_band = 'mild' and to_band = '{to_band}'"
    )
    assert found == [expected]


def test_a_band_is_hidden_whole_where_few_people_did_not_go_with_most(published: Published) -> None:
    """Twelve courses of eight people went one way; the twelve that went another are of seven."""
    assert published.ask(
        "select others_true, others_people from publication.cells_severity_flow where instrument_code = 'PHQ-9' "
        "and from_week = 8 and from_band = 'moderate' group by all"
    ) == [(12, 7)]
    found = published.ask(
        "select distinct episodes_count, episodes_status from publication.pub_severity_flow "
        "where instrument_code = 'PHQ-9' and from_week = 8 and from_band = 'moderate'"
    )
    assert found == [_HIDDEN]


def test_a_band_is_the_last_score_of_the_two_weeks_up_to_it(published: Published) -> None:
    rows = published.ask(
        "select from_band, to_band, episodes_true from publication.cells_severity_flow where instrument_code = 'GAD-7' "
        "and from_week = 8 and episodes_true > 0 and (from_band <> 'not_answered' or to_band <> 'not_answered') "
        "order by all"
    )
    assert rows == sorted((row["from"], row["to"], 1) for row in drawn(WINDOWS))


def test_people_behind_scores_are_counted_once(published: Published) -> None:
    """The random sheets are many forms of one person."""
    found = published.ask(
        "select cells.instrument_code from publication.cells_score_completeness as cells inner join ("
        "select instrument_code, count(*) as forms, count(distinct person_id) as people "
        "from marts.assessments group by 1) as counted on cells.instrument_code = counted.instrument_code "
        "where cells.completeness = 'all' and people < forms and scores_true = forms and scores_people = people "
        "order by 1"
    )
    assert {"GAD-2", "GAD-7", "PHQ-2", "PHQ-8", "PHQ-9", "WSAS"} <= {row[0] for row in found}


@pytest.mark.parametrize("profile", ["opensafely", "midpoint6"])
def test_a_mean_needs_eight_people_and_a_spread(published: Published, profile: str) -> None:
    columns = "week_of_treatment, observed_mean_status, observed_mean, model_status, model_mean"
    found = published.under(profile, "pub_trajectories", columns)
    expected = []
    for row in drawn(MEANS):
        mean = 10.0 if row[profile] == "shown" else None
        expected.append((int(row["week"]), row[profile], mean, row[profile], mean))
    assert found == expected


def test_findings_count_people(published: Published) -> None:
    found = published.ask("select rule_id, rows_checked_about, rows_failed_count from publication.pub_data_quality")
    told = {name: tuple("none" if value is None else str(value) for value in counts) for name, *counts in found}
    assert told == {row["rule"]: (row["checked_shown"], row["failed_shown"]) for row in drawn(FINDINGS)}
