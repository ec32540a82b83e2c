"""FHIR samples of others: every resource is counted once, nothing outside the contract is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ingestion
from caseness.settings import IdentifierPolicy, Settings

# Codes of medications carry no check digit, so they are admitted as members of a value set only; none is loaded here.
_MEDICATIONS = "code_not_in_value_set"

# sample, policy -> rows in, files refused, rows held back by rule, rows landed by stream
EXPECTED: dict[tuple[str, str], tuple[int, int, dict[str, int], dict[str, int]]] = {
    # Under `refuse` the 60 patients (names) and 6,989 encounters (the patient's name beside the reference) stay out.
    ("generated_60_patients", "refuse"): (
        17_910,
        2,
        {"file_refused": 60 + 6_989, _MEDICATIONS: 137},
        {"diagnoses": 7_163, "procedures": 2_117, "questionnaire_totals": 483 + 452 + 29 + 287 + 193},
    ),
    # 1,444 observations, all of them totals: 483 GAD-7, 452 PHQ-2, 29 PHQ-9, 287 PHQ-9M, 193 AUDIT-C. Each encounter
    # has its class and its type, one of them two types.
    ("generated_60_patients", "drop"): (
        17_910,
        0,
        {_MEDICATIONS: 137},
        {
            "care_contacts": 6_989,
            "contact_codes": 2 * 6_989 + 1,
            "diagnoses": 7_163,
            "people": 60,
            "procedures": 2_117,
            "questionnaire_totals": 483 + 452 + 29 + 287 + 193,
        },
    ),
    # Only the conditions name nobody.
    ("smart_bulk_10_patients", "refuse"): (
        5_584,
        4,
        {"file_refused": 13 + 1_215 + 1_745 + 2_056},
        {"diagnoses": 555},
    ),
    # 696 of the encounters have a reason beside class and type.
    ("smart_bulk_10_patients", "drop"): (
        5_584,
        0,
        {_MEDICATIONS: 1_745},
        {
            "care_contacts": 1_215,
            "contact_codes": 2 * 1_215 + 696,
            "diagnoses": 555,
            "people": 13,
            "procedures": 2_056,
        },
    ),
    # One response has an answer code that is in no list.
    ("phq9_questionnaire_responses", "refuse"): (
        3,
        0,
        {"unknown_code": 1},
        {"questionnaire_answers": 2 * 9, "questionnaire_totals": 2},
    ),
    ("synthea_bundles", "refuse"): (5_845, 14, {"file_refused": 5_845}, {}),
    # Claims, reports and measurements lie outside the contract, 17 AUDIT-C and 11 PHQ-9M totals no longer. One
    # diagnosis and five reasons of contacts have a code that breaks SNOMED CT's own check digit: the diagnosis is held
    # back, the contacts are kept without them.
    ("synthea_bundles", "drop"): (
        5_845,
        0,
        {"not_contracted": 4_006, _MEDICATIONS: 149, "code_form": 1},
        {
            "care_contacts": 496,
            "contact_codes": 2 * 496 + 154 - 5,
            "diagnoses": 321,
            "people": 14,
            "procedures": 730,
            "questionnaire_totals": 42 + 57 + 1 + 11 + 17,
        },
    ),
}


@pytest.mark.parametrize(("sample", "policy"), sorted(EXPECTED), ids=lambda value: str(value))
def test_sample(shared_data: Path, tmp_path: Path, sample: str, policy: str) -> None:
    settings = Settings(home=tmp_path, identifiers=IdentifierPolicy(policy))
    report = ingestion.ingest([shared_data / "fhir" / sample], settings=settings).as_dict()
    rows_in, refused, rules, landed = EXPECTED[sample, policy]
    assert report["rows_in"] == rows_in == report["rows_admitted"] + report["rows_quarantined"]
    assert report["files_refused"] == refused
    assert report["quarantined_by_rule"] == rules
    assert report["rows_quarantined"] == sum(rules.values())
    assert _landed(report) == landed
    again = ingestion.ingest([shared_data / "fhir" / sample], settings=settings).as_dict()
    assert again["files_loaded"] == 0


def _landed(report: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for source in report["sources"]:
        for stream, rows in source["rows_landed"].items():
            found[stream] = found.get(stream, 0) + rows
    return found
