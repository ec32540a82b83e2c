"""Attack the tables beside the outcomes, and drop what is hit until nothing is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from caseness import disclosure_attack
from caseness.disclosure_attack import Part
from caseness.disclosure_beside import (
    ACTIVITY,
    COMPLETENESS,
    FLOW,
    MODALITY,
    TRAJECTORIES,
    Name,
    TruthBeside,
    mean_systems,
    systems_beside,
)
from caseness.disclosure_means import known_means
from caseness.disclosure_union import EVERYBODY, Published
from caseness.errors import CheckFailedError

Progress = Callable[[str], None]
# What a table gives up first: a condition, its values, and how the report tells it.
_Step = tuple[str, str, tuple[object, ...], str]
_LAST: tuple[_Step, ...] = (
    (FLOW, "true", (), "severity flows"),
    (TRAJECTORIES, "stratum_dimension = ?", (MODALITY,), "trajectories by modality"),
    (TRAJECTORIES, "true", (), "trajectories"),
)
_TABLES_OF = {"activity": (ACTIVITY,), "scores": (COMPLETENESS,), "courses": (FLOW, TRAJECTORIES)}


def attack_beside(
    connection: Any,
    earlier: Sequence[Published],
    this: Callable[[], Published],
    *,
    truth: TruthBeside | None,
    until: float,
    say: Progress,
) -> tuple[dict[str, Any], list[str]]:
    """Attack these tables of this release with those of all earlier ones, and coarsen them until no hit is left.

    Periods of activity go before the stage, kinds of completeness before the instrument, modalities of a week before
    the week; of severity flows the whole flow. Returns what the manifest says, and what was dropped.
    """
    facts: dict[str, Any] = {"rounds": 0, "protected_cells": 0, "protected_means": 0, "questions": 0}
    dropped: list[str] = []
    told_before: set[Part] = set()
    unsafe: set[Name] | None = None
    while True:
        found = _attacked([*earlier, this()], unsafe, truth, until, say)
        unsafe = found.unsafe
        facts["rounds"] += 1
        facts["questions"] += found.questions
        facts["protected_cells"] = max(facts["protected_cells"], found.cells)
        facts["protected_means"] = max(facts["protected_means"], found.means)
        hits = list(found.hits)
        if hits and earlier:  # what earlier releases gave away by themselves can not be taken back
            before = _attacked(earlier, found.unsafe, truth, until, say).hits
            hits = [hit for hit, width in found.hits.items() if not _was_known(before.get(hit), width)]
            told_before |= set(found.hits) - set(hits)
        if not hits and not found.contradicted:
            break
        steps = [step for hit in sorted(hits) for step in _first_that_is_there(connection, _ladder(connection, hit))]
        for name in sorted(found.contradicted):  # a rule that was not kept: nothing of these counts may stay
            steps += [(table, "true", (), f"all of {table}") for table in _TABLES_OF[name[0]]]
        removed = [step for step in dict.fromkeys(steps) if _delete(connection, step)]
        if not removed:
            raise CheckFailedError(
                "with everything published so far hidden counts or means are known that no declared drop hides: "
                + ", ".join(" ".join(hit) for hit in sorted(hits)[:5]),
                remedy="nothing was published; choose a stricter disclosure_profile or fewer measurement periods",
            )
        dropped += [told for _, _, _, told in removed]
    facts["known_from_earlier_releases_alone"] = len(told_before)
    facts |= {"recovered_exactly": 0, "recovered_within_one": 0, "unanswered": 0}
    return facts, sorted(set(dropped))


class _Found:
    """What one round found."""

    def __init__(self) -> None:
        self.cells = self.means = self.questions = 0
        self.hits: dict[Part, float | None] = {}
        self.unsafe: set[Name] = set()
        self.contradicted: set[Name] = set()


def _attacked(
    releases: Sequence[Published], only: Iterable[Name] | None, truth: TruthBeside | None, until: float, say: Progress
) -> _Found:
    found = _Found()
    chosen = {name: one for name, one in systems_beside(releases).items() if only is None or name in only}
    for name, (system, is_belief) in chosen.items():
        say("attacking " + ", ".join(name))
        system.truth = truth.of(system) if truth else {}
        if is_belief and system.truth and not disclosure_attack.holds(system):
            continue  # what is believed is not so
        report = disclosure_attack.attack(system, seconds=max(until - time.monotonic(), 0.0))
        found.questions += report.questions
        if is_belief and report.contradictions:
            continue
        found.cells += 0 if is_belief else report.protected_cells
        found.hits |= report.hits
        if report.contradictions:
            found.contradicted.add(name)
        if report.hits or report.contradictions:
            found.unsafe.add(name)
    say("attacking the means of the trajectories")
    means = {name: one for name, one in mean_systems(releases).items() if only is None or name in only}
    for one in means.values():
        one.system.truth = truth.of(one.system) if truth else {}
    means = {name: one for name, one in means.items() if not one.is_refuted}
    with ThreadPoolExecutor(2) as pool:
        waiting = {
            name: pool.submit(known_means, one, seconds=max(until - time.monotonic(), 0.0))
            for name, one in means.items()
        }
        known = {name: one.result() for name, one in waiting.items()}
    found.means = sum(len(one.hidden) for one in means.values())
    for name, widths in known.items():
        found.hits |= {(*name, *group): width for group, width in widths.items()}
        if widths:
            found.unsafe.add(name)
    return found


def _was_known(before: float | None, now: float | None) -> bool:
    """Whether earlier releases alone tell as much of a count as everything together does."""
    return before is not None and now is not None and now >= before


# --- what goes ----------------------------------------------------------------------------------------------------


def _ladder(connection: Any, hit: Part) -> list[_Step]:
    """What may go to hide a hit, the least first."""
    if hit[1] == ACTIVITY:
        stage, period = hit[2], hit[3]
        kind = _kind_of(connection, period)
        return [
            (
                ACTIVITY,
                "stage = ? and period_kind = ? and period_kind <> ?",
                (stage, kind, EVERYBODY),
                f"{stage} by {kind}",
            ),
            (ACTIVITY, "stage = ? and period_kind <> ?", (stage, EVERYBODY), f"{stage} by period"),
            (ACTIVITY, "stage = ?", (stage,), stage),
        ]
    if hit[1] == COMPLETENESS:
        instrument = hit[2]
        return [
            (
                COMPLETENESS,
                "instrument_code = ? and completeness <> ?",
                (instrument, EVERYBODY),
                f"completeness of {instrument}",
            ),
            (COMPLETENESS, "instrument_code = ?", (instrument,), f"scores of {instrument}"),
        ]
    if hit[1] == FLOW:
        instrument, week = hit[2], int(hit[3])
        return [
            (
                FLOW,
                "instrument_code = ? and from_week = ?",
                (instrument, week),
                f"severity flow of {instrument} from week {week}",
            ),
            *_LAST,
        ]
    if hit[1] == TRAJECTORIES and hit[2] == "starters":
        return [(TRAJECTORIES, "stratum_dimension = ?", (MODALITY,), "trajectories by modality"), *_LAST]
    instrument, week = (hit[5], int(hit[6])) if hit[1] == TRAJECTORIES else (hit[1], int(hit[2]))
    where = "instrument_code = ? and week_of_treatment = ?"
    told = f"trajectory of {instrument} in week {week}"
    return [
        (TRAJECTORIES, f"{where} and stratum_dimension = ?", (instrument, week, MODALITY), f"{told} by modality"),
        (TRAJECTORIES, where, (instrument, week), told),
        *_LAST,
    ]


def _kind_of(connection: Any, period: str) -> str:
    """The kind of a period; one that only an earlier release had counts as all days."""
    row = connection.execute(
        f"select period_kind from publication.{ACTIVITY} where period_id = ? limit 1", [period]
    ).fetchone()
    return str(row[0]) if row else EVERYBODY


def _first_that_is_there(connection: Any, steps: Sequence[_Step]) -> list[_Step]:
    for step in steps:
        table, where, values, _ = step
        if connection.execute(f"select 1 from publication.{table} where {where} limit 1", list(values)).fetchone():
            return [step]
    return []


def _delete(connection: Any, step: _Step) -> bool:
    table, where, values, _ = step
    row = connection.execute(f"delete from publication.{table} where {where}", list(values)).fetchone()
    return bool(row and row[0])
