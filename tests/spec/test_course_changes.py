"""Change over a course, drawn: values on each side of every rule of response, remission and trajectory events.

Each row is a person with one referral received on 2025-01-06 and discharged 200 days later; days are counted from the
receipt. ``treated``: days of treatment. Scores: day=total; ``a/b`` is a sheet of b answered items with the sum a (4/8
is 4.5, shown as 5 and below 5 all the same); ``!`` marks a total out of range. The same events come from the
warehouse's SQL and from ``efficacy.course_events``.
"""

from __future__ import annotations

import datetime as dt
import random
from fractions import Fraction
from typing import Any

import pytest

from efficacy.course_events import Score, course_events, trajectory_rules
from tests.fixtures.service import Service, contact, drawn, person, referral, shown, total

RECEIVED = dt.date(2025, 1, 6)
DISCHARGED = 200

# Six sessions, one score each; the gain is looked for between the third and the fourth. gain: ? is not assessable.
# t = difference of means / sqrt(pooled variance * 2/3), beyond 2.776. t_just_above: means 11 and 5, sums of squares 26
# and 2, t = 6 / sqrt(28/4 * 2/3) = 2.7775. t_just_below: means 15 and 13/3, 78 and 32/3, t = 2.7748.
GAINS = """
case               treated           scores                               gain size session week
clear_gain         10,17,24,31,38,45 10=18,17=19,24=18,31=9,38=8,45=9     yes  9.0  4       3
drop_of_6          10,17,24,31,38,45 10=20,17=20,24=20,31=14,38=14,45=14  yes  6.0  4       3
drop_of_5          10,17,24,31,38,45 10=20,17=20,24=20,31=15,38=14,45=14  no   none none    none
quarter_of_24      10,17,24,31,38,45 10=24,17=24,24=24,31=18,38=18,45=18  yes  6.0  4       3
below_a_quarter    10,17,24,31,38,45 10=25,17=25,24=25,31=19,38=19,45=19  no   none none    none
rises_again        10,17,24,31,38,45 10=18,17=18,24=18,31=10,38=18,45=18  no   none none    none
t_just_above       10,17,24,31,38,45 10=8,17=10,24=15,31=4,38=5,45=6      yes  11.0 4       3
t_just_below       10,17,24,31,38,45 10=8,17=17,24=20,31=3,38=3,45=7      no   none none    none
no_third_after     10,17,24,31,38,45 10=18,17=19,24=18,31=9,38=8          ?    none none    none
no_first_before    10,17,24,31,38,45 17=19,24=18,31=9,38=8,45=9           ?    none none    none
five_sessions      10,17,24,31,38    10=18,17=19,24=18,31=9,38=8          ?    none none    none
gap_inside         10,17,24,31,38,45,52 10=18,17=19,24=18,31=9,45=9,52=9  ?    none none    none
seventh_session    10,17,24,31,38,45,52 10=18,17=18,24=19,31=18,38=9,45=8,52=9 yes 9.0 5    4
the_day_before     10,17,24,31,38,45 9=18,16=19,23=18,30=9,37=8,44=9      yes  9.0  4       2
last_of_session    10,17,24,31,38,45 10=18,17=19,24=18,26=18,31=9,38=8,45=9 yes 9.0 4       3
two_on_one_day     10,17,24,24,31,38,45 10=18,17=19,24=18,31=9,38=8,45=9  yes  9.0  4       3
out_of_range       10,17,24,31,38,45 10=18,17=19,24=18,31=9,38=8,45=40!   ?    none none    none
exact_not_rounded  10,17,24,31,38,45 10=16,17=16,24=16,31=9/8,38=8,45=8   no   none none    none
exact_and_enough   10,17,24,31,38,45 10=17,17=17,24=17,31=9/8,38=9,45=9   yes  6.875 4      3
"""

# One treatment on day 10. sustained and relapse: day reached.
REMISSIONS = """
case            scores                           sustained relapse
days_28         10=16,20=4,48=4                  48        none
days_27         10=16,20=4,47=4                  none      none
one_score_5     10=16,20=4,48=5                  none      none
starts_at_5     10=16,20=5,48=4                  none      none
broken_between  10=16,20=4,30=5,48=4             none      none
begins_anew     10=16,20=4,30=5,40=4,68=4        68        none
third_makes_it  10=16,20=4,40=3,48=4             48        none
relapse_at_10   10=16,20=4,48=4,60=10            48        60
not_at_9        10=16,20=4,48=4,60=9             48        none
before_it       10=16,15=12,20=4,48=4            48        none
without_it      10=16,20=4,30=12                 none      none
first_relapse   10=16,20=4,48=4,60=12,70=20      48        60
below_5_exact   10=16,20=4/8,48=4                48        none
above_5_exact   10=16,20=5/8,48=4                none      none
invalid_inside  10=16,20=4,30=40!,48=4           48        none
from_the_start  10=4,38=4                        38        none
"""

# Three sessions on days 10, 17 and 24 and a fourth on day 31. early: day, no, or ? for not assessable.
EARLY = """
case             instrument scores                 early
phq_drop_6       PHQ-9      10=20,17=14            17
phq_drop_5       PHQ-9      10=20,17=15            no
gad_drop_5       GAD-7      10=15,17=10            17
gad_drop_4       GAD-7      10=15,17=11            no
third_session    PHQ-9      10=20,17=18,24=14      24
fourth_session   PHQ-9      10=20,17=18,31=10      no
only_the_fourth  PHQ-9      10=20,31=10            ?
from_the_first   PHQ-9      5=20,10=18,17=14       17
before_session_1 PHQ-9      2=20,10=14             10
gone_again       PHQ-9      10=20,17=14,24=19      17
"""

# yes met, no not met, ? not assessable, zero undefined at a score of 0, - no rule for the instrument. seen: days
# observed; caseness: days at caseness (a score holds until the next); reached: first remission, and after how many
# days.
CHANGES = """
case           instrument scores              pair         response remission mcid noticed seen caseness reached  days
half           PHQ-9      10=20,17=10         paired       yes      no        yes  yes     7    7        no       none
less_than_half PHQ-9      10=21,17=11         paired       no       no        yes  yes     7    7        no       none
remission_4    PHQ-9      10=5,17=4           paired       no       yes       no   no      7    0        yes      7
remission_5    PHQ-9      10=10,17=5          paired       yes      no        yes  yes     7    7        no       none
mcid_5         PHQ-9      10=24,17=19         paired       no       no        yes  no      7    7        no       none
mcid_4         PHQ-9      10=19,17=15         paired       no       no        no   yes     7    7        no       none
worse          PHQ-9      10=10,17=20         paired       no       no        no   no      7    7        no       none
from_zero      PHQ-9      10=0,17=0           paired       zero     yes       no   zero    7    0        at_start none
one_score      PHQ-9      10=16               first_only   ?        ?         ?    ?       none none     no       none
last_invalid   PHQ-9      10=16,17=4,24=40!   last_invalid ?        ?         ?    ?       7    7        yes      7
all_invalid    PHQ-9      10=40!,17=41!       no_score     ?        ?         ?    ?       none none     no_score none
invalid_first  PHQ-9      10=40!,17=16,24=4   paired       yes      yes       yes  yes     7    7        yes      7
one_day_twice  PHQ-9      10=16,10=4          first_only   ?        ?         ?    ?       none none     at_start none
gad_share_26   GAD-7      10=19,17=14         paired       no       -         -    no      7    7        -        none
gad_share_27   GAD-7      10=11,17=8          paired       no       -         -    yes     7    7        -        none
gad_below_8    GAD-7      10=8,17=7,24=8,40=3 paired       yes      -         -    yes     30   23       -        none
wsas_no_rule   WSAS       10=20,17=10         paired       -        -         -    -       7    7        -        none
prorated_half  PHQ-9      10=9,17=4/8         paired       yes      yes       no   yes     7    0        yes      7
"""

_WORDS = {"met": "yes", "not_met": "no", "not_assessable": "?", "undefined": "zero", "no_rule": "-"}
_WORDS |= {"reached": "yes", "not_reached": "no"}


def _day(day: int) -> str:
    return (RECEIVED + dt.timedelta(days=day)).isoformat()


def _sheet(code: str, ref: str, instrument: str, day: str, answered: int, points: int) -> list[dict[str, Any]]:
    rows = []
    for number in range(1, 10):
        value = min(3, points) if number <= answered else None
        points -= value or 0
        rows.append(
            {
                "response_code": code,
                "person_code": "p_" + ref,
                "referral_code": ref,
                "instrument_code": instrument,
                "item_number": number,
                "answer_state": "missing" if value is None else "answered",
                "answer_value": "" if value is None else value,
                "answer_value_kind": "scored_value",
                "answered_at": f"{day}T10:00:00Z",
                "response_status": "completed",
            }
        )
    assert points == 0
    return rows


class Delivery:
    """Streams, written course by course."""

    def __init__(self) -> None:
        names = ("people", "referrals", "care_contacts", "questionnaire_totals", "questionnaire_answers")
        self.streams: dict[str, list[dict[str, Any]]] = {name: [] for name in names}

    def course(self, name: str, treated: list[int], scores: list[str], instrument: str = "PHQ-9") -> None:
        self.streams["people"].append(person("p_" + name))
        self.streams["referrals"].append(referral(name, RECEIVED.isoformat(), _day(DISCHARGED)))
        for number, day in enumerate(treated):
            self.streams["care_contacts"].append(contact(f"{name}.{number}", name, _day(day)))
        for number, written in enumerate(scores):
            day, value = written.rstrip("!").split("=")
            code, when = f"{name}.s{number}", _day(int(day))
            if "/" in value:
                points, answered = map(int, value.split("/"))
                self.streams["questionnaire_answers"] += _sheet(code, name, instrument, when, answered, points)
            else:
                row = total(code, name, instrument, int(value), when)
                row["answered_at"] = f"{when}T1{number % 10}:00:00Z"
                self.streams["questionnaire_totals"].append(row)


def _value(written: str) -> Fraction | None:
    """The exact score of a drawn one; None out of range."""
    if written.endswith("!"):
        return None
    points, _, answered = written.split("=")[1].partition("/")
    return Fraction(int(points) * 9, int(answered)) if answered else Fraction(int(points))


def _python(treated: list[int], scores: list[str], instrument: str = "PHQ-9") -> list[tuple[Any, ...]]:
    """The twin's answer, with the session of each score counted here, day by day."""
    days = sorted(set(treated))
    valid: dict[int, Fraction] = {}
    for written in scores:
        value = _value(written)
        if value is not None:
            valid[int(written.split("=")[0])] = value
    given = []
    for day, value in valid.items():
        upcoming = [number for number, session in enumerate(days, start=1) if session >= day]
        given.append(Score(day, value, upcoming[0] if upcoming else None))
    if not given:
        return []
    events = course_events(given, higher_is="worse", rules=trajectory_rules(instrument))
    return sorted((event.kind, event.day, event.from_day, event.size) for event in events)


def _random_courses(count: int) -> list[tuple[str, list[int], list[str]]]:
    """Courses that often fall and rise, with gaps, several treatments a week, sheets with missing answers."""
    rng = random.Random(20250106)
    courses = []
    for number in range(count):
        treated, day = [], rng.randint(3, 12)
        for _ in range(rng.randint(3, 11)):
            treated.append(day)
            day += rng.choice([7, 7, 7, 7, 14, 0, 3])
        level, scores = float(rng.randint(3, 26)), []
        for when in sorted({*treated, *(rng.randint(0, 150) for _ in range(rng.randint(0, 5)))}):
            level = max(0.0, min(27.0, level + rng.choice([0, 0, -1, 1, -2, 2, -7, -9, 6])))
            value = int(level)
            if rng.random() < 0.1:
                continue
            if rng.random() < 0.04:
                scores.append(f"{when}=40!")
            elif rng.random() < 0.2:
                answered = rng.choice([7, 8, 9])
                scores.append(f"{when}={min(value, 3 * answered)}/{answered}")
            else:
                scores.append(f"{when}={value}")
        courses.append((f"random_{number}", treated, scores))
    return courses


RANDOM = _random_courses(1600)
ONE_TREATMENT, FOUR_SESSIONS = [10], [10, 17, 24, 31]


def _drawn_courses() -> list[tuple[str, list[int], list[str], str]]:
    courses = []
    for case in drawn(GAINS):
        courses.append(("gain_" + case["case"], list(map(int, case["treated"].split(","))), case["scores"], "PHQ-9"))
    for case in drawn(REMISSIONS):
        courses.append(("remission_" + case["case"], ONE_TREATMENT, case["scores"], "PHQ-9"))
    for case in drawn(EARLY):
        courses.append(("early_" + case["case"], FOUR_SESSIONS, case["scores"], case["instrument"]))
    for case in drawn(CHANGES):
        courses.append(("change_" + case["case"], ONE_TREATMENT, case["scores"], case["instrument"]))
    return [(name, treated, scores.split(","), instrument) for name, treated, scores, instrument in courses]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    folder = tmp_path_factory.mktemp("changes")
    delivery = Delivery()
    for name, treated, scores, instrument in _drawn_courses():
        delivery.course(name, treated, scores, instrument)
    for name, treated, scores in RANDOM:
        delivery.course(name, treated, scores)
    delivery.course("unseen", [20], [])
    made = Service(folder / "home")
    assert made.deliver(folder / "in", delivery.streams)["rows_quarantined"] == 0
    made.build()
    return made


@pytest.fixture(scope="module")
def names(service: Service) -> dict[str, str]:
    """Token -> name of the course."""
    codes = ["p_" + name for name, *_ in (*_drawn_courses(), *RANDOM)]
    return {token: code[2:] for code, token in service.tokens(*codes).items()}


@pytest.fixture(scope="module")
def events(service: Service, names: dict[str, str]) -> dict[str, list[tuple[Any, ...]]]:
    found = service.of_people(
        "select person_id, event_kind, date_diff('day', date '2025-01-06', event_local_date), "
        "date_diff('day', date '2025-01-06', from_local_date), size, session_number, week_of_treatment, event_number "
        "from marts.trajectory_events"
    )
    return {names[token]: rows for token, rows in found.items()}


@pytest.fixture(scope="module")
def changes(service: Service, names: dict[str, str]) -> dict[str, dict[str, Any]]:
    columns = [row[0] for row in service.ask("describe marts.course_changes")]
    found = service.of_people(f"select person_id, {', '.join(columns)} from marts.course_changes")
    return {names[token]: dict(zip(columns, rows[0], strict=True)) for token, rows in found.items()}


def _of_kind(events: dict[str, list[tuple[Any, ...]]], name: str, kind: str) -> list[tuple[Any, ...]]:
    return [row for row in events.get(name, []) if row[0] == kind]


@pytest.mark.parametrize("case", drawn(GAINS), ids=lambda case: case["case"])
def test_a_sudden_gain_meets_three_criteria(
    events: dict[str, list[tuple[Any, ...]]], changes: dict[str, dict[str, Any]], case: dict[str, str]
) -> None:
    name = "gain_" + case["case"]
    found = _of_kind(events, name, "sudden_gain")
    status = {"yes": "met", "no": "not_met", "?": "not_assessable"}[case["gain"]]
    assert changes[name]["sudden_gain_status"] == status
    seen = [tuple(map(shown, (row[3], row[4], row[5]))) for row in found]
    assert seen == ([(case["size"], case["session"], case["week"])] if case["gain"] == "yes" else [])


@pytest.mark.parametrize("case", drawn(REMISSIONS), ids=lambda case: case["case"])
def test_remission_is_sustained_and_may_be_lost(
    events: dict[str, list[tuple[Any, ...]]], changes: dict[str, dict[str, Any]], case: dict[str, str]
) -> None:
    name = "remission_" + case["case"]
    for kind, column in (("sustained_remission", "sustained"), ("relapse", "relapse")):
        days = [str(row[1]) for row in _of_kind(events, name, kind)]
        assert days == ([] if case[column] == "none" else [case[column]]), kind
    is_sustained = case["sustained"] != "none"
    change = changes[name]
    # With fewer than 28 days between first and newest score nobody can tell.
    assert change["sustained_remission_status"] == (
        "met" if is_sustained else "not_met" if change["days_observed"] >= 28 else "not_assessable"
    )
    relapsed = "met" if case["relapse"] != "none" else "not_met"
    assert change["relapse_status"] == (relapsed if is_sustained else "not_applicable")


@pytest.mark.parametrize("case", drawn(EARLY), ids=lambda case: case["case"])
def test_an_early_response_comes_by_the_third_session(
    events: dict[str, list[tuple[Any, ...]]], changes: dict[str, dict[str, Any]], case: dict[str, str]
) -> None:
    name = "early_" + case["case"]
    days = [str(row[1]) for row in _of_kind(events, name, "early_response")]
    assert days == ([] if case["early"] in ("no", "?") else [case["early"]])
    status = {"no": "not_met", "?": "not_assessable"}.get(case["early"], "met")
    assert changes[name]["early_response_status"] == status


@pytest.mark.parametrize("case", drawn(CHANGES), ids=lambda case: case["case"])
def test_change_from_first_to_last(changes: dict[str, dict[str, Any]], case: dict[str, str]) -> None:
    change = changes["change_" + case["case"]]
    columns = {
        "pair": "pair_status",
        "response": "response_status",
        "remission": "remission_status",
        "mcid": "mcid_status",
        "noticed": "noticed_change_status",
        "seen": "days_observed",
        "caseness": "days_at_caseness",
        "reached": "first_remission_status",
        "days": "days_to_first_remission",
    }
    found = {short: _WORDS.get(shown(change[name]), shown(change[name])) for short, name in columns.items()}
    assert found == {short: case[short] for short in columns}


def test_a_last_score_is_there_only_when_a_pair_is(changes: dict[str, dict[str, Any]]) -> None:
    for name, change in changes.items():
        is_paired = change["pair_status"] == "paired"
        for column in ("last_score", "last_local_date", "improvement_points", "last_band", "is_pair_complete"):
            assert (change[column] is not None) == is_paired, (name, column)


def test_which_score_was_prorated_is_told(changes: dict[str, dict[str, Any]]) -> None:
    half = changes["change_prorated_half"]
    assert (half["first_score"], half["last_score"]) == (9.0, 4 * 9 / 8)
    assert (half["is_first_prorated"], half["is_last_prorated"], half["is_pair_complete"]) == (False, True, False)


def test_sql_and_python_find_the_same_events(events: dict[str, list[tuple[Any, ...]]]) -> None:
    expected = {name: _python(treated, scores) for name, treated, scores in RANDOM}
    for name, treated, scores, instrument in _drawn_courses():
        if instrument != "WSAS":
            expected[name] = _python(treated, scores, instrument)
    for name, rows in expected.items():
        assert sorted(row[:3] for row in events.get(name, [])) == [row[:3] for row in rows], name
        assert sorted(row[3] for row in events.get(name, [])) == pytest.approx(sorted(row[3] for row in rows)), name
    kinds = [row[0] for name, *_ in RANDOM for row in expected[name]]
    for kind in ("sudden_gain", "sustained_remission", "relapse", "early_response"):
        assert kinds.count(kind) >= 15, f"the random courses hardly have a {kind}"


def test_gains_of_a_course_are_numbered(events: dict[str, list[tuple[Any, ...]]]) -> None:
    for name in events:
        gains = sorted(_of_kind(events, name, "sudden_gain"), key=lambda row: row[1])
        assert [row[6] for row in gains] == list(range(1, len(gains) + 1)), name


def test_a_session_has_the_score_it_begins_with(service: Service) -> None:
    token = service.tokens("p_gain_last_of_session")["p_gain_last_of_session"]
    rows = service.ask(
        "select session_number, date_diff('day', date '2025-01-06', answered_local_date), total_prorated "
        f"from marts.session_scores where person_id = '{token}' order by 1"
    )
    assert rows == [(1, 10, 18), (2, 17, 19), (3, 24, 18), (4, 31, 9), (5, 38, 8), (6, 45, 9)]


def test_every_transition_is_listed_and_all_courses_are_in_one(service: Service) -> None:
    ((bands,),) = service.ask("select count(*) from intermediate.severity_bands where instrument_code = 'PHQ-9'")
    counted = service.ask(
        "select span, count(*), sum(episodes_count) from marts.severity_transitions "
        "where instrument_code = 'PHQ-9' and period_id = 'all' group by span order by span"
    )
    ((started,),) = service.ask("select count(*) from marts.episodes where has_started_treatment")
    spans = ("first_to_last", "week_0_to_4", "week_4_to_8", "week_8_to_12")
    assert counted == [(span, (bands + 1) ** 2, started) for span in spans]
    ((zeros,),) = service.ask("select count(*) from marts.severity_transitions where episodes_count = 0")
    assert zeros > 0


def test_transitions_are_those_of_the_courses(service: Service) -> None:
    expected = service.ask(
        "select first_band, last_band, count(*) from marts.course_changes inner join marts.episodes "
        "using (referral_id) where has_started_treatment and instrument_code = 'PHQ-9' and pair_status = 'paired' "
        "group by all order by all"
    )
    found = service.ask(
        "select from_band, to_band, episodes_count from marts.severity_transitions where period_id = 'all' and "
        "span = 'first_to_last' and instrument_code = 'PHQ-9' and from_band <> 'not_answered' "
        "and to_band <> 'not_answered' and episodes_count > 0 order by all"
    )
    assert found == expected


def test_transitions_of_the_quarters_are_those_of_all_days(service: Service) -> None:
    question = (
        "select span, from_band, to_band, sum(episodes_count) from marts.severity_transitions inner join "
        "staging.stg_quality__measurement_periods using (period_id) where period_kind = '{}' and "
        "instrument_code = 'PHQ-9' group by all order by all"
    )
    assert service.ask(question.format("quarter")) == service.ask(question.format("all"))
