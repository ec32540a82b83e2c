"""MN Community Measurement and the HEDIS-aligned measures, drawn at their boundaries: `measures.md` 3.3 and 3.4.

Unless a table says otherwise a person has a finished visit on 2025-06-10 during a confirmed depression and is asked
about in 2026. Six months later is 2025-12-10, with 60 days on either side 2025-10-11 to 2026-02-08; twelve months later
2026-04-11 to 2026-08-09; 120 to 240 days later 2025-10-08 to 2026-02-05.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from caseness.commands.valuesets import run_load
from screening.definitions import definitions
from tests.fixtures.service import Service, drawn
from tests.fixtures.us_care import Record, together

# Scores are day=value of a PHQ-9; i submitted with an item missing, t of a PHQ-2. Each measure: yes and no in the
# denominator, x excluded from it, - not in it.
COURSES = """
case               scores                                    remission6 response6 remission12 response12
at_4               2025-06-10=20,2025-12-10=4                yes        yes       no          no
at_5               2025-06-10=20,2025-12-10=5                no         yes       no          no
half               2025-06-10=20,2025-12-10=10               no         yes       no          no
less_than_half     2025-06-10=20,2025-12-10=11               no         no        no          no
odd_more_than_half 2025-06-10=15,2025-12-10=7                no         yes       no          no
odd_less_than_half 2025-06-10=15,2025-12-10=8                no         no        no          no
index_9            2025-06-10=9,2025-12-10=4                 -          -         -           -
index_28           2025-06-10=28,2025-12-10=4                -          -         -           -
index_10           2025-06-10=10,2025-12-10=4                yes        yes       no          no
61_days_before     2025-06-10=20,2025-10-10=4                no         no        no          no
60_days_before     2025-06-10=20,2025-10-11=4                yes        yes       no          no
31_days_before     2025-06-10=20,2025-11-09=4                yes        yes       no          no
31_days_after      2025-06-10=20,2026-01-10=4                yes        yes       no          no
60_days_after      2025-06-10=20,2026-02-08=4                yes        yes       no          no
61_days_after      2025-06-10=20,2026-02-09=4                no         no        no          no
at_twelve          2025-06-10=20,2026-06-10=4                no         no        yes         yes
first_at_twelve    2025-06-10=20,2026-04-11=4                no         no        yes         yes
last_at_twelve     2025-06-10=20,2026-08-09=4                no         no        yes         yes
after_twelve       2025-06-10=20,2026-08-10=4                no         no        no          no
index_item_missing i2025-06-10=20,2025-12-10=4               -          -         -           -
item_missing       2025-06-10=20,i2025-12-10=4               no         no        no          no
item_missing_last  2025-06-10=20,2025-12-10=4,i2026-01-10=12 yes        yes       no          no
decimal            2025-06-10=20,2025-12-10=3.5              no         no        no          no
index_decimal      2025-06-10=12.5,2025-12-10=4              -          -         -           -
out_of_range_last  2025-06-10=20,2025-12-10=4,2026-01-10=300 no         no        no          no
then_relapse       2025-06-10=20,2025-11-10=4,2026-01-10=12  no         no        no          no
"""

# Of measures whose window ends on 2026-02-08 and 2026-08-09.
EXCLUDED = """
case          what        on         six twelve
bipolar_in    bipolar     2026-02-08 x   x
bipolar_later bipolar     2026-02-09 yes x
died          death       2026-08-09 yes x
died_later    death       2026-08-10 yes no
nursing_home  nursing     2026-01-01 x   x
hospice       hospice     2025-07-01 x   x
"""

PAYER_COURSES = """
case                scores                       follow_up remission response
119_days            2025-06-10=20,2025-10-07=4   no        no        no
120_days            2025-06-10=20,2025-10-08=4   yes       yes       yes
240_days            2025-06-10=20,2026-02-05=4   yes       yes       yes
241_days            2025-06-10=20,2026-02-06=4   no        no        no
e_at_5              2025-06-10=20,2025-12-10=5   yes       no        yes
e_half              2025-06-10=20,2025-12-10=10  yes       no        yes
e_less              2025-06-10=20,2025-12-10=11  yes       no        no
e_index_9           2025-06-10=9                 -         -         -
15_days_before      2025-05-26=20                no        no        no
16_days_before      2025-05-25=20                -         -         -
15_days_after       2025-06-25=20                no        no        no
16_days_after       2025-06-26=20                -         -         -
"""

# The visit of the intake, which begins on 1 May 2025 and ends on 30 April 2026.
INTAKES = """
case      visit      in
may_first 2025-05-01 yes
april_30  2025-04-30 no
april_end 2026-04-30 yes
may_later 2026-05-01 no
"""

# Seen without a depression. Follow-up: m a medication, v a visit during depression; - not in the denominator.
SCREENS = """
case              seen       born       scores                      follow_up  screened followed
none              2026-03-16 1990-05-05 -                           -          no       -
january_first     2026-03-16 1990-05-05 2026-01-01=4                -          yes      -
december_first    2026-03-16 1990-05-05 2026-12-01=4                -          yes      -
december_second   2026-03-16 1990-05-05 2026-12-02=4                -          no       -
year_before       2026-03-16 1990-05-05 2025-12-31=4                -          no       -
not_seen          2025-12-31 1990-05-05 2026-03-16=4                -          -        -
12_on_new_year    2026-03-16 2014-01-01 2026-03-16=4                -          yes      -
12_day_after      2026-03-16 2014-01-02 2026-03-16=4                -          -        -
phq9_9            2026-03-16 1990-05-05 2026-03-16=9                -          yes      -
phq9_10           2026-03-16 1990-05-05 2026-03-16=10               -          yes      no
phq2_2            2026-03-16 1990-05-05 t2026-03-16=2               -          yes      -
phq2_3            2026-03-16 1990-05-05 t2026-03-16=3               -          yes      no
acted_same_day    2026-03-16 1990-05-05 2026-03-16=10               m2026-03-16 yes     yes
acted_30_days     2026-03-16 1990-05-05 2026-03-16=10               m2026-04-15 yes     yes
acted_31_days     2026-03-16 1990-05-05 2026-03-16=10               m2026-04-16 yes     no
acted_day_before  2026-03-16 1990-05-05 2026-03-16=10               m2026-03-15 yes     no
visited_30_days   2026-03-16 1990-05-05 2026-03-16=10               v2026-04-15 yes     yes
ruled_out         2026-03-16 1990-05-05 t2026-03-16=3,2026-03-16=9  -          yes      yes
not_ruled_out     2026-03-16 1990-05-05 t2026-03-16=3,2026-03-16=10 -          yes      no
ruled_out_later   2026-03-16 1990-05-05 t2026-03-16=3,2026-03-17=9  -          yes      no
the_first_decides 2026-03-16 1990-05-05 2026-03-16=10,2026-06-16=12 m2026-06-16 yes     no
"""

# Visits during a depression, and scores; the three parts of the year.
MONITORED = """
case               visits                scores                           first second third
january            2026-01-01            2026-01-01=12                    yes   -      -
april              2026-04-30            2026-04-30=12                    yes   -      -
score_in_may       2026-04-30            2026-05-01=12                    no    -      -
may                2026-05-01            2026-05-01=12                    -     yes    -
score_in_april     2026-05-01            2026-04-30=12                    -     no     -
august             2026-08-31            2026-05-01=12                    -     yes    -
september          2026-09-01            2026-12-31=12                    -     -      yes
score_next_year    2026-12-31            2027-01-01=12                    -     -      no
two_parts          2026-02-01,2026-10-01 2026-02-01=12                    yes   -      no
"""

_NURSING_HOME = {"code_system": "cpt", "code": "99307"}


def _visit(record: Record, day: str, value_set: str = "Contact or Office Visit") -> None:
    record.visit(f"{day}T10:00:00Z", f"{day}T11:00:00Z", value_set)


def _scores(record: Record, text: str) -> None:
    for part in text.split(",") if text != "-" else ():
        day, _, value = part.partition("=")
        kind, day = (day[0], day[1:]) if day[0].isalpha() else ("", day)
        at = f"{day}T10:{30 if kind == 't' else 45}:00Z"
        response = record.total(at, float(value), instrument="PHQ-2" if kind == "t" else "PHQ-9")
        if kind == "i":
            record.sheet(at, [1] * 8 + [None], code=response)


def _record(case: str, *visits: str, is_depressed: bool = True, **person: str) -> Record:
    record = Record(case)
    record.person(**person)
    for day in visits or ("2025-06-10",):
        _visit(record, day)
    if is_depressed:
        record.diagnosis("Dysthymia", "2024-01-01")
    return record


def _excluded(row: dict[str, str]) -> Record:
    record = _record(row["case"], died=row["on"] if row["what"] == "death" else "")
    _scores(record, "2025-06-10=20,2025-12-10=4")
    if row["what"] == "bipolar":
        record.diagnosis("Bipolar Disorder", row["on"])
    elif row["what"] == "hospice":
        record.order("Hospice Care Ambulatory", f"{row['on']}T10:00:00Z")
    elif row["what"] == "nursing":
        contact = {"contact_code": f"{row['case']}_home", "contact_at": f"{row['on']}T10:00:00Z"}
        record.add("care_contacts", **contact, contact_status="finished")
        record.add("contact_codes", contact_code=contact["contact_code"], code_role="type", **_NURSING_HOME)
    return record


def _records() -> list[Record]:
    found = [_excluded(row) for row in drawn(EXCLUDED)]
    for row in [*drawn(COURSES), *drawn(PAYER_COURSES)]:
        found.append(record := _record(row["case"]))
        _scores(record, row["scores"])
    for row in drawn(INTAKES):
        found.append(record := _record(row["case"], row["visit"]))
        _scores(record, f"{row['visit']}=20")
    for row in drawn(SCREENS):
        found.append(record := _record("screen_" + row["case"], row["seen"], is_depressed=False, born=row["born"]))
        _scores(record, row["scores"])
        if row["follow_up"].startswith("m"):
            record.medication("Adult Depression Medications", f"{row['follow_up'][1:]}T12:00:00Z")
        elif row["follow_up"].startswith("v"):
            _visit(record, row["follow_up"][1:])
            record.diagnosis("Dysthymia", row["follow_up"][1:])
    for row in drawn(MONITORED):
        found.append(record := _record(row["case"], *row["visits"].split(",")))
        _scores(record, row["scores"])
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The built warehouse of every table here, with a value set that the site has loaded."""
    folder: Path = tmp_path_factory.mktemp("payers")
    service = Service(folder / "home", as_of_date=dt.date(2027, 6, 30))
    path = folder / "nursing.csv"
    path.write_text(
        f"value_set,oid,code_system,code,version\nNursing Facility Visit,,{','.join(_NURSING_HOME.values())},2026\n",
        encoding="utf-8",
    )
    run_load([path], settings=service.settings)
    report = service.deliver(folder / "in", together(_records()))
    assert report["rows_quarantined"] == 0
    service.build()
    return service


@pytest.fixture(scope="module")
def members(service: Service) -> dict[tuple[str, str], str]:
    """By case and measure of 2026: in the numerator yes or no, or x for an exclusion."""
    codes = [record.owner for record in _records()]
    cases = {token: code.removeprefix("p_") for code, token in service.tokens(*codes).items()}
    rows = service.ask(
        "select person_id, measure_id, case when is_denominator_exclusion then 'x' when is_in_numerator then 'yes' "
        "else 'no' end from marts.measure_members where period_id = 'cy_2026' and is_in_denominator"
    )
    return {(cases[person], measure): state for person, measure, state in rows}


@pytest.mark.parametrize("row", drawn(COURSES), ids=lambda row: row["case"])
def test_minnesota(row: dict[str, str], members: dict[tuple[str, str], str]) -> None:
    for months in (6, 12):
        for kind in ("remission", "response"):
            found = members.get((row["case"], f"mncm_{kind}_{months}_months"), "-")
            assert found == row[f"{kind}{months}"], f"{kind} at {months} months"


@pytest.mark.parametrize("row", drawn(EXCLUDED), ids=lambda row: row["case"])
def test_who_minnesota_excludes(row: dict[str, str], members: dict[tuple[str, str], str]) -> None:
    found = [members[row["case"], f"mncm_remission_{months}_months"] for months in (6, 12)]
    # The score of December is none of the window of twelve months.
    assert found == [row["six"], row["twelve"] if row["twelve"] == "x" else "no"]


@pytest.mark.parametrize("row", drawn(PAYER_COURSES), ids=lambda row: row["case"])
def test_depression_remission_or_response(row: dict[str, str], members: dict[tuple[str, str], str]) -> None:
    for kind in ("follow_up", "remission", "response"):
        assert members.get((row["case"], f"hedis_drr_e_{kind}"), "-") == row[kind], kind


@pytest.mark.parametrize("row", drawn(INTAKES), ids=lambda row: row["case"])
def test_the_intake_of_payers(row: dict[str, str], members: dict[tuple[str, str], str]) -> None:
    assert ((row["case"], "hedis_drr_e_follow_up") in members) == (row["in"] == "yes")


@pytest.mark.parametrize("row", drawn(SCREENS), ids=lambda row: row["case"])
def test_depression_screening(row: dict[str, str], members: dict[tuple[str, str], str]) -> None:
    case = "screen_" + row["case"]
    assert members.get((case, "hedis_dsf_e_screening"), "-") == row["screened"]
    assert members.get((case, "hedis_dsf_e_follow_up"), "-") == row["followed"]


@pytest.mark.parametrize("row", drawn(MONITORED), ids=lambda row: row["case"])
def test_monitoring(row: dict[str, str], members: dict[tuple[str, str], str]) -> None:
    for number, part in enumerate(("first", "second", "third"), start=1):
        assert members.get((row["case"], f"hedis_dms_e_period_{number}"), "-") == row[part], part


def test_a_measure_whose_exclusions_are_unread_says_so(service: Service) -> None:
    states: dict[str, Any] = dict(
        service.ask("select distinct measure_id, exclusion_list_status from marts.measure_results")
    )
    for row in definitions("measures"):
        if row["measure_family"] == "hedis":
            assert states[row["measure_id"]] == "not_read"
            assert "HEDIS-aligned, uncertified" in row["name"]
            assert "not complete" in row["caveat"]
        elif row["measure_family"] == "mncm":
            assert states[row["measure_id"]] == "read_in_part"
        elif row["subject_type"] == "person" and row["measure_family"] in ("cms159", "cms2"):
            assert states[row["measure_id"]] == "read"
        elif row["subject_type"] == "referral":
            assert states[row["measure_id"]] == "not_applicable"
