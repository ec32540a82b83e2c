"""Bad input at the door: what is broken refuses the file, what is wrong quarantines its row, and nothing is printed."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ingestion
from caseness.commands.build import run_build
from caseness.settings import Settings
from tests.fixtures.small_service import (
    Course,
    Row,
    everything_stored,
    home_settings,
    snapshot,
    write_delivery,
    write_rows,
)

FORMS = ("csv", "ndjson", "parquet")
CANARY = "Zwanariel"  # no part of a key, a hash or a word of ours
_WEARABLE: Row = {"person_code": "W1", "local_date": "2024-03-01", "device_kind": "watch", "steps": "5000"}
_REFERRAL: Row = {"referral_code": "R1", "person_code": "P1", "referral_received_date": "2024-03-01"}
_CONTACT: Row = {"contact_code": "C1", "person_code": "P1", "contact_at": "2024-03-01T10:00:00Z"}
_ANSWER: Row = {
    "response_code": "Q1",
    "person_code": "P1",
    "instrument_code": "PHQ-9",
    "item_number": "1",
    "answer_state": "answered",
    "answer_value": "2",
    "answered_at": "2024-03-01T10:00:00Z",
    "response_status": "completed",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return home_settings(tmp_path / "home")


def _ingest(path: Path, settings: Settings) -> dict[str, Any]:
    """Ingest one path; whatever it holds, every row in is admitted or quarantined, in each file and in sum."""
    report = ingestion.ingest([path], settings=settings).as_dict()
    assert report["rows_in"] == report["rows_admitted"] + report["rows_quarantined"]
    for source in report["sources"]:
        for file in source["files"]:
            assert file["rows_in"] == file["rows_admitted"] + file["rows_quarantined"]
    return report


def _quarantined(settings: Settings) -> list[dict[str, Any]]:
    parts = ingestion.quarantine_parts(settings)
    return pl.concat([pl.read_parquet(part) for part in parts]).to_dicts() if parts else []


def _landed_rows(settings: Settings, stream: str) -> list[dict[str, Any]]:
    parts = ingestion.landed_parts(settings)[stream]
    return pl.concat([pl.read_parquet(part) for part in parts]).to_dicts() if parts else []


# --- a bad value quarantines its row ------------------------------------------------------------------------------

BAD_VALUES = [
    pytest.param("wearable_daily", _WEARABLE, "steps", f"{CANARY}", "integer", id="type"),
    pytest.param("wearable_daily", _WEARABLE, "steps", "100001", "range", id="range-high"),
    pytest.param("wearable_daily", _WEARABLE, "steps", "-1", "range", id="range-low"),
    pytest.param("wearable_daily", _WEARABLE, "device_kind", CANARY, "unknown_code", id="unknown-code"),
    pytest.param("wearable_daily", _WEARABLE, "local_date", "2025-02-30", "date", id="impossible-date"),
    pytest.param("wearable_daily", _WEARABLE, "local_date", "30/01/2024", "date", id="foreign-date"),
    pytest.param("wearable_daily", _WEARABLE, "local_date", "2100-01-01", "range", id="date-beyond-calendar"),
    pytest.param("wearable_daily", _WEARABLE, "person_code", "", "required", id="missing-owner"),
    pytest.param("wearable_daily", _WEARABLE, "person_code", CANARY * 20, "code_length", id="code-too-long"),
    pytest.param("referrals", _REFERRAL, "service_code", CANARY, "pattern", id="pattern"),
    pytest.param("referrals", _REFERRAL, "referral_received_date", "2023-02-29", "date", id="no-leap-year"),
    pytest.param("care_contacts", _CONTACT, "is_planned", CANARY, "boolean", id="boolean"),
    pytest.param("care_contacts", _CONTACT, "contact_at", "2024-03-01T10:00:00", "timestamp_offset", id="no-offset"),
    pytest.param("care_contacts", _CONTACT, "contact_at", "2024-02-30T10:00:00Z", "timestamp", id="impossible-time"),
    pytest.param("care_contacts", _CONTACT, "attendance_code", "9", "unknown_code", id="attendance-code"),
    pytest.param("questionnaire_answers", _ANSWER, "instrument_code", "PHQ-99", "unknown_code", id="instrument"),
    pytest.param("questionnaire_answers", _ANSWER, "answer_value", "1000", "range", id="answer-range"),
    pytest.param("questionnaire_answers", _ANSWER, "answer_state", "refused", "answer_consistency", id="two-columns"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("stream", "good", "column", "value", "rule"), BAD_VALUES)
def test_a_bad_value_quarantines_its_row_and_no_other(
    tmp_path: Path, settings: Settings, form: str, stream: str, good: Row, column: str, value: str, rule: str
) -> None:
    rows = [dict(good), {**good, column: value}, dict(good)]
    path = write_rows(tmp_path / "in" / f"{stream}.{form}", rows)
    report = _ingest(path, settings)
    assert (report["rows_in"], report["rows_admitted"], report["rows_quarantined"]) == (3, 2, 1)
    assert report["files_refused"] == 0
    assert rule in report["quarantined_by_rule"]
    told = [row for row in _quarantined(settings) if row["rule"] == rule]
    assert len(told) == 1
    assert told[0]["source_row_number"] == 2
    assert told[0]["column_name"] == ("answer_value" if rule == "answer_consistency" else column)
    assert told[0]["is_row_quarantined"]
    assert told[0]["remedy"] not in ("", "see the contract")
    file = report["sources"][0]["files"][0]
    assert (file["file"], file["load_id"]) == (path.name, told[0]["load_id"])
    assert [row["source_row_number"] for row in _landed_rows(settings, stream)] == [1, 3]
    if len(value) > 4 and value != "refused":
        assert value not in json.dumps(report)
        assert value not in str(_quarantined(settings))
    assert CANARY not in everything_stored(settings.home)


@pytest.mark.parametrize("form", FORMS)
def test_a_date_after_the_day_the_data_speak_for_is_admitted(tmp_path: Path, form: str) -> None:
    settings = home_settings(tmp_path / "home", as_of_date=dt.date(2024, 12, 31))
    path = write_rows(
        tmp_path / "in" / f"referrals.{form}", [_REFERRAL, {**_REFERRAL, "referral_received_date": "2025-06-01"}]
    )
    report = _ingest(path, settings)
    assert (report["rows_in"], report["rows_admitted"]) == (2, 2)
    landed = _landed_rows(settings, "referrals")
    assert [row["referral_received_date"] for row in landed] == [dt.date(2024, 3, 1), dt.date(2025, 6, 1)]


@pytest.mark.parametrize("form", FORMS)
def test_a_date_before_the_programme_began_may_be_a_birth_date(tmp_path: Path, form: str) -> None:
    settings = home_settings(tmp_path / "home", programme_start_date=dt.date(2015, 1, 1))
    path = write_rows(
        tmp_path / "in" / f"referrals.{form}", [_REFERRAL, {**_REFERRAL, "referral_received_date": "1980-05-17"}]
    )
    assert _ingest(path, settings)["quarantined_by_rule"] == {"before_programme_start": 1}


@pytest.mark.parametrize("form", FORMS)
def test_a_day_of_death_before_the_programme_began_may_be_a_birth_date_too(tmp_path: Path, form: str) -> None:
    """Of a person only the field becomes missing; the date itself must not stay."""
    settings = home_settings(tmp_path / "home", programme_start_date=dt.date(2015, 1, 1))
    rows = [{"person_code": "P1", "deceased_date": "1980-05-17"}, {"person_code": "P2", "deceased_date": "2020-05-17"}]
    report = _ingest(write_rows(tmp_path / "in" / f"people.{form}", rows), settings)
    assert (report["rows_admitted"], report["fields_made_missing"]) == (2, 1)
    landed = {row["source_row_number"]: row["deceased_date"] for row in _landed_rows(settings, "people")}
    assert landed == {1: None, 2: dt.date(2020, 5, 17)}


@pytest.mark.parametrize("form", FORMS)
def test_a_bad_characteristic_becomes_missing_and_the_person_stays(
    tmp_path: Path, settings: Settings, form: str
) -> None:
    rows = [
        {"person_code": "P1", "birth_date": "1980-02-30", "sex": "female"},
        {"person_code": "P2", "birth_date": "1980-05-17", "sex": CANARY},
        {"person_code": "", "birth_date": "1980-05-17", "sex": "male"},
    ]
    report = _ingest(write_rows(tmp_path / "in" / f"people.{form}", rows), settings)
    assert (report["rows_admitted"], report["rows_quarantined"], report["fields_made_missing"]) == (2, 1, 2)
    landed = _landed_rows(settings, "people")
    assert [(row["birth_date"], row["sex"]) for row in landed] == [(None, "female"), (dt.date(1980, 5, 17), None)]
    kept = {(row["source_row_number"], row["column_name"], row["is_row_quarantined"]) for row in _quarantined(settings)}
    assert kept == {(1, "birth_date", False), (2, "sex", False), (3, "person_code", True)}
    assert CANARY not in everything_stored(settings.home) + json.dumps(report)


@pytest.mark.parametrize("form", FORMS)
def test_one_row_with_several_faults_is_one_quarantined_row(tmp_path: Path, settings: Settings, form: str) -> None:
    rows = [_WEARABLE, {**_WEARABLE, "steps": "many", "device_kind": "toaster", "local_date": "never"}]
    report = _ingest(write_rows(tmp_path / "in" / f"wearable_daily.{form}", rows), settings)
    assert (report["rows_in"], report["rows_admitted"], report["rows_quarantined"]) == (2, 1, 1)
    assert report["quarantined_by_rule"] == {"date": 1, "integer": 1, "unknown_code": 1}


def test_a_positive_risk_answer_that_is_held_back_is_counted(tmp_path: Path, settings: Settings) -> None:
    risk = {**_ANSWER, "item_number": "9", "answer_value": "3"}
    rows = [risk, {**risk, "response_status": "done"}, {**risk, "response_status": "done", "answer_value": "0"}]
    report = _ingest(write_rows(tmp_path / "in" / "questionnaire_answers.csv", rows), settings)
    assert report["positive_risk_items_held_back"] == 1


@pytest.mark.parametrize(
    ("kind", "answer", "held_back"),
    [("answer_position", "0", 1), ("answer_position", "3", 0), ("scored_value", "0", 0), ("scored_value", "1", 1)],
)
def test_a_reversed_risk_item_is_turned_before_it_counts_as_held_back(
    tmp_path: Path, settings: Settings, kind: str, answer: str, held_back: int
) -> None:
    """The first answer on the form to EPDS item 10 is worth most."""
    row = {**_ANSWER, "instrument_code": "EPDS", "item_number": "10", "answer_value": answer, "answer_value_kind": kind}
    rows = [{**row, "response_status": "done"}, {**row, "item_number": "9"}]
    report = _ingest(write_rows(tmp_path / "in" / "questionnaire_answers.csv", rows), settings)
    assert report["rows_quarantined"] == 1
    assert report["positive_risk_items_held_back"] == held_back


def test_a_line_that_is_not_json_refuses_the_file(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "wearable_daily.ndjson"
    path.write_text(f"{json.dumps(_WEARABLE)}\n{{not json\n{json.dumps(_WEARABLE)}\n", encoding="utf-8")
    report = _ingest(path, settings)
    assert (report["rows_in"], report["rows_admitted"], report["rows_quarantined"]) == (3, 0, 3)
    assert [(problem["rule"], problem["row"]) for problem in report["problems"]] == [("invalid_json", 2)]


@pytest.mark.parametrize("line", ['["a list"]', '{"person_code": {"nested": 1}}', "", "null", "17"])
def test_an_ndjson_record_of_another_shape_between_whole_ones_is_quarantined(
    tmp_path: Path, settings: Settings, line: str
) -> None:
    path = tmp_path / "wearable_daily.ndjson"
    path.write_text(f"{json.dumps(_WEARABLE)}\n{line}\n{json.dumps(_WEARABLE)}\n", encoding="utf-8")
    report = _ingest(path, settings)
    assert (report["rows_in"], report["rows_admitted"], report["rows_quarantined"]) == (3, 2, 1)
    assert [(row["source_row_number"], row["rule"]) for row in _quarantined(settings)] == [(2, "invalid_record")]


# --- broken syntax refuses the file -------------------------------------------------------------------------------

_HEADER = "person_code,local_date,device_kind,steps"
_LINE = "W1,2024-03-01,watch,5000"
_SECRET_LINE = f"{CANARY},2024-03-01,watch,5000"


def _csv(*lines: str, end: str = "\n") -> bytes:
    return (end.join(lines) + end).encode()


def _parquet(**columns: pa.Array) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def _whole_parquet() -> bytes:
    return _parquet(**{name: pa.array([str(value)] * 3) for name, value in _WEARABLE.items()})


def _twice_named_parquet() -> bytes:
    sink = pa.BufferOutputStream()
    columns = [pa.array([str(value)] * 3) for value in (*_WEARABLE.values(), 7)]
    pq.write_table(pa.table(columns, names=[*_WEARABLE, "steps"]), sink)
    return bytes(sink.getvalue())


def _damaged_archive() -> bytes:
    packed = bytearray(
        gzip.compress(_csv(_HEADER, *(f"W{n},2024-03-01,watch,{n * 7919 % 30000}" for n in range(5000))))
    )
    for place in range(200, 260):
        packed[place] ^= 0xFF
    return bytes(packed)


# name of the file, its bytes, rule, row, column, rows that count as quarantined (None where nobody can know)
BROKEN: list[Any] = [
    pytest.param(
        "wearable_daily.csv", _csv(_HEADER + ",mood", _LINE + ",3", _LINE + ",4"), "unknown_column", None, "mood", 2,
        id="csv-wrong-column",
    ),
    pytest.param(
        "wearable_daily.csv", _csv("person_code,device_kind", "W1,watch"), "missing_column", None, "local_date", 1,
        id="csv-missing-column",
    ),
    pytest.param(
        "wearable_daily.csv", _csv(_HEADER + ",steps", _LINE + ",1"), "duplicate_header", None, "steps", 1,
        id="csv-duplicate-header",
    ),
    pytest.param(
        "wearable_daily.csv", _csv(_HEADER, _LINE) + _LINE.encode(), "truncated", 2, None, 2, id="csv-truncated"
    ),
    pytest.param(
        "wearable_daily.csv", _csv(_HEADER, _LINE) + b"W1,2024-0", "truncated", 2, None, 2, id="csv-cut-in-a-field"
    ),
    pytest.param(
        "wearable_daily.csv", _csv(_HEADER, _LINE, "W\xe9,2024-03-01,watch,1").decode().encode("latin-1"), "encoding",
        2, None, 2, id="csv-latin-1",
    ),
    pytest.param(
        "wearable_daily.csv", _csv(_HEADER, _LINE).decode().encode("utf-16"), "encoding", None, None, None,
        id="csv-utf-16",
    ),
    pytest.param("wearable_daily.csv", b"", "empty", None, None, 0, id="csv-empty"),
    pytest.param(
        "wearable_daily.csv", _csv(_HEADER, _LINE, "W1,2024-03-01,watch"), "ragged_row", 2, None, 2, id="csv-ragged"
    ),
    pytest.param(
        "wearable_daily.csv", _csv(_HEADER, _LINE, "", _LINE), "ragged_row", 2, None, 3, id="csv-blank-line"
    ),
    pytest.param(
        "wearable_daily.csv", _csv(_HEADER, _LINE, 'W1,2024-03-01,"watch,1'), "quoting", 2, None, 2, id="csv-quote"
    ),
    pytest.param(
        "wearable_daily.csv", _csv(_HEADER, _LINE, "W1,2024-03-01,wa\0tch,1"), "nul_byte", 2, None, 2, id="csv-nul"
    ),
    pytest.param(
        "wearable_daily.csv", _csv(_HEADER, _LINE) + _csv(_LINE, end="\r\n"), "line_ends", 2, None, 2,
        id="csv-line-ends",
    ),
    pytest.param(
        "wearable_daily.csv", _csv("person_code ,local_date", "W1,2024-03-01"), "header", None, None, 1,
        id="csv-blank-in-header",
    ),
    pytest.param(
        "wearable_daily.csv", _csv(_HEADER.replace(",", ";"), _LINE.replace(",", ";")), "header", None, None, 1,
        id="csv-semicolons",
    ),
    pytest.param("wearable_daily.csv", _csv(_SECRET_LINE, _LINE), "header", None, None, 1, id="csv-no-header"),
    pytest.param(
        "wearable_daily.csv", _csv(f"{CANARY},{CANARY},x,y", _LINE), "duplicate_header", None, None, 1,
        id="csv-no-header-and-a-value-twice",
    ),
    pytest.param(
        "wearable_daily.csv.gz", gzip.compress(_csv(_HEADER, *[_LINE] * 500))[:-12], "archive", None, None, None,
        id="gz-cut",
    ),
    pytest.param("wearable_daily.csv.gz", _damaged_archive(), "archive", None, None, None, id="gz-damaged"),
    pytest.param("wearable_daily.csv.gz", _csv(_HEADER, _LINE), "archive", None, None, None, id="gz-is-not"),
    pytest.param(
        "wearable_daily.ndjson", (json.dumps(_WEARABLE) + "\n" + json.dumps(_WEARABLE)[:-9]).encode(), "truncated", 2,
        None, 2, id="ndjson-truncated",
    ),
    pytest.param("wearable_daily.ndjson", b"", "empty", None, None, 0, id="ndjson-empty"),
    pytest.param(
        "wearable_daily.ndjson",
        (json.dumps(_WEARABLE) + "\n" + json.dumps({**_WEARABLE, "person_code": "W\xe9"}, ensure_ascii=False) + "\n")
        .encode("latin-1"),
        "encoding", 2, None, 2, id="ndjson-latin-1",
    ),
    pytest.param(
        "wearable_daily.ndjson", (json.dumps({**_WEARABLE, "mood": 3}) + "\n").encode(), "unknown_column", None, "mood",
        1, id="ndjson-wrong-column",
    ),
    pytest.param(
        "wearable_daily.ndjson", b'{"person_code": "W1", "steps": 1}\n', "missing_column", None, "local_date", 1,
        id="ndjson-missing-column",
    ),
    pytest.param("wearable_daily.parquet", b"", "parquet", None, None, None, id="parquet-empty"),
    pytest.param("wearable_daily.parquet", _whole_parquet()[:-40], "parquet", None, None, None, id="parquet-cut"),
    pytest.param("wearable_daily.parquet", _csv(_HEADER, _LINE), "parquet", None, None, None, id="parquet-is-not"),
    pytest.param(
        "wearable_daily.parquet", _parquet(person_code=pa.array(["W1", "W2"])), "missing_column", None, "local_date", 2,
        id="parquet-missing-column",
    ),
    pytest.param(
        "wearable_daily.parquet",
        _parquet(**{**{name: pa.array([str(v)]) for name, v in _WEARABLE.items()}, "mood": pa.array([3])}),
        "unknown_column", None, "mood", 1, id="parquet-wrong-column",
    ),
    pytest.param(
        "wearable_daily.parquet",
        _parquet(person_code=pa.array(["W1"]), local_date=pa.array([["2024-03-01"]]), device_kind=pa.array(["watch"])),
        "parquet", None, "local_date", 1, id="parquet-nested",
    ),
    pytest.param("wearable_daily.parquet", _twice_named_parquet(), "duplicate_header", None, "steps", 3,
                 id="parquet-duplicate-header"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "rule", "row", "column", "rows"), BROKEN)
def test_broken_syntax_refuses_the_file(
    tmp_path: Path,
    settings: Settings,
    name: str,
    content: bytes,
    rule: str,
    row: int | None,
    column: str | None,
    rows: int | None,
) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir()
    path.write_bytes(content)
    report = _ingest(path, settings)
    assert (report["files_refused"], report["files_loaded"], report["rows_admitted"]) == (1, 0, 0)
    if rows is not None:
        assert report["rows_quarantined"] == rows
        assert report["quarantined_by_rule"] == ({"file_refused": rows} if rows else {})
    problem = report["problems"][0]
    assert (problem["file"], problem["rule"]) == (name, rule)
    assert problem.get("row") == row
    assert problem.get("column") == column
    assert problem["message"]
    assert problem["remedy"]
    assert not any(ingestion.landed_parts(settings).values())
    assert not list(settings.paths.parts.rglob("*.*"))
    assert CANARY not in json.dumps(report) + everything_stored(settings.home)


def test_an_announced_row_count_that_is_not_met_refuses_the_file(tmp_path: Path, settings: Settings) -> None:
    path = write_rows(tmp_path / "in" / "wearable_daily.csv", [_WEARABLE, _WEARABLE])
    (path.parent / "delivery.yml").write_text("row_count: {wearable_daily.csv: 3}\n", encoding="utf-8")
    report = _ingest(path.parent, settings)
    assert report["problems"][0]["rule"] == "row_count"
    assert report["rows_quarantined"] == 2
    assert not any(ingestion.landed_parts(settings).values())


def test_a_refused_file_does_not_stop_the_others(tmp_path: Path, settings: Settings) -> None:
    write_rows(tmp_path / "in" / "wearable_daily_1.csv", [_WEARABLE])
    (tmp_path / "in" / "wearable_daily_2.csv").write_bytes(_csv(_HEADER, _LINE)[:-3])
    write_rows(tmp_path / "in" / "wearable_daily_3.csv", [_WEARABLE, {**_WEARABLE, "steps": "x"}])
    (tmp_path / "in" / "notes.pdf").write_bytes(b"%PDF")
    report = _ingest(tmp_path / "in", settings)
    assert (report["files_loaded"], report["files_refused"]) == (2, 1)
    assert (report["rows_in"], report["rows_admitted"], report["rows_quarantined"]) == (4, 2, 2)
    assert report["files_unrecognised"] == ["notes.pdf"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_header_without_rows_is_a_load_of_nothing(tmp_path: Path, settings: Settings, form: str) -> None:
    report = _ingest(write_rows(tmp_path / f"wearable_daily.{form}", [], list(_WEARABLE)), settings)
    assert (report["files_loaded"], report["rows_in"], report["problems"]) == (1, 0, [])


# --- the same file twice ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_the_same_file_twice_changes_nothing(tmp_path: Path, settings: Settings, form: str) -> None:
    rows = [_WEARABLE, {**_WEARABLE, "steps": "many"}]
    path = write_rows(tmp_path / "in" / f"wearable_daily.{form}", rows)
    assert _ingest(path, settings)["rows_in"] == 2
    before = snapshot(settings.home)
    renamed = path.with_name(f"wearable_daily_again.{form}")
    path.rename(renamed)
    second = _ingest(renamed, settings)
    assert (second["files_already_loaded"], second["files_loaded"], second["rows_in"]) == (1, 0, 0)
    assert snapshot(settings.home) == before


def test_another_byte_is_another_load(tmp_path: Path, settings: Settings) -> None:
    path = write_rows(tmp_path / "in" / "wearable_daily.csv", [_WEARABLE])
    _ingest(path, settings)
    write_rows(path, [{**_WEARABLE, "steps": "5001"}])
    assert _ingest(path, settings)["files_loaded"] == 1
    assert len(_landed_rows(settings, "wearable_daily")) == 2


def test_a_refused_file_twice_still_lands_nothing(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "wearable_daily.csv"
    path.write_bytes(_csv(_HEADER, _LINE)[:-1])
    first, second = _ingest(path, settings), _ingest(path, settings)
    assert first["rows_quarantined"] == second["rows_quarantined"] == 1
    assert len(ingestion.manifest_entries(settings)) == 1
    assert not any(ingestion.landed_parts(settings).values())


# --- the canary ---------------------------------------------------------------------------------------------------


def _fhir_resources() -> list[dict[str, Any]]:
    subject = {"reference": "Patient/p1", "display": CANARY}
    loinc = "http://loinc.org"
    return [
        {
            "resourceType": "Patient",
            "id": "p1",
            "gender": "female",
            "birthDate": "1980-05-17",
            "name": [{"family": CANARY, "given": [CANARY]}],
            "telecom": [{"system": "phone", "value": CANARY}],
            "address": [{"line": [CANARY], "city": CANARY}],
            "identifier": [{"value": CANARY}],
            "contact": [{"name": {"text": CANARY}}],
            "extension": [{"url": "mothersMaidenName", "valueString": CANARY}],
            "text": {"div": f"<div>{CANARY}</div>"},
        },
        {
            "resourceType": "Encounter",
            "id": "e1",
            "status": "finished",
            "subject": subject,
            "participant": [{"individual": {"display": CANARY}}],
            "period": {"start": "2024-03-01T10:00:00Z"},
            "serviceProvider": {"display": CANARY},
        },
        {
            "resourceType": "Condition",
            "id": "c1",
            "subject": subject,
            "code": {"coding": [{"system": "http://snomed.info/sct", "code": "35489007"}], "text": CANARY},
            "note": [{"text": CANARY}],
        },
        {
            "resourceType": "Observation",
            "id": "o1",
            "status": "final",
            "subject": subject,
            "code": {"coding": [{"system": loinc, "code": "44261-6", "display": CANARY}]},
            "effectiveDateTime": "2024-03-01T10:00:00Z",
            "valueInteger": 12,
            "performer": [{"display": CANARY}],
        },
        {
            "resourceType": "QuestionnaireResponse",
            "id": "q1",
            "status": "completed",
            "subject": subject,
            "author": {"display": CANARY},
            "authored": "2024-03-01T10:00:00Z",
            "questionnaire": "http://loinc.org/q/44249-1",
            "item": [
                {"linkId": "44250-9", "text": CANARY, "answer": [{"valueInteger": 2}]},
                {"linkId": "99999", "text": "Anything else?", "answer": [{"valueString": CANARY}]},
            ],
        },
        {"resourceType": "DocumentReference", "id": "d1", "description": CANARY},
    ]


def _bundle(folder: Path) -> Path:
    body = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in _fhir_resources()]}
    return _write(folder / "export.json", json.dumps(body))


def _ndjson(folder: Path) -> Path:
    return _write(folder / "export.ndjson", "".join(json.dumps(body) + "\n" for body in _fhir_resources()))


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


CARRIERS: list[Any] = [
    pytest.param(_bundle, 6, 5, id="fhir-bundle"),
    pytest.param(_ndjson, 6, 5, id="fhir-ndjson"),
    *(
        pytest.param(
            lambda folder, form=form: write_rows(
                folder / f"people.{form}",
                [{"person_code": f"P{n}", "sex": "female", "surname": CANARY, "remark": CANARY} for n in range(3)],
            ),
            3,
            3,
            id=f"extra-column-{form}",
        )
        for form in FORMS
    ),
]


@pytest.mark.parametrize(("write", "rows", "admitted"), CARRIERS)
@pytest.mark.parametrize("policy", ["refuse", "drop"])
def test_what_names_a_person_is_stored_nowhere(
    tmp_path: Path, write: Callable[[Path], Path], rows: int, admitted: int, policy: str
) -> None:
    settings = home_settings(tmp_path / "home", identifiers=policy)
    path = write(tmp_path / "in")
    assert CANARY.encode() in path.read_bytes()  # the marker is there to be leaked
    report = _ingest(path, settings)
    assert report["rows_in"] == rows
    assert report["rows_admitted"] == (0 if policy == "refuse" else admitted)
    assert CANARY not in json.dumps(report)
    assert CANARY not in everything_stored(settings.home)
    if policy == "drop":
        assert report["sources"][0]["files"][0]["fields_never_read"]
    else:
        assert report["problems"][0]["rule"] in ("identifier_fields", "unknown_column")


def test_what_names_a_person_is_in_no_build_either(tmp_path: Path) -> None:
    settings = home_settings(tmp_path / "home", identifiers="drop")
    folder = write_delivery(tmp_path / "in", [Course("1"), Course(CANARY)])  # codes are pseudonymised
    _ndjson(tmp_path / "in" / "record")
    write_rows(tmp_path / "in" / "people_extra.csv", [{"person_code": "P1", "sex": "female", "surname": CANARY}])
    report = _ingest(folder, settings)
    assert report["files_loaded"] == 6
    assert CANARY not in json.dumps(report)
    run_build(settings=settings)
    assert CANARY not in everything_stored(settings.home)


def test_the_search_for_the_canary_finds_one_that_is_there(tmp_path: Path) -> None:
    """The scanner unpacks what is packed; otherwise the tests above would prove nothing."""
    pl.DataFrame({"x": [CANARY] * 50}).write_parquet(tmp_path / "a" / "p.parquet", mkdir=True)
    assert CANARY.encode() * 2 not in (tmp_path / "a" / "p.parquet").read_bytes()
    assert CANARY in everything_stored(tmp_path / "a")
    import duckdb

    (tmp_path / "b").mkdir()
    with duckdb.connect(str(tmp_path / "b" / "d.duckdb")) as connection:
        connection.execute("create table t as select reverse(?) as x from range(5000)", [CANARY[::-1]])
    assert CANARY in everything_stored(tmp_path / "b")
