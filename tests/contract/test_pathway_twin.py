"""SQL, frames and plain Python agree on every drawn course, whichever option each switch has."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from screening.pathway import PathwayRules, classed
from tests.fixtures.pathway_oracle import SWITCHES, drawn_courses, outcome, streams
from tests.fixtures.service import Service

_COURSES = """
    select
        referrals.referral_id, referrals.problem_code, referrals.referral_received_date, referrals.discharge_date,
        contacts.treatment_contacts, contacts.first_treatment_date
    from intermediate.int_referrals_current as referrals
    inner join intermediate.int_episodes_contacts as contacts on referrals.referral_id = contacts.referral_id
"""
_SQL = """
    select
        episodes.person_id, paired.phq9_first_hundredths, paired.phq9_last_hundredths, paired.anxiety_instrument_code,
        paired.anxiety_first_hundredths, paired.anxiety_last_hundredths, flagged.caseness_status, flagged.change_class,
        flagged.has_finished_course, flagged.has_recovered, flagged.is_reliably_improved,
        flagged.is_reliably_deteriorated, flagged.has_no_reliable_change, flagged.is_reliably_recovered,
        episodes.referral_id
    from intermediate.int_episodes_flagged as flagged
    inner join intermediate.int_episodes_paired as paired on flagged.referral_id = paired.referral_id
    inner join marts.episodes as episodes on flagged.referral_id = episodes.referral_id
"""


def differences(folder: Path, count: int, seed: int, options: dict[str, str]) -> dict[str, Any]:
    """Courses that SQL or the frames see otherwise than plain Python, and how many were compared."""
    from caseness import warehouse

    service = Service(folder / "home", pathway=options)
    drawn = drawn_courses(count, seed)
    report = service.deliver(folder / "in", streams(drawn))
    assert report["rows_quarantined"] == 0
    service.build()
    with warehouse.reader(service.settings.paths.current, service.settings, with_deliveries=True) as connection:
        cursor = connection.execute(_SQL)
        names = [column[0] for column in cursor.description or []]
        by_sql = {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}
        frame = classed(
            connection.execute(_COURSES).pl(),
            connection.execute("select * from intermediate.int_episode_scores").pl(),
            PathwayRules(options),
        )
    by_frames = {row["referral_id"]: row for row in frame.to_dicts()}
    people = service.tokens(*("p_" + course.referral_id for course in drawn))
    wrong: dict[str, Any] = {"compared": 0, "sql": [], "frames": []}
    for course in drawn:
        expected = _in_hundredths(outcome(course, options))
        row = by_sql[people["p_" + course.referral_id]]
        if any(row[name] != value for name, value in expected.items() if name in row):
            wrong["sql"].append((course, expected, row))
        twin = by_frames[row["referral_id"]]
        if any(twin[name] != value for name, value in expected.items()):
            wrong["frames"].append((course, expected, twin))
        wrong["compared"] += 1
    return wrong


def _in_hundredths(found: dict[str, Any]) -> dict[str, Any]:
    made = {}
    for name, value in found.items():
        if name.endswith(("_first", "_last")):
            made[f"{name}_hundredths"] = None if value is None else 100 * value
        else:
            made[name] = value
    return made


def _options(seed: int) -> dict[str, str]:
    """The defaults for seed 0, each switch at random otherwise."""
    rng = random.Random(seed)
    return {name: rng.choice(ways) for name, ways in SWITCHES.items()} if seed else {}


@pytest.mark.parametrize("seed", [0, 1])
def test_three_ways_of_saying_the_pathway_agree(tmp_path: Path, seed: int) -> None:
    found = differences(tmp_path, 2_500, seed, _options(seed))
    assert (found["compared"], found["sql"][:2], found["frames"][:2]) == (2_500, [], [])


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "count"), [(0, 100_000), (2, 20_000), (3, 20_000), (4, 20_000)])
def test_three_ways_of_saying_the_pathway_agree_on_many(tmp_path: Path, seed: int, count: int) -> None:
    found = differences(tmp_path, count, seed, _options(seed))
    assert (found["compared"], found["sql"][:2], found["frames"][:2]) == (count, [], [])
