"""What the audit does with what the attacker finds, on tables written by hand: drop, stop, or let through.

`_audited` is the only function here that knows how the audit is called.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest

from caseness import build_state, dbt_runner, release, warehouse
from caseness.disclosure import attack
from caseness.disclosure.audit import audited
from caseness.disclosure.union import Published
from caseness.errors import CheckFailedError, NotReadyError
from caseness.settings import Settings
from expectations.checking import CheckReport, Finding, _people_at_least

Row = dict[str, Any]
Tables = dict[str, list[Row]]
_SPAN = (dt.date(2024, 4, 1), dt.date(2025, 3, 31))
_HIDDEN = None
_STATE = {"build_id": "b", "rules": {"as_of_date": "2025-03-31"}}
_FLOW_COLUMNS = "instrument_code varchar, from_week integer, to_week integer, from_band varchar, to_band varchar"


def _audited(tables: Tables, folder: Path, earlier: Sequence[Published] = ()) -> tuple[list[str], Tables]:
    """Run the audit over the tables, write the release's file as publish does, and read it back."""
    profile = attack.disclosure_profile("opensafely")
    names = sorted({row["table_name"] for row in dbt_runner.publication_rows()})
    with duckdb.connect() as connection:
        connection.execute("create schema publication; create schema marts")
        for name in [*names, "measure_results"]:
            schema = "marts" if name == "measure_results" else "publication"
            frame = pd.DataFrame(tables.get(name) or [{"nothing": None}])
            for column in frame.columns:
                if column.endswith("_count") or column.endswith("_week"):
                    frame[column] = frame[column].astype("Int64")
                if column.startswith("period_") and column in ("period_start", "period_end"):
                    frame[column] = pd.Series(frame[column].tolist(), dtype="object")
            connection.register("given", frame)
            connection.execute(f"create table {schema}.{name} as select * from given")
            if not tables.get(name):
                connection.execute(f"delete from {schema}.{name}")
            connection.unregister("given")
        dropped, _, sizes = audited(connection, profile, _STATE, earlier)
        file = folder / "public.duckdb"
        warehouse.export_tables(connection, "publication", names, file)
    with duckdb.connect(str(file), read_only=True) as connection:
        left = {name: warehouse.table_rows(connection, name) for name in names}
    assert sizes == {name: len(rows) for name, rows in left.items()}
    return dropped, left


def _outcome(measure: str, denominator: int | None, numerator: int | None, group: str = "", **more: Any) -> Row:
    """A cell of the outcome tables: shown counts, or hidden ones; ``group`` is dimension=value."""
    rate = None if denominator is None or numerator is None else round(100 * numerator / denominator, 1)
    row: Row = {
        "period_id": "all",
        "period_kind": "all",
        "period_label": "all",
        "period_start": _SPAN[0],
        "period_end": _SPAN[1],
        "measure_id": measure,
        "denominator_count": denominator,
        "denominator_status": "suppressed" if denominator is None else "shown",
        "numerator_count": numerator,
        "numerator_status": "suppressed" if numerator is None else "shown",
        "rate_percent": rate,
        "rate_status": "suppressed" if rate is None else "shown",
        **more,
    }
    if group:
        row["group_dimension"], _, row["group_value"] = group.partition("=")
    return row


def _tables(overview: list[Row], groups: list[Row], flow: list[Row], **more: list[Row]) -> Tables:
    truth = [
        {
            "measure_id": row["measure_id"],
            "period_id": "all",
            "denominator_count": row["denominator_count"],
            "numerator_count": row["numerator_count"],
            "rate_percent": 100 * row["numerator_count"] / row["denominator_count"],
        }
        for row in overview
        if row["period_id"] == "all" and row["rate_status"] == "shown"
    ]
    return {
        "pub_service_overview": overview,
        "pub_outcomes_by_group": groups,
        "pub_severity_flow": flow,
        "measure_results": truth,
        **{f"pub_{name}": rows for name, rows in more.items()},
    }


# A second measure that hides nothing: whatever happens to the first, its rows stay.
_CALM = [
    _outcome("calm", 200, 100),
    _outcome("calm", 100, 55, "sex=female"),
    _outcome("calm", 100, 45, "sex=male"),
]
_FLOW = [
    {
        "instrument_code": "PHQ-9",
        "from_week": 0,
        "to_week": 4,
        "from_band": "severe",
        "to_band": band,
        "episodes_count": count,
        "episodes_status": "suppressed" if count is None else "shown",
    }
    for band, count in (("severe", 20), ("mild", 30))
]

# Numerators of the whole and of the groups of a hundred people each; what the attacker can say of the hidden one.
FAMILIES: dict[str, tuple[list[Row], bool]] = {
    # 58..62 less 53..57 leaves 1..9, and the rule hides 1..7.
    "wide": (
        [
            _outcome("recovery", 200, 60),
            _outcome("recovery", 100, 55, "sex=female"),
            _outcome("recovery", 100, _HIDDEN, "sex=male"),
        ],
        False,
    ),
    # 58..62 less 48..52 leaves 6..14, of which the rule hides 6 and 7: known to within one.
    "within one": (
        [
            _outcome("recovery", 200, 60),
            _outcome("recovery", 100, 50, "sex=female"),
            _outcome("recovery", 100, _HIDDEN, "sex=male"),
        ],
        True,
    ),
    # 6..14 again, but of a group of 8 to 12 it may be everybody.
    "perhaps everybody": (
        [
            _outcome("recovery", 110, 60),
            _outcome("recovery", 100, 50, "sex=female"),
            _outcome("recovery", 10, _HIDDEN, "sex=male"),
        ],
        False,
    ),
    # At least 38 - 3 x 12 = 2 recovered, of at most 57 - 3 x 18 = 3 people.
    "no more than the group": (
        [
            _outcome("recovery", 55, 40),
            *(_outcome("recovery", 20, 10, f"rurality={value}") for value in ("a", "b", "c")),
            _outcome("recovery", _HIDDEN, _HIDDEN, "rurality=d"),
        ],
        True,
    ),
    # 48..52 people in all and 96..104 in the groups: the tables contradict each other, so the rule was not kept.
    "contradiction": (
        [
            _outcome("recovery", 50, 30),
            _outcome("recovery", 100, _HIDDEN, "sex=female"),
            _outcome("recovery", 100, _HIDDEN, "sex=male"),
        ],
        True,
    ),
}


def _of(rows: list[Row], measure: str) -> list[Row]:
    return [row for row in rows if row["measure_id"] == measure]


@pytest.mark.parametrize("case", list(FAMILIES))
def test_a_broken_family_is_dropped_and_absent_from_the_release(case: str, tmp_path: Path) -> None:
    rows, is_broken = FAMILIES[case]
    dropped, left = _audited(_tables([_CALM[0], rows[0]], [*_CALM[1:], *rows[1:]], _FLOW), tmp_path)
    groups = left["pub_outcomes_by_group"]
    assert len(_of(groups, "recovery")) == (0 if is_broken else len(rows) - 1)
    assert bool(dropped) == is_broken
    assert len(_of(groups, "calm")) == 2
    assert len(left["pub_service_overview"]) == 2
    assert len(left["pub_severity_flow"]) == 2


def _patched_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that never comes to an end: status 1, no solution."""
    monkeypatch.setattr(attack, "milp", lambda *_, **__: SimpleNamespace(status=1, x=None))


def test_a_question_without_an_answer_is_a_break(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = FAMILIES["wide"][0]
    _patched_solver(monkeypatch)
    hidden = {**_FLOW[0], "to_band": "moderate", "episodes_count": None, "episodes_status": "suppressed"}
    flow = [*_FLOW, hidden, *({**row, "instrument_code": "GAD-7"} for row in _FLOW)]
    dropped, left = _audited(_tables([_CALM[0], rows[0]], [*_CALM[1:], *rows[1:]], flow), tmp_path)
    assert _of(left["pub_outcomes_by_group"], "recovery") == []
    assert len(_of(left["pub_outcomes_by_group"], "calm")) == 2
    assert {row["instrument_code"] for row in left["pub_severity_flow"]} == {"GAD-7"}
    assert len(dropped) == 2


def _whole_service_broken() -> list[Row]:
    """Three quarters shown, the fourth hidden: of 43 to 47 at most 3 x 12 are told, so the rule hides exactly 7."""
    starts = [dt.date(2024, 4, 1), dt.date(2024, 7, 1), dt.date(2024, 10, 1), dt.date(2025, 1, 1)]
    ends = [dt.date(2024, 6, 30), dt.date(2024, 9, 30), dt.date(2024, 12, 31), dt.date(2025, 3, 31)]
    rows = [_outcome("recovery", 200, 45)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        more: Row = {"period_id": f"q{number}", "period_kind": "quarter", "period_start": start, "period_end": end}
        rows.append(_outcome("recovery", 50, 10 if number < 3 else _HIDDEN, **more))
    return rows


def test_a_break_of_the_whole_service_costs_its_quarters(tmp_path: Path) -> None:
    dropped, left = _audited(_tables([_CALM[0], *_whole_service_broken()], _CALM[1:], _FLOW), tmp_path)
    assert dropped == ["recovery by all and quarter"]
    assert [row["period_id"] for row in _of(left["pub_service_overview"], "recovery")] == ["all"]
    assert len(_of(left["pub_outcomes_by_group"], "calm")) == 2


def _whole_service_known_over_all_days() -> list[Row]:
    """Of 65 people, 60 improved and 10 did not change (numbers rounded): one at most got worse, over all days."""
    names = ("nhs_tt_reliable_improvement", "nhs_tt_no_reliable_change", "nhs_tt_reliable_deterioration")
    return [_outcome(name, 65, count) for name, count in zip(names, (60, 10, _HIDDEN), strict=True)]


def test_a_break_of_the_whole_service_over_all_days_stops_the_release(tmp_path: Path) -> None:
    with pytest.raises(CheckFailedError, match="no declared drop"):
        _audited(_tables([_CALM[0], *_whole_service_known_over_all_days()], _CALM[1:], _FLOW), tmp_path)


def test_what_a_belief_leaves_open_is_not_safe_from_the_whole(tmp_path: Path) -> None:
    """An earlier build brings beliefs, measure by measure; they must not vouch for what all measures tell together."""
    year = {"period_id": "fy_2024", "period_kind": "financial_year"}
    whole = _whole_service_known_over_all_days()
    name = "nhs_tt_reliable_deterioration"
    groups = [_outcome(name, 35, _HIDDEN, "sex=female"), _outcome(name, 30, _HIDDEN, "sex=male")]
    old_groups = [_outcome(name, 10, _HIDDEN, "sex=female"), _outcome(name, 10, _HIDDEN, "sex=male")]
    rule = attack.disclosure_profile("opensafely")
    earlier = Published("old", "a", dt.date(2024, 12, 31), rule, [_outcome(name, 20, _HIDDEN)], old_groups)
    overview = [_CALM[0], *whole, *({**row, **year} for row in (whole[0], whole[2]))]
    for before in ((), (earlier,)):
        with pytest.raises(CheckFailedError, match="no declared drop"):
            _audited(_tables(overview, [*_CALM[1:], *groups], _FLOW), tmp_path, before)


def test_what_an_earlier_release_gave_away_by_itself_does_not_stop_the_next(tmp_path: Path) -> None:
    told = [_year(2022, 15), _year(2023, 10), _year(2024, None), _year(0, 20)]
    rule = attack.disclosure_profile("opensafely")
    earlier = Published("old", "a", dt.date(2025, 3, 31), rule, [], [], {"pub_activity": told})
    calm = [_year(2022, 100), _year(2023, 100), _year(2024, 100), _year(0, 300)]
    tables = _tables([_CALM[0]], _CALM[1:], _FLOW, activity=calm)
    dropped, left = _audited(tables, tmp_path, [earlier])
    assert dropped == []
    assert len(left["pub_activity"]) == 4


def test_an_unanswered_question_about_the_whole_service_stops_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [_outcome("recovery", 200, _HIDDEN)]  # safe, had the solver come to an end
    _audited(_tables([_CALM[0], *rows], _CALM[1:], _FLOW), tmp_path)
    _patched_solver(monkeypatch)
    with pytest.raises(CheckFailedError, match="no declared drop"):
        _audited(_tables([_CALM[0], *rows], _CALM[1:], _FLOW), tmp_path)


@pytest.mark.parametrize(
    "broken",
    [
        {"numerator_count": 51, "rate_percent": 25.5},  # not rounded
        {"numerator_count": 5, "rate_percent": 2.5},  # 3 to 7 are hidden
        {"rate_percent": 30.4},  # not of the shown counts
        {"numerator_status": "suppressed", "rate_status": "suppressed"},  # hidden, and yet there
    ],
    ids=["not rounded", "too small", "rate of raw counts", "hidden and there"],
)
def test_a_forbidden_number_stops_the_release(broken: Row, tmp_path: Path) -> None:
    rows = [_CALM[0], {**_outcome("recovery", 200, 60), **broken}]
    with pytest.raises(CheckFailedError, match="disclosure rule"):
        _audited(_tables(rows, _CALM[1:], _FLOW), tmp_path)


def test_a_headline_beyond_its_rounding_stops_the_release(tmp_path: Path) -> None:
    tables = _tables([*_CALM[:1]], _CALM[1:], _FLOW)
    _audited(tables, tmp_path)
    tables["measure_results"][0].update(numerator_count=103, rate_percent=51.5)
    with pytest.raises(CheckFailedError, match="further from the truth"):
        _audited(tables, tmp_path)


# --- the tables beside the outcomes


def _year(year: int, count: int | None, stage: str = "discharged") -> Row:
    """Activity of a year, or of 2022 to 2024 as a whole where the year is 0."""
    return {
        "period_id": f"fy_{year}" if year else "all",
        "period_kind": "financial_year" if year else "all",
        "period_start": dt.date(year or 2022, 4, 1),
        "period_end": dt.date((year or 2024) + 1, 3, 31),
        "stage": stage,
        "episodes_count": count,
        "episodes_status": "suppressed" if count is None else "shown",
    }


def _mean(value: str, count: int, mean: float | None, week: int = 0) -> Row:
    return {
        "instrument_code": "PHQ-9",
        "stratum_dimension": "all" if value == "all" else "modality",
        "stratum_value": value,
        "week_of_treatment": week,
        "starters_count": count,
        "starters_status": "shown",
        "observed_count": count,
        "observed_status": "shown",
        "observed_mean": mean,
        "observed_ci_low": None if mean is None else mean - 1,
        "observed_ci_high": None if mean is None else mean + 1,
        "observed_mean_status": "suppressed" if mean is None else "shown",
        "model_mean": None,
        "model_status": "not_applicable",
    }


def _calmly(tmp_path: Path, **more: list[Row]) -> tuple[list[str], Tables]:
    return _audited(_tables([_CALM[0]], _CALM[1:], _FLOW, **more), tmp_path)


def test_activity_that_tells_a_year_loses_the_years_of_its_stage(tmp_path: Path) -> None:
    """At most 22 in all, of which 13 and 8 at least in two years: one in the third."""
    told = [_year(2022, 15), _year(2023, 10), _year(2024, None), _year(0, 20)]
    calm = [{**row, "stage": "referrals_received"} for row in (*told[:3], _year(0, 25))]
    dropped, left = _calmly(tmp_path, activity=[*told, *calm])
    assert dropped == ["discharged by financial_year"]
    assert [row["period_id"] for row in left["pub_activity"] if row["stage"] == "discharged"] == ["all"]
    assert sum(row["stage"] == "referrals_received" for row in left["pub_activity"]) == 4


def test_completeness_that_tells_a_kind_loses_the_kinds(tmp_path: Path) -> None:
    def kind(name: str, count: int | None) -> Row:
        status = "suppressed" if count is None else "shown"
        return {"instrument_code": "PHQ-9", "completeness": name, "scores_count": count, "scores_status": status}

    told = [kind("all", 20), kind("complete", 15), kind("prorated", 10), kind("total_only", None)]
    dropped, left = _calmly(tmp_path, score_completeness=told)
    assert dropped == ["completeness of PHQ-9"]
    assert [row["completeness"] for row in left["pub_score_completeness"]] == ["all"]


def test_a_mean_that_is_left_of_the_whole_costs_the_modalities_of_its_week(tmp_path: Path) -> None:
    rows = [_mean(*row, week=week) for week in (0, 1) for row in (("all", 60, 5.0), ("video", 40, 5.0))]
    dropped, left = _calmly(tmp_path, trajectories=[*rows, _mean("text", 20, None)])
    assert dropped == ["trajectory of PHQ-9 in week 0 by modality"]
    kept = [(row["stratum_value"], row["week_of_treatment"]) for row in left["pub_trajectories"]]
    assert kept == [("all", 0), ("all", 1), ("video", 1)]


def test_tables_beside_the_outcomes_that_contradict_each_other_do_not_stay(tmp_path: Path) -> None:
    """Of 18 to 22 in all there can not be 48 in a year: a rule was not kept."""
    told = [_year(2022, 50), _year(2023, None), _year(2024, None), _year(0, 20)]
    dropped, left = _calmly(tmp_path, activity=told)
    assert "all of pub_activity" in dropped
    assert left["pub_activity"] == []


# --- fatal rules


class _Reached(Exception):
    """Publish went past its conditions."""


def _finding(severity: str, status: str) -> Finding:
    return Finding(
        rule_id="episodes_key",
        table_name="marts.episodes",
        column_name="referral_id",
        check_kind="unique",
        severity=severity,
        rows_checked=10,
        rows_failed=0,
        people_checked=10,
        people_failed_at_least=0,
        failed_share=0.0,
        threshold_share=0.0,
        status=status,
        reason="",
        example="",
        remedy="",
    )


def test_how_many_people_there_must_be_in_some_rows_of_a_table() -> None:
    """A hundred rows of forty people, at most ten each: ten rows may be of one person, ninety-five of 35 at least."""
    at_least = [_people_at_least(checked, 100, (40, 10)) for checked in (10, 50, 95, 100)]
    assert at_least == [1, 5, 35, 40]


FATAL = [
    ("fatal", "failed", True),
    ("fatal", "error", True),
    ("fatal", "passed", False),
    ("fatal", "not_applicable", False),
    ("warning", "failed", False),
    ("warning", "error", False),
]


@pytest.mark.parametrize(("severity", "status", "stops"), FATAL)
def test_a_fatal_rule_that_failed_or_could_not_run_stops_publish(
    severity: str, status: str, stops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path / "home")
    for folder in settings.paths.folders():
        folder.mkdir(parents=True, exist_ok=True)
    built = settings.paths.temporary / "built.duckdb"
    duckdb.connect(str(built)).close()
    rules = {"as_of_date": "2025-03-31", "definitions_hash": build_state.definitions_hash()}
    state = {"build_id": "b", "load_ids": [], "rules": rules, "deidentification": settings.deidentification.value}
    build_state.put_in_place(settings, built, state)
    findings = [{**vars(_finding(severity, status)), "build_id": "b"}]
    pl.DataFrame(findings).write_parquet(settings.paths.results / "check_findings.parquet")
    pl.DataFrame({"build_id": ["b"]}).write_parquet(settings.paths.results / "trajectory_means.parquet")

    def reached(*_: object, **__: object) -> None:
        raise _Reached

    monkeypatch.setattr(release, "run_dbt", reached)
    with pytest.raises(CheckFailedError if stops else _Reached):
        release.publish(settings=settings)
    monkeypatch.setattr(release, "definitions_hash", lambda: "another")
    with pytest.raises(NotReadyError, match="changed since the build"):
        release.publish(settings=settings)


@pytest.mark.parametrize(("severity", "status", "stops"), FATAL)
def test_the_report_of_the_rules_names_what_stops(severity: str, status: str, stops: bool) -> None:
    report = CheckReport("b", [_finding(severity, status)])
    assert report.fatal_failed == (["episodes_key"] if stops else [])
