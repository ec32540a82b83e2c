"""Whose file it is: a name that two systems give their files is settled by what stands in the file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ingestion
from caseness.settings import Settings
from ingestion.batches import ReadContext
from ingestion.delivery import Delivery
from ingestion.files import SourceFile
from ingestion.sources import Source, sources
from tests.fixtures.mapped import home_with
from tests.fixtures.small_service import home_settings

_PROCEDURE = {
    "procedure_record_code": "X1",
    "person_code": "P1",
    "procedure_status": "completed",
    "code_system": "snomed_ct",
    "code": "35489007",
}
_FHIR_PROCEDURE = {
    "resourceType": "Procedure",
    "id": "X1",
    "status": "completed",
    "subject": {"reference": "Patient/P1"},
    "code": {"coding": [{"system": "http://snomed.info/sct", "code": "35489007"}]},
    "performedDateTime": "2024-03-01T10:00:00Z",
}
_SYNTHEA = (
    "START,STOP,PATIENT,PAYER,ENCOUNTER,CODE,DESCRIPTION,BASE_COST,DISPENSES\n"
    "2024-03-01T10:00:00Z,,p-1,y-1,e-1,313989,Fluoxetine 20 MG Oral Capsule,12.5,1\n"
)
_MEDICATION = {
    "medication_request_code": "M1",
    "person_code": "P1",
    "request_status": "active",
    "request_intent": "order",
    "code_system": "rxnorm",
    "code": "1190110",
}
_SYNTHEA_MAPPING = {
    "source": "synthea",
    "version": 1,
    "description": "Medications of a Synthea export.",
    "files": [
        {
            "pattern": r"(^|/)medications\.csv$",
            "form": "csv",
            "header_has": ["START", "PATIENT", "ENCOUNTER", "CODE"],
            "never_read": ["STOP", "PAYER", "DESCRIPTION", "BASE_COST", "DISPENSES"],
            "streams": [
                {
                    "stream": "care_contacts",
                    "when": [{"column": "CODE", "present": True}],
                    "columns": {
                        "contact_code": "ENCOUNTER",
                        "person_code": "PATIENT",
                        "contact_at": "START",
                    },
                }
            ],
        }
    ],
}


def _csv(*rows: dict[str, Any]) -> str:
    return "".join(",".join(map(str, line)) + "\n" for line in (rows[0], *(row.values() for row in rows)))


def _ingest(folder: Path, settings: Settings, **files: str) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return ingestion.ingest([folder], settings=settings).as_dict()


def _sources(report: dict[str, Any]) -> dict[str, str]:
    return {file["file"]: part["source"] for part in report["sources"] for file in part["files"]}


def test_a_file_of_fhir_lines_is_fhir_whatever_its_name(tmp_path: Path) -> None:
    """Its lines have a key `code`, as the contract of procedures has."""
    settings = home_settings(tmp_path / "home")
    report = _ingest(tmp_path / "fhir", settings, procedures__ndjson=json.dumps(_FHIR_PROCEDURE) + "\n")
    assert _sources(report) == {"procedures.ndjson": "fhir"}
    assert (report["rows_admitted"], report["problems"]) == (1, [])
    report = _ingest(tmp_path / "own", settings, procedures__ndjson=json.dumps(_PROCEDURE) + "\n")
    assert _sources(report) == {"procedures.ndjson": "caseness"}
    assert (report["rows_admitted"], report["problems"]) == (1, [])


def test_a_table_of_sdtm_is_sdtm_though_it_begins_with_a_streams_name(tmp_path: Path) -> None:
    settings = home_settings(tmp_path / "home")
    report = _ingest(tmp_path / "sdtm", settings, people_dm__csv="USUBJID,SEX\nP1,F\n")
    assert _sources(report) == {"people_dm.csv": "sdtm"}
    assert (report["rows_admitted"], report["problems"]) == (1, [])
    report = _ingest(tmp_path / "own", settings, people_dm__csv="person_code,sex\nP1,female\n")
    assert _sources(report) == {"people_dm.csv": "caseness"}
    assert (report["rows_admitted"], report["problems"]) == (1, [])


def test_a_homes_own_mapping_takes_what_has_its_header_and_leaves_the_rest(tmp_path: Path) -> None:
    settings = home_with(tmp_path, _SYNTHEA_MAPPING)
    report = _ingest(tmp_path / "synthea", settings, medications__csv=_SYNTHEA)
    assert _sources(report) == {"medications.csv": "synthea"}
    assert (report["rows_admitted"], report["problems"]) == (1, [])
    report = _ingest(tmp_path / "own", settings, medications__csv=_csv(_MEDICATION))
    assert _sources(report) == {"medications.csv": "caseness"}
    assert (report["rows_admitted"], report["problems"]) == (1, [])


@pytest.mark.parametrize(
    ("text", "rule", "said"),
    [
        (_SYNTHEA, "header", "no column of the contract is there; the header line may be missing"),
        (_csv(_MEDICATION).partition("\n")[2], "header", "the header line may be missing"),
        (_csv(_MEDICATION).replace(",", ";"), "header", "not comma separated"),
        (_csv({k: v for k, v in _MEDICATION.items() if k != "code"}), "missing_column", "column 'code' is required"),
        ("", "empty", ""),
    ],
    ids=["another's", "no-header", "semicolons", "a-column-short", "empty"],
)
def test_what_nobody_else_knows_is_still_told_what_the_contract_lacks(
    tmp_path: Path, text: str, rule: str, said: str
) -> None:
    report = _ingest(tmp_path / "in", home_settings(tmp_path / "home"), medications__csv=text)
    assert report["files_unrecognised"] == []
    (problem,) = report["problems"]
    assert problem["rule"] == rule and said in problem["message"]
    if rule == "header":
        assert "data dictionary" in problem["remedy"] and "docs/sources.md" in problem["remedy"]


def _own() -> Source:
    return next(source for source in sources() if source.name == "caseness")


def _is_by_name_alone(path: Path, settings: Settings, **delivery: str) -> bool:
    own = _own()
    found = own.reader.recognises(SourceFile(path, path.name), ReadContext(own.spec, Delivery(**delivery), settings))
    assert found is not None and found.stream == "medications"
    return found.is_by_name_alone


def _written(path: Path, row: dict[str, str]) -> Path:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pq.write_table(pa.table({key: [value] for key, value in row.items()}), path)
        return path
    content = (_csv(row) if name.endswith(".csv") else json.dumps(row) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("form", ["csv", "csv.gz", "ndjson", "ndjson.gz", "parquet"])
def test_a_claim_is_as_good_as_the_required_columns(tmp_path: Path, form: str) -> None:
    settings = home_settings(tmp_path / "home")
    path = tmp_path / f"medications_2026-03.{form}"
    assert not _is_by_name_alone(_written(path, _MEDICATION), settings)
    assert not _is_by_name_alone(_written(path, {**_MEDICATION, "surname": "x"}), settings)
    without_person = {name: value for name, value in _MEDICATION.items() if name != "person_code"}
    assert not _is_by_name_alone(_written(path, without_person), settings, person="P1")
    assert _is_by_name_alone(_written(path, {"code": "1190110", "DISPENSES": "1"}), settings)
    path.write_bytes(b"\x1f\x8b\x00 nothing that can be read \xff")
    assert _is_by_name_alone(path, settings)


def test_keys_may_stand_in_any_of_the_first_lines(tmp_path: Path) -> None:
    path = tmp_path / "medications.ndjson"
    first = {name: _MEDICATION[name] for name in list(_MEDICATION)[:3]}
    path.write_bytes(b"\xef\xbb\xbf" + f"{json.dumps(first)}\n\n[1]\n{json.dumps(_MEDICATION)}\n".encode())
    assert not _is_by_name_alone(path, home_settings(tmp_path / "home"))
