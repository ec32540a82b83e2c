"""Waits, flow, disorder-specific measures, therapies, effect sizes and means of the pathway, drawn.

Sources: NHS Talking Therapies metadata M019-M055, M074-M077, M184, M198-M205, M288, M343, M351, M1013, the annual
metadata, and the annual report 2023-24, appendix B (course of therapy). A day is counted from the receipt of the
referral on 2025-01-06 unless the table says otherwise; the asked period ends on 2025-06-30, a year before the data do.
"""

from __future__ import annotations

import datetime as dt
from fractions import Fraction
from typing import Any

import pytest

from screening.definitions import definitions
from tests.fixtures.service import Service, drawn, person, referral, shown
from tests.spec.test_pathway_contacts import RECEIVED, Delivery, _day

FIRST, END = dt.date(2025, 1, 6), dt.date(2025, 6, 30)
PERIOD, EMPTY, BELOW, NONE_BETTER = (
    "2025-01-06/2025-06-30",
    "2021-05-01/2021-05-31",
    "2021-06-01/2021-06-30",
    "2021-07-01/2021-07-31",
)
BEYOND = "2026-06-01/2026-07-31"  # ends after the day the data speak for, 2026-06-30
IN_PERIOD = "custom_2025-01-06_2025-06-30"

# Waiting for a first treatment: days before the period's end on which the referral was received. y: in the band.
WAITING = """
days 0_to_2_weeks 0_to_4_weeks 0_to_6_weeks 0_to_12_weeks 0_to_18_weeks over_18_weeks over_90_days
0    y            y            y            y             y             n             n
14   y            y            y            y             y             n             n
15   n            y            y            y             y             n             n
28   n            y            y            y             y             n             n
29   n            n            y            y             y             n             n
42   n            n            y            y             y             n             n
43   n            n            n            y             y             n             n
84   n            n            n            y             y             n             n
85   n            n            n            n             y             n             n
90   n            n            n            n             y             n             n
91   n            n            n            n             y             n             y
126  n            n            n            n             y             n             y
127  n            n            n            n             n             y             y
"""
# Days before the period's end of the last treatment of a referral that is open.
OPEN = """
days to_60_days 61_to_90_days 91_to_120_days over_120_days over_90_days
0    y          n             n              n             n
60   y          n             n              n             n
61   n          y             n              n             n
90   n          y             n              n             n
91   n          n             y              n             y
120  n          n             y              n             y
121  n          n             n              y             y
"""
# Who stands in which snapshot: days before (negative: after) the period's end. x: never. k: attended, a assessment.
STANDING = """
case               received treated discharged waiting open
discharged_at_end  30       x       0          n       n
discharged_after   30       x       -1         y       n
treated_at_end     30       0       x          n       y
treated_after      30       -1      x          y       n
received_at_end    0        x       x          y       n
received_after     -1       x       x          n       n
treated_discharged 30       20      0          n       n
"""
# First assessment (01 or 03, attended), first treatment, second treatment: days after receipt, x none; and what counts.
CLOCKS = """
case     contacts             assessed entered_6 entered_18 second_28 second_90
a28      28:01                within_28_days x x x x
a29      29:01                after_29_to_56_days x x x x
a56      56:03                after_29_to_56_days n y x x
a57      57:01                after_57_to_90_days x x x x
a90      90:01                after_57_to_90_days x x x x
a91      91:01                after_over_90_days x x x x
a_missed 20:01!,57:01         after_57_to_90_days x x x x
t42      42:02                x y y x x
t43      43:02                x n y x x
t126     126:02               x n y x x
t127     127:02               x n n x x
s28      10:02,38:02          x y y n n
s29      10:02,39:02          x y y y n
s90      10:02,100:02         x y y y n
s91      10:02,101:02         x y y y y
three    10:02,38:02,150:02   x y y n n
"""
# A referral that ended: which rates it is in. -: outside the denominator.
ENDED = """
case          contacts              discharged finished once attrition
untreated     10:01                 60         n        n    -
no_contact    x                     60         n        n    -
once          10:02                 60         n        y    y
twice         10:02,17:02           60         y        n    n
once_followed 10:02,50:06           60         n        y    y
once_missed   10:02,17:02!          60         n        y    y
"""
# Follow-up appointment (06), days after discharge on day 60; two treatments but for the last row.
FOLLOWED = """
case       contacts          follow_up
f29        10:02,17:02,89:06  n
f30        10:02,17:02,90:06  y
f31_late   10:02,17:02,70:06,91:06 y
f_none     10:02,17:02        n
f_review   10:02,17:02,95:04  n
f_once     10:02,95:06        -
"""
# Disorder-specific measures; PHQ-9 12 then 8 for all: below caseness at the end, no reliable change by itself.
ADSM = """
case          problem   adsm                       gad7        measure  first last caseness recovered change paired
pair          F401      SPIN:10=30,17=18           10=12,17=12 SPIN     30    18   yes      yes       better yes
first_only    F401      SPIN:10=30                 10=12,17=7  GAD-7    12    7    yes      yes       better no
none_given    F401      x                          10=12,17=12 GAD-7    12    12   yes      no        same   no
no_problem    x         SPIN:10=30,17=18           10=12,17=12 GAD-7    12    12   yes      no        same   -
other_problem F410      SPIN:10=30,17=18           10=12,17=12 GAD-7    12    12   yes      no        same   no
longer_code   F4010     SPIN:10=30,17=18           10=12,17=12 SPIN     30    18   yes      yes       better yes
last_at_19    F401      SPIN:10=30,17=19           10=12,17=5  SPIN     30    19   yes      no        better yes
drop_of_9     F401      SPIN:10=27,17=18           10=12,17=2  SPIN     27    18   yes      yes       same   yes
worse_by_10   F401      SPIN:10=8,17=18            10=12,17=2  SPIN     8     18   yes      yes       worse  yes
blocked       F401      SPIN:10=30,17=18,24=69     10=12,17=12 GAD-7    12    12   yes      no        same   no
panic         F410      PDSS-SR:10=8,17=3          10=1,17=1   PDSS-SR  8     3    yes      yes       better yes
compulsion    F422      OCI:10=40,17=8             10=1,17=1   OCI      40    8    yes      yes       better yes
agoraphobia   F400      MI-ALONE:10=3.03,17=2.3    10=1,17=1   MI-ALONE 3.03  2.3  yes      yes       better yes
not_quite     F400      MI-ALONE:10=3.03,17=2.31   10=1,17=1   MI-ALONE 3.03  2.31 yes      no        same   yes
trauma_now    F431      PCL-5:10=40,17=30          10=1,17=1   PCL-5    40    30   yes      yes       better yes
trauma_old    F431      IES-R:10=40,17=30          10=12,17=12 GAD-7    12    12   yes      no        same   no
health        F452      HAI:10=18,17=14            10=1,17=1   HAI      18    14   yes      yes       better yes
dysmorphia    83482000  BIQ:10=50,17=39            10=1,17=1   BIQ      50    39   yes      yes       better yes
bowel         K58       IBS-SSS:10=80,17=30        10=1,17=1   IBS-SSS  80    30   yes      yes       better yes
fatigue       G933      CFQ:10=19,17=14            10=1,17=1   CFQ      19    14   yes      yes       better yes
unexplained   723916001 PHQ-15:10=15,17=9          10=1,17=1   PHQ-15   15    9    yes      yes       better yes
worry         F411      PSWQ:10=60,17=30           10=12,17=12 GAD-7    12    12   yes      no        same   -
"""
_CHANGE = {"better": "reliable_improvement", "worse": "reliable_deterioration", "same": "no_reliable_change"}

CBT, CBT_2, BOOK, COUNSELLING = "304891004", "228557008", "748051000000105", "286711000000107"
# Therapy codes by contact (day=code, + a second one, ! not done, ? a contact that was missed); courses of therapy then.
THERAPIES = """
case         contacts                          therapies                            phq9       gad7       courses
one          10:02,17:02                       10=cbt,17=cbt                        10=20,17=8 10=15,17=5 cbt
two_codes    10:02,17:02                       10=cbt,17=cbt2                       10=18,17=12 10=9,17=9 cbt
two_courses  10:02,17:02,24:02,31:02           10=book,17=book,24=cbt,31=cbt        10=14,17=9 10=5,17=5  book,cbt
one_each     10:02,17:02                       10=book,17=cbt                       10=20,17=8 10=15,17=5 x
both_at_once 10:02,17:02                       10=book+cbt,17=book+cbt              10=5,17=4  10=4,17=4  book,cbt
not_done     10:02,17:02                       10=cbt,17=cbt!                       10=20,17=8 10=15,17=5 x
missed       10:02,17:02,24:02!                10=cbt,24=cbt                        10=20,17=8 10=15,17=5 x
assessment   10:01,17:02,24:02                 10=cbt,17=cbt                        10=20,17=8 10=15,17=5 x
unfinished   10:02,17:02                       10=cbt,17=cbt                        10=20,17=8 10=15,17=5 x
after_end    10:02,17:02,70:02                 17=cbt,70=cbt                        10=20,17=8 10=15,17=5 x
unknown_code 10:02,17:02                       10=other,17=other                    10=20,17=8 10=15,17=5 x
corrected    10:02,17:02                       10=book>cbt,17=book>cbt              10=16,17=x 10=11,17=x cbt
"""
_CODES = {"cbt": CBT, "cbt2": CBT_2, "book": BOOK, "other": "225337009"}
_TYPES = {"cbt": "cognitive_behaviour_therapy", "book": "guided_self_help_book"}


def _before(days: str | int) -> str:
    return (END - dt.timedelta(days=int(days))).isoformat()


def _standing(made: Delivery, code: str, received: str, treated: list[str], discharged: str | None) -> None:
    made.add("people", person("p_" + code))
    made.add("referrals", referral(code, received, discharged))
    for number, day in enumerate(treated):
        made.add("care_contacts", _contact(f"{code}#{number}", code, day, "02"))


def _contact(contact_code: str, code: str, day: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "contact_code": contact_code,
        "referral_code": code,
        "person_code": "p_" + code,
        "contact_at": f"{day}T10:00:00Z",
        "attendance_code": 5,
        "appointment_type": kind,
        "modality": "video",
        "record_status": "active",
        **more,
    }


def _course(made: Delivery, code: str, contacts: str, *, discharged: int | None = 60, problem: str = "x") -> None:
    """A course with contacts ``day:type``, ! missed."""
    made.add("people", person("p_" + code))
    end = None if discharged is None else _day(discharged)
    more = {} if problem == "x" else {"problem_code": problem}
    made.add("referrals", {**referral(code, _day(0), end), **more})
    for given in contacts.split(",") if contacts != "x" else []:
        day, kind = given.rstrip("!").split(":")
        missed = {"attendance_code": 3} if given.endswith("!") else {}
        made.add("care_contacts", _contact(f"{code}@{day}", code, _day(int(day)), kind, **missed))


def _procedure(made: Delivery, code: str, day: str, word: str, *, recorded: str = "", number: int = 0) -> None:
    for name in word.rstrip("!").split("+"):
        made.add(
            "procedures",
            {
                "procedure_record_code": f"{code}{day}{number}",
                "person_code": "p_" + code,
                "contact_code": f"{code}@{day}",
                "procedure_status": "not_done" if word.endswith("!") else "completed",
                "code_system": "snomed_ct",
                "code": _CODES[name],
                "recorded_at": recorded,
            },
        )


def _days_long_ago(made: Delivery) -> None:
    """Courses of 2021 in periods of their own: all below caseness, none better, and at the edges of a month."""
    for code, end, phq, gad in (
        ("below_1", "2021-06-10", (9, 9), (7, 7)),
        ("below_2", "2021-06-20", (5, 5), (3, 3)),
        ("same_1", "2021-07-01", (20, 20), (15, 15)),
        ("same_2", "2021-07-31", (20, 20), (15, 15)),
        ("day_before", "2021-08-01", (20, 5), (15, 5)),
    ):
        made.add("people", person("p_" + code))
        made.add("referrals", referral(code, "2021-01-04", end))
        for number, day in enumerate(("2021-02-01", "2021-02-08")):
            made.add("care_contacts", _contact(f"{code}@{number}", code, day, "02"))
            for instrument, pair in (("PHQ-9", phq), ("GAD-7", gad)):
                made.add(
                    "questionnaire_totals",
                    {
                        "response_code": f"{code}{instrument}{number}",
                        "referral_code": code,
                        "person_code": "p_" + code,
                        "instrument_code": instrument,
                        "total_value": pair[number],
                        "answered_at": f"{day}T10:00:00Z",
                        "response_status": "completed",
                    },
                )


def _means(made: Delivery) -> None:
    """Two finished courses and one unfinished, discharged in August 2021: minutes, gaps and internet therapy."""
    for code, end, contacts in (
        (
            "mean_a",
            "2021-08-20",
            (("2021-02-01", 50, "video"), ("2021-02-11", 0, "video"), ("2021-03-03", 30, "video")),
        ),
        ("mean_b", "2021-08-21", (("2021-02-01", "", "self_guided_app"), ("2021-02-08", 45, "self_guided_app"))),
        ("mean_c", "2021-08-22", (("2021-02-01", 500, "self_guided_app"),)),
        ("mean_d", "2021-08-23", (("2021-02-01", "", "self_guided_app"), ("2021-02-08", "", "self_guided_app"))),
    ):
        made.add("people", person("p_" + code))
        made.add("referrals", referral(code, "2021-01-04", end))
        for number, (day, minutes, modality) in enumerate(contacts):
            row = _contact(f"{code}@{number}", code, day, "02", duration_minutes=minutes, modality=modality)
            made.add("care_contacts", row)
    made.add(
        "care_contacts", _contact("mean_a@missed", "mean_a", "2021-03-10", "02", duration_minutes=60, attendance_code=3)
    )
    made.add("care_contacts", _contact("mean_a@review", "mean_a", "2021-03-17", "04", duration_minutes=60))


MEANS = "2021-08-15/2021-08-31"
INTERNET = "2021-02-01/2021-02-28"


def streams() -> dict[str, list[dict[str, Any]]]:
    """The tables as a delivery."""
    made = Delivery()
    for row in drawn(WAITING):
        _standing(made, f"waiting_{row['days']}", _before(row["days"]), [], None)
    for row in drawn(OPEN):
        treated = [_before(int(row["days"]) + 7), _before(row["days"]), _before(-3)]
        _standing(made, f"open_{row['days']}", _before(150), treated, None)
    for row in drawn(STANDING):
        treated = [] if row["treated"] == "x" else [_before(row["treated"])]
        end = None if row["discharged"] == "x" else _before(row["discharged"])
        _standing(made, row["case"], _before(row["received"]), treated, end)
    for row in drawn(CLOCKS):
        _course(made, row["case"], row["contacts"], discharged=None)
    for row in drawn(ENDED):
        _course(made, row["case"], row["contacts"], discharged=int(row["discharged"]))
    for row in drawn(FOLLOWED):
        _course(made, row["case"], row["contacts"])
    for row in drawn(ADSM):
        code = "adsm_" + row["case"]
        _course(made, code, "10:02,17:02", problem=row["problem"])
        made.scores(code, "PHQ-9", "10=12,17=8")
        made.scores(code, "GAD-7", row["gad7"])
        if row["adsm"] != "x":
            instrument, given = row["adsm"].split(":")
            made.scores(code, instrument, given)
    for row in drawn(THERAPIES):
        code = "therapy_" + row["case"]
        _course(made, code, row["contacts"], discharged=None if row["case"] == "unfinished" else 60)
        made.scores(code, "PHQ-9", ",".join(part for part in row["phq9"].split(",") if not part.endswith("x")))
        made.scores(code, "GAD-7", ",".join(part for part in row["gad7"].split(",") if not part.endswith("x")))
        for given in row["therapies"].split(","):
            day, words = given.split("=")
            for number, word in enumerate(words.split(">")):
                recorded = f"2025-03-{10 + number}T09:00:00Z"
                _procedure(made, code, day, word, recorded=recorded)
    _days_long_ago(made)
    _means(made)
    return made.streams


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    folder = tmp_path_factory.mktemp("flow")
    made = Service(folder / "home")
    assert made.deliver(folder / "in", streams())["rows_quarantined"] == 0
    made.build(measurement_periods=(PERIOD, EMPTY, BELOW, NONE_BETTER, BEYOND, MEANS, INTERNET))
    return made


@pytest.fixture(scope="module")
def cases(service: Service) -> dict[str, str]:
    """Case by person."""
    codes = [row["person_code"] for row in streams()["people"]]
    return {token: code.removeprefix("p_") for code, token in service.tokens(*codes).items()}


@pytest.fixture(scope="module")
def members(service: Service, cases: dict[str, str]) -> dict[tuple[str, str], bool | None]:
    """Measure and case: in the numerator, in the denominator alone (false), or excluded from it (none)."""
    rows = service.ask(
        "select measure_id, person_id, is_in_denominator and not is_denominator_exclusion, is_in_numerator "
        f"from marts.measure_members where period_id = '{IN_PERIOD}' and subject_type = 'referral'"
    )
    return {(row[0], cases[row[1]]): row[3] if row[2] else None for row in rows}


def _drawn_as(members: dict[tuple[str, str], bool | None], measure: str, case: str) -> str:
    """``y`` in the numerator, ``n`` in the denominator only, ``x`` not a member, ``-`` excluded."""
    if (measure, case) not in members:
        return "x"
    found = members[measure, case]
    return "-" if found is None else "y" if found else "n"


@pytest.mark.parametrize("row", drawn(WAITING), ids=lambda row: row["days"])
def test_how_long_people_wait_at_the_period_s_end(row: dict[str, str], members: dict[tuple[str, str], Any]) -> None:
    bands = [name for name in row if name != "days"]
    found = [_drawn_as(members, f"nhs_tt_waiting_{band}", f"waiting_{row['days']}") for band in bands]
    assert found == [row[band] for band in bands]


@pytest.mark.parametrize("row", drawn(OPEN), ids=lambda row: row["days"])
def test_how_long_open_referrals_had_no_contact(row: dict[str, str], members: dict[tuple[str, str], Any]) -> None:
    """A treatment after the period's end is not known on that day."""
    bands = [name for name in row if name != "days"]
    found = [_drawn_as(members, f"nhs_tt_open_without_contact_{band}", f"open_{row['days']}") for band in bands]
    assert found == [row[band] for band in bands]


@pytest.mark.parametrize("row", drawn(STANDING), ids=lambda row: row["case"])
def test_who_stands_where_on_the_last_day(row: dict[str, str], members: dict[tuple[str, str], Any]) -> None:
    is_waiting = ("nhs_tt_waiting_0_to_18_weeks", row["case"]) in members
    is_open = ("nhs_tt_open_without_contact_to_60_days", row["case"]) in members
    assert ("y" if is_waiting else "n", "y" if is_open else "n") == (row["waiting"], row["open"])


@pytest.mark.parametrize("row", drawn(CLOCKS), ids=lambda row: row["case"])
def test_clocks_that_stopped_in_the_period(row: dict[str, str], members: dict[tuple[str, str], Any]) -> None:
    bands = ("within_28_days", "after_29_to_56_days", "after_57_to_90_days", "after_over_90_days")
    found = {band: _drawn_as(members, f"nhs_tt_first_assessment_{band}", row["case"]) for band in bands}
    assert found == {band: "x" if row["assessed"] == "x" else "yn"[row["assessed"] != band] for band in bands}
    for column, measure in (
        ("entered_6", "nhs_tt_entered_treatment_6_weeks"),
        ("entered_18", "nhs_tt_entered_treatment_18_weeks"),
        ("second_28", "nhs_tt_second_treatment_over_28_days"),
        ("second_90", "nhs_tt_second_treatment_over_90_days"),
    ):
        assert _drawn_as(members, measure, row["case"]) == row[column], column


@pytest.mark.parametrize("row", drawn(ENDED), ids=lambda row: row["case"])
def test_how_referrals_ended(row: dict[str, str], members: dict[tuple[str, str], Any]) -> None:
    assert _drawn_as(members, "nhs_tt_paired_phq9", row["case"]) == ("n" if row["finished"] == "y" else "x")
    assert _drawn_as(members, "nhs_tt_ended_after_one_treatment", row["case"]) == row["once"]
    assert _drawn_as(members, "nhs_tt_access_attrition", row["case"]) == row["attrition"]


@pytest.mark.parametrize("row", drawn(FOLLOWED), ids=lambda row: row["case"])
def test_follow_up_from_30_days_after_discharge(row: dict[str, str], members: dict[tuple[str, str], Any]) -> None:
    assert _drawn_as(members, "nhs_tt_follow_up", row["case"]).replace("x", "-") == row["follow_up"]


@pytest.mark.parametrize("row", drawn(ADSM), ids=lambda row: row["case"])
def test_the_anxiety_measure_of_a_problem(
    row: dict[str, str], service: Service, cases: dict[str, str], members: dict[tuple[str, str], Any]
) -> None:
    code = "adsm_" + row["case"]
    token = next(token for token, case in cases.items() if case == code)
    (found,) = service.ask(
        "select anxiety_instrument_code, anxiety_first, anxiety_last, is_at_caseness, has_recovered, change_class "
        f"from marts.episodes where person_id = '{token}'"
    )
    assert found[0] == row["measure"]
    assert (found[1], found[2]) == (float(row["first"]), float(row["last"]))
    assert (shown(found[3]), shown(found[4]), found[5]) == (row["caseness"], row["recovered"], _CHANGE[row["change"]])
    paired = _drawn_as(members, "nhs_tt_appropriate_paired_adsm", code)
    assert {"y": "yes", "n": "no"}.get(paired, "-") == row["paired"]


def test_the_evidence_names_the_measure_that_was_read(service: Service, cases: dict[str, str]) -> None:
    for case, says in (("adsm_pair", "SPIN 30 to 18"), ("adsm_agoraphobia", "MI-ALONE 3.03 to 2.3")):
        token = next(token for token, code in cases.items() if code == case)
        (row,) = service.ask(
            f"select evidence from marts.measure_members where person_id = '{token}' "
            f"and measure_id = 'nhs_tt_recovery' and period_id = '{IN_PERIOD}'"
        )
        assert says in row[0]


def test_every_mapped_measure_has_its_thresholds() -> None:
    known = {
        (row["instrument_code"], row["purpose"]) for row in definitions("thresholds") if row["authority"] == "nhs_tt"
    }
    for row in definitions("adsm"):
        for purpose in ("caseness", "reliable_change"):
            assert (row["instrument_code"], purpose) in known, row


@pytest.mark.parametrize("row", drawn(THERAPIES), ids=lambda row: row["case"])
def test_which_courses_of_therapy_a_referral_has(row: dict[str, str], service: Service, cases: dict[str, str]) -> None:
    token = next(token for token, case in cases.items() if case == "therapy_" + row["case"])
    found = service.ask(
        "select distinct courses.therapy_type from marts.measure_members as members "
        "inner join intermediate.int_courses_of_therapy as courses "
        "on members.subject_id = courses.course_of_therapy_id "
        f"where members.person_id = '{token}' and measure_id = 'nhs_tt_therapy_recovery' "
        f"and members.subject_type = 'course_of_therapy' and period_id = '{IN_PERIOD}' order by 1"
    )
    expected = [] if row["courses"] == "x" else sorted(_TYPES[word] for word in row["courses"].split(","))
    assert [one for (one,) in found] == expected


def test_therapy_rates_stand_on_courses_less_those_not_at_caseness(service: Service) -> None:
    """CBT: one (recovers), two_codes (stays at 12), two_courses (recovers), both_at_once (not a case), corrected."""
    found = {
        row[0]: row[1:]
        for row in service.ask(
            "select therapy_type, initial_population_count, denominator_count, denominator_exclusion_count, "
            "numerator_count, rate_percent, result_status from marts.therapy_results "
            f"where measure_id = 'nhs_tt_therapy_recovery' and period_id = '{IN_PERIOD}'"
        )
    }
    assert found["cognitive_behaviour_therapy"] == (5, 5 - 1, 1, 2, 100.0 * 2 / (5 - 1), "computed")
    assert found["guided_self_help_book"] == (2, 2 - 1, 1, 1, 100.0, "computed")
    assert found["mindfulness"] == (0, 0, 0, 0, None, "no_denominator")
    assert found.keys() == {row["therapy_type"] for row in definitions("therapy_types")}


def test_effect_sizes_name_their_deviation(service: Service) -> None:
    """CBT, PHQ-9: firsts 20, 18, 14, 5 and 16 (without a last), lasts 8, 12, 9 and 4."""
    firsts, lasts = [20, 18, 14, 5, 16], [8, 12, 9, 4]
    pairs = firsts[:4]
    (row,) = service.ask(
        "select courses_count, first_count, first_sum, first_square_sum, last_count, last_sum, paired_count, "
        "paired_first_sum, paired_first_square_sum, paired_last_sum, mean_first, mean_last, own_sd_first, "
        "own_sd_first_of_pairs, national_sd_first, effect_size_by_national_sd, effect_size_by_own_sd, "
        "paired_effect_size_by_national_sd, paired_effect_size_by_own_sd, result_status from marts.effect_sizes "
        "where instrument_code = 'PHQ-9' and therapy_type = 'cognitive_behaviour_therapy' "
        f"and period_id = '{IN_PERIOD}'"
    )
    sums = (5, 5, sum(firsts), sum(n * n for n in firsts), 4, sum(lasts))
    assert row[:6] == sums
    assert row[6:10] == (4, sum(pairs), sum(n * n for n in pairs), sum(lasts))
    deviation, deviation_of_pairs = _deviation(firsts), _deviation(pairs)
    first, last, difference = sum(firsts) / 5, sum(lasts) / 4, (sum(pairs) - sum(lasts)) / 4
    assert row[10:15] == pytest.approx((first, last, deviation, deviation_of_pairs, 6.1), abs=1e-12)
    assert row[15:19] == pytest.approx(
        ((first - last) / 6.1, (first - last) / deviation, difference / 6.1, difference / deviation_of_pairs), abs=1e-12
    )
    assert row[19] == "computed"


def _deviation(values: list[int]) -> float:
    """Of a sample."""
    mean = Fraction(sum(values), len(values))
    return float(sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5


def test_an_effect_without_a_published_deviation_is_missing(service: Service) -> None:
    found = service.ask(
        "select therapy_type, effect_size_by_national_sd is null, effect_size_by_own_sd is null, result_status "
        f"from marts.effect_sizes where period_id = '{IN_PERIOD}' and instrument_code = 'PHQ-9' "
        "and therapy_type in ('all', 'mindfulness', 'guided_self_help_book') order by 1"
    )
    assert found == [
        ("all", True, False, "no_national_deviation"),
        ("guided_self_help_book", True, False, "no_national_deviation"),
        ("mindfulness", True, True, "no_scores"),
    ]


def test_a_deviation_is_not_used_before_its_year(service: Service) -> None:
    found = service.ask(
        "select distinct period_start >= date '2024-04-01' or period_end >= date '2024-04-01', "
        "national_sd_first is not null from marts.effect_sizes "
        "where therapy_type = 'cognitive_behaviour_therapy' order by 1"
    )
    assert found == [(False, False), (True, True)]


def test_published_effect_sizes_follow_from_published_means() -> None:
    """To the one decimal that is published."""
    rows = definitions("national_score_deviations")
    for row in rows:
        effect = (float(row["mean_first"]) - float(row["mean_last"])) / float(row["national_sd_first"])
        assert round(effect, 1) == float(row["published_effect_size"]), row
    assert len(rows) == 6


def test_means_are_ratios_of_whole_sums(service: Service) -> None:
    """mean_a: 3 treatments over 30 days, 50 and 30 minutes; mean_b: 2 over 7, 45 minutes; mean_d: 2 over 7, no minutes.

    mean_c had one treatment and is in none of them.
    """
    found = {
        row[0]: row[1:]
        for row in service.ask(
            "select statistic_id, referrals_count, numerator_sum, denominator_sum, statistic_value, result_status "
            "from marts.pathway_statistics where period_id = 'custom_2021-08-15_2021-08-31'"
        )
    }
    assert found["mean_days_between_treatments"] == (3, 30 + 7 + 7, 2 + 1 + 1, 44 / 4, "computed")
    assert found["mean_contact_minutes"] == (2, 50 + 30 + 45, 2 + 1, 125 / 3, "computed")
    assert found["mean_treatment_contacts"] == (3, 3 + 2 + 2, 3, 7 / 3, "computed")
    assert found["mean_internet_therapy_minutes"] == (1, 45, 1, 45.0, "computed")
    assert found["mean_wait_to_first_treatment_finished"] == (3, 3 * 28, 3, 28.0, "computed")
    assert found["mean_wait_to_first_treatment_entered"] == (0, 0, 0, None, "no_denominator")
    assert found["internet_therapy_sessions"] == (0, 0, None, 0.0, "computed")
    assert found.keys() == {row["statistic_id"] for row in definitions("pathway_statistic_definitions")}


def test_internet_sessions_are_counted_by_their_own_day(service: Service) -> None:
    found = service.ask(
        "select numerator_sum, statistic_value, referrals_count from marts.pathway_statistics "
        "where statistic_id = 'internet_therapy_sessions' and period_id = 'custom_2021-02-01_2021-02-28'"
    )
    assert found == [(2 + 1 + 2, 5.0, 3)]


def _result(service: Service, measure: str, period: str) -> tuple[Any, ...]:
    (row,) = service.ask(
        "select denominator_count, denominator_exclusion_count, numerator_count, rate_percent, result_status "
        f"from marts.measure_results where measure_id = '{measure}' "
        f"and period_id = 'custom_{period.replace('/', '_')}'"
    )
    return row


def test_zero_nobody_and_not_computable_are_three_things(service: Service) -> None:
    assert _result(service, "nhs_tt_recovery", NONE_BETTER) == (2, 0, 0, 0.0, "computed")
    assert _result(service, "nhs_tt_recovery", BELOW) == (0, 2, 0, None, "no_denominator")
    assert _result(service, "nhs_tt_recovery", EMPTY) == (0, 0, 0, None, "no_denominator")


def test_discharge_on_the_first_and_the_last_day_of_the_period(service: Service) -> None:
    """same_1 on 1 July and same_2 on 31 July are in it; day_before, of 1 August, is not."""
    assert _result(service, "nhs_tt_reliable_improvement", NONE_BETTER) == (2, 0, 0, 0.0, "computed")


def test_a_snapshot_after_the_data_s_last_day_is_not_told(service: Service) -> None:
    assert _result(service, "nhs_tt_waiting_0_to_2_weeks", BEYOND) == (None, None, None, None, "not_computable")
    assert _result(service, "nhs_tt_recovery", BEYOND)[4] == "no_denominator"


def test_bands_of_one_clock_fit_together(service: Service) -> None:
    """The exclusive bands of the days without contact are everyone who is open after a treatment."""
    bands = ("to_60_days", "61_to_90_days", "91_to_120_days", "over_120_days")
    found = [_result(service, f"nhs_tt_open_without_contact_{band}", PERIOD) for band in bands]
    assert sum(row[2] for row in found) == found[0][0]
    assert {row[0] for row in found} == {found[0][0]}
    within, over = (_result(service, f"nhs_tt_waiting_{band}", PERIOD) for band in ("0_to_18_weeks", "over_18_weeks"))
    assert within[2] + over[2] == within[0] == over[0]
    assert RECEIVED == FIRST


def _moving(part: int) -> dict[str, list[dict[str, Any]]]:
    """Two people with a course each. Later a therapy is corrected, one moves to the other, a contact is undone."""
    made = Delivery()
    if part == 1:
        for code in ("mover_a", "mover_b"):
            _course(made, code, "10:02,17:02,24:02")
            made.scores(code, "PHQ-9", "10=20,24=8")
            made.scores(code, "GAD-7", "10=15,24=5")
            for day, word in (("10", "cbt"), ("17", "cbt"), ("24", "book")):
                _procedure(made, code, day, word, recorded="2025-03-10T09:00:00Z")
    else:
        _procedure(made, "mover_a", "24", "cbt", recorded="2025-03-12T09:00:00Z")
        moved = {**_moving(1)["procedures"][1], "person_code": "p_mover_b", "contact_code": "mover_b@24"}
        made.add("procedures", {**moved, "recorded_at": "2025-03-12T09:00:00Z"})
        undone = _contact(
            "mover_b@10", "mover_b", _day(10), "02", attendance_code=3, recorded_at="2025-03-12T09:00:00Z"
        )
        made.add("care_contacts", undone)
    return made.streams


def test_what_is_corrected_later_ends_as_if_it_had_come_at_once(tmp_path: Any) -> None:
    """CBT: mover_a on days 10 and 24, mover_b on days 17 and 24; the book on day 24 of mover_b is one contact only."""
    at_once, later = Service(tmp_path / "once" / "home"), Service(tmp_path / "later" / "home")
    for part in (1, 2):
        for service in (at_once, later):
            service.deliver(tmp_path / f"{service.settings.home.parent.name}_{part}", _moving(part))
        if part == 1:
            later.build()
    for service in (at_once, later):
        service.build()
    for mart in ("therapy_results", "effect_sizes", "pathway_statistics", "measure_results"):
        assert at_once.ask(f"from marts.{mart} order by all") == later.ask(f"from marts.{mart} order by all"), mart
    courses = "select therapy_type, count(*) from intermediate.int_courses_of_therapy group by 1"
    assert later.ask(courses) == [("cognitive_behaviour_therapy", 2)]
