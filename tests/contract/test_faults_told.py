"""What a sender is told of bad input: rule, column, rows, consequence, remedy; who is who; what was refused before."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import ingestion
from caseness import journal, telling
from caseness.commands.quarantine import run_quarantine
from caseness.commands.withdraw import run_withdraw
from caseness.settings import Settings
from tests.fixtures.small_service import everything_stored, home_settings, snapshot, write_rows

_ANSWER: dict[str, object] = {
    "response_code": "Q1",
    "person_code": "P1",
    "instrument_code": "PHQ-9",
    "item_number": "1",
    "answer_state": "answered",
    "answer_value": "2",
    "answered_at": "2024-03-01T10:00:00Z",
    "response_status": "completed",
}
_NAME = "Zwanariel"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return home_settings(tmp_path / "home")


def _ingest(path: Path, settings: Settings, **options: Any) -> dict[str, Any]:
    return ingestion.ingest([path], settings=settings, **options).as_dict()


def _fhir(path: Path, *resources: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(resource) + "\n" for resource in resources), encoding="utf-8")
    return path


def _observation(number: int, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": "final",
        "subject": {"reference": "Patient/p1"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "44261-6"}]},
        "effectiveDateTime": "2024-03-01T10:00:00Z",
        "valueInteger": 12,
        **more,
    }


def test_faults_say_rule_column_rows_consequence_and_remedy(tmp_path: Path, settings: Settings) -> None:
    people = [{"person_code": f"P{n}", "sex": "sometimes" if n > 2 else "male"} for n in range(1, 11)]
    write_rows(tmp_path / "in" / "people.csv", people)
    write_rows(tmp_path / "in" / "questionnaire_answers.csv", [_ANSWER, {**_ANSWER, "answered_at": "yesterday"}])
    report = _ingest(tmp_path / "in", settings)
    found = {(fault["file"], fault["rule"], fault["column"]): fault for fault in report["faults"]}
    sex = found[("people.csv", "unknown_code", "sex")]
    assert (sex["stream"], sex["rows"], sex["first_rows"]) == ("people", 8, [3, 4, 5, 6, 7])
    assert sex["consequence"] == "field_made_missing"
    time = found[("questionnaire_answers.csv", "timestamp", "answered_at")]
    assert (time["rows"], time["first_rows"], time["consequence"]) == (1, [2], "row_quarantined")
    assert all(fault["remedy"] for fault in report["faults"])
    loads = {row["load_id"] for row in ingestion.deliveries_table(settings).to_pylist()}
    assert {fault["load_id"] for fault in report["faults"]} <= loads
    words = telling.ingest_words(report)
    assert "people.csv: column sex: unknown_code in 8 rows (3, 4, 5, 6, 7, ...): the field was made missing" in words
    assert "questionnaire_answers.csv: column answered_at: timestamp in 1 row (2): held back" in words
    assert time["remedy"] in words


def test_words_on_faults_are_bounded(tmp_path: Path, settings: Settings) -> None:
    for number in range(30):
        write_rows(tmp_path / "in" / f"people_{number}.csv", [{"person_code": f"P{number}", "sex": "sometimes"}])
        (tmp_path / "in" / f"referrals_{number}.csv").write_bytes(b"")
    report = _ingest(tmp_path / "in", settings)
    words = telling.ingest_words(report)
    assert len(report["faults"]) == 30
    assert len(words.splitlines()) < 60
    assert "and 10 more kinds of fault" in words
    assert "referrals_0.csv, referrals_1.csv, referrals_10.csv and 27 more: the file is empty" in words


def test_records_outside_the_contract_are_called_harmless(tmp_path: Path, settings: Settings) -> None:
    path = _fhir(tmp_path / "in" / "a.ndjson", _observation(1), {"resourceType": "Procedure", "id": "x"})
    report = _ingest(path, settings)
    assert [fault["consequence"] for fault in report["faults"]] == ["not_read"]
    assert "not_contracted: 1 records in 1 files" in telling.ingest_words(report)
    assert "harmless" in telling.ingest_words(report)


def test_an_impossible_day_in_a_delivery_refuses_its_folder_only(tmp_path: Path, settings: Settings) -> None:
    for folder in ("a", "b"):
        write_rows(tmp_path / "in" / folder / "people.csv", [{"person_code": folder}])
    (tmp_path / "in" / "a" / "delivery.yml").write_text("source: a\nperiod_start: 2024-13-01\n", encoding="utf-8")
    report = _ingest(tmp_path / "in", settings)
    assert (report["files_loaded"], report["files_refused"]) == (1, 1)
    told = {problem["message"] for problem in report["problems"]}
    assert told == {"delivery.yml: it states a day or time that does not exist"}


def test_whose_codes_they_are_is_told_where_nobody_said(tmp_path: Path, settings: Settings) -> None:
    for vendor in ("one", "two"):
        write_rows(tmp_path / "in" / vendor / "people.csv", [{"person_code": "P1", "sex": "male"}])
    (tmp_path / "in" / "two" / "delivery.yml").write_text("source: two\n", encoding="utf-8")
    report = _ingest(tmp_path / "in", settings)
    assert [(note["folder"], note["namespace"], note["files"]) for note in report["notes"]] == [("one", "caseness", 1)]
    words = telling.ingest_words(report)
    assert "NOTE: no delivery.yml says who sent people.csv" in words
    assert "delivery.yml with source and namespace" in words
    assert _ingest(tmp_path / "in" / "one", settings, source="one")["notes"] == []


@pytest.mark.parametrize(
    ("columns", "rule", "column", "remedy"),
    [
        ("persn_code,sex", "missing_column", "person_code", "rename column 'persn_code' to 'person_code'"),
        ("sex,shoe_size", "missing_column", "person_code", "add it"),
        ("person_code,birth_day", "unknown_column", "birth_day", "if it is 'birth_date', rename it"),
        ("person_code,device_colour", "unknown_column", "device_colour", "leave the column out"),
    ],
)
def test_a_column_under_another_name_is_told_with_the_nearest(
    tmp_path: Path, settings: Settings, columns: str, rule: str, column: str, remedy: str
) -> None:
    path = tmp_path / "people.csv"
    path.write_text(f"{columns}\na,b\n", encoding="utf-8")
    (problem,) = _ingest(path, settings)["problems"]
    assert (problem["rule"], problem["column"]) == (rule, column)
    assert remedy in problem["remedy"]


def test_a_status_nobody_defined_is_an_unknown_code(tmp_path: Path, settings: Settings) -> None:
    form = {
        "resourceType": "QuestionnaireResponse",
        "id": "q1",
        "status": _NAME,
        "subject": {"reference": "Patient/p1"},
        "authored": "2024-03-01T10:00:00Z",
        "questionnaire": "http://loinc.org/q/44249-1",
        "item": [{"linkId": "44250-9", "answer": [{"valueInteger": 2}]}],
    }
    path = _fhir(tmp_path / "in" / "a.ndjson", _observation(1), form)
    report = _ingest(path, settings)
    assert [(fault["rule"], fault["column"]) for fault in report["faults"]] == [("unknown_code", "response_status")]
    assert _NAME not in everything_stored(settings.home) + json.dumps(report)


def test_a_bad_answer_is_told_once(tmp_path: Path, settings: Settings) -> None:
    rows = [{**_ANSWER, "answer_value": value} for value in ("x", "1000", "")]
    report = _ingest(write_rows(tmp_path / "in" / "questionnaire_answers.csv", rows), settings)
    assert [(fault["rule"], fault["first_rows"]) for fault in report["faults"]] == [
        ("answer_consistency", [3]),
        ("integer" if "integer" in report["quarantined_by_rule"] else "decimal", [1]),
        ("range", [2]),
    ]


def test_a_refused_file_leaves_one_trace(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "in").mkdir()
    write_rows(tmp_path / "in" / "people.csv", [{"person_code": "P1"}])
    (tmp_path / "in" / "referrals.csv").write_text("referral_code\nR1\n", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "in" / "more.zip", "w") as archive:
        archive.writestr("../people.csv", "person_code\nP2\n")
    first = _ingest(tmp_path / "in", settings)
    assert (first["files_refused"], first["files_refused_before"]) == (2, 0)
    assert sorted(entry["file_label"] for entry in ingestion.refused_lately(settings)) == ["csv", "zip"]
    assert "2 files" in ingestion.refusal_words(settings)
    before = snapshot(settings.home)
    again = _ingest(tmp_path / "in", settings)
    assert (again["files_refused"], again["files_refused_before"]) == (2, 2)
    assert "refused 2 (2 of them before, too)" in telling.ingest_words(again)
    assert snapshot(settings.home) == before
    write_rows(tmp_path / "in" / "people.csv", [{"person_code": "P3"}])
    (tmp_path / "in" / "referrals.csv").unlink()
    (tmp_path / "in" / "more.zip").unlink()
    _ingest(tmp_path / "in", settings)
    assert ingestion.refused_lately(settings) == []


def test_a_refused_file_is_quarantined_until_it_is_settled(tmp_path: Path, settings: Settings) -> None:
    import hashlib

    bad = tmp_path / "in" / "referrals.csv"
    write_rows(tmp_path / "in" / "people.csv", [{"person_code": "P1"}])
    bad.write_text("referral_code\nR1\n", encoding="utf-8")
    _ingest(tmp_path / "in", settings)
    (told,) = run_quarantine(settings=settings)
    sha256 = hashlib.sha256(bad.read_bytes()).hexdigest()
    assert told["source_file_sha256"] == sha256
    assert [(fault["rule"], fault["rows"], fault["consequence"]) for fault in told["faults"]] == [
        ("file_refused", 1, "file_refused")
    ]
    assert "file_refused in 1 row: the whole file is refused" in telling.quarantine_words([told])
    run_withdraw(sha256, settings=settings, reason="stated_by_sender")
    assert run_quarantine(settings=settings) == []
    assert ingestion.refused_lately(settings) == []


def test_a_file_refused_for_its_delivery_is_settled_once_it_loads(tmp_path: Path, settings: Settings) -> None:
    write_rows(tmp_path / "in" / "people.csv", [{"person_code": "P1"}])
    (tmp_path / "in" / "delivery.yml").write_text("period_start: 2024-13-01\n", encoding="utf-8")
    _ingest(tmp_path / "in", settings)
    assert [entry["source_name"] for entry in ingestion.refused_lately(settings)] == ["unknown"]
    (tmp_path / "in" / "delivery.yml").write_text("period_start: 2024-12-01\n", encoding="utf-8")
    _ingest(tmp_path / "in", settings)
    assert ingestion.refused_lately(settings) == []
    list(journal.read(settings.paths.journal))


def test_a_file_name_is_stored_nowhere(tmp_path: Path, settings: Settings) -> None:
    """Exports are named after people."""
    _fhir(tmp_path / "in" / f"{_NAME}_Smith.ndjson", _observation(1), _observation(2, status="odd"))
    _fhir(tmp_path / "in" / f"{_NAME}.json", {"resourceType": "Patient", "id": "p1", "name": [{"text": "x"}]})
    (tmp_path / "in" / f"people_{_NAME}.csv").write_text("shoe_size\n1\n", encoding="utf-8")
    (tmp_path / "in" / f"people.{_NAME}").write_text("shoe_size\n1\n", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "in" / f"{_NAME}.zip", "w") as archive:
        archive.writestr(f"../{_NAME}.csv", "person_code\nP2\n")
    report = _ingest(tmp_path / "in", settings)
    assert report["files_refused"] >= 2
    assert _NAME in json.dumps(report)  # whoever gave the files is told which
    assert _NAME.lower() not in everything_stored(settings.home).lower()


def test_quarantined_rows_are_joined_to_a_file_by_its_hash(tmp_path: Path, settings: Settings) -> None:
    import hashlib

    path = write_rows(tmp_path / "in" / "people.csv", [{"person_code": "P1", "sex": "sometimes"}])
    _ingest(path, settings)
    held = pl.concat(pl.read_parquet(part) for part in ingestion.quarantine_parts(settings))
    deliveries = pl.from_arrow(ingestion.deliveries_table(settings))
    assert isinstance(deliveries, pl.DataFrame)
    joined = held.join(deliveries, on="load_id")
    assert joined.get_column("source_file_sha256").to_list() == [hashlib.sha256(path.read_bytes()).hexdigest()]
