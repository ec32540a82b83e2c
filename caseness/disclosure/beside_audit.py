"""Attack the tables beside the outcomes, and drop what is hit until nothing is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from caseness.dbt_runner import coarsening_rows
from caseness.disclosure.attack import Part, attack, narrower
from caseness.disclosure.beside import (
    ACTIVITY,
    COMPLETENESS,
    FLOW,
    QUALITY,
    TRAJECTORIES,
    Name,
    TruthBeside,
    mean_systems,
    systems_beside,
)
from caseness.disclosure.means import known_means
from caseness.disclosure.union import EVERYBODY, Published
from caseness.errors import CheckFailedError

Progress = Callable[[str], None]
_MOST_REASONS = 3
# What a table gives up first: a condition, its values, and how the report tells it.
_Step = tuple[str, str, tuple[tuple[str, object], ...], str]
_TABLES_OF = {"scores": (COMPLETENESS,), "quality": (QUALITY,), "courses": (ACTIVITY, FLOW, TRAJECTORIES)}


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

    What goes first stands in ``publication_coarsening.csv``. Returns what the manifest says, and what was dropped.
    """
    facts: dict[str, Any] = {
        "rounds": 0,
        "protected_cells": 0,
        "protected_means": 0,
        "questions": 0,
        "recovered_before_dropping": 0,
        "collided": [],
    }
    dropped: list[str] = []
    told_before: set[Part] = set()
    before: dict[Part, float | None] | None = None
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
            before = _attacked(earlier, None, truth, until, say).hits if before is None else before
            hits = [hit for hit, width in found.hits.items() if not _was_known(before.get(hit), width)]
            told_before |= set(found.hits) - set(hits)
        facts["recovered_before_dropping"] += len(hits)
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
        because = [" ".join(hit) for hit in sorted(hits)][:_MOST_REASONS]
        facts["collided"] += [{"dropped": told, "because": because} for _, _, _, told in removed]
    facts["known_from_earlier_releases_alone"] = len(told_before)
    left = [found.hits[hit] for hit in hits]
    facts["recovered_exactly"] = sum(width == 0 for width in left)
    facts["recovered_within_one"] = sum(width is not None and width > 0 for width in left)
    facts["unanswered"] = left.count(None)
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
    truly = truth.of if truth else None
    chosen = {name: one for name, one in systems_beside(releases, truly).items() if only is None or name in only}
    for name, (system, is_belief) in chosen.items():
        say("attacking " + ", ".join(name))
        report = attack(system, seconds=max(until - time.monotonic(), 0.0))
        found.questions += report.questions
        if is_belief and report.contradictions:
            continue
        found.cells += 0 if is_belief else report.protected_cells
        found.hits = narrower(found.hits, report.hits)
        if report.contradictions:
            found.contradicted.add(name)
        if report.hits or report.contradictions:
            found.unsafe.add(name)
    say("attacking the means of the trajectories")
    means = {name: one for name, one in mean_systems(releases, truly).items() if only is None or name in only}
    with ThreadPoolExecutor(2) as pool:
        waiting = {name: pool.submit(known_means, one, until=until) for name, one in means.items()}
        known = {name: one.result() for name, one in waiting.items()}
    found.means = sum(len(one.hidden) for one in means.values())
    for name, widths in known.items():
        found.hits = narrower(found.hits, {(*name, *group): width for group, width in widths.items()})
        if widths:
            found.unsafe.add(name)
    return found


def _was_known(before: float | None, now: float | None) -> bool:
    """Whether earlier releases alone tell as much of a count as everything together does."""
    return before is not None and now is not None and now >= before


# --- what goes ----------------------------------------------------------------------------------------------------


def _ladder(connection: Any, hit: Part) -> list[_Step]:
    """What may go to hide a hit, the least first: rows of ``publication_coarsening.csv``."""
    table, count, values = _place(connection, hit)
    steps = []
    for row in sorted(coarsening_rows(), key=lambda row: int(row["step"])):
        if (row["hit_table"], row["hit_count"]) in ((table, count), (table, "any")):
            named = tuple((name, values[name]) for name in re.findall(r"\$(\w+)", row["condition"]))
            steps.append((row["table_name"], row["condition"], named, row["told"].format(**values)))
    return steps


def _place(connection: Any, hit: Part) -> tuple[str, str, dict[str, object]]:
    """The table of a hit, what it counts, and the columns that it stands in."""
    if hit[1] == ACTIVITY:
        return ACTIVITY, "episodes", {"stage": hit[2], "period_kind": _kind_of(connection, hit[3])}
    if hit[1] == COMPLETENESS:
        return COMPLETENESS, "scores", {"instrument_code": hit[2]}
    if hit[1] == QUALITY:
        return QUALITY, "rows_failed", {"rule_id": hit[2]}
    if hit[1] == FLOW:
        return FLOW, "episodes", {"instrument_code": hit[2], "week": int(hit[3])}
    if hit[1] == TRAJECTORIES:
        if hit[2] == "starters":
            return TRAJECTORIES, "starters", {}
        return TRAJECTORIES, "observed", {"instrument_code": hit[5], "week": int(hit[6])}
    return TRAJECTORIES, "observed", {"instrument_code": hit[1], "week": int(hit[2])}  # a mean


def _kind_of(connection: Any, period: str) -> str:
    """The kind of a period; one that only an earlier release had counts as all days."""
    row = connection.execute(
        f"select period_kind from publication.{ACTIVITY} where period_id = ? limit 1", [period]
    ).fetchone()
    return str(row[0]) if row else EVERYBODY


def _first_that_is_there(connection: Any, steps: Sequence[_Step]) -> list[_Step]:
    for step in steps:
        table, where, values, _ = step
        if connection.execute(f"select 1 from publication.{table} where {where} limit 1", dict(values)).fetchone():
            return [step]
    return []


def _delete(connection: Any, step: _Step) -> bool:
    table, where, values, _ = step
    row = connection.execute(f"delete from publication.{table} where {where}", dict(values)).fetchone()
    return bool(row and row[0])
