"""Everything published so far, attacked together: measures with each other, groups with each other, releases too."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from caseness.disclosure.attack import AttackReport, Profile, attack, disclosure_profile, profile_of_release
from caseness.disclosure.union import Published, union_system

Row = dict[str, Any]
OPENSAFELY = disclosure_profile("opensafely")
DAY = dt.date(2025, 3, 31)
SIX, EIGHTEEN = "nhs_tt_first_treatment_6_weeks", "nhs_tt_first_treatment_18_weeks"


def _row(measure: str, denominator: int, numerator: int | None, group: str = "") -> Row:
    """A cell of a table; a hidden numerator is ``None``, and ``group`` is dimension=value."""
    dimension, _, value = group.partition("=")
    return {
        "measure_id": measure,
        "period_id": "all",
        "period_start": dt.date(2024, 4, 1),
        "period_end": DAY,
        "group_dimension": dimension,
        "group_value": value,
        "denominator_count": denominator,
        "denominator_status": "shown",
        "numerator_count": numerator,
        "numerator_status": "suppressed" if numerator is None else "shown",
    }


def _release(
    name: str, whole: list[Row], groups: list[Row], profile: Profile = OPENSAFELY, build: str = "b"
) -> Published:
    return Published(name, build, DAY, profile, whole, groups)


def _attacked(*releases: Published, only_grows: bool = False) -> AttackReport:
    return attack(union_system(releases, only_grows=only_grows), seconds=60)


def test_a_hidden_count_that_must_exceed_a_shown_one_is_not_known_to_be_everybody() -> None:
    """Seen within 18 weeks is hidden, within 6 weeks is shown as 90 of 100: it is no small count, so others are few."""
    release = _release("r", [_row(SIX, 100, 90), _row(EIGHTEEN, 100, None)], [])
    assert _attacked(release).is_safe
    hides_everybody_alone = replace(release, profile=replace(OPENSAFELY, all_or_none_margin=0))
    found = _attacked(hides_everybody_alone)
    assert found.recovered_exactly == 1  # the others are nobody
    assert {hit[-1] for hit in found.hits} == {"others"}


def test_measures_alone_are_safe_where_together_they_are_not() -> None:
    """Of 67 at most, 58 at least improved and 8 at least did not change: one at most got worse."""
    improved = "nhs_tt_reliable_improvement"
    worse, same = "nhs_tt_reliable_deterioration", "nhs_tt_no_reliable_change"
    whole = [_row(improved, 65, 60), _row(same, 65, 10), _row(worse, 65, None)]
    for one in whole:
        assert _attacked(_release("r", [one], [])).is_safe
    found = _attacked(_release("r", whole, []))
    assert found.recovered_within_one == 2  # those who got worse, and the others
    assert [hit[2] for hit in found.hits] == [worse] * 2


def test_two_profiles_of_one_build_tell_what_each_hides() -> None:
    """7 is hidden by one and shown as 9 (7 to 12) by the other."""
    midpoint = disclosure_profile("midpoint6")
    hidden = _release("r1", [_row("calm", 100, None)], [])
    shown = _release("r2", [_row("calm", 99, 9)], [], replace(midpoint, all_or_none_margin=0))
    assert _attacked(hidden).is_safe
    assert _attacked(shown).is_safe
    found = _attacked(hidden, shown)
    assert found.recovered_exactly == 1
    assert [hit[0] for hit in found.hits] == ["r1"]
    assert _attacked(hidden, replace(shown, build="another")).is_safe


_BY_AGE = [
    _row("calm", 100, 25, "age_band=26 to 64"),
    _row("calm", 50, 20, "age_band=18 to 25"),
    _row("calm", 50, None, "age_band=75 and over"),
]


def test_groups_of_two_dimensions_share_their_whole() -> None:
    """By age alone the whole is 53 to 57, of which 49 at most are shown; by sex it is 56 at least, so 7 are hidden."""
    by_sex = [_row("calm", 100, 30, "sex=female"), _row("calm", 100, 30, "sex=male")]
    whole = [_row("calm", 200, 55)]
    assert _attacked(_release("r", whole, _BY_AGE)).is_safe
    found = _attacked(_release("r", whole, [*by_sex, *_BY_AGE]))
    assert found.recovered_exactly == 1
    assert [hit[3:5] for hit in found.hits] == [("age_band", "75 and over")]


def test_what_people_were_added_tells_of_those_who_were_there() -> None:
    """Later 8 at least are of the oldest, so that 59 at most are of the others, then and before: 7 were hidden."""
    by_sex = [_row("calm", 100, 35, "sex=female"), _row("calm", 100, 35, "sex=male")]
    others = [_row("calm", 80, 30, "age_band=26 to 64"), _row("calm", 60, 30, "age_band=18 to 25")]
    before, after = (_row("calm", 60, count, "age_band=75 and over") for count in (None, 10))
    whole = [_row("calm", 200, 65)]
    earlier = _release("r1", whole, [*by_sex, *others, before], build="b1")
    later = _release("r2", whole, [*by_sex, *others, after], build="b2")
    assert _attacked(earlier).is_safe
    assert _attacked(earlier, later).is_safe
    found = _attacked(earlier, later, only_grows=True)
    assert found.recovered_exactly == 1
    assert [hit[0] for hit in found.hits] == ["r1"]


def test_a_belief_that_counts_refute_is_a_contradiction() -> None:
    earlier = _release("r1", [_row("calm", 200, 60)], [], build="b1")
    shrunk = _release("r2", [_row("calm", 200, 30)], [], build="b2")
    assert _attacked(earlier, replace(shrunk, overview=[*shrunk.overview]), only_grows=True).protected_cells == 0
    hidden = [_row("other", 200, None)]
    found = [
        _attacked(
            replace(earlier, overview=[*earlier.overview, *hidden]),
            replace(shrunk, overview=[*shrunk.overview, *hidden]),
            only_grows=grows,
        )
        for grows in (False, True)
    ]
    assert [report.contradictions for report in found] == [0, 1]


def test_a_release_of_before_is_read_by_the_rule_it_was_made_with() -> None:
    assert profile_of_release({"disclosure_profile": "opensafely"}).all_or_none_margin == 0
    kept = profile_of_release({"disclosure_profile": "opensafely", "disclosure_rule": vars(OPENSAFELY)})
    assert kept == OPENSAFELY


def test_a_shown_numerator_is_larger_than_the_margin() -> None:
    """Else a shown 10 could be thought to be 8 where the rule hides up to 9, and what is left of a whole be more."""
    rule = replace(OPENSAFELY, all_or_none_margin=9)
    whole = [_row("calm", 200, 15)]
    groups = [_row("calm", 100, 10, "sex=female"), _row("calm", 100, None, "sex=male")]
    narrow = union_system([_release("r", whole, groups, rule)])
    wide = union_system([_release("r", whole, groups)])
    shown = [[cell.low for cell in system.cells if cell.key[4:5] == ("female",)] for system in (wide, narrow)]
    assert shown == [[98, 8], [98, 10]]


def test_a_build_in_between_that_published_less_breaks_no_chain() -> None:
    whole = [_row("calm", 200, 60)]
    full = [_row("calm", 200, 60, "sex=male")]
    first, last = (_release(name, whole, full, build=name) for name in ("b1", "b3"))
    middle = _release("b2", whole, [], build="b2")
    system = union_system([first, middle, last], only_grows=True)
    growth = [relation for relation in system.relations if len(relation.terms) == 2 and relation.high == 0]
    pairs = {
        (relation.terms[0][0][0], relation.terms[1][0][0]) for relation in growth if relation.terms[0][0][3] == "sex"
    }
    assert ("b1", "b3") in pairs


@pytest.mark.parametrize("profile", ["opensafely", "nhs_mh", "cms11", "midpoint6"])
def test_every_profile_hides_both_ends(profile: str) -> None:
    rule = disclosure_profile(profile)
    assert rule.all_or_none_margin >= max(rule.redact_at_or_below, 1)
    # The least count that is shown stands for a step of the rounding, or for what redaction left of one.
    shown, status = rule.published(rule.all_or_none_margin + 1)
    low, high = rule.interval(shown, status, 10**6)
    assert min(high, 10**6) - max(low, rule.all_or_none_margin + 1) >= 2
