"""The de-identification profiles: what each lets in, how dates move, and what no longer can be told."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from caseness.errors import UsageError
from caseness.settings import Deidentification, Settings
from ingestion import deidentification
from ingestion.casting import Cast, cast
from ingestion.contracts import contracts
from ingestion.problems import REMEDIES, RefusedFile
from ingestion.pseudonyms import Pseudonymiser
from ingestion.reading import ROW_NUMBER
from tests.fixtures.identifiers import ENCODINGS, KINDS, of_kind

_PSEUDONYMISER = Pseudonymiser(bytes(range(32)), "default")
SHIFT = {"deidentification": "expert_determination", "expert_report": "E-1", "date_shift_weeks": 6}
SAFE_HARBOR = {"deidentification": "safe_harbor"}


def _settings(**changes: Any) -> Settings:
    return Settings(home=Path("unused"), **changes)


def _cast(stream: str, rows: list[dict[str, str | None]], **changes: Any) -> Cast:
    names = dict.fromkeys(name for row in rows for name in row)
    text = pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in names}, schema=dict.fromkeys(names, pl.String)
    )
    text = text.with_row_index(ROW_NUMBER, offset=1).cast({ROW_NUMBER: pl.Int64})
    return cast(
        text,
        contracts()[stream],
        settings=_settings(**changes),
        pseudonymiser=_PSEUDONYMISER,
        namespace="small",
        time_zone=None,
    )


def _code(number: int) -> str:
    """A random code as a sender may draw it."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def _faults(found: Cast) -> list[tuple[int, str, str]]:
    return sorted(found.problems.select(ROW_NUMBER, "column_name", "rule").rows())


# --- profiles -----------------------------------------------------------------------------------------------------


def test_only_an_expert_may_ask_for_a_shift() -> None:
    assert _settings(**SHIFT).date_shift_weeks == 6
    for profile in ("limited_data_set", "safe_harbor"):
        with pytest.raises(ValidationError, match="expert_determination"):
            _settings(deidentification=profile, date_shift_weeks=1)
    with pytest.raises(ValidationError):
        _settings(**{**SHIFT, "date_shift_weeks": -1})


@pytest.mark.parametrize(
    ("changes", "form"),
    [
        ({}, "calendar"),
        ({"deidentification": "expert_determination"}, "calendar"),
        (SHIFT, "shifted_by_up_to_6_weeks"),
        (SAFE_HARBOR, "days_from_index"),
    ],
)
def test_the_form_of_the_dates_is_told(changes: dict[str, Any], form: str) -> None:
    settings = _settings(**changes)
    assert deidentification.date_form(settings) == form
    assert deidentification.dates_are_calendar(settings) is (form == "calendar")
    facts = deidentification.manifest_facts(settings)
    assert facts == {"deidentification": settings.deidentification.value, "date_form": form}
    deidentification.check_one_date_form(settings, [{"load_status": "loaded", **facts}])
    deidentification.check_one_date_form(settings, [{"load_status": "refused", "date_form": "another"}])


def test_dates_of_two_forms_do_not_share_a_home() -> None:
    forms = [_settings(), _settings(**SHIFT), _settings(**{**SHIFT, "date_shift_weeks": 5}), _settings(**SAFE_HARBOR)]
    for settings in forms:
        for other in forms:
            entry = {"load_status": "loaded", **deidentification.manifest_facts(other)}
            if settings is other:
                deidentification.check_one_date_form(settings, [entry])
            else:
                with pytest.raises(UsageError, match="another"):
                    deidentification.check_one_date_form(settings, [entry])
    older = {"load_status": "loaded", "deidentification": "limited_data_set"}
    deidentification.check_one_date_form(_settings(), [older])
    with pytest.raises(UsageError):
        deidentification.check_one_date_form(_settings(**SAFE_HARBOR), [older])


def test_every_profile_lands_the_same_columns() -> None:
    for contract in contracts().values():
        for changes in ({}, SHIFT, SAFE_HARBOR):
            altered = deidentification.contract_for(contract, _settings(**changes))
            assert altered.landed_columns == contract.landed_columns
            assert (altered.key, altered.stream) == (contract.key, contract.stream)
            assert deidentification.contract_for(altered, _settings(**changes)) == altered
            if not changes or changes is SHIFT:
                assert altered is contract
            else:
                assert not any(column.kind in ("date", "timestamp") for column in altered.columns)


def test_every_rule_has_a_remedy() -> None:
    assert {"random_code", "days_from_index", "year", "oldest_age", "shift_without_person"} <= set(REMEDIES)


# --- the shift ----------------------------------------------------------------------------------------------------


def _contacts(people: int, days: tuple[int, ...] = (0, 3, 40)) -> list[dict[str, str | None]]:
    start = dt.date(2024, 2, 26)  # a leap day and a change of the clocks lie within
    return [
        {
            "contact_code": f"C{person}.{day}",
            "person_code": f"P{person}",
            "contact_at": f"{start + dt.timedelta(days=day)}T23:30:00+01:00",
            "recorded_at": f"{start + dt.timedelta(days=day + 1)}T08:00:00Z",
        }
        for person in range(people)
        for day in days
    ]


def test_a_shift_keeps_intervals_and_weekdays_and_stays_within_bounds() -> None:
    before, after = _cast("care_contacts", _contacts(300)).frame, _cast("care_contacts", _contacts(300), **SHIFT).frame
    moved = before.select("person_token", pl.col("contact_at").alias("was"), pl.col("contact_local_date").alias("day"))
    moved = moved.with_columns(
        after.get_column("contact_at"), after.get_column("contact_local_date"), after.get_column("recorded_at")
    ).with_columns((pl.col("contact_at") - pl.col("was")).alias("shift"))
    assert after.get_column("person_token").to_list() == before.get_column("person_token").to_list()
    assert moved.group_by("person_token").agg(pl.col("shift").n_unique()).get_column("shift").to_list() == [1] * 300
    weeks = moved.get_column("shift").dt.total_seconds() / (7 * 24 * 3600)
    assert set(weeks.to_list()) == set(range(-6, 7))  # whole weeks, both ends reached, none beyond
    assert ((moved["contact_local_date"] - moved["day"]) == moved["shift"]).all()
    assert (after["recorded_at"] - before["recorded_at"] == moved["shift"]).all()
    assert (moved["contact_local_date"].dt.weekday() == moved["day"].dt.weekday()).all()
    assert after.schema == before.schema


def test_one_shift_for_all_of_a_person() -> None:
    births = _cast("people", [{"person_code": f"P{n}", "birth_date": "1980-05-17"} for n in range(50)], **SHIFT).frame
    contacts = _cast("care_contacts", _contacts(50, days=(0,)), **SHIFT).frame
    joined = births.join(contacts, on="person_token")
    assert len(joined) == 50
    birth_shift = joined["birth_date"] - dt.date(1980, 5, 17)
    contact_shift = joined["contact_local_date"] - dt.date(2024, 2, 26)
    assert birth_shift.to_list() == contact_shift.to_list()
    assert birth_shift.n_unique() > 5


def _total(**more: str | None) -> dict[str, str | None]:
    return {
        "response_code": "Q1",
        "instrument_code": "PHQ-9",
        "total_value": "9",
        "answered_at": "2024-03-01T10:00:00Z",
        "response_status": "completed",
        **more,
    }


def test_a_row_of_nobody_moves_by_its_own_record() -> None:
    rows = [_total(response_code=f"Q{n // 2}", person_code=None) for n in range(40)]
    found = _cast("questionnaire_totals", rows, **SHIFT)
    assert _faults(found) == []
    shifts = found.frame.group_by("response_id").agg(pl.col("answered_local_date").n_unique().alias("days"))
    assert shifts.get_column("days").to_list() == [1] * 20
    assert found.frame.get_column("answered_local_date").n_unique() > 3


def test_a_row_of_nobody_that_names_another_record_is_quarantined_under_a_shift() -> None:
    rows = [_total(person_code=None, referral_code="R1"), _total(person_code="P1", referral_code="R1")]
    assert _faults(_cast("questionnaire_totals", rows, **SHIFT)) == [(1, "person_code", "shift_without_person")]
    assert _faults(_cast("questionnaire_totals", rows)) == []


def test_links_are_refused_under_a_shift() -> None:
    link = {"person_code": "P1", "linked_person_code": "X1", "linked_namespace": "app"}
    with pytest.raises(RefusedFile, match="a shift of its own") as refused:
        _cast("person_links", [link], **SHIFT)
    assert refused.value.rule == "date_shift_links"
    assert len(_cast("person_links", [link]).frame) == 1
    assert len(_cast("person_links", [link], deidentification="expert_determination").frame) == 1


def test_service_dates_are_checked_as_they_are_before_they_move() -> None:
    row: dict[str, str | None] = {"referral_code": "R1", "person_code": "P1", "referral_received_date": "2014-12-31"}
    rows = [{**row, "person_code": f"P{n}", "referral_code": f"R{n}"} for n in range(30)]
    found = _cast("referrals", rows, programme_start_date=dt.date(2015, 1, 1), **SHIFT)
    assert len(_faults(found)) == 30


# --- safe harbor --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "row"),
    [
        ("people", {"birth_date": "1980-05-17"}),
        ("people", {"deceased_date": "2024-01-01"}),
        ("referrals", {"referral_received_date": "2024-01-01"}),
        ("care_contacts", {"contact_at": "2024-01-01T10:00:00Z"}),
        ("care_contacts", {"recorded_at": "2024-01-01T10:00:00Z"}),
    ],
)
def test_a_real_date_refuses_the_file(stream: str, row: dict[str, str | None]) -> None:
    with pytest.raises(RefusedFile) as refused:
        _cast(stream, [{"person_code": _code(1), **row}], **SAFE_HARBOR)
    assert refused.value.rule == "safe_harbor_dates"
    assert next(iter(row.values())) not in refused.value.message


def _relative_referral(**more: str | None) -> dict[str, str | None]:
    return {"referral_code": "R1", "person_code": _code(1), "referral_received_date_days_from_index": "0", **more}


def test_days_from_the_index_land_on_an_axis() -> None:
    rows = [
        _relative_referral(discharge_date_days_from_index=days) for days in ("0", "1", "-30", "-3650", "36500", None)
    ]
    found = _cast("referrals", rows, **SAFE_HARBOR)
    assert _faults(found) == []
    origin = deidentification.index_day()
    assert found.frame.get_column("referral_received_date").to_list() == [origin] * 6
    landed = [None if day is None else (day - origin).days for day in found.frame["discharge_date"].to_list()]
    assert landed == [0, 1, -30, -3650, 36500, None]


@pytest.mark.parametrize(
    ("days", "rule"),
    [
        ("36501", "range"),
        ("-3651", "range"),
        ("2024-01-01", "days_from_index"),
        ("1.5", "days_from_index"),
        ("007", "days_from_index"),
        ("１２", "days_from_index"),
        ("20240101", "days_from_index"),
    ],
)
def test_what_is_no_day_from_the_index_is_quarantined(days: str, rule: str) -> None:
    found = _cast("referrals", [_relative_referral(discharge_date_days_from_index=days)], **SAFE_HARBOR)
    assert _faults(found) == [(1, "discharge_date_days_from_index", rule)]
    assert found.frame.get_column("discharge_date").to_list() == [None]


def test_a_missing_day_is_missing_under_its_own_name() -> None:
    found = _cast("referrals", [_relative_referral(referral_received_date_days_from_index=None)], **SAFE_HARBOR)
    assert _faults(found) == [(1, "referral_received_date_days_from_index", "required")]


def test_a_time_lands_as_its_day() -> None:
    row = {"contact_code": "C1", "person_code": _code(1), "contact_at_days_from_index": "8"}
    found = _cast("care_contacts", [row], **SAFE_HARBOR)
    day = deidentification.index_day() + dt.timedelta(days=8)
    assert found.frame["contact_local_date"].to_list() == [day]
    assert found.frame["contact_at"].to_list() == [dt.datetime.combine(day, dt.time())]


def test_the_programme_start_says_nothing_of_an_axis() -> None:
    found = _cast("referrals", [_relative_referral()], programme_start_date=dt.date(2015, 1, 1), **SAFE_HARBOR)
    assert _faults(found) == []


def test_the_senders_own_random_code_lands_as_it_is() -> None:
    found = _cast("referrals", [_relative_referral(), _relative_referral(person_code=_code(2).upper())], **SAFE_HARBOR)
    assert found.frame["person_token"].to_list() == [f"s1_small_{_code(1)}", f"s1_small_{_code(2)}"]
    drawn = "3f2b8c1d-9a7e-4c55-b1d0-0e9f8a7b6c5d"
    found = _cast("referrals", [_relative_referral(person_code=drawn)], **SAFE_HARBOR)
    assert found.frame["person_token"].to_list() == [f"s1_small_{drawn.replace('-', '')}"]
    link = {"person_code": _code(1), "linked_person_code": _code(2), "linked_namespace": "app"}
    found = _cast("person_links", [link], **SAFE_HARBOR)
    assert found.frame["linked_person_token"].to_list() == [f"s1_app_{_code(2)}"]


@pytest.mark.parametrize(
    "code",
    [
        "P1",
        "12345",
        "0" * 32,
        "1234567890" * 4,
        _code(1)[:31],
        "a" * 32,
        "4a6f636173746120486f6c6c696e67776f727468",
        "x" * 40,
        "3f2b8c1d-9a7e-1c55-b1d0-0e9f8a7b6c5d",  # a UUID made of clock and address
        "p1_" + "a" * 26,
    ],
)
def test_a_code_without_random_form_is_quarantined(code: str) -> None:
    found = _cast("referrals", [_relative_referral(person_code=code)], **SAFE_HARBOR)
    assert _faults(found) == [(1, "person_code", "random_code")]
    assert found.frame["person_token"].to_list() == [None]


def test_no_identifier_has_the_form_of_a_random_code() -> None:
    for kind in sorted(set(KINDS) - {"uuid"}):  # a UUID of version 4 is drawn at random
        for encoding in ENCODINGS:
            rows = [_relative_referral(person_code=text) for text in of_kind(kind, 50, encoding=encoding)]
            found = _cast("referrals", rows, **SAFE_HARBOR)
            assert found.frame["person_token"].null_count() == len(rows), (kind, encoding)


def test_birth_years_give_ages_to_the_year_and_none_over_89() -> None:
    year = max(dt.date.today().year, 2026)
    rows: list[dict[str, str | None]] = [
        {"person_code": _code(1), "birth_year": "1980", "index_year": "2020"},
        {"person_code": _code(2), "birth_year": "1980"},
        {"person_code": _code(3), "birth_year": str(year - 89), "index_year": "2020"},
        {"person_code": _code(4), "birth_year": str(year - 90), "index_year": "2020"},
        {"person_code": _code(5), "birth_year": "80", "index_year": "2020"},
        {"person_code": _code(6), "birth_year": "2021", "index_year": "2020"},
    ]
    found = _cast("people", rows, as_of_date=dt.date(year, 1, 1), **SAFE_HARBOR)
    origin = deidentification.index_day().year
    landed = [None if day is None else origin - day.year for day in found.frame["birth_date"].to_list()]
    assert landed == [40, None, 2020 - (year - 89), None, None, None]
    assert _faults(found) == [(4, "birth_year", "oldest_age"), (5, "birth_year", "year"), (6, "birth_year", "range")]


# --- casting at large ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, SHIFT])
def test_full_width_digits_are_no_numbers(changes: dict[str, Any]) -> None:
    row = {"person_code": "P1", "local_date": "2024-03-01", "device_kind": "watch", "steps": "1２３"}
    rows = [row, {**row, "steps": "5", "local_date": "２０２４-03-01"}, {**row, "steps": "5"}]
    assert _faults(_cast("wearable_daily", rows, **changes)) == [(1, "steps", "integer"), (2, "local_date", "date")]


def test_profiles_do_not_change_what_they_do_not_name() -> None:
    rows = _contacts(5)
    plain = _cast("care_contacts", rows).frame
    expert = _cast("care_contacts", rows, deidentification=Deidentification.EXPERT_DETERMINATION).frame
    assert plain.equals(expert)
