"""``caseness evaluate`` on synthetic services: what it writes, and whether it finds the truth that was put in."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pandas as pd
import pytest

import ingestion
from benchmarks.synthetic_service import generate
from caseness import journal, warehouse
from caseness.commands.build import read_build_state, run_build
from caseness.commands.evaluate import EvaluateReport, run_evaluate
from caseness.errors import LockedError, NotReadyError
from caseness.settings import Settings

COLUMNS = [
    "instrument_code",
    "stratum_dimension",
    "stratum_value",
    "week_of_treatment",
    "starters_count",
    "starters_people_count",
    "observed_count",
    "observed_people_count",
    "model_mean",
    "model_standard_error",
    "model_ci_low",
    "model_ci_high",
    "observed_mean",
    "observed_ci_low",
    "observed_ci_high",
    "prorated_share",
    "model_status",
    "method",
    "build_id",
]
SEASON = 0.7
"""The generator moves levels by a season of up to 0.7 points, which its truth leaves out."""


def evaluated(home: Path, people: int) -> tuple[Settings, EvaluateReport, pd.DataFrame]:
    """Generate, ingest, build, evaluate; the table beside the truth."""
    settings = Settings(home=home / "home")
    generate(target=home / "service", people=people, years=2, seed=11)
    ingestion.ingest([home / "service" / "exports"], settings=settings)
    run_build(settings=settings)
    report = run_evaluate(settings=settings)
    table = pd.read_parquet(settings.paths.results / "trajectory_means.parquet")
    truth = json.loads((home / "service" / "truth" / "effects.json").read_text(encoding="utf-8"))
    means = pd.DataFrame(truth["mean_of_all_starters"]).rename(columns={"stratum": "stratum_value"})
    joined = table.merge(means, on=["instrument_code", "stratum_value", "week_of_treatment"], how="left")
    return settings, report, joined


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, EvaluateReport, pd.DataFrame]:
    return evaluated(tmp_path_factory.mktemp("small"), 500)


def test_without_a_build_it_says_what_comes_first(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError) as caught:
        run_evaluate(settings=Settings(home=tmp_path))
    assert "caseness build" in caught.value.remedy
    assert not (tmp_path / "build" / "results").exists()


def test_writes_the_columns_of_the_current_build(small: tuple[Settings, EvaluateReport, pd.DataFrame]) -> None:
    settings, report, _ = small
    table = pd.read_parquet(settings.paths.results / "trajectory_means.parquet")
    assert list(table.columns) == COLUMNS
    assert set(table["build_id"]) == {read_build_state(settings)["build_id"]} == {report.build_id}
    assert set(table["instrument_code"]) == {"PHQ-9", "GAD-7"}
    assert set(table["stratum_dimension"]) == {"all", "modality"}
    assert not table.duplicated(["instrument_code", "stratum_dimension", "stratum_value", "week_of_treatment"]).any()
    assert (table["observed_count"] <= table["starters_count"]).all()
    assert set(table["week_of_treatment"]) == set(range(13))
    unfitted = table[table["model_status"] != "fitted"]
    assert len(unfitted), "a service this small has weeks without enough scores"
    assert unfitted["model_mean"].isna().all() and unfitted["model_ci_low"].isna().all()
    fitted = table[table["model_status"] == "fitted"]
    assert fitted["model_mean"].between(0, 27).all() and (fitted["model_standard_error"] > 0).all()
    assert (fitted["observed_count"] >= 30).all()


def test_reports_and_leaves_a_receipt(small: tuple[Settings, EvaluateReport, pd.DataFrame]) -> None:
    settings, report, table = small
    body = json.loads(json.dumps(report.as_dict()))
    everyone = table[table["stratum_value"] == "all"]
    assert body["starters"] == int(everyone["starters_count"].iloc[0])
    assert body["estimates"] == len(table)
    assert body["estimates_fitted"] == int((table["model_status"] == "fitted").sum())
    receipt = list(journal.read(settings.paths.journal))[-1]
    assert receipt["event"] == "evaluate" and receipt["build_id"] == report.build_id


def test_starters_are_those_of_the_service(small: tuple[Settings, EvaluateReport, pd.DataFrame]) -> None:
    _, _, table = small
    known = table.dropna(subset=["starters"])
    assert (known["starters_count"] == known["starters"]).all()


def test_twice_gives_the_same_bytes(small: tuple[Settings, EvaluateReport, pd.DataFrame]) -> None:
    settings, _, _ = small
    file = settings.paths.results / "trajectory_means.parquet"
    before = pd.read_parquet(file)
    run_evaluate(settings=settings)
    pd.testing.assert_frame_equal(pd.read_parquet(file), before, check_exact=True)


def test_waits_for_nobody(small: tuple[Settings, EvaluateReport, pd.DataFrame]) -> None:
    settings, _, _ = small
    with settings.paths.lock.open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(LockedError):
            run_evaluate(settings=settings)


def test_finds_the_mean_of_all_starters(tmp_path: Path) -> None:
    """6,000 people: the model is near the truth where those still answering are not.

    Tolerance beyond the interval: the season (0.7 points), which the truth leaves out. It is generous, as seasons even
    out over two years; so the error itself is bounded too. What stays is a drop-out by deprivation, that the scores do
    not hold, and scores that are not normal.
    """
    _, _, table = evaluated(tmp_path, 6_000)
    table = table[table["model_status"] == "fitted"]
    inside = (table["mean"] >= table["model_ci_low"] - SEASON) & (table["mean"] <= table["model_ci_high"] + SEASON)
    assert inside.mean() > 0.95
    everyone = table[table["stratum_value"] == "all"]
    assert len(everyone) == 26
    model = everyone["model_mean"] - everyone["mean"]
    observed = everyone["observed_mean"] - everyone["mean"]
    late = everyone["week_of_treatment"] >= 5
    print(pd.DataFrame({"week": everyone["week_of_treatment"], "model": model, "observed": observed}).round(2))
    assert model.abs().max() < 0.6
    assert (observed[late] < -0.3).all()
    assert model[late].abs().mean() < 0.4 * observed[late].abs().mean()


def test_changes_are_classed_by_every_rule(small: tuple[Settings, EvaluateReport, pd.DataFrame]) -> None:
    settings, report, _ = small
    table = pd.read_parquet(settings.paths.results / "change_classes.parquet")
    assert set(table["build_id"]) == {report.build_id}
    key = ["instrument_code", "completeness_policy", "approach", "method_id", "class_name"]
    assert not table.duplicated(key).any()
    assert set(table["completeness_policy"]) == {"prorate_2", "complete_case"}
    # No reliability of PHQ-9 or GAD-7 has a source among the definitions: the indices say so and give nothing.
    by_index = table[table["approach"] == "combined"]
    assert set(by_index["class_status"]) == {"not_computable"} and by_index["class_count"].isna().all()
    assert set(by_index["reason"]) == {"the reliability is not known"}
    counted = table[table["class_status"] == "counted"].groupby(key[:4])
    assert {"phq9_nhs_reliable_change", "phq9_mcid", "phq9_response", "phq9_noticed_share"} <= set(table["method_id"])
    for _, rows in counted:
        assert rows["class_count"].sum() == rows["pairs_count"].iloc[0]
        assert rows["share"].sum() == pytest.approx(1)
        assert (rows["share_ci_low"] <= rows["share"]).all() and (rows["share"] <= rows["share_ci_high"]).all()
    asked = table[(table["method_id"] == "phq9_nhs_reliable_change") & (table["completeness_policy"] == "prorate_2")]
    with warehouse.reader(settings.paths.current, settings) as connection:
        ((improved, pairs),) = connection.execute(
            "select count(*) filter (where improvement_points >= 6), count(improvement_points) "
            "from marts.course_changes inner join marts.episodes using (referral_id) "
            "where has_started_treatment and instrument_code = 'PHQ-9'"
        ).fetchall()
    assert asked["pairs_count"].iloc[0] == pairs > 100
    assert asked.set_index("class_name").loc["improved", "class_count"] == improved
