"""Readings of a claimed rate: each against a plain count, the parts of a gap against hand-worked Shapley values."""

from __future__ import annotations

import datetime as dt
import random
from functools import cache
from typing import Any

import polars as pl
import pytest

from screening.claims import Claim, Figure, Readings, dimensions, measures_with_readings, official_reading, readings
from screening.definitions import definitions
from screening.pathway import PathwayRules, UnknownOptionError, classed, default_options
from tests.fixtures.pathway_oracle import SWITCHES, Course, Sheet, drawn_courses, outcome

PERIOD = (dt.date(2025, 8, 1), dt.date(2025, 9, 30))
BEFORE = (dt.date(2025, 6, 1), dt.date(2025, 7, 31))  # as many days, ending the day before
AFTER = (dt.date(2025, 10, 1), dt.date(2025, 11, 30))
UNTIL = dt.date(2025, 12, 31)


@cache
def courses() -> tuple[Course, ...]:
    """Random courses, and one that recovers on either side of every edge of the two periods and of the data's end."""
    day = dt.timedelta(days=1)
    edges = [PERIOD[0], PERIOD[1] + day, BEFORE[0], BEFORE[1] + day, UNTIL + day]
    made = []
    for number, last in enumerate(edge - back for edge in edges for back in (0 * day, day)):
        first, code = last - 60 * day, f"edge{number}"
        sheets = [
            Sheet(f"{code}.{name}.{place}", name, dt.datetime.combine(when, dt.time(9, place)), total, total)
            for name in ("PHQ-9", "GAD-7")
            for place, (when, total) in enumerate([(first, 15), (last, 3)])
        ]
        made.append(Course(code, None, first, last, [first + 7 * day, first + 14 * day], sheets))
    return (*drawn_courses(900, seed=5), *made)


def _hundredths(total: int | None, sheet: Sheet) -> int | None:
    return 100 * total if total is not None and sheet.is_valid else None


def frames(drawn: tuple[Course, ...]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Courses and scores as the build has them."""
    made = pl.DataFrame(
        {
            "referral_id": [one.referral_id for one in drawn],
            "problem_code": [one.problem for one in drawn],
            "referral_received_date": [one.received for one in drawn],
            "discharge_date": [one.discharged for one in drawn],
            "treatment_contacts": [len(one.treatments) for one in drawn],
            "first_treatment_date": [one.treatments[0] if one.treatments else None for one in drawn],
        }
    )
    rows = [
        {
            "referral_id": one.referral_id,
            "instrument_code": sheet.instrument,
            "response_id": sheet.response_id,
            "answered_at": sheet.at,
            "is_after_discharge": one.discharged is not None and sheet.at.date() > one.discharged,
            "is_follow_up": sheet.is_follow_up,
            "is_by_first_treatment": sheet.at.date() <= one.treatments[0] if one.treatments else None,
            "is_valid": sheet.is_valid,
            "measure_hundredths_complete_case": _hundredths(sheet.complete, sheet),
            "measure_hundredths_prorated": _hundredths(sheet.prorated, sheet),
        }
        for one in drawn
        for sheet in one.sheets
    ]
    return made, pl.DataFrame(rows)


def in_hundredths(found: dict[str, Any]) -> dict[str, Any]:
    """What the oracle says, scores named and counted as the frames do."""
    ends = ("_first", "_last")
    return {
        f"{name}_hundredths" if name.endswith(ends) else name: value * 100
        if name.endswith(ends) and value is not None
        else value
        for name, value in found.items()
    }


@cache
def computed(measure_id: str, most: int) -> Readings:
    return readings(*frames(courses()), measure_id=measure_id, period=PERIOD, until=UNTIL, most_departures=most)


def test_the_oracle_draws_every_switch_but_the_one_that_no_count_depends_on() -> None:
    known: dict[str, list[str]] = {}
    for row in definitions("pathway_switches"):
        known.setdefault(row["switch_id"], []).append(row["option"])
    assert known.pop("one_last_score_missing") == ["not_recovered", "not_assessable"]
    assert known == SWITCHES
    assert {name: ways[0] for name, ways in SWITCHES.items()}.items() <= default_options().items()


@pytest.mark.parametrize("seed", range(12))
def test_frames_class_every_drawn_course_as_plain_python_does(seed: int) -> None:
    rng = random.Random(seed)
    options = {name: rng.choice(ways) for name, ways in SWITCHES.items()} if seed else {}
    found = classed(*frames(courses()), PathwayRules(options))
    for course, row in zip(courses(), found.iter_rows(named=True), strict=True):
        expected = in_hundredths(outcome(course, options))
        assert {name: row[name] for name in expected} == expected, (course, options)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(UnknownOptionError, match="change_rule=adults"):
        PathwayRules({"change_rule": "adults"})


def counted(reading: dict[str, str]) -> Figure:
    """One reading counted course by course."""
    numerator = denominator = 0
    for course in courses():
        if course.discharged is None or course.discharged > UNTIL:
            continue
        found = outcome(course, {name: option for name, option in reading.items() if name in SWITCHES})
        treated = len(course.treatments)
        if treated < {"finished": 2, "ended_after_treatment": 1, "ended": 0}[reading["population"]]:
            continue
        anchor = {
            "discharge_date": course.discharged,
            "referral_received_date": course.received,
            "first_treatment_date": course.treatments[0] if treated else None,
        }[reading["anchor"]]
        spans = {"stated": PERIOD, "preceding": BEFORE, "following": AFTER, "all": (dt.date.min, dt.date.max)}
        first, last = spans[reading["window"]]
        if anchor is None or not first <= anchor <= last:
            continue
        status = found["caseness_status"]
        if reading["base"] == "less_not_at_caseness" and status == "not_at_caseness":
            continue
        if reading["base"] == "at_caseness" and status != "at_caseness":
            continue
        if reading["missing"] != "counts_as_not" and found["phq9_last"] is None:
            continue
        if reading["missing"] == "needs_both_last" and found["anxiety_last"] is None:
            continue
        denominator += 1
        before, after = found["phq9_first"], found["phq9_last"]
        is_paired = before is not None and after is not None
        numerator += {
            "recovered": found["is_case_no_longer"],
            "reliably_recovered": found["is_case_no_longer"] and found["change_class"] == "reliable_improvement",
            "reliably_improved": found["change_class"] == "reliable_improvement",
            "reliably_deteriorated": found["change_class"] == "reliable_deterioration",
            "phq9_response": is_paired and before > 0 and 2 * (before - after) >= before,
            "phq9_remission": after is not None and after < 5,
            "phq9_lower": is_paired and after < before,
        }[reading["outcome"]]
    return Figure(numerator, denominator)


@pytest.mark.parametrize("measure_id", ["nhs_tt_recovery", "nhs_tt_reliable_improvement"])
def test_readings_are_what_counting_course_by_course_gives(measure_id: str) -> None:
    found = computed(measure_id, 2)
    official = official_reading(measure_id)
    rng = random.Random(3)
    plain = [one for one in found.figures if not any(name == "thresholds" for name, _ in one)]
    singles = [one for one in plain if len(one) <= 1]
    assert len(singles) == 1 + sum(len(ways) - 1 for name, ways in dimensions().items() if name != "thresholds")
    for one in [*singles, *rng.sample(plain, 60)]:
        assert found.figures[one] == counted(official | dict(one)), sorted(one)


def test_other_thresholds_change_what_they_name_and_nothing_else() -> None:
    found = computed("nhs_tt_recovery", 1)
    by_screen = found.figures[frozenset({("thresholds", "gad7_screen")})]
    assert by_screen.denominator < found.official.denominator  # a GAD-7 of 8 or 9 alone is no case any more
    assert found.figures[frozenset({("thresholds", "gad7_change_5")})] == found.official
    improved = computed("nhs_tt_reliable_improvement", 1)
    assert improved.figures[frozenset({("thresholds", "gad7_screen")})] == improved.official
    assert improved.figures[frozenset({("thresholds", "gad7_change_5")})].numerator < improved.official.numerator


def test_every_measure_with_readings_has_an_official_one_for_each_dimension() -> None:
    for measure_id in measures_with_readings():
        assert official_reading(measure_id).keys() == dimensions().keys(), measure_id


@pytest.mark.parametrize(
    ("text", "percent", "digits"),
    [("62%", 62.0, 0), ("62 %", 62.0, 0), ("62.4", 62.4, 1), ("0%", 0.0, 0), ("100", 100.0, 0)],
)
def test_a_claim_is_read_with_its_digits(text: str, percent: float, digits: int) -> None:
    assert (Claim.read(text).percent, Claim.read(text).digits) == (percent, digits)


@pytest.mark.parametrize("text", ["", "%", "62,4", "101", "-3", "0.6.2", "62.", "sixty"])
def test_what_is_no_rate_is_no_claim(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the text itself
        Claim.read(text)


def test_a_figure_gives_a_claim_when_it_rounds_to_it() -> None:
    whole, tenth = Claim.read("62%"), Claim.read("62.0%")
    assert whole.is_given_by(Figure(615, 1000)) and whole.is_given_by(Figure(625, 1000))
    assert not whole.is_given_by(Figure(6149, 10000)) and not whole.is_given_by(Figure(6251, 10000))
    assert not tenth.is_given_by(Figure(615, 1000)) and tenth.is_given_by(Figure(6204, 10000))
    assert not whole.is_given_by(Figure(0, 0))
    assert Claim.read("62%", 1000).is_given_by(Figure(620, 1000)) and not Claim.read("62%", 999).is_given_by(
        Figure(620, 1000)
    )


A, B, C = ("population", "ended"), ("missing", "needs_both_last"), ("window", "all")


def made(**percents: int) -> Readings:
    """Readings out of 100 courses each, by the letters of their departures."""
    letters: dict[str, Any] = {"A": A, "B": B, "C": C}
    return Readings(
        {frozenset(letters[x] for x in name if x in letters): Figure(n, 100) for name, n in percents.items()}
    )


def test_the_parts_of_a_gap_are_the_shapley_values_and_sum_to_it() -> None:
    # A alone +10, B alone +4, together +20: the 6 that only both give are halved.
    found = made(none=50, A=60, B=54, AB=70)
    parts = found.contributions(frozenset({A, B}))
    assert parts == {A: pytest.approx(13.0), B: pytest.approx(7.0)}
    three = made(none=50, A=60, B=54, C=50, AB=70, AC=60, BC=54, ABC=70)
    parts = three.contributions(frozenset({A, B, C}))
    assert parts == {A: pytest.approx(13.0), B: pytest.approx(7.0), C: pytest.approx(0.0)}
    official = computed("nhs_tt_recovery", 2)
    for one, figure in official.figures.items():
        split = official.contributions(one)
        if split is not None:
            assert sum(split.values()) == pytest.approx(figure.percent - official.official.percent)


def test_a_reading_is_simplest_when_no_part_of_it_gives_the_claim() -> None:
    found = made(none=50, A=62, B=54, C=61, AB=62, AC=70, BC=62, ABC=62)
    assert found.simplest(Claim.read("62%")) == [frozenset({A}), frozenset({B, C})]
    assert len(found.giving(Claim.read("62%"))) == 4
    assert found.simplest(Claim.read("50%")) == [frozenset()]
    assert found.nearest(Claim.read("69%"), 1) == [frozenset({A, C})]


def test_a_part_without_anybody_has_no_contributions() -> None:
    found = Readings({frozenset(): Figure(1, 2), frozenset({A}): Figure(0, 0)})
    assert found.contributions(frozenset({A})) is None
    assert found.nearest(Claim.read("10%"), 3) == [frozenset()]
