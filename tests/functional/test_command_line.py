"""The command line, as a user and as a script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from caseness import journal
from tests.conftest import Synthetic
from tests.fixtures.service import write_csv
from tests.spec.test_pathway import cases, streams


def caseness(*words: str | Path, code: int = 0, cwd: Path | None = None) -> Any:
    """Run a command; returns the object of its last line on stdout."""
    command = [sys.executable, "-m", "caseness.cli", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=cwd)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command_line")
    (folder / "in").mkdir()
    (folder / "in" / "delivery.yml").write_text("source: small\ntime_zone: Europe/London\n", encoding="utf-8")
    for stream, rows in streams().items():
        write_csv(folder / "in" / f"{stream}.csv", rows)
    (folder / "in" / "notes.txt").write_text("not for us", encoding="utf-8")
    report = caseness("--home", folder / "home", "ingest", folder / "in", "--json")
    assert report["files_unrecognised"] == ["notes.txt"]
    assert report["rows_in"] == report["rows_admitted"] + report["rows_quarantined"]
    assert [source["source"] for source in report["sources"]] == ["small"]
    caseness("--home", folder / "home", "build", "--json", "--measurement-period", "2025-01-01/2025-12-31")
    return folder / "home"


def test_the_same_delivery_twice_changes_nothing(home: Path) -> None:
    again = caseness("--home", home, "ingest", home.parent / "in", "--json")
    assert (again["files_loaded"], again["files_already_loaded"]) == (0, 4)


def test_a_measurement_period_is_a_row(home: Path) -> None:
    rows = caseness(
        "--home",
        home,
        "sql",
        "select denominator_count n from marts.measure_results where period_start = date '2025-01-01' "
        "and period_end = date '2025-12-31' and measure_id = 'nhs_tt_recovery'",
        "--json",
    )
    counted = [case for case in cases() if case["finished"] == "yes" and case["caseness"] != "not_at_caseness"]
    assert rows == [{"n": len(counted)}]


def test_a_token_is_what_the_marts_hold(home: Path) -> None:
    tokens = caseness("--home", home, "token", "--source", "small", "--json", "p_recovers")
    rows = caseness("--home", home, "sql", "select person_id from marts.people", "--json")
    assert tokens["p_recovers"] in {row["person_id"] for row in rows}


@pytest.mark.parametrize(
    "statement",
    [
        "delete from marts.people",
        "copy (select 1) to 'out.csv'",
        "explain analyze copy (select 1) to 'out.csv'",
        "select 1; select 2",
        "attach 'x.db' as x",
        "set memory_limit = '1GB'",
        "selec 1",
    ],
)
def test_sql_answers_one_select_only(home: Path, statement: str) -> None:
    answer = caseness("--home", home, "sql", statement, "--json", code=2)
    assert answer["exit_code"] == 2


def test_sql_reads_no_other_file(home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n", encoding="utf-8")
    caseness("--home", home, "sql", f"select * from read_csv('{secret}')", "--json", code=2)


def test_questions_are_logged_without_their_text(home: Path) -> None:
    caseness("--home", home, "sql", "select 4711 as marker", "--json")
    assert any(receipt["event"] == "sql" for receipt in journal.read(home / "journal" / "receipts.jsonl"))
    for file in [home / "journal" / "receipts.jsonl", home / "logs" / "caseness.jsonl"]:
        assert "4711" not in file.read_text(encoding="utf-8")


def test_steps_out_of_order_say_what_comes_first(home: Path, tmp_path: Path) -> None:
    assert "caseness check" in caseness("--home", home, "publish", "--json", code=5)["remedy"]
    assert caseness("--home", tmp_path / "new", "build", "--json", code=5)["error"] == "nothing has been ingested yet"
    assert caseness("--home", tmp_path / "new", "sql", "select 1", "--json", code=5)["exit_code"] == 5


def test_a_refused_file_has_its_own_exit_code(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("person_code,name\np1,Somebody\n", encoding="utf-8")
    report = caseness("--home", tmp_path / "home", "ingest", tmp_path / "people.csv", "--json", code=3)
    assert (report["files_refused"], report["rows_quarantined"]) == (1, 1)
    assert "Somebody" not in json.dumps(report)


def test_score_explain_doctor_and_wrong_calls(tmp_path: Path) -> None:
    found = caseness("score", "gad-7", "3,3,3,1,0,0,refused", "--json")
    assert (found["total_complete_case"], found["total_prorated"], found["severity_band"]) == (None, 12, "moderate")
    told = caseness("explain", "recovery", "--json")
    assert told["formula"] == "recovered / (finished - not at caseness)"
    assert told["definition_version"] == 2
    used = [(item["threshold_id"], item["threshold_value"]) for item in told["thresholds"]]
    assert used == [("phq9_nhs_caseness", "10"), ("gad7_nhs_caseness", "8")]
    waits = caseness("explain", "first_treatment_6_weeks", "--json")
    assert [item["rule_id"] for item in waits["pathway_rules"]] == [
        "finished_course_minimum_treatments",
        "first_treatment_6_weeks",
    ]
    assert told["source"]
    assert "known:" in caseness("explain", "happiness", "--json", code=2)["remedy"]
    assert caseness("score", "PHQ-9", "1,2", "--json", code=2)["exit_code"] == 2
    assert caseness("score", "MI-ALONE", "--total", "2.31", "--json")["is_at_caseness"] is True
    assert caseness("score", "MI-ALONE", "1,2", "--json", code=2)["remedy"] == "give --total"
    assert caseness("score", "K10", "--total", "20", "--json", code=2)["remedy"] == "known: K10-AU, K10-US"
    assert caseness("score", "PHQ-9", "--json", code=2)["exit_code"] == 2
    (tmp_path / "caseness.toml").write_text("treads = 2\n", encoding="utf-8")
    assert "treads" in caseness("--home", tmp_path, "doctor", "--json", code=2)["error"]


def test_doctor_finds_an_open_key_and_a_cut_journal(tmp_path: Path) -> None:
    caseness("--home", tmp_path / "home", "init", "--json")
    caseness("--home", tmp_path / "home", "token", "--source", "small", "p1", "--json")
    assert caseness("--home", tmp_path / "home", "doctor", "--json")["problems"] == 0
    (tmp_path / "home" / "keys" / "pseudonym.key").chmod(0o644)
    path = tmp_path / "home" / "journal" / "receipts.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("small", "other"), encoding="utf-8")
    report = caseness("--home", tmp_path / "home", "doctor", "--json", code=1)
    assert {one["topic"] for one in report["findings"] if one["state"] == "problem"} == {"key", "journal"}


def test_the_demo_refuses_a_home_that_is_not_a_demo(home: Path) -> None:
    caseness("--home", home, "demo", "--no-serve", "--json", code=2)
    assert (home / "build" / "current.duckdb").exists()


def test_the_demo_reports_time_and_memory_of_each_step(synthetic: Synthetic) -> None:
    steps = {step["step"]: step for step in synthetic.report["steps"]}
    assert list(steps) == ["generate", "ingest", "build", "check", "evaluate", "publish"]
    assert all(step["peak_megabytes"] > 50 for step in steps.values())
