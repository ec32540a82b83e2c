"""Public FHIR samples through the door: every record is admitted or quarantined, and the counts are known ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import ingestion
from tests.fixtures.small_service import everything_stored, home_settings

# sample: rows in, then by policy: admitted, quarantined by rule, files refused
_SAMPLES: dict[str, tuple[int, dict[str, tuple[int, dict[str, int], int]]]] = {
    "generated_60_patients": (
        15_656,
        {"refuse": (8_127, {"file_refused": 7_049, "not_contracted": 480}, 2), "drop": (15_176, {"not_contracted": 480}, 0)},
    ),
    "hl7_phd": (6, {"refuse": (0, {"file_refused": 6}, 1), "drop": (0, {"not_contracted": 5, "required": 1}, 0)}),
    "phq9_questionnaire_responses": (
        3,
        {"refuse": (2, {"unknown_code": 1}, 0), "drop": (2, {"unknown_code": 1}, 0)},
    ),
    "smart_bulk_10_patients": (1_783, {"refuse": (555, {"file_refused": 1_228}, 2), "drop": (1_783, {}, 0)}),
    "synthea_bundles": (5_845, {"refuse": (0, {"file_refused": 5_845}, 14), "drop": (932, {"not_contracted": 4_913}, 0)}),
    "hl7_phr_ig": (0, {"refuse": (0, {}, 0), "drop": (0, {}, 0)}),  # FSH, which is no data
    "hl7_sdc": (0, {"refuse": (0, {}, 0), "drop": (0, {}, 0)}),
}  # fmt: skip
_LANDED_UNDER_DROP = {
    "generated_60_patients": {
        "people": 60,
        "care_contacts": 6_989,
        "diagnoses": 7_163,
        "questionnaire_totals": 483 + 452 + 29,  # GAD-7, PHQ-2 and PHQ-9 by the sample's own SOURCE.md
    },
    "phq9_questionnaire_responses": {"questionnaire_answers": 18, "questionnaire_totals": 2},
    "smart_bulk_10_patients": {"people": 13, "care_contacts": 1_215, "diagnoses": 555},
    "synthea_bundles": {"people": 14, "care_contacts": 496, "diagnoses": 322, "questionnaire_totals": 100},
}
_CONTRACTED = {"Bundle", "Patient", "Encounter", "Condition", "QuestionnaireResponse", "Observation"}


def _records(path: Path) -> list[dict[str, Any]]:
    """The sample's records, read without the product: entries of a bundle, lines of NDJSON."""
    body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if ".ndjson" in path.name:
        return [json.loads(line) for line in body.decode().splitlines()]
    whole = json.loads(body)
    if whole.get("resourceType") == "Bundle":
        return [entry["resource"] for entry in whole["entry"]]
    return [whole]


def _is_recognised(path: Path) -> bool:
    return any(record.get("resourceType") in _CONTRACTED for record in _records(path)[:1]) or path.parent.name in (
        "synthea_bundles",
        "hl7_phd",
    )


@pytest.mark.parametrize("policy", ["refuse", "drop"])
@pytest.mark.parametrize("sample", sorted(_SAMPLES))
def test_each_record_of_a_sample_is_admitted_or_quarantined(
    shared_data: Path, tmp_path: Path, sample: str, policy: str
) -> None:
    folder = shared_data / "fhir" / sample
    settings = home_settings(tmp_path / "home", identifiers=policy)
    report = ingestion.ingest([folder], settings=settings).as_dict()
    rows_in, expected = _SAMPLES[sample]
    admitted, by_rule, refused = expected[policy]
    assert report["rows_in"] == report["rows_admitted"] + report["rows_quarantined"]
    assert (report["rows_in"], report["rows_admitted"]) == (rows_in, admitted)
    assert report["quarantined_by_rule"] == by_rule
    assert report["files_refused"] == refused
    json_files = [path for path in folder.rglob("*") if {".json", ".ndjson"} & set(path.suffixes)]
    assert rows_in == sum(len(_records(path)) for path in json_files if _is_recognised(path))
    files = [file for source in report["sources"] for file in source["files"]]
    assert len(files) + len(report["files_unrecognised"]) == sum(path.is_file() for path in folder.rglob("*"))
    landed = {stream: n for source in report["sources"] for stream, n in source["rows_landed"].items()}
    if policy == "drop":
        assert landed == _LANDED_UNDER_DROP.get(sample, {})
    stored = {
        stream: sum(ingestion.landing.pq.ParquetFile(part).metadata.num_rows for part in parts)
        for stream, parts in ingestion.landed_parts(settings).items()
        if parts
    }
    assert stored == landed


@pytest.mark.parametrize("policy", ["refuse", "drop"])
@pytest.mark.parametrize("sample", ["synthea_bundles", "smart_bulk_10_patients", "hl7_phd"])
def test_no_name_address_or_number_of_a_sample_is_stored(
    shared_data: Path, tmp_path: Path, sample: str, policy: str
) -> None:
    folder = shared_data / "fhir" / sample
    marks: set[str] = set()
    for path in folder.rglob("*json*"):
        for record in _records(path):
            if record.get("resourceType") == "Patient":
                marks.update(_identifying(record))
    assert marks
    settings = home_settings(tmp_path / "home", identifiers=policy)
    report = ingestion.ingest([folder], settings=settings).as_dict()
    stored = everything_stored(settings.home)
    assert [mark for mark in sorted(marks) if mark in stored] == []
    told = json.dumps(report["problems"]) if sample != "synthea_bundles" else ""  # there file names are the people's
    assert [mark for mark in sorted(marks) if mark in told] == []


def _identifying(patient: dict[str, Any]) -> set[str]:
    """Names, street lines, numbers and ids of a patient that are long enough to be nobody else's."""
    found = {patient.get("id", "")}
    for name in patient.get("name", []):
        found.update([name.get("family", ""), *name.get("given", [])])
    for address in patient.get("address", []):
        found.update(address.get("line", []))
    found.update(contact.get("value", "") for contact in patient.get("telecom", []))
    found.update(identifier.get("value", "") for identifier in patient.get("identifier", []))
    return {mark for mark in found if len(mark) > 7}


def test_the_three_phq9_responses_say_what_their_files_say(shared_data: Path, tmp_path: Path) -> None:
    """Codes and embedded weights give the same answers; the response whose answers nobody can link is held back."""
    import polars as pl

    settings = home_settings(tmp_path / "home")
    report = ingestion.ingest([shared_data / "fhir" / "phq9_questionnaire_responses"], settings=settings).as_dict()
    assert report["positive_risk_items_held_back"] == 1
    answers = pl.concat([pl.read_parquet(p) for p in ingestion.landed_parts(settings)["questionnaire_answers"]])
    totals = pl.concat([pl.read_parquet(p) for p in ingestion.landed_parts(settings)["questionnaire_totals"]])
    assert answers["instrument_code"].unique().to_list() == ["PHQ-9"]
    sums = answers.group_by("response_id").agg(pl.col("answer_value").sum(), pl.len())
    assert sums["len"].to_list() == [9, 9]
    joined = sums.join(totals, on="response_id")
    assert (joined["answer_value"] == joined["total_value"]).all()
    assert len(joined) == 2
