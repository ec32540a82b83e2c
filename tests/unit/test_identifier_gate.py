"""The identifier gate: classes by name and value, columns judged whole, and clean columns left alone."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ingestion import identifier_gate
from ingestion.contracts import Contract, contracts
from ingestion.identifier_gate import (
    ColumnJudge,
    class_of_name,
    class_of_values,
    describe,
    is_nhs_number,
    printable_name,
)
from tests.fixtures.identifiers import ENCODINGS, KINDS, encode, identifiers, of_kind

# a column of eight surnames in turn has neither a form nor many different values: only its name can tell it
CLASSES = {
    "name": {"names"},
    "street": {"geography"},
    "city": {"names"},
    "uk_postcode": {"geography"},
    "zip": {"geography", "unique_code"},
    "zip_plus_4": {"geography"},
    "latitude_longitude": {"geography"},
    "phone_gb": {"telephone"},
    "phone_us": {"telephone"},
    "phone_e164": {"telephone"},
    "fax": {"fax"},
    "email": {"email"},
    "ssn": {"social_security"},
    "nino": {"social_security"},
    "nhs_number": {"record_number"},
    "mrn": {"record_number"},
    "member_id": {"unique_code"},
    "iban": {"account"},
    "card": {"account"},
    "licence": {"licence"},
    "vin": {"vehicle"},
    "plate": {"vehicle"},
    "imei": {"device"},
    "mac": {"device"},
    "uuid": {"device"},
    "advertising_id": {"device"},
    "url": {"url"},
    "ipv4": {"ip_address"},
    "ipv6": {"ip_address"},
    "user_agent": {"ip_address"},
    "user_name": {"unique_code"},
    "birth_date": {"dates"},
    "base64_image": {"photo"},
}


# --- the generator ------------------------------------------------------------------------------------------------


def test_the_generator_is_the_same_every_time_and_covers_every_kind() -> None:
    drawn = list(identifiers(5000, seed=3))
    assert drawn == list(identifiers(5000, seed=3))
    assert {(item.kind, item.encoding) for item in drawn} == {(kind, way) for kind in KINDS for way in ENCODINGS}
    assert len(KINDS) >= 23
    assert of_kind("zip", 3, seed=1) == of_kind("zip", 3, seed=1) != of_kind("zip", 3, seed=2)
    assert [encode("A1 b", way) for way in ENCODINGS] == ["A1 b", "A 1   b", "QTEgYg==", "Ａ１ ｂ"]


# --- values and names outside the contract ------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", CLASSES)
def test_every_kind_is_named_in_every_encoding(kind: str, encoding: str) -> None:
    assert class_of_values(pl.Series(of_kind(kind, 60, encoding=encoding))) in CLASSES[kind]


@pytest.mark.parametrize(
    "kind", sorted(set(CLASSES) - {"zip", "city", "nhs_number", "card", "imei", "vin", "user_name", "member_id"})
)
def test_one_value_among_many_is_enough_where_its_form_tells(kind: str) -> None:
    values = pl.Series([*["some_code"] * 500, of_kind(kind, 1)[0]])
    assert class_of_values(values) in CLASSES[kind]


VALUE_RULES = [row for row in identifier_gate._rules() if row["rule_kind"].startswith("value_")]
# Files that a rule is there for, where no kind of the generator needs it.
_FOR_THE_RULE = {
    "names": [["ABERNETHY", "F32.1", "F33"], ["Mary Jane", "x1"]],
    "biometric": [["UklGRiQAAABXQVZFZm10"]],
    "social_security": [["123456789", "234567890", "345678901"]],
    "telephone": [["2125550100", "2125550101", "3105550102"]],
    "geography": [["51.40022", "52.10077"], ["28436", "93066"]],
    "dates": [["17/05/1980"]],
    "photo": [],
}


@pytest.mark.parametrize("rule", VALUE_RULES, ids=lambda rule: f"{rule['identifier_class']}-{rule['rule'][:30]}")
def test_every_value_rule_is_needed(rule: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any one of them something is not found that is found with it."""
    found = rule["identifier_class"]
    kinds = [kind for kind in CLASSES if found in CLASSES[kind]]
    columns = [pl.Series(of_kind(kind, 60)) for kind in kinds]
    columns += [pl.Series([text] * 2) for kind in kinds for text in of_kind(kind, 6)]
    columns += [pl.Series(values) for values in _FOR_THE_RULE.get(found, [])]

    def seen() -> list[object]:
        judged = _judge("diagnoses", [_diagnoses([*["F32"] * 9, "ABERNETHY"])])
        return [*(class_of_values(column) for column in columns), judged]

    before = seen()
    kept = tuple(row for row in identifier_gate._rules() if row is not rule)
    if rule["rule"] == "distinct":
        kept = (*kept, {**rule, "minimum_share": "1.1"})
    monkeypatch.setattr(identifier_gate, "_rules", lambda: kept)
    assert seen() != before


def test_plain_codes_and_numbers_have_no_class() -> None:
    assert class_of_values(pl.Series(["a", "b", None, "", "c"] * 20)) is None
    assert class_of_values(pl.Series([str(number % 30) for number in range(400)])) is None
    assert class_of_values(pl.Series([], dtype=pl.String)) is None
    assert class_of_values(pl.Series([None, None], dtype=pl.String)) is None
    assert class_of_values(pl.Series([1, 2, 3])) is None


def test_nhs_numbers_of_the_official_tests(shared_data: Path) -> None:
    cases = json.loads((shared_data / "sdc" / "sdc_cases.json").read_text(encoding="utf-8"))["nhs_number"]
    assert [is_nhs_number(str(number)) for number in cases["valid"]] == [True] * len(cases["valid"])
    assert [is_nhs_number(str(number)) for number in cases["invalid"]] == [False] * len(cases["invalid"])
    chance = random.Random(5)
    drawn = pl.Series([str(chance.randrange(10**9, 10**10)) for _ in range(20_000)])
    share = identifier_gate._passes_modulus_11(drawn).mean()
    assert share == pytest.approx(cases["measured_false_positive_rate_on_random_10_digits"], abs=0.01)


def test_nhs_numbers_are_judged_by_column() -> None:
    valid = of_kind("nhs_number", 100)
    wrong = [number[:9] + str((int(number[9]) + 1) % 10) for number in valid]
    assert class_of_values(pl.Series(valid[:25] + wrong[:75])) == "record_number"
    assert class_of_values(pl.Series((valid[:15] + wrong[:85]) * 20)) != "record_number"
    spaced = [f"{number[:3]} {number[3:6]} {number[6:]}" for number in valid]
    assert class_of_values(pl.Series(spaced)) == "record_number"


def test_unix_seconds_are_no_nhs_numbers() -> None:
    chance = random.Random(6)
    seconds = [str(chance.randrange(1_400_000_000, 1_800_000_000)) for _ in range(2000)]
    checked = [text for text in seconds if is_nhs_number(text)]
    assert len(checked) > 100
    assert class_of_values(pl.Series(seconds * 2)) != "record_number"
    many_valid = (checked * 20)[:2000]
    hits = identifier_gate._nhs_numbers(pl.Series(many_valid)).mean()
    assert hits is not None
    assert float(hits) < 0.2  # type: ignore[arg-type]


def test_values_that_hardly_repeat_are_a_unique_code() -> None:
    assert class_of_values(pl.Series([f"x{n}y" for n in range(100)])) == "unique_code"
    assert class_of_values(pl.Series([f"x{n}y" for n in range(19)])) is None
    assert class_of_values(pl.Series([f"x{n}y" for n in range(94)] + ["x0y"] * 6)) is None  # 94 of 100
    assert class_of_values(pl.Series([f"x{n}y" for n in range(970)] + ["x0y"] * 30)) == "unique_code"  # 97 %


NAMES = {
    "patient_name": "names",
    "Surname": "names",
    "therapist": "names",
    "homeAddress": "geography",
    "zip": "geography",
    "lat": "geography",
    "template": None,
    "participant_flag": None,
    "dob": "dates",
    "tel": "telephone",
    "fax": "fax",
    "e_mail": "email",
    "NINO": "social_security",
    "nhs": "record_number",
    "chi": "record_number",
    "children": None,
    "policy": "health_plan",
    "iban": "account",
    "licence": "licence",
    "vin": "vehicle",
    "serial": "device",
    "mac": "device",
    "machine": None,
    "website_url": "url",
    "ip": "ip_address",
    "voice": "biometric",
    "photo": "photo",
    "study_id": "unique_code",
    "clinician_comment": "names",
    "free_text": "free_text",
    "mood": None,
}


@pytest.mark.parametrize(("name", "found"), NAMES.items())
def test_classes_by_name(name: str, found: str | None) -> None:
    assert class_of_name(name) == found
    assert describe(name).endswith(f"looks like an identifier ({found})" if found else "is not in the contract")


def test_all_eighteen_classes_have_a_rule() -> None:
    sources = " ".join(row["source"] for row in identifier_gate._rules())
    assert all(f"class {number}" in sources for number in (*range(1, 19),))


@pytest.mark.parametrize("name", ["mood", "nhs_number", "NHS_Number", "birthDate", "heart_rate_sum", "steps"])
def test_a_name_that_can_only_be_a_name_is_told(name: str) -> None:
    assert printable_name(name) == f"column {name!r}"
    assert name in describe(name, pl.Series(["a"]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_in_the_place_of_a_name_is_never_told(kind: str) -> None:
    for encoding in ENCODINGS:
        for text in of_kind(kind, 12, encoding=encoding):
            for written in (text, text.lower(), text.upper()):
                assert written not in describe(written, pl.Series([written]))


@pytest.mark.parametrize(
    "name", ["Smith", "smith", "zwanariel_2", "1980-05-17", "", "_", "x" * 70, "a\x1b[31m", "steps\n"]
)
def test_a_doubtful_name_is_not_told(name: str) -> None:
    assert printable_name(name) == "a column whose name may be a value"


# --- columns of the contract --------------------------------------------------------------------------------------

WEARABLE = "wearable_daily"


def _judge(stream: str, batches: list[pl.DataFrame], contract: Contract | None = None) -> list[tuple[str, str]]:
    judge = ColumnJudge()
    for batch in batches:
        judge.observe(batch, contract or contracts()[stream])
    return [(finding.column, finding.identifier_class) for finding in judge.finish()]


def _days(column: str, values: list[str], *, people: int) -> pl.DataFrame:
    """Rows of ``people`` in turn."""
    return pl.DataFrame({"person_code": [f"P{n % people}" for n in range(len(values))], column: values})


def _zips(
    people: int, rows: int, *, different: int, width: int = 5, low: int = 10_000, high: int = 99_951
) -> list[str]:
    chance = random.Random(f"{people}.{different}.{width}.{low}")
    codes = [f"{chance.randrange(low, high):05d}"[:width] for _ in range(different)]
    homes = [chance.choice(codes) for _ in range(people)]
    return [homes[n % people] for n in range(rows)]


POSTCODES = [
    pytest.param("steps", _zips(400, 4000, different=400), 400, id="zips-of-a-country"),
    pytest.param(
        "steps", _zips(400, 4000, different=30, low=10_000, high=19_999), 400, id="zips-of-a-town-in-the-east"
    ),
    pytest.param("steps", _zips(400, 4000, different=12, low=10_000, high=10_300), 400, id="a-dozen-zips"),
    pytest.param("steps", _zips(1000, 1000, different=600), 1000, id="one-row-a-person"),
    pytest.param("steps", _zips(1000, 1000, different=600, low=501, high=39_000), 1000, id="leading-zeros"),
    pytest.param("steps", _zips(300, 3000, different=40, width=3), 300, id="zip3-in-steps"),
    pytest.param(
        "resting_heart_rate_bpm", _zips(300, 3000, different=40, width=3, high=24_000), 300, id="zip3-in-heart-rate"
    ),
    pytest.param("sleep_minutes", _zips(300, 3000, different=40, width=4), 300, id="four-digits-in-minutes"),
]


@pytest.mark.parametrize(("column", "values", "people"), POSTCODES)
@pytest.mark.parametrize("batches", [1, 4])
def test_postcodes_that_pose_as_numbers_are_found(column: str, values: list[str], people: int, batches: int) -> None:
    rows = _days(column, values, people=people)
    size = -(-len(rows) // batches)
    assert _judge(WEARABLE, [rows.slice(n * size, size) for n in range(batches)]) == [(column, "geography")]


@pytest.mark.parametrize("cycle", [2, 5, 10, 20])
@pytest.mark.parametrize("place", [0, 1])
def test_postcodes_in_every_other_row_are_found(cycle: int, place: int) -> None:
    """A sample of every n-th row would never see them."""
    rows = 100_000
    homes = _zips(2000, rows, different=600)
    values = [home if n % cycle == place else None for n, home in enumerate(homes)]
    frame = pl.DataFrame({"person_code": [f"P{n % 1999}" for n in range(rows)], "steps": values})
    assert _judge(WEARABLE, [frame]) == [("steps", "geography")]


def test_coordinates_that_pose_as_decimals_are_found() -> None:
    chance = random.Random(8)
    homes = [f"{chance.uniform(50, 58):.5f}" for _ in range(200)]
    rows = _days("total_value", [homes[n % 200] for n in range(2000)], people=200)
    assert _judge("questionnaire_totals", [rows]) == [("total_value", "geography")]


def clean_columns(count: int, *, rows: int) -> Iterator[tuple[str, str, int, list[str]]]:
    """Columns as services send them: stream, column, people and values. Seeded."""
    draw = np.random.default_rng(11)

    def steps(people: int) -> np.ndarray:
        habit = draw.gamma(4, 2000, people)
        return np.clip(habit[np.arange(rows) % people] * draw.gamma(4, 0.25, rows), 0, 99_999)

    def walkers(people: int) -> np.ndarray:  # postmen: nearly every day has five digits
        return np.clip(draw.normal(17_000, 2500, rows), 8000, 60_000)

    def runners(people: int) -> np.ndarray:  # an ultra-marathon club
        return np.clip(draw.normal(31_000, 7000, rows), 10_000, 99_999)

    def heart(people: int) -> np.ndarray:
        habit = draw.normal(64, 9, people)
        return np.clip(habit[np.arange(rows) % people] + draw.normal(0, 3, rows), 25, 240)

    def anxious_heart(people: int) -> np.ndarray:  # three digits throughout
        return np.clip(draw.normal(118, 6, rows), 100, 240)

    def sleep(people: int) -> np.ndarray:
        return np.clip(draw.normal(420, 60, rows), 100, 1440)

    def sleep_goal(people: int) -> np.ndarray:  # a device that reports its setting
        return draw.choice([420, 450, 480, 510, 540], people)[np.arange(rows) % people]

    def some_goals(people: int) -> np.ndarray:  # a third of the devices report a setting
        setting = draw.integers(401, 499, people)[np.arange(rows) % people]
        return np.where(np.arange(rows) % people % 3 == 0, setting, draw.integers(100, 999, rows))

    def default(people: int) -> np.ndarray:
        return np.full(rows, 480)

    def rounded(people: int) -> np.ndarray:
        return np.round(steps(people), -2)

    def totals(people: int) -> np.ndarray:
        return draw.integers(0, 28, rows)

    def stuck_totals(people: int) -> np.ndarray:
        return draw.integers(0, 28, people)[np.arange(rows) % people]

    shapes: list[tuple[str, str, Callable[[int], np.ndarray]]] = [
        *((WEARABLE, "steps", shape) for shape in (steps, walkers, runners, rounded)),
        *((WEARABLE, "resting_heart_rate_bpm", shape) for shape in (heart, anxious_heart)),
        *((WEARABLE, "sleep_minutes", shape) for shape in (sleep, sleep_goal, some_goals, default)),
        *(("questionnaire_totals", "total_value", shape) for shape in (totals, stuck_totals)),
    ]
    for number in range(count):
        stream, column, shape = shapes[number % len(shapes)]
        people = int(draw.choice([1, 6, 40, 400, rows]))
        yield stream, column, people, shape(people).astype(int).astype(str).tolist()


def test_clean_number_columns_are_not_refused() -> None:
    refused = [
        (column, people)
        for stream, column, people, values in clean_columns(360, rows=1000)
        if _judge(stream, [_days(column, values, people=people)])
    ]
    assert refused == []


@pytest.mark.slow
def test_clean_number_columns_of_100_000_rows_are_not_refused() -> None:
    columns = list(clean_columns(360, rows=100_000))
    refused = [1 for stream, column, n, values in columns if _judge(stream, [_days(column, values, people=n)])]
    assert len(refused) <= 0.001 * len(columns)


def _diagnoses(codes: list[str], *, system: str = "icd_10") -> pl.DataFrame:
    return pl.DataFrame(
        {"person_code": [f"P{n}" for n in range(len(codes))], "code_system": [system] * len(codes), "code": codes}
    )


def _services(codes: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"person_code": [f"P{n}" for n in range(len(codes))], "service_code": codes})


def _upper(kind: str, count: int = 60) -> list[str]:
    """Identifiers as the pattern of a code column admits them: capitals, digits and points."""
    return ["".join(c for c in text.upper() if c.isalnum() or c == ".") for text in of_kind(kind, count)]


@pytest.mark.parametrize(
    "kind",
    [
        "uk_postcode",
        "nino",
        "nhs_number",
        "mrn",
        "member_id",
        "card",
        "licence",
        "vin",
        "plate",
        "imei",
    ],
)
def test_identifiers_that_fit_a_code_pattern_are_found(kind: str) -> None:
    found = _judge("referrals", [_services(_upper(kind, 100))])
    assert [column for column, _ in found] == ["service_code"]


def test_one_identifier_among_codes_is_found_where_its_form_tells() -> None:
    codes = ["service_01", "service_02", "clinic_3", "team_104"] * 250
    for kind in ("uk_postcode", "nino"):
        assert _judge("referrals", [_services([*codes, _upper(kind, 1)[0]])]) != [], kind
    assert _judge("referrals", [_services(codes)]) == []


def test_a_code_that_hardly_repeats_is_refused_from_twenty_values_on() -> None:
    codes = [f"service_{n:02d}" for n in range(100)]
    told = [("service_code", "unique_code")]
    assert _judge("referrals", [_services(codes[:19])]) == []
    assert _judge("referrals", [_services(codes[:30])]) == told
    assert _judge("referrals", [_services(codes[:94] + codes[:6])]) == []  # 94 of 100 differ
    assert _judge("referrals", [_services(codes[:97] + codes[:3])]) == told  # 97 of 100


def test_clean_code_columns_are_not_refused() -> None:
    chance = random.Random(9)
    icd = [f"F{n:02d}.{d}" for n in (32, 33, 40, 41, 42, 43, 60, 90) for d in range(10)]
    snomed = [str(chance.randrange(10**7, 10**10)) for _ in range(300)] + ["370143000", "35489007", "197480006"]
    for codes, system in ((icd, "icd_10"), (snomed, "snomed_ct")):
        for _ in range(40):
            rows = [chance.choice(codes) for _ in range(4000)]
            assert _judge("diagnoses", [_diagnoses(rows, system=system)]) == []
    services = pl.DataFrame(
        {"person_code": ["P1"] * 400, "service_code": [f"service_{n % 40:02d}" for n in range(400)]}
    )
    assert _judge("referrals", [services.with_columns(pl.lit("F321").alias("problem_code"))]) == []


def test_a_few_codes_may_pass_a_check_digit_by_chance() -> None:
    valid = of_kind("nhs_number", 8)
    codes = valid[:2] + [number[:9] + str((int(number[9]) + 1) % 10) for number in valid[2:]]
    assert _judge("diagnoses", [_diagnoses(codes * 10, system="snomed_ct")]) == []
    assert _judge("diagnoses", [_diagnoses(valid * 10, system="snomed_ct")]) == [("code", "record_number")]


def test_long_numbers_in_a_number_column_are_named() -> None:
    rows = _days("steps", of_kind("nhs_number", 100), people=10)
    judge = ColumnJudge()
    judge.observe(rows, contracts()[WEARABLE])
    (finding,) = judge.finish()
    assert (finding.stream, finding.column, finding.identifier_class) == (WEARABLE, "steps", "record_number")
    assert (finding.count, finding.share) == (100, 1.0)
    assert not any(value in finding.says() + repr(finding) for value in rows.get_column("steps").to_list())


def test_short_digit_strings_in_bounded_numbers_are_counted_apart() -> None:
    judge = ColumnJudge()
    rows = _days("steps", ["7", "123456", "1234567", "-5", "0012"], people=2)
    for _ in range(3):
        judge.observe(rows, contracts()[WEARABLE])
    assert judge.short_digit_strings == {"wearable_daily.steps": 9}
    assert judge.finish() == []


def test_only_columns_that_admit_numbers_or_codes_are_looked_at() -> None:
    emails = of_kind("email", 50)
    rows = pl.DataFrame({"person_code": emails, "device_kind": emails, "local_date": emails, "unknown": emails})
    assert _judge(WEARABLE, [rows]) == []
    assert _judge(WEARABLE, [pl.DataFrame(), rows.clear()]) == []


def test_a_clinical_code_column_is_judged_as_one() -> None:
    contract = contracts()["referrals"]
    columns = tuple(
        replace(column, kind="clinical_code") if column.name == "problem_code" else column
        for column in contract.columns
    )
    rows = pl.DataFrame({"person_code": ["P1"] * 40, "problem_code": of_kind("nhs_number", 40)})
    assert _judge("referrals", [rows], replace(contract, columns=columns)) == [("problem_code", "record_number")]


def test_memory_of_the_judge_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identifier_gate, "_PEOPLE_KEPT", 500)
    monkeypatch.setattr(identifier_gate, "_PEOPLE_OF_A_BATCH", 200)
    judge = ColumnJudge()
    values = _zips(4000, 12_000, different=900)
    rows = _days("steps", values, people=4000)
    for _ in range(3):
        judge.observe(rows, contracts()[WEARABLE])
    state = judge._numbers[(WEARABLE, "steps")]
    assert state.people is not None
    assert len(state.people) <= 500
    assert [finding.column for finding in judge.finish()] == ["steps"]
