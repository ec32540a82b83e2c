"""Depression remission at twelve months (CMS159), drawn at every boundary: `measures.md` 3.1 and 4.1.

Unless a table says otherwise a person has a finished visit on 2025-03-10 from 10:00 to 11:00, a depression confirmed
and active since 2023-01-01, a PHQ-9 of 15 on the day of the visit and one of 4 a year later, and is asked about in
2026. The window of the follow-up is then 2026-01-09 to 2026-05-09, that of what excludes begins on 2024-11-01.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

import ingestion
from screening.definitions import definitions
from tests.fixtures.service import Service, drawn, shown
from tests.fixtures.us_care import Record, member, together

# Scores are day=value, o day=value as a coded observation (x no value), d of a PHQ-9M, s an answer sheet of which the
# value says items x answer; a time may follow the day. in: in the denominator; met: in the numerator.
SCORES = """
case                 scores                                             in  met
index_9              2025-03-10=9,2026-03-10=4                          no  no
index_10             2025-03-10=10,2026-03-10=4                         yes yes
index_9.5            2025-03-10=9.5,2026-03-10=4                        yes yes
index_out_of_range   2025-03-10=300,2026-03-10=4                        yes yes
index_phq9m          d2025-03-10=15,2026-03-10=4                        yes yes
index_observed       o2025-03-10=15,2026-03-10=4                        yes yes
follow_up_4          2025-03-10=15,2026-03-10=4                         yes yes
follow_up_5          2025-03-10=15,2026-03-10=5                         yes no
follow_up_4.5        2025-03-10=15,2026-03-10=4.5                       yes yes
no_follow_up         2025-03-10=15                                      yes no
61_days_before       2025-03-10=15,2026-01-08=4                         yes no
60_days_before       2025-03-10=15,2026-01-09=4                         yes yes
60_days_after        2025-03-10=15,2026-05-09=4                         yes yes
61_days_after        2025-03-10=15,2026-05-10=4                         yes no
8_days_before_visit  2025-03-02=15,2026-03-10=4                         no  no
7_days_before_visit  2025-03-03=15,2026-03-10=4                         yes yes
day_after_visit      2025-03-11=15,2026-03-10=4                         no  no
two_indexes_first    2025-03-05=15,2025-03-10=15,2026-01-04=4           yes yes
two_indexes_last     2025-03-05=15,2025-03-10=15,2026-05-09=4           yes no
low_then_index       2025-03-05=9,2025-03-10=15,2026-05-09=4            yes yes
then_relapse         2025-03-10=15,2026-02-10=4,2026-04-10=12           yes no
then_remission       2025-03-10=15,2026-02-10=12,2026-04-10=4           yes yes
same_instant_worse   2025-03-10=15,2026-03-10=4,o2026-03-10=12          yes no
same_instant_order   2025-03-10=15,o2026-03-10=4,2026-03-10=12          yes no
same_instant_none    2025-03-10=15,o2026-03-10=x,2026-03-10=4           yes no
no_value_latest      2025-03-10=15,2026-03-10=4,o2026-03-11=x           yes no
no_value_earlier     2025-03-10=15,o2026-03-10=x,2026-03-11=4           yes yes
same_day_by_time     2025-03-10=15,2026-03-10T18:00=4,2026-03-10T09:00=12 yes yes
prorated_index       s2025-03-10=8x2,2026-03-10=4                       no  no
prorated_decimal     s2025-03-10=7x2,2026-03-10=4                       no  no
prorated_follow_up   2025-03-10=15,s2026-03-10=7x0                      yes no
prorated_after       2025-03-10=15,2026-03-10=4,s2026-04-10=8x3         yes yes
complete_sheet_alone 2025-03-10=15,s2026-03-10=9x0                      yes no
"""

# start and end of the visit, its status; - none stated.
VISITS = """
case                   start            end              status      in
ends_2024-10-31        2024-10-31T10:00 2024-10-31T11:00 finished    no
ends_2024-11-01        2024-11-01T10:00 2024-11-01T11:00 finished    yes
ends_2025-10-31        2025-10-31T10:00 2025-10-31T11:00 finished    yes
ends_2025-11-01        2025-11-01T10:00 2025-11-01T11:00 finished    no
from_before_into       2024-10-31T10:00 2024-11-01T11:00 finished    yes
from_within_out        2025-10-31T10:00 2025-11-01T11:00 finished    no
no_stated_end          2025-03-10T10:00 -                finished    yes
planned                2025-03-10T10:00 2025-03-10T11:00 planned     no
in_progress            2025-03-10T10:00 2025-03-10T11:00 in_progress no
cancelled              2025-03-10T10:00 2025-03-10T11:00 cancelled   no
unknown_status         2025-03-10T10:00 2025-03-10T11:00 unknown     no
no_status              2025-03-10T10:00 2025-03-10T11:00 -           no
"""

DIAGNOSES = """
case                onset               end                 verification clinical   in
provisional         2025-01-01          -                   provisional  active     no
refuted             2025-01-01          -                   refuted      active     no
not_verified        2025-01-01          -                   -            active     no
recurrence          2025-01-01          -                   confirmed    recurrence yes
relapse             2025-01-01          -                   confirmed    relapse    yes
inactive            2025-01-01          -                   confirmed    inactive   no
in_remission        2025-01-01          -                   confirmed    remission  no
resolved            2025-01-01          -                   confirmed    resolved   no
onset_not_known     -                   -                   confirmed    active     yes
ended_day_before    2025-01-01          2025-03-09          confirmed    active     no
ended_on_the_day    2025-01-01          2025-03-10          confirmed    active     yes
begins_on_the_day   2025-03-10          -                   confirmed    active     yes
begins_day_after    2025-03-11          -                   confirmed    active     no
begins_in_visit     2025-03-10T10:30:00 -                   confirmed    active     yes
begins_after_visit  2025-03-10T11:30:00 -                   confirmed    active     no
ended_before_visit  2025-01-01          2025-03-10T09:30:00 confirmed    active     no
"""

# What happened and when; the window's first and last day are 2024-11-01 and 2026-05-09.
EXCLUSIONS = """
case                 what                  from             to               is         out
died_on_last_day     death                 2026-05-09       -                -          yes
died_day_after       death                 2026-05-10       -                -          no
bipolar_last_day     bipolar               2026-05-09       -                confirmed  yes
bipolar_day_after    bipolar               2026-05-10       -                confirmed  no
bipolar_long_ago     bipolar               2001-01-01       -                confirmed  yes
bipolar_provisional  bipolar               2025-01-01       -                provisional no
personality_last_day personality           2026-05-09       -                confirmed  yes
psychosis_last_day   psychosis             2026-05-09       -                confirmed  yes
developmental_last   developmental         2026-05-09       -                confirmed  yes
developmental_after  developmental         2026-05-10       -                confirmed  no
order_before         order                 2024-10-31       -                active     no
order_first_day      order                 2024-11-01       -                active     yes
order_last_day       order                 2026-05-09       -                completed  yes
order_day_after      order                 2026-05-10       -                active     no
order_revoked        order                 2025-06-01       -                revoked    no
order_proposal       order_proposal        2025-06-01       -                active     no
order_reflex         order_reflex          2025-06-01       -                active     yes
order_not_to         order_not_to          2025-06-01       -                active     no
hospice_before       hospice_visit         2024-10-30       2024-10-31       finished   no
hospice_into_window  hospice_visit         2024-10-30       2024-11-01       finished   yes
hospice_last_day     hospice_visit         2026-05-09       2026-05-12       planned    yes
hospice_day_after    hospice_visit         2026-05-10       2026-05-12       finished   no
hospice_cancelled    hospice_visit         2025-06-01       2025-06-02       cancelled  no
hospice_unknown      hospice_visit         2025-06-01       2025-06-02       unknown    no
discharged_last_day  discharge             2026-05-01       2026-05-09       finished   yes
discharged_after     discharge             2026-05-01       2026-05-10       finished   no
discharged_before    discharge             2024-10-01       2024-10-31       finished   no
discharged_elsewhere inpatient             2026-05-01       2026-05-09       finished   no
discharge_planned    discharge             2026-05-01       2026-05-09       planned    no
hospice_done         hospice_procedure     2025-06-01       -                completed  yes
hospice_done_before  hospice_procedure     2024-10-31       -                completed  no
hospice_goes_on      hospice_procedure     2024-10-31       -                in_progress yes
hospice_not_done     hospice_procedure     2025-06-01       -                not_done   no
hospice_dx_ended     hospice_diagnosis     2024-01-01       2024-10-31       confirmed  no
hospice_dx_into      hospice_diagnosis     2024-01-01       2024-11-01       confirmed  yes
hospice_dx_after     hospice_diagnosis     2026-05-10       -                confirmed  no
hospice_mds_yes      hospice_mds           2026-05-09       -                final      yes
hospice_mds_other    hospice_mds_other     2026-05-09       -                final      no
hospice_mds_draft    hospice_mds           2026-05-09       -                preliminary no
palliative_visit     palliative_visit      2026-05-09       2026-05-09       finished   yes
palliative_planned   palliative_visit      2026-05-09       2026-05-09       planned    no
palliative_procedure palliative_procedure  2026-05-09       -                completed  yes
palliative_diagnosis palliative_diagnosis  2026-05-09       -                confirmed  yes
palliative_scale     palliative_scale      2026-05-09       -                corrected  yes
palliative_scale_out palliative_scale      2026-05-10       -                final      no
"""

# A birthday is the day itself. The first index decides about the age, too.
AGES = """
case             born       scores                                                  in
12_on_the_day    2013-03-10 2025-03-10=15                                           yes
12_the_day_after 2013-03-11 2025-03-10=15                                           no
first_was_at_11  2013-03-08 2025-03-07=15,2025-03-10=15                             no
"""

# Another measurement period: the year 2025 and one of the user's own.
PERIODS = """
case               visit      scores                      period                       in  met
anniversary_day    2024-01-15 2024-01-15=15,2025-03-16=4  cy_2025                      yes yes
after_anniversary  2024-01-15 2024-01-15=15,2025-03-17=4  cy_2025                      yes no
not_365_days       2024-01-15 2024-01-15=15,2024-11-15=4  cy_2025                      yes no
first_of_window    2024-01-15 2024-01-15=15,2024-11-16=4  cy_2025                      yes yes
leap_day_in        2024-02-29 2024-02-29=15,2025-04-29=4  cy_2025                      yes yes
leap_day_out       2024-02-29 2024-02-29=15,2025-04-30=4  cy_2025                      yes no
in_2023_11_01      2023-11-01 2023-11-01=15               cy_2025                      yes no
in_2024_10_31      2024-10-31 2024-10-31=15               cy_2025                      yes no
in_2024_11_01      2024-11-01 2024-11-01=15               cy_2025                      no  no
own_first_day      2024-05-01 2024-05-01=15,2025-05-01=4  custom_2025-07-01_2026-06-30 yes yes
own_before         2024-04-30 2024-04-30=15,2025-05-01=4  custom_2025-07-01_2026-06-30 no  no
own_last_day       2025-04-30 2025-04-30=15,2026-05-01=4  custom_2025-07-01_2026-06-30 yes yes
own_after          2025-05-01 2025-05-01=15,2026-05-01=4  custom_2025-07-01_2026-06-30 no  no
"""

# Midnight, and hours that are another day elsewhere: the person's day counts. A day alone comes with FHIR only.
CLOCKS = """
case                last                       met
midnight_begins     2026-05-09T00:00:00-05:00  yes
evening_in_new_york 2026-05-09T23:30:00-05:00  yes
midnight_after      2026-05-10T00:00:00-05:00  no
morning_in_tokyo    2026-05-10T00:30:00+09:00  no
"""

DAYS_ALONE = """
case            last                      met
day_alone_last  2026-05-09                yes
day_alone_after 2026-05-10                no
fhir_midnight   2026-05-10T00:00:00-05:00 no
fhir_evening    2026-05-09T23:30:00-05:00 yes
"""

_OWN_PERIOD = "2025-07-01/2026-06-30"
_DISORDERS = {
    "bipolar": "Bipolar Disorder",
    "personality": "Personality Disorder Emotionally Labile",
    "psychosis": "Schizophrenia or Psychotic Disorder",
    "developmental": "Pervasive Developmental Disorder",
    "hospice_diagnosis": "Hospice Diagnosis",
    "palliative_diagnosis": "Palliative Care Diagnosis",
}


def _at(day: str) -> str:
    """A moment of a day: ten o'clock where no time is drawn."""
    return day + ":00Z" if "T" in day else f"{day}T10:00:00Z"


def _scores(record: Record, text: str) -> None:
    for part in text.split(","):
        day, _, value = part.partition("=")
        kind, day = (day[0], day[1:]) if day[0].isalpha() else ("", day)
        if kind == "s":
            items, answer = (int(number) for number in value.split("x"))
            record.sheet(_at(day), [answer] * items + [None] * (9 - items))
        elif kind:
            number = {} if value == "x" else {"value_number": value}
            record.observation("PHQ 9 and PHQ 9M Tools", _at(day), place=int(kind == "d"), **number)
        else:
            record.total(_at(day), float(value))


def _record(
    case: str,
    scores: str = "2025-03-10=15,2026-03-10=4",
    *,
    start: str = "2025-03-10T10:00",
    end: str = "2025-03-10T11:00",
    status: str = "finished",
    is_depressed: bool = True,
    **person: str,
) -> Record:
    record = Record(case)
    record.person(**person)
    record.visit(_at(start), "" if end == "-" else _at(end), "Contact or Office Visit", status=status.strip("-"))
    if is_depressed:
        record.diagnosis("Major Depression Including Remission", "2023-01-01")
    _scores(record, scores)
    return record


def _happened(record: Record, row: dict[str, str]) -> None:
    what, first, last, status = row["what"], row["from"], row["to"].strip("-"), row["is"]
    start, end = _at(first), _at(last) if last else ""
    yes = {"value_code_system": "snomed_ct", "value_code": member("MDS Answer Yes")["code"]}
    if what in _DISORDERS:
        record.diagnosis(_DISORDERS[what], first, last, verification=status)
    elif what.startswith("order"):
        intent = {"order_proposal": "proposal", "order_reflex": "reflex_order"}.get(what, "order")
        against = "true" if what == "order_not_to" else ""
        record.order("Hospice Care Ambulatory", start, status=status, intent=intent, is_against=against)
    elif what == "hospice_visit":
        record.visit(start, end, "Hospice Encounter", status=status)
    elif what == "palliative_visit":
        record.visit(start, end, "Palliative Care Encounter", status=status)
    elif what in ("discharge", "inpatient"):
        to = member("Hospice Discharge Disposition") if what == "discharge" else None
        record.visit(start, end, "Encounter Inpatient", status=status, disposition=to)
    elif what == "hospice_procedure":
        record.procedure("Hospice Care Ambulatory", start, end, status=status)
    elif what == "palliative_procedure":
        record.procedure("Palliative Care Intervention", start, end, status=status)
    elif what.startswith("hospice_mds"):
        other = {**yes, "value_code": member("Depression Screening Negative")["code"]}
        answer = other if what.endswith("other") else yes
        record.observation("Hospice Care MDS Observation", start, status=status, **answer)
    elif what == "palliative_scale":
        record.observation("Palliative Care Observation", start, status=status)


def _records() -> list[Record]:
    found = [_record(row["case"], row["scores"]) for row in drawn(SCORES)]
    found += [
        _record(row["case"], f"{row['start'][:10]}=15", start=row["start"], end=row["end"], status=row["status"])
        for row in drawn(VISITS)
    ]
    for row in drawn(DIAGNOSES):
        record = _record(row["case"], is_depressed=False)
        onset, end = (row[name].strip("-") + ("Z" if "T" in row[name] else "") for name in ("onset", "end"))
        said = row["verification"].strip("-")
        record.diagnosis("Dysthymia", onset, end, verification=said, clinical=row["clinical"])
        found.append(record)
    for row in drawn(EXCLUSIONS):
        record = _record(row["case"], died=row["from"] if row["what"] == "death" else "")
        _happened(record, row)
        found.append(record)
    found += [_record(row["case"], row["scores"], born=row["born"]) for row in drawn(AGES)]
    for row in drawn(PERIODS):
        day = row["visit"]
        found.append(_record(row["case"], row["scores"], start=f"{day}T10:00", end=f"{day}T11:00"))
    for row in drawn(CLOCKS):
        record = _record(row["case"], "2025-03-10=15")
        record.total(row["last"], 4)
        found.append(record)
    return found


def _bundle(case: str, last: str) -> dict[str, Any]:
    """The person of the other tables as FHIR, with a last score of 4 on this day or at this moment."""
    subject = {"reference": f"Patient/{case}"}

    def coded(value_set: str) -> dict[str, Any]:
        code = member(value_set)
        (url,) = (row["fhir_url"] for row in definitions("code_systems") if row["code_system"] == code["code_system"])
        return {"coding": [{"system": url, "code": code["code"]}]}

    def score(number: int, at: str, value: int) -> dict[str, Any]:
        return {
            "resourceType": "Observation",
            "id": f"{case}-{number}",
            "status": "final",
            "code": coded("PHQ 9 and PHQ 9M Tools"),
            "subject": subject,
            "effectiveDateTime": at,
            "valueInteger": value,
        }

    terminology = "http://terminology.hl7.org/CodeSystem/condition-"
    resources = [
        {"resourceType": "Patient", "id": case, "birthDate": "1990-05-05"},
        {
            "resourceType": "Encounter",
            "id": f"{case}-visit",
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "type": [coded("Contact or Office Visit")],
            "subject": subject,
            "period": {"start": "2025-03-10T10:00:00Z", "end": "2025-03-10T11:00:00Z"},
        },
        {
            "resourceType": "Condition",
            "id": f"{case}-depression",
            "clinicalStatus": {"coding": [{"system": f"{terminology}clinical", "code": "active"}]},
            "verificationStatus": {"coding": [{"system": f"{terminology}ver-status", "code": "confirmed"}]},
            "category": [{"coding": [{"system": f"{terminology}category", "code": "problem-list-item"}]}],
            "code": coded("Dysthymia"),
            "subject": subject,
            "onsetDateTime": "2025-01-01",
        },
        score(1, "2025-03-10", 15),
        score(2, last, 4),
    ]
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The built warehouse of every table here."""
    folder = tmp_path_factory.mktemp("cms159")
    service = Service(folder / "home", as_of_date=dt.date(2027, 6, 30))
    report = service.deliver(folder / "in", together(_records()))
    assert report["rows_quarantined"] == 0
    for row in drawn(DAYS_ALONE):
        path = folder / "fhir" / f"{row['case']}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(_bundle(row["case"].replace("_", "-"), row["last"])), encoding="utf-8")
    assert ingestion.ingest([folder / "fhir"], settings=service.settings).as_dict()["rows_quarantined"] == 0
    service.build(measurement_periods=[_OWN_PERIOD])
    return service


@pytest.fixture(scope="module")
def members(service: Service) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Populations and evidence of CMS159 by case and period."""
    codes = [record.owner for record in _records()]
    cases = {token: code.removeprefix("p_") for code, token in service.tokens(*codes).items()}
    alone = [row["case"].replace("_", "-") for row in drawn(DAYS_ALONE)]
    tokens = ingestion.person_tokens("fhir", alone, settings=service.settings)
    cases |= {token: code.replace("-", "_") for code, token in tokens.items()}
    rows = service.ask(
        "select person_id, period_id, is_in_denominator, is_denominator_exclusion, is_in_numerator, evidence, "
        "exclusion_reason, cast(evidence_date as varchar) from marts.measure_members where measure_id = 'cms159'"
    )
    return {(cases[row[0]], row[1]): row[2:] for row in rows}


def _is_in(members: dict[tuple[str, str], tuple[Any, ...]], case: str, period: str = "cy_2026") -> str:
    return shown((case, period) in members)


@pytest.mark.parametrize("row", drawn(SCORES), ids=lambda row: row["case"])
def test_scores(row: dict[str, str], members: dict[tuple[str, str], tuple[Any, ...]]) -> None:
    assert _is_in(members, row["case"]) == row["in"]
    if row["in"] == "yes":
        is_denominator, is_excluded, is_met = members[row["case"], "cy_2026"][:3]
        assert (is_denominator, is_excluded, shown(is_met)) == (True, False, row["met"])


@pytest.mark.parametrize("row", drawn(VISITS), ids=lambda row: row["case"])
def test_visits(row: dict[str, str], members: dict[tuple[str, str], tuple[Any, ...]]) -> None:
    assert _is_in(members, row["case"]) == row["in"]


@pytest.mark.parametrize("row", drawn(DIAGNOSES), ids=lambda row: row["case"])
def test_diagnoses(row: dict[str, str], members: dict[tuple[str, str], tuple[Any, ...]]) -> None:
    assert _is_in(members, row["case"]) == row["in"]


@pytest.mark.parametrize("row", drawn(EXCLUSIONS), ids=lambda row: row["case"])
def test_exclusions(row: dict[str, str], members: dict[tuple[str, str], tuple[Any, ...]]) -> None:
    is_denominator, is_excluded, is_met, evidence, reason, _ = members[row["case"], "cy_2026"]
    assert (is_denominator, shown(is_excluded)) == (True, row["out"])
    assert is_met == (row["out"] == "no")
    assert (reason is not None) == is_excluded
    if reason:
        assert f"{reason} from {row['from']}" in evidence


@pytest.mark.parametrize("row", drawn(AGES), ids=lambda row: row["case"])
def test_ages(row: dict[str, str], members: dict[tuple[str, str], tuple[Any, ...]]) -> None:
    assert _is_in(members, row["case"]) == row["in"]


@pytest.mark.parametrize("row", drawn(PERIODS), ids=lambda row: row["case"])
def test_other_measurement_periods(row: dict[str, str], members: dict[tuple[str, str], tuple[Any, ...]]) -> None:
    assert _is_in(members, row["case"], row["period"]) == row["in"]
    if row["in"] == "yes":
        assert shown(members[row["case"], row["period"]][2]) == row["met"]


@pytest.mark.parametrize("row", [*drawn(CLOCKS), *drawn(DAYS_ALONE)], ids=lambda row: row["case"])
def test_the_day_is_the_persons_own(row: dict[str, str], members: dict[tuple[str, str], tuple[Any, ...]]) -> None:
    assert shown(members[row["case"], "cy_2026"][2]) == row["met"]


def test_the_evidence_can_be_read(members: dict[tuple[str, str], tuple[Any, ...]]) -> None:
    _, _, _, evidence, reason, day = members["follow_up_5", "cy_2026"]
    assert evidence == ("index PHQ-9 15 on 2025-03-10, follow-up 5 on 2026-03-10, window 2026-01-09 to 2026-05-09")
    assert (reason, day) == (None, "2025-03-10")
    assert "no follow-up" in members["no_follow_up", "cy_2026"][3]
    assert "follow-up without a value on 2026-03-11" in members["no_value_latest", "cy_2026"][3]
    assert "index PHQ-9 9.5 on" in members["index_9.5", "cy_2026"][3]


def test_the_result_is_the_sum_of_its_members(service: Service) -> None:
    """A period of nobody is there, without a denominator; one with people counts each of them once."""
    found = {
        row[0]: row[1:]
        for row in service.ask(
            "select results.period_id, initial_population_count, denominator_count, denominator_exclusion_count, "
            "numerator_count, result_status, count(members.subject_id), count(distinct members.subject_id) "
            "from marts.measure_results as results left join marts.measure_members as members "
            "on results.measure_id = members.measure_id and results.period_id = members.period_id "
            "where results.measure_id = 'cms159' group by all"
        )
    }
    assert found.keys() == {"cy_2023", "cy_2024", "cy_2025", "cy_2026", "cy_2027", "custom_2025-07-01_2026-06-30"}
    assert found["cy_2023"] == (0, 0, 0, 0, "no_denominator", 0, 0)
    for period, (initial, denominator, excluded, met, status, rows, people) in found.items():
        assert rows == people == initial == denominator + excluded
        assert met <= denominator
        # The data end in the middle of 2027: windows of that year are open, and who has no score yet has not failed.
        counted = "partial_period" if period == "cy_2027" else "computed"
        assert status == (counted if denominator else "no_denominator")
    assert found["cy_2027"][1] > 0
    assert found["cy_2026"][2] == sum(row["out"] == "yes" for row in drawn(EXCLUSIONS))
