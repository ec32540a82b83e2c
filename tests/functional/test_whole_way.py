"""The synthetic service through the whole way, against its oracle and its truth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

import ingestion
from benchmarks.synthetic_service import generate
from caseness import build_state, journal, warehouse
from caseness.commands.build import run_build
from caseness.commands.check import run_check
from caseness.commands.evaluate import run_evaluate
from caseness.commands.publish import run_publish
from caseness.errors import CheckFailedError, NotReadyError
from caseness.settings import Settings
from tests.conftest import Synthetic

_MEASURES = {
    "nhs_tt_recovery": ("recovery_denominator", "recovered"),
    "nhs_tt_reliable_improvement": ("finished", "reliably_improved"),
    "nhs_tt_reliable_recovery": ("recovery_denominator", "reliably_recovered"),
    "nhs_tt_reliable_deterioration": ("finished", "reliably_deteriorated"),
    "nhs_tt_not_at_caseness": ("finished", "not_at_caseness"),
    "nhs_tt_paired_completeness": ("finished", "paired_both"),
}
_MARTS = ("people", "assessments", "episodes", "trajectories", "measure_members", "measure_results", "wearable_days")

_QUARANTINED = (
    "select count(distinct load_id || source_row_number), count(*) filter (where rule is null or remedy is null) "
    "from raw.quarantined_rows where is_row_quarantined"
)


def _ask(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with warehouse.reader(settings.paths.current, settings, with_deliveries=True) as connection:
        return connection.execute(statement).fetchall()


def _content(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    return {mart: _ask(settings, f"select * from marts.{mart} order by all") for mart in _MARTS}


def test_measures_equal_the_oracle(synthetic: Synthetic) -> None:
    expected = synthetic.expected()
    rows = _ask(
        synthetic.settings,
        "select measure_id, denominator_count, numerator_count from marts.measure_results where period_id = 'all'",
    )
    found = {row[0]: row[1:] for row in rows}
    for measure, names in _MEASURES.items():
        assert found[measure] == tuple(expected[name] for name in names), measure


def test_rows_in_are_admitted_or_quarantined(synthetic: Synthetic) -> None:
    ingest = synthetic.report["ingest"]
    written = sum(synthetic.report["generate"]["rows"].values())
    assert ingest["rows_in"] == written == ingest["rows_admitted"] + ingest["rows_quarantined"]
    assert ingest["rows_quarantined"] == 25
    told = _ask(synthetic.settings, _QUARANTINED)
    assert told == [(25, 0)]
    assert (ingest["files_refused"], ingest["files_unrecognised"]) == (0, [])


def test_the_generator_is_deterministic(tmp_path: Path) -> None:
    for name in ("a", "b"):
        generate(target=tmp_path / name, people=120, years=1, seed=3)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) > 20
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


@pytest.mark.slow  # test_life asks the same of a smaller service in every run
def test_deliveries_in_any_order_build_the_same_marts(tmp_path: Path) -> None:
    """Three deliveries one by one, corrections included, and all at once: the same content."""
    generate(target=tmp_path / "service", people=250, years=1, seed=9)
    exports = tmp_path / "service" / "exports"
    once = Settings(home=tmp_path / "once")
    ingestion.ingest([exports], settings=once)
    run_build(settings=once)
    orders = (
        ["talking_service/monthly_update", "mood_app", "talking_service/main", "."],
        ["remote_clinic", "talking_service/main", "talking_service/monthly_update", "."],
    )
    for number, order in enumerate(orders):
        settings = Settings(home=tmp_path / f"home{number}", as_of_date=once.as_of_date)
        shutil.copytree(once.paths.keys, settings.paths.keys)
        for position, part in enumerate(order):
            ingestion.ingest([exports / part], settings=settings)
            report = run_build(settings=settings)
            assert report.is_full_build == (position == 0)
        assert _content(settings) == _content(once), order


def test_the_model_mean_recovers_the_truth_where_the_observed_does_not(synthetic: Synthetic) -> None:
    truth = pd.DataFrame(json.loads((synthetic.truth / "effects.json").read_text())["mean_of_all_starters"])
    truth = truth[truth["stratum"] == "all"].rename(columns={"mean": "truth"})
    means = pd.read_parquet(synthetic.settings.paths.results / "trajectory_means.parquet")
    means = means[means["stratum_dimension"] == "all"]
    joined = means.merge(truth, on=["instrument_code", "week_of_treatment"])
    late = joined[(joined["week_of_treatment"].between(6, 10)) & (joined["model_status"] == "fitted")]
    assert len(late) >= 8
    model_error = (late["model_mean"] - late["truth"]).abs().mean()
    observed_error = (late["observed_mean"] - late["truth"]).abs().mean()
    assert model_error < 0.6 * observed_error


def test_a_release_holds_the_declared_tables_and_no_person(synthetic: Synthetic) -> None:
    pointer = json.loads(synthetic.settings.paths.current_release.read_text(encoding="utf-8"))
    file = synthetic.settings.paths.releases / pointer["files"]["public"]
    with duckdb.connect(str(file), read_only=True) as connection:
        tables = {row[0] for row in connection.execute("show tables").fetchall()}
        columns = {row[0] for row in connection.execute("select column_name from duckdb_columns()").fetchall()}
        assert connection.execute("select count(*) from duckdb_views() where not internal").fetchone() == (0,)
    assert {table for table in tables if not table.startswith("pub_")} == {"release_metadata"}
    assert not columns & {"person_id", "person_token", "referral_id", "episodes_true", "denominator_true"}
    content = file.read_bytes()
    for (token,) in _ask(synthetic.settings, "select person_id from marts.people limit 200"):
        assert token.encode() not in content


def test_published_counts_follow_the_rule_and_the_headline_holds(synthetic: Synthetic) -> None:
    audit = synthetic.report["publish"]["audit"]
    assert (audit["recovered_exactly"], audit["recovered_within_one"]) == (0, 0)
    assert audit["protected_cells"] > 0
    assert audit["headline"]["is_within_the_rule"]
    assert audit["headline"]["greatest_possible_count_error"] == 2


def test_the_same_build_publishes_the_same_release(synthetic: Synthetic) -> None:
    again = run_publish(settings=synthetic.settings)
    assert again.release_id == synthetic.report["publish"]["release_id"]


def test_a_fatal_rule_stops_the_publication(tmp_path: Path, synthetic: Synthetic) -> None:
    home = tmp_path / "home"
    shutil.copytree(synthetic.home, home, ignore=shutil.ignore_patterns("synthetic_service", "tmp"))
    settings = Settings(home=home)
    run_build(settings=settings)  # the views of a moved home point at its parts again
    # A build that holds a person twice, put in its place as a build is.
    state, altered = build_state.read_build_state(settings), settings.paths.temporary / "altered.duckdb"
    build_state.copied(settings, state, altered)
    with warehouse.writer(altered, settings) as connection:
        connection.execute("insert into marts.people select * from marts.people limit 1")
    build_state.put_in_place(settings, altered, state)
    before = settings.paths.current_release.read_bytes()
    assert run_check(settings=settings).fatal_failed == ["people_key"]
    with pytest.raises(CheckFailedError, match="people_key"):
        run_publish(settings=settings)
    assert settings.paths.current_release.read_bytes() == before


def test_results_of_another_build_are_not_published(tmp_path: Path, synthetic: Synthetic) -> None:
    home = tmp_path / "home"
    shutil.copytree(synthetic.home, home, ignore=shutil.ignore_patterns("synthetic_service", "tmp"))
    settings = Settings(home=home)
    run_build(settings=settings, measurement_periods=["2026-01-01/2026-03-31"])
    with pytest.raises(NotReadyError, match="another build"):
        run_publish(settings=settings)
    run_check(settings=settings)
    run_evaluate(settings=settings)
    assert run_publish(settings=settings).release_id != synthetic.report["publish"]["release_id"]


def test_findings_are_one_row_per_rule_and_hold_no_value(synthetic: Synthetic) -> None:
    from expectations import rules

    frame = pd.read_parquet(synthetic.settings.paths.results / "check_findings.parquet")
    assert list(frame["rule_id"]) == [rule["rule_id"] for rule in rules()]
    html = (synthetic.settings.paths.build / "check.html").read_text(encoding="utf-8")
    assert "http" not in html.replace("http-equiv", "")
    for (token,) in _ask(synthetic.settings, "select person_id from marts.people limit 200"):
        assert token not in html


def test_the_journal_is_unbroken(synthetic: Synthetic) -> None:
    events = [receipt["event"] for receipt in journal.read(synthetic.settings.paths.journal)]
    assert {"build", "check", "evaluate", "publish"} <= set(events)
