"""What the tables beside the outcomes tell together: activity, completeness, flows, trajectories and their means."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from typing import Any

import numpy as np
import pytest
from scipy import stats

from caseness import dbt_runner
from caseness.disclosure.attack import System, attack, disclosure_profile
from caseness.disclosure.beside import TABLES, mean_systems, systems_beside
from caseness.disclosure.means import counts_that_agree, known_means
from caseness.disclosure.union import Published, recent_builds

Row = dict[str, Any]
_AS_OF = dt.date(2026, 3, 31)
_LAST_YEAR = 2024


def _published(release: str = "first", build: str = "b", profile: str = "opensafely", **tables: list[Row]) -> Published:
    beside = {f"pub_{name}": rows for name, rows in tables.items()}
    return Published(release, build, _AS_OF, disclosure_profile(profile), [], [], beside)


def _count(what: str, true: int, profile: str) -> Row:
    count, status = disclosure_profile(profile).published(true)
    return {f"{what}_count": count, f"{what}_status": status}


def _activity(
    years: tuple[int, ...], *, profile: str = "opensafely", stage: str = "discharged", whole: bool = True
) -> list[Row]:
    """Counts of each year, rounded once from their true number, and of all of them."""
    rows = []
    first = _LAST_YEAR + 1 - len(years)
    for year, true in enumerate(years, start=first):
        span = {"period_start": dt.date(year, 4, 1), "period_end": dt.date(year + 1, 3, 31)}
        kind = {"period_id": f"fy_{year}", "period_kind": "financial_year"}
        rows.append({**kind, **span, "stage": stage, **_count("episodes", true, profile)})
    if whole:
        span = {"period_start": dt.date(first, 4, 1), "period_end": dt.date(_LAST_YEAR + 1, 3, 31)}
        kind = {"period_id": "all", "period_kind": "all"}
        rows.append({**kind, **span, "stage": stage, **_count("episodes", sum(years), profile)})
    return rows


def _hits(*releases: Published) -> dict[tuple[str, ...], int | None]:
    found: dict[tuple[str, ...], int | None] = {}
    for system, is_belief in systems_beside(releases).values():
        report = attack(system, seconds=30)
        assert is_belief or not report.contradictions
        found |= {} if report.contradictions else report.hits
    return found


# --- activity and scores ------------------------------------------------------------------------------------------


def test_a_total_tells_the_one_year_that_is_hidden() -> None:
    """13, 8 and 1 are 22, published as 15, 10, hidden, and 20: at most 22, of which 13 and 8 at least are shown."""
    assert _hits(_published(activity=_activity((13, 8, 1)))) == {("first", "pub_activity", "discharged", "fy_2024"): 0}
    assert _hits(_published(activity=_activity((13, 8, 1), whole=False))) == {}
    assert _hits(_published(activity=_activity((13, 10, 3)))) == {}


def test_who_finished_was_discharged() -> None:
    """Five to seven finished by one rule, and one to seven were discharged by the other: five to seven. Nine for seven
    to twelve says that all seven of the discharged had finished."""
    hidden = _published(activity=_activity((7,), whole=False))
    five = _published(
        "second", profile="nhs_mh", activity=_activity((6,), stage="finished_courses", profile="nhs_mh", whole=False)
    )
    nine = _published(
        "third",
        profile="midpoint6",
        activity=_activity((7,), stage="finished_courses", profile="midpoint6", whole=False),
    )
    assert _hits(hidden, five) == {}
    assert _hits(hidden, nine) == {("first", "pub_activity", "discharged", "fy_2024"): 0}
    other_stage = _activity((7,), stage="first_treatments", profile="midpoint6", whole=False)
    assert _hits(hidden, _published("third", profile="midpoint6", activity=other_stage)) == {}


def test_two_profiles_of_one_build_tell_more_than_each() -> None:
    """Seven is hidden by one rule, which hides up to 7, and stands for 7 to 12 by the other."""
    first = _published(activity=_activity((7, 40, 40), whole=False))
    second = _published(
        "second", profile="midpoint6", activity=_activity((7, 40, 40), profile="midpoint6", whole=False)
    )
    assert _hits(first, second) == {("first", "pub_activity", "discharged", "fy_2022"): 0}
    other_build = _published(
        "second", "other", "midpoint6", activity=_activity((7, 40, 40), profile="midpoint6", whole=False)
    )
    assert _hits(first, other_build) == {}


def test_a_zero_that_one_rule_shows_is_no_secret_under_another() -> None:
    years = (0, 40, 40)
    first = _published(activity=_activity(years, whole=False))
    second = _published("second", profile="nhs_mh", activity=_activity(years, profile="nhs_mh", whole=False))
    assert second.beside["pub_activity"][0]["episodes_status"] == "suppressed"
    assert _hits(first, second) == {}


def test_a_small_count_that_a_rule_shows_rounded_is_protected_too() -> None:
    """Under midpoint6 the first step, 3, stands for 1 to 6, and 33 for 31 to 36: five times at least 7 leave 1."""
    for years, expected in (((7, 7, 7, 7, 7, 1), 0), ((7, 7, 7, 7, 1), 1), ((12, 12, 12, 12, 12, 1), None)):
        hits = _hits(_published(profile="midpoint6", activity=_activity(years, profile="midpoint6")))
        assert hits == ({} if expected is None else {("first", "pub_activity", "discharged", "fy_2024"): expected})


def test_an_earlier_build_bounds_a_past_year_from_below() -> None:
    """Five to seven then, and now at most six as 3 stands for 1 to 6: five or six, if nobody left."""
    rules = {"old": ("one", "nhs_mh"), "new": ("two", "midpoint6")}

    def both(*, ends: dt.date) -> list[Published]:
        return [
            _published(
                name,
                build,
                profile,
                activity=[{**row, "period_end": ends} for row in _activity((6,), profile=profile, whole=False)],
            )
            for name, (build, profile) in rules.items()
        ]

    assert _hits(*both(ends=_AS_OF)) == {("new", "pub_activity", "discharged", "fy_2024"): 1}
    assert _hits(*both(ends=_AS_OF + dt.timedelta(days=1))) == {}  # people may still join that year


def _scores(**kinds: int) -> list[Row]:
    return [
        {"instrument_code": "PHQ-9", "completeness": kind, **_count("scores", true, "opensafely")}
        for kind, true in {"all": sum(kinds.values()), **kinds}.items()
        if kind != "neither"
    ]


def test_kinds_of_completeness_are_parts_of_all_scores() -> None:
    assert set(_hits(_published(score_completeness=_scores(complete=13, prorated=8, total_only=1)))) == {
        ("first", "pub_score_completeness", "PHQ-9", "total_only")
    }
    assert _hits(_published(score_completeness=_scores(complete=13, prorated=12, total_only=1))) == {}


# --- flows ---------------------------------------------------------------------------------------------------------


def _flow(instrument: str, *counts: int, week: int = 0, band: str = "mild", profile: str = "opensafely") -> list[Row]:
    where = {"instrument_code": instrument, "from_week": week, "to_week": week + 4, "from_band": band}
    return [{**where, "to_band": f"to{at}", **_count("episodes", n, profile)} for at, n in enumerate(counts)]


def test_flows_of_two_instruments_follow_the_same_courses() -> None:
    """At most 3 times 12 by one instrument, at least 13, 13 and 8 by the other: of the fourth at most 2 are left."""
    phq9, gad7 = _flow("PHQ-9", 12, 12, 12), _flow("GAD-7", 13, 13, 8, 2)
    assert set(_hits(_published(severity_flow=[*phq9, *gad7]))) == {
        ("first", "pub_severity_flow", "GAD-7", "0", "4", "mild", "to3")
    }
    assert _hits(_published(severity_flow=gad7)) == {}


def test_a_flow_follows_no_more_than_started() -> None:
    """23 to 27 started, and at least 13 and 13 are shown."""
    gad7 = _flow("GAD-7", 13, 13, 1)
    assert set(_hits(_published(severity_flow=gad7, trajectories=[_trajectory("all", 27, 27)]))) == {
        ("first", "pub_severity_flow", "GAD-7", "0", "4", "mild", "to2")
    }
    assert _hits(_published(severity_flow=gad7, trajectories=[_trajectory("all", 28, 28)])) == {}


def test_a_later_flow_begins_where_the_one_before_ended() -> None:
    """At most 3 times 12 had come to a band; at least 13, 13 and 8 went on from it, which leaves at most 2."""
    first = [row for at in range(3) for row in _flow("PHQ-9", 30, 12, band=f"to{at}")]
    second = _flow("PHQ-9", 13, 13, 8, 2, week=4, band="to1")
    assert _hits(_published(severity_flow=[*first, *second])) == {
        ("first", "pub_severity_flow", "PHQ-9", "4", "8", "to1", "to3"): 1
    }
    many = _flow("PHQ-9", 13, 13, 8, 2, week=4, band="to0")  # up to 96 had come to that one
    assert _hits(_published(severity_flow=[*first, *many])) == {}


def test_who_began_with_a_band_had_answered() -> None:
    """23 to 27 answered at the start, of 98 to 102 who started."""
    flow = _flow("PHQ-9", 13, 13, 1)
    assert set(_hits(_published(severity_flow=flow, trajectories=[_trajectory("all", 100, 27)]))) == {
        ("first", "pub_severity_flow", "PHQ-9", "0", "4", "mild", "to2")
    }
    unanswered = _flow("PHQ-9", 13, 13, 1, band="not_answered")
    assert _hits(_published(severity_flow=unanswered, trajectories=[_trajectory("all", 100, 27)])) == {}


def test_a_belief_that_the_numbers_refute_tells_nothing() -> None:
    """If every course could be followed, 48 to 52 would be; and 13, 13 and at most 7 are not that many."""
    flow = _flow("GAD-7", 13, 13, 1)
    assert _hits(_published(severity_flow=flow, trajectories=[_trajectory("all", 50, 50)])) == {}
    (_, is_belief) = systems_beside([_published(severity_flow=flow)])[
        "courses", "if every course could be followed to the last week"
    ]
    assert is_belief
    # 33 to 37 started, and 17 and 12 are at most shown: at least four, if all could be followed; no more is known.
    assert _hits(_published(severity_flow=_flow("GAD-7", 17, 12, 6), trajectories=[_trajectory("all", 35, 35)])) == {}
    # 38 to 42 started, and at most 17 and 17: at least four. With 12, 12 and 12 and 43 to 47 exactly seven.
    assert set(
        _hits(_published(severity_flow=_flow("GAD-7", 12, 12, 12, 7), trajectories=[_trajectory("all", 43, 43)]))
    ) == {("first", "pub_severity_flow", "GAD-7", "0", "4", "mild", "to3")}


def _hidden_whole(rows: list[Row]) -> list[Row]:
    return [{**row, "episodes_count": None, "episodes_status": "suppressed"} for row in rows]


def test_a_band_that_moved_as_one_hides_that_and_not_its_zeros() -> None:
    """Nobody had the third band at week 4, so nobody of the hidden one came to it; of the second that is not known."""
    hidden = _hidden_whole(_flow("PHQ-9", 30, 0, 0, band="to0"))
    first = [*hidden, *_flow("PHQ-9", 20, 20, 0, band="to1"), *_flow("PHQ-9", 0, 0, 0, band="to2")]
    second = [*_flow("PHQ-9", 20, 30, 0, week=4, band="to0"), *_flow("PHQ-9", 10, 10, 0, week=4, band="to1")]
    nobody = _flow("PHQ-9", 0, 0, 0, week=4, band="to2")
    assert _hits(_published(severity_flow=[*first, *second, *nobody], trajectories=[_trajectory("all", 70, 70)])) == {}


def test_that_a_band_moved_as_one_is_known_where_nobody_came_elsewhere() -> None:
    """Of two bands nobody had the other at week 4, if every course could be followed."""
    first = [*_hidden_whole(_flow("PHQ-9", 30, 0, band="to0")), *_flow("PHQ-9", 0, 0, band="to1")]
    second = [*_flow("PHQ-9", 20, 10, week=4, band="to0"), *_flow("PHQ-9", 0, 0, week=4, band="to1")]
    hits = _hits(_published(severity_flow=[*first, *second], trajectories=[_trajectory("all", 30, 30)]))
    assert hits == {("first", "pub_severity_flow", "PHQ-9", "0", "4", "to0", "to0", "others"): 0}


def test_a_band_that_nobody_began_in_contradicts_nothing() -> None:
    """Its zeros are shown, though it has no others: the rule of all or none asks for somebody."""
    flow = [*_flow("PHQ-9", 20, 20, 3), *_flow("PHQ-9", 0, 0, 0, band="severe")]
    (system, _), *_ = systems_beside([_published(severity_flow=flow)]).values()
    found = attack(system, seconds=30)
    assert found.protected_cells == 1
    assert found.is_safe


def test_one_count_at_most_of_a_band_that_is_hidden_whole_is_large() -> None:
    """At least 26 came to the second band, so of the hidden one at most 7 others; at least 7 to the third."""
    first = [*_hidden_whole(_flow("PHQ-9", 0, 30, 7, band="severe")), *_flow("PHQ-9", 17, 0, 17, band="mild")]
    second = [
        *_flow("PHQ-9", 9, 8, 0, week=4, band="to0"),
        *_flow("PHQ-9", 15, 15, 0, week=4, band="to1"),
        *_flow("PHQ-9", 8, 8, 8, week=4, band="to2"),
    ]
    hits = _hits(_published(severity_flow=[*first, *second]))
    assert hits["first", "pub_severity_flow", "PHQ-9", "0", "4", "severe", "to2"] == 0


def test_a_band_needs_an_answer_in_its_weeks() -> None:
    """Nobody answered in week 3 and 13 to 17 in week 4; of the bands at week 4 at least 8 and 8 are shown."""
    stayed_away = {**_flow("PHQ-9", 300)[0], "to_band": "not_answered"}
    weeks = [{**_trajectory("all", 400, n), "week_of_treatment": week} for week, n in ((3, 0), (4, 17))]
    flow = [*_flow("PHQ-9", 8, 8, 1), stayed_away]
    hits = _hits(_published(severity_flow=flow, trajectories=weeks))
    assert hits == {("first", "pub_severity_flow", "PHQ-9", "0", "4", "mild", "to2"): 0}
    weeks = [{**_trajectory("all", 400, n), "week_of_treatment": week} for week, n in ((2, 0), (4, 17))]
    assert _hits(_published(severity_flow=flow, trajectories=weeks)) == {}


def test_flows_of_other_weeks_and_instruments_follow_some_of_the_same_courses() -> None:
    """At most 36 were followed to week 4, so no more to week 12; nor does a flow of another instrument change that."""
    early, late = _flow("PHQ-9", 12, 12, 12), _flow("PHQ-9", 13, 13, 8, 2, week=8, band="severe")
    between = _flow("GAD-7", 18, 18, week=4, band="severe")
    expected = {("first", "pub_severity_flow", "PHQ-9", "8", "12", "severe", "to3"): 1}
    assert _hits(_published(severity_flow=[*early, *late])) == expected
    assert _hits(_published(severity_flow=[*early, *between, *late])) == expected


# --- trajectories and their means -----------------------------------------------------------------------------------


def _trajectory(
    value: str,
    starters: int,
    observed: int,
    mean: float | None = None,
    *,
    spread: float = 1.0,
    profile: str = "opensafely",
) -> Row:
    dimension = "all" if value == "all" else "modality"
    return {
        "instrument_code": "PHQ-9",
        "stratum_dimension": dimension,
        "stratum_value": value,
        "week_of_treatment": 0,
        **_count("starters", starters, profile),
        **_count("observed", observed, profile),
        "observed_mean": mean,
        "observed_ci_low": None if mean is None else round(mean - spread, 1),
        "observed_ci_high": None if mean is None else round(mean + spread, 1),
        "observed_mean_status": "suppressed" if mean is None else "shown",
        "model_mean": None,
        "model_status": "not_applicable",
    }


def _known(*releases: Published) -> set[tuple[str, ...]]:
    return {
        (*name, *group)
        for name, means in mean_systems(releases).items()
        for group in known_means(means, until=time.monotonic() + 30)
    }


# 18 to 22 by text, all of whom scored the same, so that their mean is hidden; the others' and everybody's are shown.
_ALL_ALIKE = [_trajectory("all", 60, 60, 5.0), _trajectory("video", 40, 40, 5.0), _trajectory("text", 20, 20)]


def test_the_mean_that_is_left_of_the_whole_is_known() -> None:
    """If everybody has a modality, the sum of the rest is the whole's less the others': within a point of five."""
    believed = "if every course has a modality"
    hits = _known(_published(trajectories=_ALL_ALIKE))
    assert hits == {("observed_mean", "PHQ-9", "0", believed, "b", "sum", "observed", "modality", "text", "PHQ-9", "0")}
    assert _known(_published(trajectories=[_ALL_ALIKE[0], _ALL_ALIKE[2]])) == set()
    fewer = [_trajectory("all", 47, 47, 5.0), _trajectory("video", 44, 44, 5.0), _trajectory("text", 3, 3)]
    assert _known(_published(trajectories=fewer)) == set()


def _brute_width(
    whole: tuple[int, int, float], part: tuple[int, int, float], rest: tuple[int, int], greatest: int
) -> float:
    """Every pair of counts and sums that rounds to what was published, one after the other."""

    def sums(n: int, mean: float) -> range:
        return range(int(np.ceil(n * (mean - 0.05) - 1e-9)), int(np.floor(n * (mean + 0.05) + 1e-9)) + 1)

    found = [
        (total - own) / (n - m)
        for n, m in itertools.product(range(whole[0], whole[1] + 1), range(part[0], part[1] + 1))
        if rest[0] <= n - m <= rest[1]
        for total, own in itertools.product(sums(n, whole[2]), sums(m, part[2]))
        if 0 <= total - own <= greatest * (n - m)
    ]
    return max(found) - min(found)


@pytest.mark.parametrize(("mean", "other"), [(5.0, 5.0), (5.0, 5.1), (12.3, 12.3), (9.0, 9.2), (9.0, 9.4), (9.0, 10.0)])
def test_what_is_left_is_what_every_pair_of_counts_and_sums_leaves(mean: float, other: float) -> None:
    rows = [_trajectory("all", 60, 60, mean), _trajectory("video", 40, 40, other), _trajectory("text", 20, 20)]
    means = mean_systems([_published(trajectories=rows)])[
        "observed_mean", "PHQ-9", "0", "if every course has a modality"
    ]
    width = _brute_width((58, 62, mean), (38, 42, other), (18, 22), 27)
    known = known_means(means, until=time.monotonic() + 30)
    assert (width <= 1) == bool(known)
    assert all(found == pytest.approx(width) for found in known.values())


def test_the_mean_of_those_who_were_added_is_known() -> None:
    """18 to 22 then, 23 to 27 now, with the same mean: of the one to seven who were added it is hardly known; where
    everybody has the lowest mean that can be, it is."""
    old = _published("old", "one", trajectories=[_trajectory("all", 20, 20, 13.5)])
    new = _published("new", "two", trajectories=[_trajectory("all", 25, 25, 13.5)])
    assert _known(old, new) == set()
    old = _published("old", "one", trajectories=[_trajectory("all", 22, 22, 0.0, spread=0.1)])
    new = _published("new", "two", trajectories=[_trajectory("all", 23, 23, 0.0, spread=0.1)])
    assert {name[3] for name in _known(old, new)} == {"if people were only added"}
    assert _known(old, _published("new", "one", trajectories=[_trajectory("all", 23, 23, 0.0, spread=0.1)])) == set()


def _mean_row(scores: np.ndarray) -> Row:
    mean, n = scores.mean(), len(scores)
    margin = stats.t.ppf(0.975, n - 1) * scores.std(ddof=1) / np.sqrt(n)
    row = _trajectory("all", n, n, float(np.round(mean, 1)))
    return {
        **row,
        "observed_ci_low": float(np.round(mean - margin, 1)),
        "observed_ci_high": float(np.round(mean + margin, 1)),
    }


def test_an_interval_of_a_mean_never_excludes_the_true_count() -> None:
    chance = np.random.default_rng(7)
    narrower = 0
    for _ in range(400):
        n = int(chance.integers(8, 40))
        scores = np.minimum(chance.poisson(chance.gamma(1.0, 4.0), size=n), 27)
        low, high = n - 2, n + 2
        found = counts_that_agree(_mean_row(scores), low, high, disclosure_profile("opensafely"))
        assert low <= found[0] <= n <= found[1] <= high
        narrower += found != (low, high)
    assert narrower > 20


def test_a_mean_of_the_model_needs_thirty_scores() -> None:
    """Of at most 32 who answered at least 30 did by video: one or two by text."""
    model = {"model_mean": 8.0, "model_status": "shown"}
    rows = [_trajectory("all", 80, 32), {**_trajectory("video", 60, 30), **model}, _trajectory("text", 20, 2)]
    hits = _hits(_published(trajectories=rows))
    assert hits == {("first", "pub_trajectories", "observed", "modality", "text", "PHQ-9", "0"): 1}
    assert _hits(_published(trajectories=[rows[0], {**rows[1], "model_status": "not_applicable"}, rows[2]])) == {}


def test_first_treatments_and_starters_are_the_same_courses() -> None:
    """Five times at least 8 were treated, of at most 42 who started; at most 17 and 17 by two modalities."""
    activity = _activity((8, 8, 8, 8, 8), stage="first_treatments")
    rows = [
        _trajectory("all", 40, 0),
        _trajectory("video", 17, 0),
        _trajectory("text", 17, 0),
        _trajectory("phone", 6, 0),
    ]
    hits = _hits(_published(activity=activity, trajectories=rows))
    assert hits == {("first", "pub_trajectories", "starters", "modality", "phone"): 1}
    assert _hits(_published(trajectories=rows)) == {}


def test_what_refutes_one_belief_leaves_the_others() -> None:
    """One who started has no modality, and never answered: all who answered have one."""
    rows = [{**_ALL_ALIKE[0], **_count("starters", 61, "opensafely")}, *_ALL_ALIKE[1:]]
    observed = {"all": 60, "video": 40, "text": 20}

    def truth(system: System) -> dict[tuple[str, ...], int]:
        known = {("b", "starters", "all", "all"): 61, ("b", "starters", "modality", "video"): 40}
        known |= {("b", "starters", "modality", "text"): 20}
        for name, count in observed.items():
            known["b", "observed", "all" if name == "all" else "modality", name, "PHQ-9", "0"] = count
        return known

    means = mean_systems([_published(trajectories=rows)], truth)["observed_mean", "PHQ-9", "0"]
    assert len(known_means(means, until=time.monotonic() + 30)) == 1
    observed["all"] = 61
    means = mean_systems([_published(trajectories=rows)], truth)["observed_mean", "PHQ-9", "0"]
    assert known_means(means, until=time.monotonic() + 30) == {}


def test_what_shrank_of_one_stage_says_nothing_of_another() -> None:
    rules = {"old": ("one", "nhs_mh"), "new": ("two", "midpoint6")}

    def both(referrals: dict[str, int]) -> list[Published]:
        found = []
        for name, (build, profile) in rules.items():
            rows = _activity((6,), profile=profile, whole=False)
            rows += _activity((referrals[name],), profile=profile, whole=False, stage="referrals_received")
            found.append(_published(name, build, profile, activity=[{**row, "period_end": _AS_OF} for row in rows]))
        return found

    expected = {("new", "pub_activity", "discharged", "fy_2024"): 1}
    assert _hits(*both({"old": 100, "new": 100})) == expected
    assert _hits(*both({"old": 100, "new": 80})) == expected


def test_a_build_that_was_published_before_is_among_the_recent_ones() -> None:
    releases = [_published(f"r{at}", build) for at, build in enumerate(["b1", "b2", "b3", "b4", "b5", "b1"])]
    assert recent_builds(releases) == {"b1", "b3", "b4", "b5"}


def test_rows_that_failed_a_rule_are_told_no_better_by_two_releases() -> None:
    def quality(profile: str) -> list[Row]:
        return [{"rule_id": "total_range", **_count("rows_failed", 7, profile)}]

    first = _published(data_quality=quality("opensafely"))
    second = _published("second", profile="midpoint6", data_quality=quality("midpoint6"))
    assert _hits(first, second) == {("first", "pub_data_quality", "total_range"): 0}
    assert _hits(first) == _hits(second) == {}


def test_the_rest_is_a_secret_while_it_is_small() -> None:
    """Eighteen to twenty-two are in no published modality; what is left of the whole tells their mean."""
    whole = _trajectory("all", 60, 60, 5.0)
    assert _known(_published(trajectories=[whole, _trajectory("video", 40, 40, 5.0)])) == set()


def test_an_interval_of_a_mean_narrows_what_is_hidden_beside_it() -> None:
    """Of nine at most, as the interval tells, at least eight by video: one by text."""
    row = _mean_row(np.array([1, *[0] * 8]))
    rows = [row, _trajectory("video", 8, 8), _trajectory("text", 1, 1)]
    hits = _hits(_published(trajectories=rows))
    assert ("first", "pub_trajectories", "observed", "modality", "text", "PHQ-9", "0") in hits
    without = [_trajectory("all", 9, 9), *rows[1:]]
    assert _hits(_published(trajectories=without)) == {}


def test_an_interval_of_a_mean_can_tell_the_count() -> None:
    """One point among nine people is 0.1 (-0.1 to 0.4), among twelve 0.1 (-0.1 to 0.3)."""
    nine, twelve = (_mean_row(np.array([1, *[0] * (n - 1)])) for n in (9, 12))
    assert counts_that_agree(nine, 8, 12, disclosure_profile("opensafely")) != (8, 12)
    assert counts_that_agree(nine, 8, 12, disclosure_profile("opensafely"))[1] < 12
    assert counts_that_agree(twelve, 8, 12, disclosure_profile("opensafely"))[0] > 9


def test_every_table_that_is_attacked_says_what_goes_first() -> None:
    rows = dbt_runner.coarsening_rows()
    declared = {row["table_name"] for row in dbt_runner.publication_rows()}
    assert {row["table_name"] for row in rows} <= declared
    attacked = {row["hit_table"] for row in rows} - {"any"}
    assert attacked == set(TABLES)
    for name in attacked:
        own = [row for row in rows if row["hit_table"] in (name, "any")]
        # At the end nothing of it is left, so that whatever it told is gone.
        last = max((row for row in own if row["table_name"] == name), key=lambda row: int(row["step"]))
        assert last["condition"] in (
            "true",
            "stage = $stage",
            "instrument_code = $instrument_code",
            "rule_id = $rule_id",
        )
