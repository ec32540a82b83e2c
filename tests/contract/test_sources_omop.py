"""OMOP CDM: concepts mean what the delivery's vocabulary says, and a score without its value is never zero."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections import Counter
from pathlib import Path

import pytest

import ingestion
from tests.fixtures.mapped import Read, home_with, read_file
from tests.fixtures.small_service import home_settings

_CONCEPTS = [
    ("10", "SNOMED", "35489007"),
    ("11", "LOINC", "44261-6"),
    ("12", "LOINC", "44250-9"),
    ("13", "LOINC", "LA6571-9"),
    ("14", "LOINC", "44255-8"),
    ("15", "SNOMED", "171207006"),
    ("16", "SNOMED", "428171000124102"),
    ("17", "Visit", "OP"),
    ("18", "CVX", "140"),
    ("19", "SOPT", "211"),
    ("20", "ICD10CM", "F32.9"),
    ("21", "LOINC", "29463-7"),
    ("22", "RxNorm", "1000048"),
    ("23", "LOINC", "73831-0"),
]


def cdm(folder: Path, table: str, header: str, *rows: str, concepts: str | None = ",") -> Read:
    folder.mkdir(exist_ok=True)
    if concepts:
        lines = ["concept_id,concept_name,vocabulary_id,concept_code".replace(",", concepts)]
        # At Athena a quote in a name is a character like any other; in a comma separated file it has to be closed.
        name = 'a "quoted name' if concepts == "\t" else "a name"
        lines += [concepts.join((number, name, vocabulary, code)) for number, vocabulary, code in _CONCEPTS]
        (folder / "CONCEPT.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = folder / f"{table}.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return read_file(path, home_with(folder, None))


_CONDITION = "condition_occurrence_id,person_id,condition_concept_id,condition_source_concept_id,condition_start_date"


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_a_diagnosis_is_translated_or_held_back(tmp_path: Path, delimiter: str) -> None:
    rows = [
        "1,1,10,0,2024-01-02",
        "2,1,0,20,2024-01-02",
        "3,1,0,0,2024-01-02",
        "4,1,18,0,2024-01-02",
        "5,1,99,0,2024-01-02",
    ]
    found = cdm(tmp_path, "CONDITION_OCCURRENCE", _CONDITION, *rows, concepts=delimiter)
    assert found.of("diagnoses", "code_system", "code", "onset_date") == [
        ("snomed_ct", "35489007", dt.date(2024, 1, 2)),
        ("icd_10_cm", "F32.9", dt.date(2024, 1, 2)),
    ]
    assert found.quarantined == [
        (3, "condition_concept_id", "unknown_code"),
        (4, "condition_concept_id", "not_contracted"),
        (5, "condition_concept_id", "unknown_code"),
    ]


_OBSERVATION = (
    "observation_id,person_id,observation_concept_id,observation_date,observation_datetime,value_as_number,"
    "value_as_string,value_as_concept_id,unit_concept_id,visit_occurrence_id"
)


def test_totals_items_and_what_has_no_value(tmp_path: Path) -> None:
    rows = [
        "1,1,11,2024-01-02,2024-01-02 09:00:00,14,,0,0,7",
        "2,1,11,2024-01-02,2024-01-02 09:00:00,,14,0,0,7",
        "3,1,12,2024-01-02,2024-01-02 09:00:00,,,13,0,7",
        "4,1,14,2024-01-02,2024-01-02 09:00:00,2.0,,0,0,7",
        "5,1,14,2024-01-03,,,,15,0,7",
        "6,1,23,2024-01-03,,,,0,0,7",
        "7,1,23,2024-01-03,,,,16,0,7",
        "8,1,15,2024-01-03,,,,0,0,7",
        "9,1,23,2024-01-03,,4,,0,0,7",
        "10,1,21,2024-01-03,,70,,0,9529,7",
        "11,1,23,2024-01-03,,,,99,0,7",
        "12,1,11,2024-01-03,,,,16,0,7",
    ]
    found = cdm(tmp_path, "OBSERVATION", _OBSERVATION, *rows)
    assert found.of("questionnaire_totals", "instrument_code", "total_value", "answered_at") == [
        ("PHQ-9", 14.0, dt.datetime(2024, 1, 2, 9))
    ]
    items = found.landed["questionnaire_answers"]
    assert [(row["instrument_code"], row["item_number"], row["answer_value"]) for row in items] == [
        ("PHQ-9", 1, 3),
        ("PHQ-9", 2, 2),
    ]
    assert len({row["response_id"] for row in items}) == 1
    assert found.of("coded_observations", "source_row_number", "code", "value_code", "value_number") == [
        (7, "73831-0", "428171000124102", None),
        (8, "171207006", None, None),
        (9, "73831-0", None, 4.0),
    ]
    assert found.quarantined == [
        (2, "value_as_number", "value_missing"),
        (5, "value_as_concept_id", "unknown_code"),
        (6, "value_as_number", "value_missing"),
        (10, "unit_concept_id", "not_contracted"),
        (11, "value_as_concept_id", "unknown_code"),
        (12, "value_as_number", "value_missing"),
    ]


def test_a_person_and_the_death_are_one_statement(tmp_path: Path) -> None:
    person = "person_id,gender_concept_id,year_of_birth,month_of_birth,day_of_birth,person_source_value\n"
    (tmp_path / "PERSON.csv").write_text(
        person + "1,8507,1950,3,9,secret-1\n2,8532,1960,,,secret-2\n", encoding="utf-8"
    )
    (tmp_path / "DEATH.csv").write_text("person_id,death_date\n1,2020-05-06\n", encoding="utf-8")
    settings = home_with(tmp_path, None)
    people = read_file(tmp_path / "PERSON.csv", settings)
    whole = ("male", dt.date(1950, 3, 9), dt.date(2020, 5, 6))
    assert people.of("people", "sex", "birth_date", "deceased_date") == [whole, ("female", None, None)]
    assert read_file(tmp_path / "DEATH.csv", settings).of("people", "sex", "birth_date", "deceased_date") == [whole]
    assert "secret" not in str(people)
    (tmp_path / "PERSON.csv").unlink()
    alone = read_file(tmp_path / "DEATH.csv", settings)
    assert alone.refused == ("missing_companion", "PERSON.csv is not beside the table")


def test_visits_drugs_procedures_and_cover(tmp_path: Path) -> None:
    visit = cdm(
        tmp_path / "v",
        "visit_occurrence",
        "visit_occurrence_id,person_id,visit_concept_id,visit_start_date,visit_start_datetime",
        "1,1,17,2024-01-02,2024-01-02 09:00:00",
        "2,1,0,2024-01-02,",
    )
    assert visit.of("care_contacts", "contact_at") == [(dt.datetime(2024, 1, 2, 9),), (dt.datetime(2024, 1, 2, 12),)]
    assert visit.of("contact_codes", "code_role", "code_system", "code") == [("class", "hl7_act_code", "AMB")]
    drug = cdm(
        tmp_path / "d",
        "DRUG_EXPOSURE",
        "drug_exposure_id,person_id,drug_concept_id,drug_exposure_start_date,days_supply,sig",
        "1,1,22,2024-01-02,30,one a day",
        "2,1,18,2024-01-02,30,",
    )
    assert drug.of("medications", "code_system", "code", "supply_days") == [("rxnorm", "1000048", 30)]
    assert drug.quarantined == [(2, "drug_concept_id", "not_contracted")]
    procedure = cdm(
        tmp_path / "p",
        "PROCEDURE_OCCURRENCE",
        "procedure_occurrence_id,person_id,procedure_concept_id,procedure_date",
        "1,1,15,2024-01-02",
    )
    assert procedure.of("procedures", "code", "procedure_status") == [("171207006", "completed")]
    cover = cdm(
        tmp_path / "c",
        "PAYER_PLAN_PERIOD",
        "payer_plan_period_id,person_id,payer_plan_period_start_date,payer_plan_period_end_date,payer_concept_id",
        "1,1,2024-01-01,2024-12-31,19",
        "2,1,2024-01-01,2024-12-31,10",
    )
    assert cover.of("coverages", "payer_category", "coverage_end_date") == [("medicaid", dt.date(2024, 12, 31))]
    assert cover.quarantined == [(2, "payer_concept_id", "unknown_code")]


def test_the_vocabulary_lies_beside_and_is_part_of_the_load(tmp_path: Path) -> None:
    row = "1,1,10,0,2024-01-02"
    alone = cdm(tmp_path, "CONDITION_OCCURRENCE", _CONDITION, row, concepts=None)
    assert alone.refused == ("missing_companion", "CONCEPT.csv is not beside the table")
    first = cdm(tmp_path, "CONDITION_OCCURRENCE", _CONDITION, row)
    other = cdm(tmp_path, "CONDITION_OCCURRENCE", _CONDITION, row, concepts="\t")
    assert first.report is not None and other.report is not None
    assert first.report.load_id != other.report.load_id


def test_a_column_outside_the_cdm_refuses(tmp_path: Path) -> None:
    found = cdm(tmp_path, "CONDITION_OCCURRENCE", _CONDITION + ",patient_name", "1,1,10,0,2024-01-02,Ann Other")
    assert found.refused == ("unknown_column", "column 'patient_name' looks like an identifier (names)")


def test_the_synthea_sample_member_by_member(shared_data: Path, tmp_path: Path) -> None:
    archive = shared_data / "omop" / "Synthea27Nj_5.4.zip"
    settings = home_settings(tmp_path / "home")
    report = ingestion.ingest([archive], settings=settings, time_zone="America/New_York").as_dict()
    assert (report["rows_in"], report["rows_admitted"], report["files_refused"]) == (22963, 5276, 0)
    files = {Path(file["file"]).name: file for source in report["sources"] for file in source["files"]}
    assert len(files) == 9
    # Every LOINC observation of the sample has lost its value: 403 of them are PHQ and GAD totals.
    assert files["OBSERVATION.csv"]["quarantined_by_rule"] == {"value_missing": 7649}
    assert files["MEASUREMENT.csv"]["quarantined_by_rule"] == {"not_contracted": 9107, "value_missing": 48}
    # RxNorm codes carry no check digit, so they are codes only as members of a known value set.
    assert files["DRUG_EXPOSURE.csv"]["quarantined_by_rule"]["code_not_in_value_set"] == 883
    landed = Counter[str]()
    for source in report["sources"]:
        landed.update(source["rows_landed"])
    assert landed["diagnoses"] == 470 and landed["people"] == 28 + 3 and landed["questionnaire_totals"] == 0
    unpacked = tmp_path / "cdm"
    with zipfile.ZipFile(archive) as packed:
        for name in ("PERSON.csv", "DEATH.csv"):
            member = next(entry for entry in packed.namelist() if entry.endswith(name) and "MACOSX" not in entry)
            unpacked.mkdir(exist_ok=True)
            (unpacked / name).write_bytes(packed.read(member))
    again = ingestion.ingest([unpacked], settings=settings, time_zone="America/New_York").as_dict()
    assert (again["files_loaded"], again["files_already_loaded"]) == (0, 2)
