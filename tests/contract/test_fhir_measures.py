"""The official CMS159 and CMS2 cases through the door: the landed rows alone still decide every case as published.

The two measures are written here in plain Python over the raw parts. Nothing but landed columns is read, so what the
door would lose shows as a case that comes out wrong.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import ingestion
from caseness.settings import IdentifierPolicy, Settings
from screening.definitions import definitions

Rows = list[dict[str, Any]]
Record = dict[str, Rows]  # stream -> landed rows of one person
_MEASURES = {"CMS159": 34, "CMS2": 18}
_NEEDED = {
    "CMS159": (
        "care_contacts",
        "contact_codes",
        "diagnoses",
        "questionnaire_totals",
        "coded_observations",
        "procedures",
        "service_requests",
    ),
    "CMS2": ("care_contacts", "contact_codes", "diagnoses", "coded_observations", "medications", "service_requests"),
}
_PERIOD_START, _PERIOD_END = dt.date(2026, 1, 1), dt.date(2026, 12, 31)
_LONG_AGO, _FAR_AWAY = dt.date(1, 1, 1), dt.date(9999, 12, 31)


def _months_later(day: dt.date, months: int) -> dt.date:
    total = day.year * 12 + day.month - 1 + months
    year, month = divmod(total, 12)
    following = dt.date(year + (month == 11), (month + 1) % 12 + 1, 1)
    return min(dt.date(year, month + 1, 1) + dt.timedelta(days=day.day - 1), following - dt.timedelta(days=1))


def _age(born: dt.date, on: dt.date) -> int:
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


class Case:
    """One person's landed rows and the value sets of the measure."""

    def __init__(self, record: Record, members: dict[str, set[tuple[str, str]]]) -> None:
        self._record = record
        self._members = members

    def rows(self, stream: str) -> Rows:
        """Landed rows of a stream."""
        return self._record.get(stream, [])

    def members(self, *value_sets: str) -> set[tuple[str, str]]:
        """(code system, code) of value sets."""
        return set().union(*(self._members[name] for name in value_sets))

    def coded(self, stream: str, *value_sets: str) -> Rows:
        """Rows whose code is a member of one of the value sets."""
        wanted = self.members(*value_sets)
        return [row for row in self.rows(stream) if (row["code_system"], row["code"]) in wanted]

    def contacts(self, role: str, *value_sets: str, statuses: Iterable[str] = ("finished",)) -> Rows:
        """Contacts that have such a code in a role."""
        ids = {row["contact_id"] for row in self.coded("contact_codes", *value_sets) if row["code_role"] == role}
        allowed = set(statuses)
        return [r for r in self.rows("care_contacts") if r["contact_id"] in ids and r["contact_status"] in allowed]

    def diagnoses(self, *value_sets: str) -> Rows:
        """Confirmed diagnoses that are active."""
        return [
            row
            for row in self.coded("diagnoses", *value_sets)
            if row["verification_status"] == "confirmed"
            and row["clinical_status"] in ("active", "recurrence", "relapse")
        ]

    @property
    def birth_date(self) -> dt.date:
        """Date of birth."""
        (row,) = self.rows("people")
        found: dt.date = row["birth_date"]
        return found


def _overlaps(start: dt.date | None, end: dt.date | None, first: dt.date, last: dt.date) -> bool:
    return (start or _LONG_AGO) <= last and (end or _FAR_AWAY) >= first


# --- CMS159 -------------------------------------------------------------------------------------------------------


def _phq9_scores(case: Case) -> list[tuple[dt.datetime, dt.date, float | None]]:
    """Totals of known instruments, and those the door keeps as observations: no value, no known instrument."""
    tools = case.members("PHQ 9 and PHQ 9M Tools")
    names = {row["instrument_code"] for row in definitions("instruments") if ("loinc", row["loinc_total"]) in tools}
    found = [
        (row["answered_at"], row["answered_local_date"], row["total_value"])
        for row in case.rows("questionnaire_totals")
        if row["instrument_code"] in names and row["response_status"] in ("completed", "amended")
    ]
    found += [
        (row["effective_at"], row["effective_local_date"], row["value_number"])
        for row in case.coded("coded_observations", "PHQ 9 and PHQ 9M Tools")
        if row["observation_status"] in ("final", "amended", "corrected")
    ]
    return sorted(found, key=lambda score: score[0])


def _index_of(case: Case) -> dt.date | None:
    first = _months_later(_PERIOD_START, -14)
    last = _months_later(_PERIOD_START, -2) - dt.timedelta(days=1)
    depressed = case.diagnoses("Major Depression Including Remission", "Dysthymia")
    found = []
    for contact in case.contacts("type", "Contact or Office Visit"):
        if not first <= contact["contact_end_local_date"] <= last:
            continue
        if not any(
            (row["onset_at"] or dt.datetime.combine(row["onset_date"], dt.time())) <= contact["contact_end_at"]
            and (row["abatement_date"] or _FAR_AWAY) >= contact["contact_local_date"]
            for row in depressed
        ):
            continue
        start = contact["contact_local_date"] - dt.timedelta(days=7)
        found += [
            (at, day)
            for at, day, value in _phq9_scores(case)
            if value is not None and value > 9 and start <= day <= contact["contact_end_local_date"]
        ]
    return min(found)[1] if found else None


def _is_excluded(case: Case, end: dt.date) -> bool:
    first = _months_later(_PERIOD_START, -14)
    (person,) = case.rows("people")
    if person["deceased_date"] is not None and person["deceased_date"] <= end:
        return True
    disorders = case.diagnoses(
        "Bipolar Disorder",
        "Personality Disorder Emotionally Labile",
        "Schizophrenia or Psychotic Disorder",
        "Pervasive Developmental Disorder",
    )
    if any((row["onset_date"] or _LONG_AGO) <= end for row in disorders):
        return True
    known = ("planned", "in_progress", "finished")
    home_or_facility = {("snomed_ct", "428371000124100"), ("snomed_ct", "428361000124107")}
    discharged = {
        row["contact_id"]
        for row in case.rows("contact_codes")
        if row["code_role"] == "discharge_disposition" and (row["code_system"], row["code"]) in home_or_facility
    }
    done = ("completed", "in_progress", "preparation", "on_hold", "stopped")
    yes = {("snomed_ct", "373066001")}
    return (
        any(
            _overlaps(row["contact_local_date"], row["contact_end_local_date"], first, end)
            for row in [
                *case.contacts("type", "Hospice Encounter", statuses=known),
                *case.contacts("type", "Palliative Care Encounter"),
            ]
        )
        or any(
            row["contact_id"] in discharged and first <= row["contact_end_local_date"] <= end
            for row in case.contacts("type", "Encounter Inpatient")
        )
        or any(
            row["request_status"] in ("active", "completed")
            and row["request_intent"].endswith("order")
            and row["is_do_not_perform"] is not True
            and first <= row["authored_local_date"] <= end
            for row in case.coded("service_requests", "Hospice Care Ambulatory")
        )
        or any(
            row["procedure_status"] in done
            and _overlaps(row["performed_local_date"], row["performed_end_local_date"], first, end)
            for row in case.coded("procedures", "Hospice Care Ambulatory", "Palliative Care Intervention")
        )
        or any(
            _overlaps(row["onset_date"], row["abatement_date"], first, end)
            for row in case.diagnoses("Hospice Diagnosis", "Palliative Care Diagnosis")
        )
        or any(
            row["observation_status"] in ("final", "amended", "corrected")
            and first <= row["effective_local_date"] <= end
            and (row["code"] == "71007-9" or (row["value_code_system"], row["value_code"]) in yes)
            for row in case.rows("coded_observations")
            if row["code"] in ("45755-6", "71007-9")
        )
    )


def cms159(case: Case) -> dict[str, int]:
    """Depression remission at twelve months."""
    index = _index_of(case)
    if index is None or _age(case.birth_date, index) < 12:
        return dict.fromkeys(("initial_population", "denominator", "denominator_exclusion", "numerator"), 0)
    middle = _months_later(index, 12)
    first, last = middle - dt.timedelta(days=60), middle + dt.timedelta(days=60)
    followed = [value for _, day, value in _phq9_scores(case) if first <= day <= last]
    excluded = _is_excluded(case, last)
    is_in_remission = bool(followed) and followed[-1] is not None and followed[-1] < 5
    return {
        "initial_population": 1,
        "denominator": 1,
        "denominator_exclusion": int(excluded),
        "numerator": int(is_in_remission and not excluded),
    }


# --- CMS2 ---------------------------------------------------------------------------------------------------------


def _screening_codes(age: int) -> set[str]:
    adolescent, adult = {"73831-0"}, {"73832-8"}
    return adolescent if age < 17 else adult if age > 17 else adolescent | adult


def _is_followed_up(case: Case, contact: dict[str, Any]) -> bool:
    end = contact["contact_end_local_date"]
    last = min(end + dt.timedelta(days=2), _PERIOD_END)
    requests = [
        *case.coded("medications", "Adolescent Depression Medications", "Adult Depression Medications"),
        *case.coded("service_requests", "Referral for Adolescent Depression", "Referral for Adult Depression"),
    ]
    return any(
        row["request_status"] in ("active", "completed")
        and row["request_intent"].endswith("order")
        and row["is_do_not_perform"] is not True
        and end <= row["authored_local_date"] <= last
        for row in requests
    ) or any(
        row["procedure_status"] == "completed"
        and contact["contact_at"] <= row["performed_start_at"] <= contact["contact_end_at"]
        for row in case.coded("procedures", "Follow Up for Adolescent Depression", "Follow Up for Adult Depression")
    )


def cms2(case: Case) -> dict[str, int]:
    """Screening for depression and follow-up plan."""
    nobody = dict.fromkeys(
        ("initial_population", "denominator", "denominator_exclusion", "denominator_exception", "numerator"), 0
    )
    contacts = [
        row
        for row in case.contacts(
            "type", "Encounter to Screen for Depression", "Physical Therapy Evaluation", "Telephone Visits"
        )
        if row["contact_local_date"] >= _PERIOD_START and row["contact_end_local_date"] <= _PERIOD_END
    ]
    age = _age(case.birth_date, _PERIOD_START)
    if age < 12 or not contacts:
        return nobody
    wanted = _screening_codes(age)
    asked = [row for row in case.rows("coded_observations") if row["code"] in wanted]
    screens = [
        row
        for row in asked
        if row["observation_status"] in ("final", "corrected")
        and (row["value_code"] is not None or row["is_value_true"] is not None)
    ]
    is_excluded = any(
        row["onset_date"] < contact["contact_local_date"]
        for row in case.coded("diagnoses", "Bipolar Disorder")
        for contact in contacts
    )
    is_met, is_screened, has_reason = False, False, False
    for contact in contacts:
        day = contact["contact_local_date"]
        near = [
            row
            for row in screens
            if dt.timedelta(0)
            <= day - (row["effective_end_local_date"] or row["effective_local_date"])
            <= dt.timedelta(days=14)
        ]
        if near:
            is_screened = True
            latest = max(near, key=lambda row: row["effective_end_at"] or row["effective_at"])
            is_met |= latest["value_code"] == "428171000124102"
            is_met |= latest["value_code"] == "428181000124104" and _is_followed_up(case, contact)
        reasons = case.members("Medical Reason") | {("snomed_ct", "720834000")}
        has_reason |= any(
            row["observation_status"] == "cancelled"
            and row["issued_local_date"] == day
            and (row["not_done_reason_code_system"], row["not_done_reason_code"]) in reasons
            for row in asked
        )
    is_exception = has_reason and not is_screened and not is_excluded
    return {
        "initial_population": 1,
        "denominator": 1,
        "denominator_exclusion": int(is_excluded),
        "denominator_exception": int(is_exception),
        "numerator": int(is_met and not is_excluded),
    }


# --- the proof ----------------------------------------------------------------------------------------------------

_LOGIC: dict[str, Callable[[Case], dict[str, int]]] = {"CMS159": cms159, "CMS2": cms2}


@cache
def _members(path: Path) -> dict[str, set[tuple[str, str]]]:
    systems = {row["fhir_url"]: row["code_system"] for row in definitions("code_systems")}
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        found[row["value_set"]].add((systems[row["system"]], row["code"]))
    return found


def _landed(settings: Settings) -> dict[str, Record]:
    """Landed rows by person and stream.

    A case is a file, as it is to those who wrote them: in two of them the hospice order names another person than the
    file's own, and the published result counts it. (``--person`` says so to the door.)
    """
    loads: dict[str, Record] = defaultdict(lambda: defaultdict(list))
    for stream, parts in ingestion.landed_parts(settings).items():
        for part in parts:
            loads[part.stem][stream] += pl.read_parquet(part).iter_rows(named=True)
    return {record["people"][0]["person_token"]: record for record in loads.values()}


@pytest.mark.parametrize("measure", sorted(_MEASURES))
def test_the_landed_rows_decide_every_official_case(shared_data: Path, tmp_path: Path, measure: str) -> None:
    folder = shared_data / "ecqm" / measure
    if not folder.is_dir():
        pytest.skip(f"the official cases of {measure} are not on this machine")
    settings = Settings(home=tmp_path, identifiers=IdentifierPolicy.DROP)
    report = ingestion.ingest([folder / "cases"], settings=settings).as_dict()
    assert report["rows_in"] == report["rows_admitted"] + report["rows_quarantined"]
    # Organization and Practitioner only: no record of a person is held back.
    assert set(report["quarantined_by_rule"]) <= {"not_contracted"}
    assert report["fields_made_missing"] == 0

    expected = list(csv.DictReader((folder / "expected.csv").read_text(encoding="utf-8").splitlines()))
    assert len(expected) == _MEASURES[measure]
    tokens = ingestion.person_tokens("fhir", [row["case_id"] for row in expected], settings=settings)
    landed, members = _landed(settings), _members(folder / "valueset_members_used.csv")

    def decided_wrongly(without: str | None = None) -> dict[str, Any]:
        wrong = {}
        for row in expected:
            record = {stream: rows for stream, rows in landed[tokens[row["case_id"]]].items() if stream != without}
            found = _LOGIC[measure](Case(record, members))
            official = {name: int(row[name]) for name in found}
            if found != official:
                wrong[row["name"]] = (found, official)
        return wrong

    assert not decided_wrongly()
    # The proof has teeth: without any one of the streams some case comes out wrong.
    for stream in _NEEDED[measure]:
        assert decided_wrongly(without=stream), stream
