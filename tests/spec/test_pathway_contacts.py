"""Which contacts and which scores count for a course, drawn: NHS Talking Therapies, measures M052-M202.

Each row is a person with one referral received on 2025-01-06, discharged 60 days later unless the table says otherwise.
Days are counted from the receipt of the referral.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.fixtures.service import Service, contact, drawn, person, referral, sheet, shown, total

RECEIVED = dt.date(2025, 1, 6)
DISCHARGED = 60

# T a treatment, a attended only, - neither; by attendance code, planned or not, and appointment type (02 treatment,
# 03 assessment and treatment, 05 review and treatment). Attended: code 5 or 6, or a contact that was not planned.
CONTACTS = """
attendance planned 01 02 03 04 05 06 none
2          yes     -  -  -  -  -  -  -
3          yes     -  -  -  -  -  -  -
4          yes     -  -  -  -  -  -  -
5          yes     a  T  T  a  T  a  a
6          yes     a  T  T  a  T  a  a
7          yes     -  -  -  -  -  -  -
none       yes     -  -  -  -  -  -  -
2          no      a  T  T  a  T  a  a
3          no      a  T  T  a  T  a  a
4          no      a  T  T  a  T  a  a
5          no      a  T  T  a  T  a  a
6          no      a  T  T  a  T  a  a
7          no      a  T  T  a  T  a  a
none       no      a  T  T  a  T  a  a
2          none    -  -  -  -  -  -  -
3          none    -  -  -  -  -  -  -
4          none    -  -  -  -  -  -  -
5          none    a  T  T  a  T  a  a
6          none    a  T  T  a  T  a  a
7          none    -  -  -  -  -  -  -
none       none    -  -  -  -  -  -  -
"""
# Code 3 did not attend, 7 came too late to be seen; 2 and 4 cancelled by the patient and by the provider.
ABSENCES = """
attendance absent cancelled
2          0      1
3          1      0
4          0      1
5          0      0
6          0      0
7          1      0
none       0      0
"""

# contacts: day:type; scores: day=total, and after it @ at the follow-up contact, - of a form in progress, ~ without a
# stated referral; x none. phq, gad: first>last. caseness at the start; change of both scales together.
COURSES = """
case              contacts          phq9                gad7            finished phq   gad  caseness recovered change
two_treatments    10:02,17:02       10=16,17=8          10=9,17=4       yes      16>8  9>4  yes      yes       better
one_treatment     10:02             10=16,17=8          10=9,17=4       no       16>8  9>4  yes      no        better
with_a_follow_up  10:02,50:06       10=16,17=8          10=9,17=4       no       16>8  9>4  yes      no        better
with_assessment   10:01,17:02       10=16,17=8          10=9,17=4       no       16>8  9>4  yes      no        better
both_at_once      10:03,17:05       10=16,17=8          10=9,17=4       yes      16>8  9>4  yes      yes       better
review_only       10:04,17:02       10=16,17=8          10=9,17=4       no       16>8  9>4  yes      no        better
after_discharge   10:02,17:02       10=16,17=12,61=2    10=9,17=4       yes      16>12 9>4  yes      no        better
on_discharge      10:02,17:02       10=16,17=12,60=2    10=9,17=4       yes      16>2  9>4  yes      yes       better
at_follow_up      10:02,17:02,50:06 10=16,17=12,50=2@   10=9,17=4       yes      16>12 9>4  yes      no        better
follow_up_alone   10:02,17:02,50:06 10=16,50=2@         10=9,17=4       yes      16>x  9>4  yes      no        unknown
invalid_last      10:02,17:02       10=16,17=8,24=300   10=9,17=4       yes      16>x  9>4  yes      no        unknown
decimal_last      10:02,17:02       10=16,17=8,24=7.5   10=9,17=4       yes      16>x  9>4  yes      no        unknown
invalid_between   10:02,17:02       10=16,17=28,24=8    10=9,17=4       yes      16>8  9>4  yes      yes       better
invalid_first     10:02,17:02       10=28,17=16,24=8    10=9,17=4       yes      16>8  9>4  yes      yes       better
invalid_anxiety   10:02,17:02       10=16,17=8          10=9,17=4,24=22 yes      16>8  9>x  yes      no        unknown
in_progress_last  10:02,17:02       10=16,17=12,24=2-   10=9,17=4       yes      16>12 9>4  yes      no        better
in_progress_first 10:02,17:02       9=2-,10=16,17=8     10=9,17=4       yes      16>8  9>4  yes      yes       better
in_progress_wrong 10:02,17:02       10=16,17=8,24=30-   10=9,17=4       yes      16>8  9>4  yes      yes       better
placed_by_date    10:02,17:02       10=16~,60=8~        10=9~,17=4~     yes      16>8  9>4  yes      yes       better
dated_after       10:02,17:02       10=16~,17=12~,61=2~ 10=9,17=4       yes      16>12 9>4  yes      no        better
dated_before      10:02,17:02       -1=26~,0=16~,17=8~  10=9,17=4       yes      16>8  9>4  yes      yes       better
one_score         10:02,17:02       10=16               10=9            yes      16>x  9>x  yes      no        unknown
three_of_four     10:02,17:02       10=16,17=8          10=9            yes      16>8  9>x  yes      no        unknown
no_first_anxiety  10:02,17:02       10=16,17=8          x               yes      16>8  x>x  yes      no        unknown
anxiety_alone     10:02,17:02       x                   10=7,17=4       yes      x>x   7>4  unknown  no        unknown
first_10_and_8    10:02,17:02       10=10,17=9          10=8,17=7       yes      10>9  8>7  yes      yes       same
first_9_and_7     10:02,17:02       10=9,17=9           10=7,17=7       yes      9>9   7>7  no       no        same
last_10           10:02,17:02       10=20,17=10         10=8,17=7       yes      20>10 8>7  yes      no        better
last_8            10:02,17:02       10=20,17=9          10=20,17=8      yes      20>9  20>8 yes      no        better
drop_5_and_3      10:02,17:02       10=20,17=15         10=12,17=9      yes      20>15 12>9 yes      no        same
drop_6_and_3      10:02,17:02       10=20,17=14         10=12,17=9      yes      20>14 12>9 yes      no        better
drop_5_and_4      10:02,17:02       10=20,17=15         10=12,17=8      yes      20>15 12>8 yes      no        better
drop_6_and_4      10:02,17:02       10=20,17=14         10=12,17=8      yes      20>14 12>8 yes      no        better
rise_5_and_3      10:02,17:02       10=15,17=20         10=9,17=12      yes      15>20 9>12 yes      no        same
rise_6_and_3      10:02,17:02       10=14,17=20         10=9,17=12      yes      14>20 9>12 yes      no        worse
rise_5_and_4      10:02,17:02       10=15,17=20         10=8,17=12      yes      15>20 8>12 yes      no        worse
drop_6_rise_4     10:02,17:02       10=20,17=14         10=8,17=12      yes      20>14 8>12 yes      no        same
"""

_CASENESS = {"yes": "at_caseness", "no": "not_at_caseness", "unknown": "not_assessable"}
_CHANGE = {
    "better": "reliable_improvement",
    "worse": "reliable_deterioration",
    "same": "no_reliable_change",
    "unknown": "not_assessable",
}

# First treatment within 42 and 126 days of receipt, and the days themselves; discharged after 300 days.
LONG_WAITS = """
case      contacts          six eighteen to_first to_second
first_41  41:02,69:02       yes yes      41       28
first_42  42:02,71:02       yes yes      42       29
first_43  43:02,133:02      no  yes      43       90
first_126 126:02,217:02     no  yes      126      91
first_127 127:02,134:02     no  no       127      7
late_6    10:01,43:02,50:02 no  yes      43       7
"""

# WSAS: the derived total of at least 4 of 5 items; a submitted total only where no items came. n not applicable.
WORK = """
case        forms               first last
four_items  n,8,8,8,8|n,2,2,2,2 32    8
three_items n,8,8,8,8|n,-,2,2,2 32    none
all_items   8,8,8,8,8|1,1,1,1,1 40    5
"""


def _at(day: int, clock: str = "10:00:00") -> str:
    return f"{(RECEIVED + dt.timedelta(days=day)).isoformat()}T{clock}Z"


def _day(day: int) -> str:
    return (RECEIVED + dt.timedelta(days=day)).isoformat()


def _contact_cases() -> list[tuple[str, str, str, str, str]]:
    """Code, attendance, planned, appointment type and what is drawn of each cell."""
    return [
        (f"contact_{row['attendance']}_{row['planned']}_{kind}", row["attendance"], row["planned"], kind, row[kind])
        for row in drawn(CONTACTS)
        for kind in ("01", "02", "03", "04", "05", "06", "none")
    ]


class Delivery:
    """Streams that are written one record after the other."""

    def __init__(self) -> None:
        self.streams: dict[str, list[dict[str, Any]]] = {}

    def add(self, stream: str, row: dict[str, Any], **changes: Any) -> None:
        """One row, with some columns changed."""
        self.streams.setdefault(stream, []).append({**row, **changes})

    def course(self, code: str, contacts: str, *, received: int = 0, discharged: int | None = DISCHARGED) -> None:
        """A person with one referral and attended contacts ``day:type``."""
        self.add("people", person("p_" + code))
        end = None if discharged is None else _day(discharged)
        self.add("referrals", referral(code, _day(received), end))
        for given in contacts.split(","):
            day, kind = given.split(":")
            self.add("care_contacts", contact(f"{code}@{day}", code, _day(int(day)), kind=kind))

    def scores(self, code: str, instrument: str, given: str) -> None:
        """Submitted totals ``day=total`` with the marks of the drawn table."""
        for one in given.split(",") if given != "x" else []:
            day, value = one.rstrip("@-~").split("=")
            row = total(f"{code}{instrument}{day}", code, instrument, float(value), _day(int(day)))
            if one.endswith("@"):
                row["contact_code"] = f"{code}@{day}"
            if one.endswith("-"):
                row["response_status"] = "in_progress"
            if one.endswith("~"):
                row["referral_code"] = ""
            self.add("questionnaire_totals", row)


def _corrections(made: Delivery) -> None:
    """The latest recorded statement counts, wherever it stands in the file and whenever it was delivered."""
    code = "corrected"
    late, early = "2025-03-20T09:00:00Z", "2025-03-10T09:00:00Z"
    made.add("people", person("p_" + code), sex="male", imd_decile=1, recorded_at=late)
    made.add("people", person("p_" + code), sex="female", imd_decile=10, recorded_at=early)
    made.add("referrals", referral(code, _day(0), _day(60)), recorded_at=late)
    made.add("referrals", referral(code, _day(0), None), recorded_at=early)
    for number, day in enumerate((10, 17)):
        made.add("care_contacts", contact(f"{code}{number}", code, _day(day)), recorded_at=late)
        made.add("care_contacts", contact(f"{code}{number}", code, _day(day), attendance=3), recorded_at=early)
    for number, (right, wrong) in enumerate(((16, 3), (8, 25))):
        row = total(f"{code}{number}", code, "PHQ-9", right, _day(10 + 7 * number))
        made.add("questionnaire_totals", row, recorded_at=late)
        made.add("questionnaire_totals", row, total_value=wrong, recorded_at=early)
        answers = sheet(f"{code}g{number}", "GAD-7", [3, 3, 3, 0, 0, 0, 0], _day(10 + 7 * number), owner="p_" + code)
        for item in answers:
            right_value = item["answer_value"] if number == 0 else 0
            made.add("questionnaire_answers", item, referral_code=code, answer_value=right_value, recorded_at=late)
            made.add("questionnaire_answers", item, referral_code=code, answer_value=1, recorded_at=early)


def streams() -> dict[str, list[dict[str, Any]]]:
    """The tables as a delivery."""
    made = Delivery()
    for code, attendance, planned, kind, _ in _contact_cases():
        made.add("people", person("p_" + code))
        made.add("referrals", referral(code, _day(0), _day(DISCHARGED)))
        made.add(
            "care_contacts",
            contact(code, code, _day(10)),
            attendance_code="" if attendance == "none" else attendance,
            is_planned={"yes": "true", "no": "false", "none": ""}[planned],
            appointment_type="" if kind == "none" else kind,
        )
    for case in drawn(COURSES):
        made.course(case["case"], case["contacts"])
        made.scores(case["case"], "PHQ-9", case["phq9"])
        made.scores(case["case"], "GAD-7", case["gad7"])
    for case in drawn(LONG_WAITS):
        made.course(case["case"], case["contacts"], discharged=300)
    for case in drawn(WORK):
        made.course(case["case"], "10:02,17:02")
        for number, form in enumerate(case["forms"].split("|")):
            words = [{"n": "not_applicable", "-": "missing"}.get(part) or int(part) for part in form.split(",")]
            code = f"{case['case']}{number}"
            for item in sheet(code, "WSAS", words, _day(10 + 7 * number), owner="p_" + case["case"]):
                made.add("questionnaire_answers", item, referral_code=case["case"])
    # A form in progress with every item answered.
    made.course("items_in_progress", "10:02,17:02")
    made.scores("items_in_progress", "PHQ-9", "10=16,17=12")
    made.scores("items_in_progress", "GAD-7", "10=9,17=4")
    for item in sheet("unfinished", "PHQ-9", [0] * 8 + [1], _day(24), owner="p_items_in_progress"):
        made.add("questionnaire_answers", item, referral_code="items_in_progress", response_status="in_progress")
    # An item out of range makes the latest form invalid.
    made.course("item_out_of_range", "10:02,17:02")
    made.scores("item_out_of_range", "PHQ-9", "10=16,17=8")
    made.scores("item_out_of_range", "GAD-7", "10=9,17=4")
    for item in sheet("wrong_item", "PHQ-9", [4, 0, 0, 0, 0, 0, 0, 0, 0], _day(24), owner="p_item_out_of_range"):
        made.add("questionnaire_answers", item, referral_code="item_out_of_range")
    # Two forms on one day: the time of day decides, not the order of the file.
    made.course("same_day", "10:02,17:02")
    for clock, value in (("15:00:00", 8), ("09:00:00", 21)):
        row = total(f"same_day{clock}", "same_day", "PHQ-9", value, _day(10))
        made.add("questionnaire_totals", row, answered_at=_at(10, clock))
    made.scores("same_day", "GAD-7", "10=9,17=4")
    _corrections(made)
    # Two referrals of one person at once: a form that names none belongs to the one received last.
    made.add("people", person("p_twice"))
    for code, received in (("twice_a", 0), ("twice_b", 5)):
        made.add("referrals", referral(code, _day(received), _day(60), owner="p_twice"))
        for day in (10, 17):
            made.add("care_contacts", contact(f"{code}{day}", code, _day(day), owner="p_twice"))
    for day, value in ((2, 25), (10, 16), (17, 8)):
        row = total(f"twice{day}", "", "PHQ-9", value, _day(day), owner="p_twice")
        made.add("questionnaire_totals", row)
    return made.streams


@pytest.fixture(scope="module")
def courses(specified: Service) -> dict[str, dict[str, Any]]:
    """Episodes of the cases, by case; the person with two referrals is not one of them."""
    names = [row["person_code"] for row in streams()["people"] if row["person_code"] != "p_twice"]
    tokens = specified.tokens(*dict.fromkeys(names))
    columns = [row[0] for row in specified.ask("describe marts.episodes") if row[0] != "person_id"]
    rows = specified.of_people(f"select person_id, {', '.join(columns)} from marts.episodes")
    found = {}
    for code, token in tokens.items():
        (row,) = rows[token]
        found[code.removeprefix("p_")] = dict(zip(columns, row, strict=True))
    return found


@pytest.mark.parametrize("row", drawn(CONTACTS), ids=lambda row: f"{row['attendance']}, planned {row['planned']}")
def test_which_contacts_are_attended_and_which_are_treatment(
    row: dict[str, str], courses: dict[str, dict[str, Any]]
) -> None:
    kinds = ("01", "02", "03", "04", "05", "06", "none")
    found = []
    for kind in kinds:
        episode = courses[f"contact_{row['attendance']}_{row['planned']}_{kind}"]
        counts = (episode["attended_contacts"], episode["treatment_contacts"])
        found.append({(0, 0): "-", (1, 0): "a", (1, 1): "T"}[counts])
    assert found == [row[kind] for kind in kinds]


@pytest.mark.parametrize("row", drawn(ABSENCES), ids=lambda row: row["attendance"])
def test_which_contacts_were_missed_or_cancelled(row: dict[str, str], courses: dict[str, dict[str, Any]]) -> None:
    episode = courses[f"contact_{row['attendance']}_yes_02"]
    found = (episode["did_not_attend_contacts"], episode["cancelled_contacts"])
    assert found == (int(row["absent"]), int(row["cancelled"]))


def _pair(episode: dict[str, Any], scale: str) -> str:
    return ">".join("x" if (value := episode[f"{scale}_{end}"]) is None else str(value) for end in ("first", "last"))


@pytest.mark.parametrize("case", drawn(COURSES), ids=lambda case: case["case"])
def test_which_scores_count(case: dict[str, str], courses: dict[str, dict[str, Any]]) -> None:
    found = courses[case["case"]]
    assert (_pair(found, "phq9"), _pair(found, "gad7")) == (case["phq"], case["gad"])
    names = ("has_finished_course", "caseness_status", "has_recovered", "change_class")
    expected = (case["finished"], _CASENESS[case["caseness"]], case["recovered"], _CHANGE[case["change"]])
    assert tuple(shown(found[name]) for name in names) == expected


@pytest.mark.parametrize("case", drawn(LONG_WAITS), ids=lambda case: case["case"])
def test_waits_are_counted_in_days(case: dict[str, str], courses: dict[str, dict[str, Any]]) -> None:
    found = courses[case["case"]]
    names = (
        "is_first_treatment_within_6_weeks",
        "is_first_treatment_within_18_weeks",
        "days_to_first_treatment",
        "days_first_to_second_treatment",
    )
    expected = (case["six"], case["eighteen"], case["to_first"], case["to_second"])
    assert tuple(shown(found[name]) for name in names) == expected


@pytest.mark.parametrize("case", drawn(WORK), ids=lambda case: case["case"])
def test_work_and_social_adjustment(case: dict[str, str], courses: dict[str, dict[str, Any]]) -> None:
    found = courses[case["case"]]
    assert (shown(found["wsas_first"]), shown(found["wsas_last"])) == (case["first"], case["last"])


def test_a_form_in_progress_gives_no_score_and_still_counts_for_risk(
    specified: Service, courses: dict[str, dict[str, Any]]
) -> None:
    assert _pair(courses["items_in_progress"], "phq9") == "16>12"
    token = specified.tokens("p_items_in_progress")["p_items_in_progress"]
    found = specified.ask(
        "select total_complete_case, total_prorated, measure_total, severity_band, is_at_caseness, is_screen_positive, "
        f"diagnostic_algorithm, risk_item_status from marts.assessments where person_id = '{token}' "
        "and response_status = 'in_progress'"
    )
    assert found == [(None, None, None, None, None, None, "not_assessable", "positive")]


def test_a_total_in_progress_gives_no_score(specified: Service) -> None:
    token = specified.tokens("p_in_progress_last")["p_in_progress_last"]
    found = specified.ask(
        f"select measure_total, severity_band, is_at_caseness from marts.assessments where person_id = '{token}' "
        "and response_status = 'in_progress'"
    )
    assert found == [(None, None, None)]


def test_an_item_out_of_range_blocks_the_last_score(courses: dict[str, dict[str, Any]]) -> None:
    found = courses["item_out_of_range"]
    assert _pair(found, "phq9") == "16>x"
    assert (found["has_recovered"], found["change_class"]) == (False, "not_assessable")


def test_of_two_forms_on_one_day_the_later_is_the_last(courses: dict[str, dict[str, Any]]) -> None:
    assert _pair(courses["same_day"], "phq9") == "21>8"


def test_the_latest_recorded_statement_counts(courses: dict[str, dict[str, Any]]) -> None:
    found = courses["corrected"]
    assert (found["sex"], found["imd_quintile"]) == ("male", 1)
    assert found["discharge_date"] == RECEIVED + dt.timedelta(days=60)
    assert (found["treatment_contacts"], found["did_not_attend_contacts"]) == (2, 0)
    assert (_pair(found, "phq9"), _pair(found, "gad7")) == ("16>8", "9>0")


def test_a_form_outside_every_referral_belongs_to_none(specified: Service) -> None:
    for case, day in (("dated_after", 61), ("dated_before", -1)):
        token = specified.tokens("p_" + case)["p_" + case]
        found = specified.ask(
            "select referral_id, referral_assignment from marts.assessments "
            f"where person_id = '{token}' and answered_local_date = date '{_day(day)}'"
        )
        assert found == [(None, "none")], case


def test_overlapping_referrals_of_one_person(specified: Service) -> None:
    token = specified.tokens("p_twice")["p_twice"]
    found = specified.ask(
        "select phq9_first, phq9_last, has_finished_course from marts.episodes "
        f"where person_id = '{token}' order by referral_received_date"
    )
    assert found == [(25, None, True), (16, 8, True)]
