"""Screening for depression and follow-up plan (CMS2), drawn at every boundary: `measures.md` 3.2 and 4.2.

Unless a table says otherwise a person of 35 has a finished visit to be screened on 2026-03-16 from 10:00 to 11:00.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.fixtures.service import Service, drawn, shown
from tests.fixtures.us_care import Record, member, together

# Screens are day=finding: a adult or y adolescent; + positive, - negative, ? a number as result, x none. Follow-up is
# kind+day: m medication, r referral, p procedure, of adults; my, ry, py of adolescents. - nothing.
SCREENS = """
case                screens                          follow_up       met
on_the_day          a2026-03-16=-                    -               yes
14_days_before      a2026-03-02=-                    -               yes
15_days_before      a2026-03-01=-                    -               no
day_after           a2026-03-17=-                    -               no
later_on_the_day    a2026-03-16T18:00=-              -               yes
positive_alone      a2026-03-16=+                    -               no
no_screen           -                                -               no
same_day            a2026-03-16=+                    m2026-03-16     yes
2_days_after        a2026-03-16=+                    m2026-03-18     yes
3_days_after        a2026-03-16=+                    m2026-03-19     no
day_before          a2026-03-16=+                    m2026-03-15     no
referred            a2026-03-16=+                    r2026-03-18     yes
referred_3_days     a2026-03-16=+                    r2026-03-19     no
done_in_visit       a2026-03-16=+                    p2026-03-16T10:30 yes
done_as_it_begins   a2026-03-16=+                    p2026-03-16T10:00 yes
done_as_it_ends     a2026-03-16=+                    p2026-03-16T11:00 yes
done_before_visit   a2026-03-16=+                    p2026-03-16T09:59 no
done_after_visit    a2026-03-16=+                    p2026-03-16T11:01 no
then_negative       a2026-03-10=+,a2026-03-14=-      -               yes
then_positive       a2026-03-10=-,a2026-03-14=+      -               no
then_positive_acted a2026-03-10=-,a2026-03-14=+      m2026-03-17     yes
same_instant        a2026-03-14=-,a2026-03-14=+      -               no
same_instant_order  a2026-03-14=+,a2026-03-14=-      -               no
no_result           a2026-03-16=x                    -               no
no_result_latest    a2026-03-10=-,a2026-03-14=x      -               yes
number_latest       a2026-03-10=-,a2026-03-14=?      -               no
drug_of_adolescents a2026-03-16=+                    my2026-03-16    yes
for_adolescents     y2026-03-16=-                    -               no
"""

# In which age a screen counts; the age is that on 2026-01-01. a an adult's, y an adolescent's; act: by whose follow-up.
AGES = """
case            born       screens        follow_up   in  met
12_on_new_year  2014-01-01 y2026-03-16=-  -           yes yes
12_day_after    2014-01-02 y2026-03-16=-  -           no  no
16_by_a_day     2009-01-02 a2026-03-16=-  -           yes no
16_adolescent   2009-01-02 y2026-03-16=-  -           yes yes
17_adult        2009-01-01 a2026-03-16=-  -           yes yes
17_adolescent   2009-01-01 y2026-03-16=-  -           yes yes
17_to_the_last  2008-01-02 y2026-03-16=-  -           yes yes
17_both         2009-01-01 y2026-03-10=-,a2026-03-14=+ - yes yes
18_adolescent   2008-01-01 y2026-03-16=-  -           yes no
18_adult        2008-01-01 a2026-03-16=-  -           yes yes
14_acted        2012-01-01 y2026-03-16=+  my2026-03-16 yes yes
14_adult_drug   2012-01-01 y2026-03-16=+  m2026-03-16 yes no
14_referred     2012-01-01 y2026-03-16=+  ry2026-03-16 yes yes
14_done         2012-01-01 y2026-03-16=+  py2026-03-16T10:30 yes yes
"""

# Visits are start>end, each one of a kind: s to be screened, t telephone, e physical therapy evaluation, o another.
VISITS = """
case              visits                             status   screens        follow_up   in  met
telephone         t2026-03-16                        finished a2026-03-16=-  -           yes yes
therapy           e2026-03-16                        finished a2026-03-16=-  -           yes yes
another_kind      o2026-03-16                        finished a2026-03-16=-  -           no  no
planned           s2026-03-16                        planned  a2026-03-16=-  -           no  no
in_progress       s2026-03-16                        in_progress a2026-03-16=- -         no  no
first_day         s2026-01-01                        finished a2026-01-01=-  -           yes yes
screened_last_year s2026-01-01                       finished a2025-12-18=-  -           yes yes
last_day          s2026-12-31                        finished a2026-12-31=-  -           yes yes
from_last_year    s2025-12-31>2026-01-01             finished a2025-12-31=-  -           no  no
into_next_year    s2026-12-31>2027-01-01             finished a2026-12-31=-  -           no  no
acted_next_year   s2026-12-30                        finished a2026-12-30=+  m2027-01-01 yes no
acted_last_day    s2026-12-30                        finished a2026-12-30=+  m2026-12-31 yes yes
from_its_end      s2026-03-16>2026-03-20             finished a2026-03-16=+  m2026-03-22 yes yes
before_its_end    s2026-03-16>2026-03-20             finished a2026-03-16=+  m2026-03-19 yes no
to_its_start      s2026-03-16>2026-03-20             finished a2026-03-17=-  -           yes no
acted_at_other    s2026-03-16,s2026-06-15            finished a2026-06-10=+  m2026-03-17 yes no
acted_at_this     s2026-03-16,s2026-06-15            finished a2026-06-10=+  m2026-06-16 yes yes
screen_of_second  s2026-03-16,s2026-06-15            finished a2026-06-10=-  -           yes yes
negative_then     s2026-03-16,s2026-06-15            finished a2026-03-16=-,a2026-06-15=+ - yes no
"""

STATUSES = """
case              status      met
final             final       yes
corrected         corrected   yes
amended           amended     no
preliminary       preliminary no
cancelled_screen  cancelled   no
"""

REQUESTS = """
case              status    intent         against met
ordered           active    order          -       yes
completed_order   completed order          -       yes
revoked           revoked   order          -       no
draft             draft     order          -       no
only_planned      active    plan           -       no
proposed          active    proposal       -       no
reflex            active    reflex_order   -       yes
not_to_be_done    active    order          true    no
"""

# Bipolar disorder; the visits are on the 16th of March, and of June where there are two.
BIPOLAR = """
case               visits onset      clinical verification     out
onset_on_the_day   one    2026-03-16 active   confirmed        no
onset_day_before   one    2026-03-15 active   confirmed        yes
onset_between      two    2026-05-01 active   confirmed        yes
onset_after_both   two    2026-06-16 active   confirmed        no
onset_unknown      one    -          active   confirmed        yes
resolved_long_ago  one    2001-01-01 resolved confirmed        yes
provisional_one    one    2001-01-01 active   provisional      yes
refuted_one        one    2001-01-01 inactive refuted          yes
entered_in_error   one    2001-01-01 active   entered_in_error no
"""

# A screen that was not done: on which day, why, and what else there is.
NOT_DONE = """
case               kind  day        reason   screens        bipolar exception met
declined           a     2026-03-16 declined -              no      yes       no
medical            a     2026-03-16 medical  -              no      yes       no
other_reason       a     2026-03-16 other    -              no      no        no
no_reason          a     2026-03-16 none     -              no      no        no
another_day        a     2026-03-17 declined -              no      no        no
adolescents_form   y     2026-03-16 declined -              no      no        no
yet_negative       a     2026-03-16 declined a2026-03-09=-  no      no        yes
yet_positive       a     2026-03-16 declined a2026-03-09=+  no      no        no
screen_too_old     a     2026-03-16 declined a2026-03-01=-  no      yes       no
excluded_as_well   a     2026-03-16 declined -              yes     no        no
"""

_FINDINGS = {"+": "Depression Screening Positive", "-": "Depression Screening Negative"}
_KINDS = {"a": "Adult Depression Screening", "y": "Adolescent Depression Screening"}
_VISITS = {
    "s": "Encounter to Screen for Depression",
    "t": "Telephone Visits",
    "e": "Physical Therapy Evaluation",
    "o": "Contact or Office Visit",
}
_REASONS = {"declined": "Depression Screening Declined", "medical": "Medical Reason", "other": "MDS Answer Yes"}


def _at(day: str) -> str:
    """A moment of a day: a quarter past ten where no time is drawn."""
    return day + ":00Z" if "T" in day else f"{day}T10:15:00Z"


def _finding(name: str) -> dict[str, Any]:
    if name == "x":
        return {}
    if name == "?":
        return {"value_number": 3}
    code = member(_FINDINGS[name])
    return {"value_code_system": code["code_system"], "value_code": code["code"]}


def _screens(record: Record, text: str, *, status: str = "final") -> None:
    for part in text.split(",") if text != "-" else ():
        day, _, finding = part[1:].partition("=")
        record.observation(_KINDS[part[0]], _at(day), status=status, **_finding(finding))


def _follow_up(record: Record, text: str) -> None:
    if text == "-":
        return
    whose = "Adolescent" if text[1] == "y" else "Adult"
    at = _at(text[2:] if text[1] == "y" else text[1:])
    if text[0] == "m":
        record.medication(f"{whose} Depression Medications", at)
    elif text[0] == "r":
        record.order(f"Referral for {whose} Depression", at)
    else:
        record.procedure(f"Follow Up for {whose} Depression", at)


def _record(case: str, *, visits: str = "s2026-03-16", status: str = "finished", **person: str) -> Record:
    record = Record(case)
    record.person(**person)
    for visit in visits.split(","):
        start, _, end = visit[1:].partition(">")
        record.visit(f"{start}T10:00:00Z", f"{end or start}T11:00:00Z", _VISITS[visit[0]], status=status)
    return record


def _records() -> list[Record]:
    found = []
    for row in drawn(SCREENS):
        found.append(record := _record(row["case"]))
        _screens(record, row["screens"])
        _follow_up(record, row["follow_up"])
    for row in drawn(AGES):
        found.append(record := _record(row["case"], born=row["born"]))
        _screens(record, row["screens"])
        _follow_up(record, row["follow_up"])
    for row in drawn(VISITS):
        found.append(record := _record(row["case"], visits=row["visits"], status=row["status"]))
        _screens(record, row["screens"])
        _follow_up(record, row["follow_up"])
    for row in drawn(STATUSES):
        found.append(record := _record(row["case"]))
        _screens(record, "a2026-03-16=-", status=row["status"])
    for row in drawn(REQUESTS):
        found.append(record := _record(row["case"]))
        _screens(record, "a2026-03-16=+")
        against = row["against"].strip("-")
        record.order(
            "Referral for Adult Depression",
            _at("2026-03-17"),
            status=row["status"],
            intent=row["intent"],
            is_against=against,
        )
    for row in drawn(BIPOLAR):
        visits = "s2026-03-16,s2026-06-16" if row["visits"] == "two" else "s2026-03-16"
        found.append(record := _record(row["case"], visits=visits))
        _screens(record, "a2026-03-16=-")
        said, is_now = row["verification"], row["clinical"]
        record.diagnosis("Bipolar Disorder", row["onset"].strip("-"), verification=said, clinical=is_now)
    for row in drawn(NOT_DONE):
        found.append(record := _record(row["case"]))
        _screens(record, row["screens"])
        reason = member(_REASONS[row["reason"]]) if row["reason"] != "none" else {}
        more = {f"not_done_reason_{name}": value for name, value in reason.items()}
        record.observation(_KINDS[row["kind"]], "", status="cancelled", issued_at=_at(row["day"]), **more)
        if row["bipolar"] == "yes":
            record.diagnosis("Bipolar Disorder", "2001-01-01")
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The built warehouse of every table here."""
    folder = tmp_path_factory.mktemp("cms2")
    service = Service(folder / "home", as_of_date=dt.date(2027, 6, 30))
    report = service.deliver(folder / "in", together(_records()))
    assert report["rows_quarantined"] == 0
    service.build()
    return service


@pytest.fixture(scope="module")
def members(service: Service) -> dict[str, dict[str, Any]]:
    """Populations and evidence of CMS2 in 2026 by case."""
    codes = [record.owner for record in _records()]
    cases = {token: code.removeprefix("p_") for code, token in service.tokens(*codes).items()}
    names = ("is_in_denominator", "is_denominator_exclusion", "is_denominator_exception", "is_in_numerator", "evidence")
    rows = service.ask(
        f"select person_id, {', '.join(names)} from marts.measure_members "
        "where measure_id = 'cms2' and period_id = 'cy_2026'"
    )
    return {cases[row[0]]: dict(zip(names, row[1:], strict=True)) for row in rows}


@pytest.mark.parametrize("row", [*drawn(SCREENS), *drawn(STATUSES), *drawn(REQUESTS)], ids=lambda row: row["case"])
def test_screens_and_follow_up(row: dict[str, str], members: dict[str, dict[str, Any]]) -> None:
    found = members[row["case"]]
    assert found["is_in_denominator"]
    assert not (found["is_denominator_exclusion"] or found["is_denominator_exception"])
    assert shown(found["is_in_numerator"]) == row["met"]


@pytest.mark.parametrize("row", [*drawn(AGES), *drawn(VISITS)], ids=lambda row: row["case"])
def test_ages_and_visits(row: dict[str, str], members: dict[str, dict[str, Any]]) -> None:
    assert shown(row["case"] in members) == row["in"]
    if row["in"] == "yes":
        assert shown(members[row["case"]]["is_in_numerator"]) == row["met"]


@pytest.mark.parametrize("row", drawn(BIPOLAR), ids=lambda row: row["case"])
def test_bipolar_disorder(row: dict[str, str], members: dict[str, dict[str, Any]]) -> None:
    found = members[row["case"]]
    assert shown(found["is_denominator_exclusion"]) == row["out"]
    assert found["is_in_numerator"] == (row["out"] == "no")


@pytest.mark.parametrize("row", drawn(NOT_DONE), ids=lambda row: row["case"])
def test_screens_not_done(row: dict[str, str], members: dict[str, dict[str, Any]]) -> None:
    found = members[row["case"]]
    assert shown(found["is_denominator_exception"]) == row["exception"]
    assert shown(found["is_in_numerator"]) == row["met"]
    assert shown(found["is_denominator_exclusion"]) == row["bipolar"]


def test_the_evidence_can_be_read(members: dict[str, dict[str, Any]]) -> None:
    assert members["2_days_after"]["evidence"] == (
        "qualifying visit 2026-03-16, most recent screen 2026-03-16 positive, followed up 2026-03-18"
    )
    assert members["positive_alone"]["evidence"].endswith("positive, no follow-up")
    assert members["declined"]["evidence"] == (
        "qualifying visit 2026-03-16, no screen, screen not done for a reason on 2026-03-16"
    )
    assert members["onset_day_before"]["evidence"].endswith("bipolar disorder from 2026-03-15")


def test_exceptions_leave_the_denominator(service: Service, members: dict[str, dict[str, Any]]) -> None:
    (row,) = service.ask(
        "select initial_population_count, denominator_count, denominator_exclusion_count, numerator_count "
        "from marts.measure_results where measure_id = 'cms2' and period_id = 'cy_2026'"
    )
    out = sum(one["is_denominator_exclusion"] or one["is_denominator_exception"] for one in members.values())
    met = sum(one["is_in_numerator"] for one in members.values())
    assert row == (len(members), len(members) - out, out, met)
