"""The command line told by its words: tables that fit, rows that are not hidden, and no traceback."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.service import write_csv
from tests.functional.test_command_line import caseness
from tests.spec.test_pathway import streams


def run(*words: str | Path, code: int = 0, columns: int = 80) -> tuple[str, str]:
    """Run a command as a person does; returns what stands on stdout and stderr."""
    command = [sys.executable, "-m", "caseness.cli", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": str(columns)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told")
    (folder / "in").mkdir()
    (folder / "in" / "delivery.yml").write_text("source: small\ntime_zone: Europe/London\n", encoding="utf-8")
    for stream, rows in streams().items():
        write_csv(folder / "in" / f"{stream}.csv", rows)
    people = (folder / "in" / "people.csv").read_text(encoding="utf-8").replace("female", "sometimes", 1)
    (folder / "in" / "people.csv").write_text(people, encoding="utf-8")
    (folder / "in" / "costs.csv").write_text("shoe_size\n1\n", encoding="utf-8")
    said, _ = run("--home", folder / "home", "ingest", folder / "in", "-q", code=3)
    assert "people.csv: column sex: unknown_code in 1 row (1): the field was made missing" in said
    assert "refused: costs.csv" in said
    caseness("--home", folder / "home", "build", "--json")
    return folder / "home"


def test_a_table_too_wide_for_the_screen_is_told_row_by_row(home: Path) -> None:
    said, _ = run("--home", home, "sql", "select * from marts.episodes limit 2")
    names = list(caseness("--home", home, "sql", "select * from marts.episodes limit 1", "--json")[0])
    lines = said.splitlines()
    assert [line for line in lines if line.startswith("-- row")] == ["-- row 1", "-- row 2"]
    assert [line.split(" ")[0] for line in lines[1 : len(names) + 1]] == names
    wide, _ = run("--home", home, "sql", "select person_id, sex from people limit 2")
    assert "person_id" in wide.splitlines()[0] and "sex" in wide.splitlines()[0]


def test_two_columns_of_one_name_are_both_told(home: Path) -> None:
    assert caseness("--home", home, "sql", "select 1 as a, 2 as a", "--json") == [{"a": 1, "a_2": 2}]


def test_rows_that_are_not_shown_are_told_of(home: Path) -> None:
    said, aside = run("--home", home, "sql", "-q", "select * from range(1001)")
    assert len(said.splitlines()) == 1000 + 2
    assert "only the first 1,000 rows are shown" in aside and "--limit 0" in aside
    said, aside = run("--home", home, "sql", "select * from range(1001)", "--limit", "0")
    assert (len(said.splitlines()), aside) == (1001 + 2, "")
    assert len(caseness("--home", home, "sql", "select * from range(1001)", "--json")) == 1001
    assert len(caseness("--home", home, "sql", "select * from range(1001)", "--limit", "3", "--json")) == 3


def test_names_without_a_schema_are_found_and_wrong_ones_answered_with_the_nearest(home: Path) -> None:
    bare, full = (
        caseness("--home", home, "sql", f"select count(*) n from {name}", "--json")
        for name in ("people", "marts.people")
    )
    assert bare == full
    fault = caseness("--home", home, "sql", "select 1 from asessments", "--json", code=2)
    assert "marts.assessments" in fault["remedy"]
    fault = caseness("--home", home, "sql", "select sx from people", "--json", code=2)
    assert '"sex"' in fault["remedy"]
    tables = caseness("--home", home, "sql", "--tables", "--json")
    assert tables[0]["schema"] == "marts"
    assert "person_id" in next(row for row in tables if row["table"] == "people")["columns"]
    assert caseness("--home", home, "sql", "--json", code=2)["exit_code"] == 2


def test_quarantined_rows_are_joined_to_the_file_that_holds_them(home: Path) -> None:
    import hashlib

    told = caseness("--home", home, "quarantine", "--source", "small", "--json")
    (row,) = (row for row in told if row["faults"][0]["rule"] != "file_refused")
    file = home.parent / "in" / "people.csv"
    assert row["source_file_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text(encoding="utf-8")
    asked = guide.partition('caseness sql "')[2].partition('"')[0]
    (joined,) = caseness("--home", home, "sql", asked, "--json")
    assert joined["source_file_sha256"] == row["source_file_sha256"]
    assert (joined["rule"], joined["source_row_number"]) == ("unknown_code", 1)
    assert "small" in caseness("--home", home, "quarantine", "--source", "smal", "--json", code=2)["remedy"]


def test_doctor_and_check_tell_of_refused_files(home: Path) -> None:
    says = [finding["says"] for finding in caseness("--home", home, "doctor", "--json")["findings"]]
    assert any("1 files (1 rows) were refused" in text for text in says)
    notes = caseness("--home", home, "check", "--json")["notes"]
    assert ["were refused" in note["message"] and bool(note["remedy"]) for note in notes] == [True]
    assert "were refused" in (home / "build" / "check.html").read_text(encoding="utf-8")


def test_pseudonyms_of_a_sender_nobody_knows_come_with_a_warning(home: Path) -> None:
    said, aside = run("--home", home, "token", "--source", "smal", "--json", "p1")
    assert list(json.loads(said)) == ["p1"]
    assert "nobody has delivered as namespace 'smal'" in aside and "small" in aside
    _, aside = run("--home", home, "token", "--source", "small", "p1")
    assert aside == ""


def test_wrong_calls_answer_in_json_too() -> None:
    for words in (["ingest", "--json"], ["--json", "nothing"], ["sql", "--tables", "--wide", "--json"]):
        fault = caseness(*words, code=2)
        assert fault["exit_code"] == 2 and fault["error"]
    assert caseness("version", "--json").keys() == {"version"}
    said, _ = run("--help")
    assert "1 something failed" in said


def test_a_home_is_made_in_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "not a folder" in caseness("--home", tmp_path / "file", "init", "--json", code=2)["error"]
    assert "not empty" in caseness("--home", tmp_path, "init", "--json", code=2)["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "home" / "caseness.toml").write_text("threads = 1\n", encoding="utf-8")
    assert not caseness("--home", tmp_path / "home", "init", "--json")["was_a_home"]
    assert caseness("--home", tmp_path / "home", "init", "--json")["was_a_home"]
    for folder in [tmp_path / "home", *(path for path in (tmp_path / "home").rglob("*") if path.is_dir())]:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_the_dashboard_needs_a_release_and_a_free_port(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert caseness("--home", home, "dashboard", "--json", code=5)["error"] == "nothing is published yet"
    assert not home.exists()
    assert "--port" in caseness("--home", home, "dashboard", "--port", "99999", "--json", code=2)["error"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (home / "releases").mkdir(parents=True)
        (home / "releases" / "current.json").write_text("{}", encoding="utf-8")
        fault = caseness("--home", home, "dashboard", "--port", str(port), "--json", code=2)
    assert fault["error"] == f"port {port} is in use already"


def test_instruments_are_found_without_their_hyphen_and_items_out_of_range_are_named() -> None:
    found = caseness("score", "phq9", "1,2,9,0,0,0,0,0,0", "--json")
    assert (found["instrument_code"], found["items_out_of_range"], found["measure_total"]) == ("PHQ-9", [3], None)
    _, aside = run("score", "gad 7", "1,2,0,0,0,0,8")
    assert "item 7 lies outside 0 to 3" in aside
