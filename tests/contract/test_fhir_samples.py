"""FHIR samples of others: every resource is counted once, nothing outside the contract is read."""

from __future__ import annotations

from pathlib import Path

import pytest

import ingestion
from caseness.settings import IdentifierPolicy, Settings

# sample: policy -> rows in, admitted, files refused
EXPECTED = {
    ("generated_60_patients", "refuse"): (15656, None, 2),
    ("generated_60_patients", "drop"): (15656, None, 0),
    ("smart_bulk_10_patients", "refuse"): (1783, None, None),
    ("smart_bulk_10_patients", "drop"): (1783, None, 0),
    ("phq9_questionnaire_responses", "refuse"): (3, 2, 0),
    ("synthea_bundles", "refuse"): (5845, 0, 14),
    ("synthea_bundles", "drop"): (5845, None, 0),
}


@pytest.mark.parametrize(("sample", "policy"), sorted(EXPECTED), ids=lambda value: str(value))
def test_sample(shared_data: Path, tmp_path: Path, sample: str, policy: str) -> None:
    settings = Settings(home=tmp_path, identifiers=IdentifierPolicy(policy))
    report = ingestion.ingest([shared_data / "fhir" / sample], settings=settings).as_dict()
    rows_in, admitted, refused = EXPECTED[sample, policy]
    print(sample, policy, {key: value for key, value in report.items() if key not in ("sources", "problems")})
    assert report["rows_in"] == rows_in == report["rows_admitted"] + report["rows_quarantined"]
    if admitted is not None:
        assert report["rows_admitted"] == admitted
    if refused is not None:
        assert report["files_refused"] == refused
    again = ingestion.ingest([shared_data / "fhir" / sample], settings=settings).as_dict()
    assert again["files_loaded"] == 0
