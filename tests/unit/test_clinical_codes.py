"""A value is a code only when its system says so."""

from __future__ import annotations

import os
import random
from pathlib import Path

import polars as pl
import pytest

import ingestion
from caseness.settings import Settings
from ingestion import clinical_codes
from ingestion.casting import cast
from ingestion.contracts import contracts
from ingestion.identifier_gate import is_nhs_number
from ingestion.problems import REMEDIES
from ingestion.pseudonyms import Pseudonymiser
from ingestion.reading import ROW_NUMBER
from screening.definitions import definitions
from tests.fixtures.small_service import home_settings, write_rows

# system code rule ("-": admitted)
CASES = """
snomed_ct                  35489007             -                        depressive disorder
snomed_ct                  35489008             code_form                last digit changed
snomed_ct                  35498007             code_form                two digits exchanged
snomed_ct                  720834000            -                        nine digits
snomed_ct                  1153575004           -                        ten digits
snomed_ct                  428371000124100      -                        United States extension
snomed_ct                  428371000124101      code_form                last digit changed
snomed_ct                  900000000000003001   code_form                metadata of the core, not clinical
snomed_ct                  61462000             -                        short
snomed_ct                  6146200              code_form                a digit short
snomed_ct                  061462000            code_form                leading zero
snomed_ct                  41398015             code_form                a description, not a concept
snomed_ct                  9434765919           code_form                an NHS number
snomed_ct                  4010232137           code_form                an NHS number
snomed_ct                  943-476-5919         code_form                the same, with hyphens
snomed_ct                  4111111111111111     code_form                a card number
snomed_ct                  2025550143           code_form                a telephone number
snomed_ct                  F32.1                code_form                a code of another system
loinc                      44261-6              -                        PHQ-9 total
loinc                      44261-7              code_form                check digit
loinc                      442616               code_form                hyphen left out
loinc                      89204-2              -                        PHQ-9M total
loinc                      100162-7             -                        six digits
loinc                      100162-8             code_form                six digits, check digit
loinc                      90210-1234           code_form                ZIP+4
loinc                      5550-143             code_form                a telephone number
icd_10                     F32.1                -                        with its dot
icd_10                     F32                  -                        category
icd_10                     F321                 code_form                dot left out
icd_10                     M11AA                code_form                a postcode
icd_10                     M11.AA               code_form                a postcode with a dot
icd_10                     M1-1AA               code_form                a postcode with a hyphen
icd_10_cm                  F32.9                -                        depression
icd_10_cm                  Z51.5                -                        palliative care
icd_10_cm                  S72.001A             -                        seven characters
icd_10_cm                  M11AA                code_form                a postcode
icd_10_cm                  SW1A1AA              code_form                a postcode
icd_10_cm                  QQ123456C            code_form                a national insurance number
icd_10_cm                  f32.9                code_form                lower case
cpt                        90791                -                        member of a value set that comes along
cpt                        90210                code_not_in_value_set    a ZIP code
cpt                        12345                code_not_in_value_set    a ZIP code
rxnorm                     1190110              -                        member
rxnorm                     5550143              code_not_in_value_set    a telephone number
hcpcs                      G0182                -                        member
hcpcs                      A1234                code_not_in_value_set    of the right form, but nobody's
hl7_act_code               AMB                  -                        encounter class
hl7_act_code               JANE                 code_not_in_value_set    a name
hl7_discharge_disposition  home                 -                        disposition
unheard_of                 35489007             code_form                no such system
"""


def _cases() -> list[list[str]]:
    return [line.split(maxsplit=3) for line in CASES.strip().splitlines()]


def _check(codes: list[str | None], systems: list[str | None], extra: pl.DataFrame | None = None) -> list[str | None]:
    texts = pl.Series(codes, dtype=pl.String)
    kept, faults = clinical_codes.check_codes(texts, pl.Series(systems, dtype=pl.String), extra=extra)
    found: list[str | None] = [None] * len(codes)
    for rule, mask in faults:
        assert rule in REMEDIES
        found = [rule if is_broken else before for before, is_broken in zip(found, mask.to_list(), strict=True)]
    assert kept.to_list() == [code if rule is None else None for code, rule in zip(codes, found, strict=True)]
    return found


@pytest.mark.parametrize(("system", "code", "rule", "about"), _cases())
def test_a_code_by_its_system(system: str, code: str, rule: str, about: str) -> None:
    assert _check([code], [system]) == [None if rule == "-" else rule], about


def test_a_column_is_judged_as_its_values_are() -> None:
    rows = _cases() * 3
    found = _check([row[1] for row in rows], [row[0] for row in rows])
    assert found == [None if row[2] == "-" else row[2] for row in rows]


def test_a_code_needs_its_system_and_no_code_needs_nothing() -> None:
    assert _check(["35489007", None, None], [None, "snomed_ct", None]) == ["code_form", None, None]
    assert _check(["M1 1AA", " F32.1"], ["icd_10", "icd_10"]) == ["code_form", "code_form"]
    assert _check([], []) == []


def test_no_nhs_number_is_a_snomed_code() -> None:
    """Ten digits of an issued NHS number begin with 3, 4, 6, 7 or 9; those of a concept with 1."""
    seeded = random.Random(7)
    numbers: list[str] = []
    while len(numbers) < 2000:
        text = f"{seeded.choice('34679')}{seeded.randrange(10**9):09d}"
        if is_nhs_number(text):
            numbers.append(text)
    assert set(_check(list(numbers), ["snomed_ct"] * len(numbers))) == {"code_form"}


def test_a_chance_number_rarely_has_the_form() -> None:
    """Nine random digits pass with 1 in 1,000: partition 00 and a check digit."""
    seeded = random.Random(11)
    numbers = [str(seeded.randrange(10**8, 10**9)) for _ in range(20_000)]
    admitted = _check(list(numbers), ["snomed_ct"] * len(numbers)).count(None)
    assert admitted < 2 * len(numbers) / 1000


def test_every_member_that_comes_along_has_its_systems_form() -> None:
    for row in definitions("value_set_members"):
        assert row["code_system"] in clinical_codes.code_systems()
        assert clinical_codes._rules_broken(pl.Series([row["code"]]), row["code_system"]) == [
            "code_not_in_value_set"
            if clinical_codes.code_systems()[row["code_system"]]["validation"] == "value_set"
            else None
        ]


def test_code_systems_name_checks_that_exist() -> None:
    for row in definitions("code_systems"):
        assert row["validation"] in {*clinical_codes._CHECKS, "value_set"}
        assert bool(row["pattern"]) == (row["validation"] != "value_set")
    addresses = [row["fhir_url"] for row in definitions("code_systems")]
    assert len(addresses) == len(set(addresses))


def test_a_value_set_of_the_site_admits_its_members(tmp_path: Path) -> None:
    assert clinical_codes.local_members(tmp_path / "none") is None
    extra = pl.DataFrame({"code_system": ["cpt", "rxnorm"], "code": ["99213", "00123"], "oid": ["1.2", "1.2"]})
    assert _check(["99213", "99214"], ["cpt", "cpt"], extra) == [None, "code_not_in_value_set"]
    folder = tmp_path / "value_sets"
    folder.mkdir()
    (folder / "office.csv").write_text(
        "value_set,oid,code_system,code,version,definition_version,source\nOffice,1.2,rxnorm,00123,1,1,site\n"
    )
    assert _check(["00123"], ["rxnorm"], clinical_codes.local_members(folder)) == [None]


def test_a_value_set_that_is_replaced_counts_at_once_however_alike_its_file_is(tmp_path: Path) -> None:
    """A process that remembers members must not go by the size and time of the file alone."""
    path, header = tmp_path / "drugs.csv", "value_set,oid,code_system,code,version,source\n"
    found = []
    for code in ("00123", "00124"):
        fresh = tmp_path / "fresh"
        fresh.write_text(f"{header}Drugs,1.2,rxnorm,{code},1,site\n")
        os.utime(fresh, ns=(10**18, 10**18))
        fresh.rename(path)
        members = clinical_codes.local_members(tmp_path)
        assert members is not None
        found.append((members.get_column("code").to_list(), clinical_codes.members_seal(tmp_path)))
    assert [codes for codes, _ in found] == [["00123"], ["00124"]]
    assert found[0][1] != found[1][1]


def test_members_that_come_along_anyway_are_no_other_members(tmp_path: Path) -> None:
    assert clinical_codes.members_seal(tmp_path / "none") == ""
    known = clinical_codes.known_members().row(0, named=True)
    (tmp_path / "known.csv").write_text("value_set,code_system,code\nKnown,{code_system},{code}\n".format(**known))
    assert clinical_codes.members_seal(tmp_path) == ""
    (tmp_path / "more.csv").write_text("value_set,code_system,code\nMore,rxnorm,00123\n")
    assert clinical_codes.members_seal(tmp_path) != ""


_DIAGNOSIS = {"diagnosis_code_id": "D1", "person_code": "P1", "code_system": "snomed_ct", "code": "35489007"}
_REQUEST = {
    "medication_request_code": "M1",
    "person_code": "P1",
    "request_status": "active",
    "request_intent": "order",
    "code_system": "rxnorm",
    "code": "1190110",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return home_settings(tmp_path / "home")


@pytest.mark.parametrize(
    ("stream", "good", "change", "rule"),
    [
        ("diagnoses", _DIAGNOSIS, {"code": "9434765919"}, "code_form"),
        ("diagnoses", _DIAGNOSIS, {"code_system": "icd_10", "code": "M11AA"}, "code_form"),
        ("diagnoses", _DIAGNOSIS, {"code_system": ""}, "code_form"),
        ("medications", _REQUEST, {"code": "5550143"}, "code_not_in_value_set"),
        ("medications", _REQUEST, {"reason_code_system": "icd_10_cm", "reason_code": "QQ123456C"}, "code_form"),
    ],
)
def test_the_door_quarantines_what_poses_as_a_code(
    tmp_path: Path, settings: Settings, stream: str, good: dict[str, str], change: dict[str, str], rule: str
) -> None:
    base = {"reason_code_system": "", "reason_code": "", **good} if stream == "medications" else good
    path = write_rows(tmp_path / "in" / f"{stream}.csv", [base, {**base, **change}])
    report = ingestion.ingest([path], settings=settings).as_dict()
    assert (report["rows_in"], report["rows_admitted"], report["rows_quarantined"]) == (2, 1, 1)
    assert report["quarantined_by_rule"][rule] == 1
    (part,) = ingestion.landed_parts(settings)[stream]
    assert pl.read_parquet(part).get_column("code").to_list() == [good["code"]]


def test_the_door_knows_the_sites_own_value_sets(tmp_path: Path, settings: Settings) -> None:
    settings.paths.value_sets.mkdir(parents=True)
    (settings.paths.value_sets / "drugs.csv").write_text(
        "value_set,oid,code_system,code,version,source\nD,1.2,rxnorm,5550143,1,site\n"
    )
    path = write_rows(tmp_path / "in" / "medications.csv", [{**_REQUEST, "code": "5550143"}])
    assert ingestion.ingest([path], settings=settings).as_dict()["rows_admitted"] == 1


def test_an_answer_must_say_its_kind_where_items_are_reversed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.casting._instruments_with_reversed_items", lambda: ["GAD-7"])
    answer = {
        "response_code": "Q1",
        "person_code": "P1",
        "instrument_code": "GAD-7",
        "item_number": "1",
        "answer_state": "answered",
        "answer_value": "2",
        "answer_value_kind": "",
        "answered_at": "2024-03-01T10:00:00Z",
        "response_status": "completed",
    }
    rows = [
        answer,
        {**answer, "answer_value_kind": "scored_value"},
        {**answer, "answer_value_kind": "answer_position"},
        {**answer, "answer_state": "refused", "answer_value": ""},
        {**answer, "instrument_code": "PHQ-9"},
    ]
    text = pl.DataFrame(rows).with_columns(pl.col(pl.String).replace("", None)).with_row_index(ROW_NUMBER, offset=1)
    done = cast(
        text.with_columns(pl.col(ROW_NUMBER).cast(pl.Int64)),
        contracts()["questionnaire_answers"],
        settings=settings,
        pseudonymiser=Pseudonymiser(b"0" * 32, settings.project),
        namespace="service",
        time_zone=None,
    )
    assert done.problems.rows() == [(1, "answer_value_kind", "answer_kind_unstated")]
    assert "answer_kind_unstated" in REMEDIES
