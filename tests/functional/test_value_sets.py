"""Value sets a site loads itself: read strictly from CSV, FHIR and VSAC, all or none, and what they admit then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest

import ingestion
from caseness.commands.valuesets import run_list, run_load
from caseness.errors import RefusedInputError
from caseness.settings import Settings
from tests.fixtures.life import caseness
from tests.fixtures.mapped import write_xlsx
from tests.fixtures.small_service import Course, home_settings, state_delivery, write_delivery, write_rows

_SET = "value_set,oid,code_system,code,version\n"


def test_value_sets_are_loaded_strictly_once_and_listed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    caseness(home, "init")
    (tmp_path / "a.csv").write_text(
        _SET + "Depression,2.16.840.1,icd_10,F32,2026\nDepression,2.16.840.1,icd_10,F33,2026\n", encoding="utf-8"
    )
    expansion = {
        "resourceType": "ValueSet",
        "url": "http://cts.nlm.nih.gov/fhir/ValueSet/2.16.840.2",
        "title": "Encounters to Screen",
        "version": "20260101",
        "expansion": {"contains": [{"system": "http://snomed.info/sct", "code": "185349003", "display": "Check up"}]},
    }
    (tmp_path / "b.json").write_text(json.dumps(expansion), encoding="utf-8")
    first = caseness(home, "valuesets", "load", tmp_path / "a.csv", tmp_path / "b.json")
    assert first["loaded"] == ["2.16.840.1", "2.16.840.2"]
    assert caseness(home, "valuesets", "load", tmp_path / "a.csv")["already_loaded"] == ["2.16.840.1"]
    listed = caseness(home, "valuesets", "list")["value_sets"]
    assert [(item["value_set"], item["codes"]) for item in listed] == [("Depression", 2), ("Encounters to Screen", 1)]
    assert "Check up" not in (home / "value_sets" / "2.16.840.2.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "content",
    [
        "",
        _SET,
        "value_set,oid,code_system,code\nA,2.16.1,icd_10,F32\n",
        _SET + "A,2.16.1,icd_10,F32\n",
        _SET + "A,../../x,icd_10,F32,2026\n",
        _SET + "A,2.16.1,icd_10,=cmd(),2026\n",
        _SET + "A,2.16.1,icd_10,F32,2026\nB,2.16.1,icd_10,F33,2026\n",
        _SET + 'A,2.16.1,icd_10,"F32,2026\n',
    ],
)
def test_a_faulty_value_set_is_refused_whole(tmp_path: Path, content: str) -> None:
    settings = home_settings(tmp_path / "home")
    (tmp_path / "good.csv").write_text(_SET + "G,2.16.9,icd_10,F32,2026\n", encoding="utf-8")
    (tmp_path / "bad.csv").write_text(content, encoding="utf-8")
    with pytest.raises(RefusedInputError, match="nothing was loaded"):
        run_load([tmp_path / "good.csv", tmp_path / "bad.csv"], settings=settings)
    assert run_list(settings=settings) == {"value_sets": []}


_VSAC_INFO = [["Value Set Name", "Antidepressant Medication"], ["Code System", "RXNORM"], ["OID", "2.16.840.1.113"]]
_VSAC_INFO += [["Type", "Extensional"], ["Definition Version", "20260110"], ["Steward", "A steward"]]
_VSAC_HEADER = ["Code", "Description", "Code System", "Code System Version", "Code System OID", "TTY"]
_VSAC_CODES = [
    ["5550143", "A tablet", "RXNORM", "2026-01", "2.16.840.1.113883.6.88", "SCD"],
    ["00123", "A vaccine", "CVX", "2026", "2.16.840.1.113883.12.292", None],
    ["428371000124100", "A referral", "SNOMEDCT", "2025-09", "2.16.840.1.113883.6.96", "FN"],
    [None],
    ["F32.9", "Depression", "ICD-10-CM", "2026", "2.16.840.1.113883.6.90", "PT"],
]
Sheet = list[list[Any]]


def _workbook(path: Path, **sheets: Sheet) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title.replace("_", " "))
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def _expansion(*, info: Sheet = _VSAC_INFO, header: list[Any] = _VSAC_HEADER, codes: Sheet = _VSAC_CODES) -> Sheet:
    return [["Expansion List"], [], *info, ["Expansion Profile", "Most recent"], [], header, *codes]


@pytest.mark.parametrize("info_on_its_own_sheet", [False, True])
def test_a_workbook_of_the_value_set_authority_center_is_loaded(tmp_path: Path, info_on_its_own_sheet: bool) -> None:
    """And the value set it holds is what the same codes as CSV would have been."""
    settings = home_settings(tmp_path / "home")
    if info_on_its_own_sheet:
        sheets = {"Value_Set_Info": _VSAC_INFO, "Expansion_List": _expansion(info=[])}
    else:
        sheets = {"Expansion_List": _expansion()}
    path = _workbook(tmp_path / "set.xlsx", **sheets)
    loaded = caseness(settings.home, "valuesets", "load", path)
    assert loaded["loaded"] == ["2.16.840.1.113"]
    facts = [(item["value_set"], item["oid"], item["version"], item["codes"]) for item in loaded["value_sets"]]
    assert facts == [("Antidepressant Medication", "2.16.840.1.113", "20260110", 4)]
    text = (settings.home / "value_sets" / "2.16.840.1.113.csv").read_text()
    name = "Antidepressant Medication,2.16.840.1.113"
    assert text.splitlines()[1:] == [
        f"{name},cvx,00123,20260110,VSAC expansion",
        f"{name},icd_10_cm,F32.9,20260110,VSAC expansion",
        f"{name},rxnorm,5550143,20260110,VSAC expansion",
        f"{name},snomed_ct,428371000124100,20260110,VSAC expansion",
    ]
    assert "A tablet" not in text
    assert run_load([path], settings=settings)["already_loaded"] == ["2.16.840.1.113"]
    request = write_rows(tmp_path / "in" / "medications.csv", [_REQUEST])
    assert ingestion.ingest([request], settings=settings).as_dict()["rows_admitted"] == 1


def _without(rows: Sheet, label: str) -> Sheet:
    return [row for row in rows if row[0] != label]


@pytest.mark.parametrize(
    ("sheets", "said", "remedy"),
    [
        (
            {"A": _expansion(codes=[["X1", "x", "NEWCODES"]])},
            "sheet 1, row 12, Code System names no",
            "SNOMEDCT, LOINC",
        ),
        ({"A": _expansion(codes=[["X1", "x", None]])}, "row 12, Code System names no", "RXNORM"),
        ({"A": _expansion(codes=[*_VSAC_CODES, [None, "x", "CPT"]])}, "sheet 1, row 17 has no valid code", ""),
        ({"A": _expansion(codes=[["=cmd", "x", "CPT"]])}, "row 12 has no valid code", ""),
        ({"A": _expansion(codes=[[99213, "x", "CPT"]])}, "row 12, Code holds a number", "as text"),
        ({"A": _expansion(codes=[[8, "x", "CVX"]])}, "row 12, Code holds a number", "as text"),
        ({"A": _expansion(codes=[[1234567890123456, "x", "SNOMEDCT"]])}, "row 12, Code holds a number", "as text"),
        ({"A": _expansion(codes=[])}, "holds no code", ""),
        ({"A": _expansion(header=["Code", "Description"])}, "does not say Code, Code System", "VSAC"),
        ({"A": _expansion(info=_without(_VSAC_INFO, "Value Set Name"))}, "does not say Value Set Name", "VSAC"),
        ({"A": _expansion(info=_without(_VSAC_INFO, "OID"))}, "does not say OID", "VSAC"),
        ({"A": _expansion(info=_without(_VSAC_INFO, "Definition Version"))}, "does not say Definition Version", "VSAC"),
        ({"A": _expansion(info=[*_VSAC_INFO, ["OID", "2.16.840.9"]])}, "row 9 says another OID", "one value set"),
        ({"A": _expansion(info=[*_without(_VSAC_INFO, "OID"), ["OID", "../x"]])}, "has no valid oid", ""),
        ({"A": _expansion(), "B": _expansion()}, "sheet 2, row 11 begins a second table", "one by one"),
        ({"A": [["Code", "Code System"], ["F32", "ICD10"]]}, "does not say Value Set Name, OID, Definition", "VSAC"),
        ({"A": [["nothing"]]}, "does not say", "VSAC"),
    ],
)
def test_a_faulty_workbook_is_refused_whole(tmp_path: Path, sheets: dict[str, Sheet], said: str, remedy: str) -> None:
    settings = home_settings(tmp_path / "home")
    _workbook(tmp_path / "good.xlsx", A=_expansion())
    _workbook(tmp_path / "bad.xlsx", **sheets)
    with pytest.raises(RefusedInputError, match="nothing was loaded") as refused:
        run_load([tmp_path / "good.xlsx", tmp_path / "bad.xlsx"], settings=settings)
    assert refused.value.message.startswith("bad.xlsx") and said in refused.value.message
    assert remedy in refused.value.remedy
    assert run_list(settings=settings) == {"value_sets": []}


def test_a_number_that_is_the_code_is_the_code(tmp_path: Path) -> None:
    settings = home_settings(tmp_path / "home")
    codes = [[5550143, "x", "RXNORM"], [428371000124100, "x", "SNOMEDCT"]]
    run_load([_workbook(tmp_path / "set.xlsx", A=_expansion(codes=codes))], settings=settings)
    text = (settings.home / "value_sets" / "2.16.840.1.113.csv").read_text()
    assert "rxnorm,5550143," in text and "snomed_ct,428371000124100," in text


def test_what_is_no_plain_workbook_is_no_value_set(tmp_path: Path) -> None:
    settings = home_settings(tmp_path / "home")
    rows = [["Value Set Name", "A"], ["OID", "2.16.1"], ["Definition Version", "1"], ["Code", "Code System"]]
    entity = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
    error = [*rows, ['<c r="A5" t="e"><v>#REF!</v></c>', "CPT"]]
    for content, drawn, said in (
        (b"PK\x03\x04 not really", None, "not a workbook"),
        (None, ({"A": rows}, {"before": entity}), "not a readable workbook"),
        (None, ({"A": rows}, {"macros": True}), "macros"),
        (None, ({"A": rows}, {"hidden": ["A"]}), "hidden"),
        (None, ({"A": error}, {}), "row 5 is no workbook to load: a cell of sheet 1 holds an error"),
    ):
        path = tmp_path / "set.xlsx"
        path.write_bytes(content or b"")
        if drawn is not None:
            write_xlsx(path, drawn[0], **drawn[1])
        with pytest.raises(RefusedInputError, match="nothing was loaded") as refused:
            run_load([path], settings=settings)
        assert said in refused.value.message and refused.value.remedy


_REQUEST = {
    "medication_request_code": "M1",
    "person_code": "P1",
    "request_status": "active",
    "request_intent": "order",
    "code_system": "rxnorm",
    "code": "5550143",
}


def _lines(path: Path, *resources: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(resource) + "\n" for resource in resources), encoding="utf-8")
    return path


def _delivery_with_codes(folder: Path) -> Path:
    """A medication whose code only a value set admits, and an observation that only a value set asks for."""
    state_delivery(folder)
    write_rows(folder / "medications.csv", [_REQUEST, {**_REQUEST, "medication_request_code": "M2", "code": "1190110"}])
    code = {"coding": [{"system": "http://loinc.org", "code": "73831-0"}]}
    value = {"coding": [{"system": "http://snomed.info/sct", "code": "428171000124102"}]}
    observation = {"resourceType": "Observation", "id": "O1", "status": "final", "code": code}
    observation |= {"subject": {"reference": "Patient/P1"}, "effectiveDateTime": "2024-03-01T10:00:00Z"}
    other = {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]}
    _lines(
        folder / "Observation.ndjson",
        {**observation, "valueCodeableConcept": value},
        {**observation, "id": "O2", "code": other},
    )
    return folder


def _codes(settings: Settings) -> set[str]:
    parts = ingestion.landed_parts(settings)
    paths = [str(part) for stream in ("medications", "coded_observations") for part in parts[stream]]
    return {row[0] for path in paths for row in duckdb.sql(f"select code from read_parquet('{path}')").fetchall()}


def test_a_code_held_back_at_the_door_is_admitted_once_its_value_set_is_loaded(tmp_path: Path) -> None:
    """By the commands a site would run, with the same files before and after."""
    settings = home_settings(tmp_path / "home")
    key = {"CASENESS_KEY_FILE": str(settings.key_file)}
    delivery = _delivery_with_codes(tmp_path / "in")
    before = caseness(settings.home, "ingest", delivery, **key)
    assert before["quarantined_by_rule"] == {"code_not_in_value_set": 1, "not_contracted": 1}
    assert _codes(settings) == {"1190110", "73831-0"}
    (tmp_path / "sets.csv").write_text(
        _SET + "Antidepressants,2.16.840.1,rxnorm,5550143,2026\nHeight,2.16.840.2,loinc,8302-2,2026\n"
    )
    caseness(settings.home, "valuesets", "load", tmp_path / "sets.csv", **key)
    after = caseness(settings.home, "ingest", delivery, **key)
    assert (after["files_loaded"], after["rows_admitted"], after["rows_quarantined"]) == (2, 4, 0)
    assert _codes(settings) == {"1190110", "73831-0", "5550143", "8302-2"}
    statuses = [entry["load_status"] for entry in ingestion.reconcile(settings, is_deep=True)]
    assert (statuses.count("loaded"), statuses.count("superseded")) == (2, 2)
    assert caseness(settings.home, "ingest", delivery, **key)["files_already_loaded"] == 2


def test_files_are_read_anew_only_where_other_codes_are_members_now(tmp_path: Path) -> None:
    """Whatever came first, files or value sets, the home ends the same; files without codes are left as they are."""
    settings = home_settings(tmp_path / "home")
    delivery = _delivery_with_codes(write_delivery(tmp_path / "in", [Course("1")]))
    ingestion.ingest([delivery], settings=settings)
    (tmp_path / "known.csv").write_text(_SET + "Known,2.16.840.3,rxnorm,1190110,2026\n")
    run_load([tmp_path / "known.csv"], settings=settings)
    assert ingestion.ingest([delivery], settings=settings).as_dict()["files_already_loaded"] == 6
    (tmp_path / "more.csv").write_text(_SET + "More,2.16.840.1,rxnorm,5550143,2026\n")
    run_load([tmp_path / "more.csv"], settings=settings)
    again = ingestion.ingest([delivery], settings=settings).as_dict()
    assert (again["files_loaded"], again["files_already_loaded"]) == (2, 4)

    other = home_settings(tmp_path / "other" / "home").with_changes(key_file=settings.key_file)
    run_load([tmp_path / "known.csv", tmp_path / "more.csv"], settings=other)
    ingestion.ingest([delivery], settings=other)
    loaded = [
        {entry["load_id"] for entry in ingestion.manifest_entries(home) if entry["load_status"] == "loaded"}
        for home in (settings, other)
    ]
    assert loaded[0] == loaded[1]


def test_a_value_set_loaded_between_two_ingests_of_one_process_counts(tmp_path: Path) -> None:
    """The readers stay alive from one ingest to the next, and must not know the members of before."""
    settings = home_settings(tmp_path / "home")
    admitted = []
    for number, code in enumerate(["5550143", "5550144", "5550143"], start=1):
        if number > 1:  # the second set takes the place of the first: the same name, the same size
            (tmp_path / "set.csv").write_text(_SET + f"Drugs,2.16.840.1,rxnorm,{code},2026\n")
            run_load([tmp_path / "set.csv"], settings=settings)
        rows = [{**_REQUEST, "medication_request_code": f"M{number}{end}", "code": f"555014{end}"} for end in (3, 4)]
        path = write_rows(tmp_path / str(number) / "medications.csv", rows)
        ingestion.ingest([path], settings=settings)
        admitted.append(sorted(_codes(settings)))
    assert admitted == [[], ["5550144"], ["5550143", "5550144"]]
