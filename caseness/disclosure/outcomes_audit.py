"""Attack the outcome tables with everything published so far, and coarsen what is hit until nothing is."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from caseness.disclosure import scopes
from caseness.disclosure.attack import AttackReport, System, attack
from caseness.disclosure.truth import Truth
from caseness.disclosure.union import EVERYBODY, Published, families, systems
from caseness.errors import CheckFailedError

Progress = Callable[[str], None]
Name = tuple[str, ...]
_MOST_REASONS = 3


def attack_outcomes(
    connection: Any,
    earlier: Sequence[Published],
    this: Callable[[int], Published],
    *,
    truth: Truth | None,
    until: float,
    say: Progress,
) -> tuple[dict[str, Any], list[str]]:
    """Attack this release and all earlier ones as one system, and coarsen what is hit until nothing is.

    Groups of one column come first: a hit in a year drops the years of its measure and group, a hit over all days the
    measure and group; of the whole service single kinds of period may go. Then those of two columns are added, and then
    those for one site, and what they tell is hidden by dropping some of them: of the measure and column that were hit,
    or else of every measure. A count that an earlier release hid is protected as well. Returns what the manifest says,
    and what was dropped. Raises ``CheckFailedError`` for a hit that nothing declared cures.
    """
    facts: dict[str, Any] = {
        "rounds": 0,
        "protected_cells": 0,
        "questions": 0,
        "recovered_before_dropping": 0,
        "collided": [],
    }
    dropped: list[str] = []
    left: list[int | None] = []
    before = _Before(earlier, truth, until, say)
    for layer in scopes.LAYERS:
        added = _published_groups(connection, layer)
        if layer and not added:
            continue
        unsafe: set[Name] | None = None
        safe: dict[Name, set[Name]] = {}
        while True:
            attacked = systems([*earlier, this(layer)])
            again = {
                name: system
                for name, system in attacked.items()
                # What is dropped tells the attacker less: a system that was safe stays so.
                if (not layer or set(name) & {dimension for _, dimension, _ in added})
                and (unsafe is None or any(set(name) <= set(other) for other in unsafe))
            }
            for name, (system, is_belief) in again.items():
                system.truth = truth.of(system) if truth else {}
                # What was safe in the system of which this one is left; in another the same count may not be.
                known = [cells for other, cells in safe.items() if set(name) <= set(other)]
                system.safe = set().union(*known) if not is_belief else set()
            found, unsafe, contradicted, found_safe = _attack_all(again, until, say)
            safe |= found_safe
            facts["rounds"] += 1
            facts["questions"] += found.questions
            facts["protected_cells"] = max(facts["protected_cells"], found.protected_cells)
            hits = before.not_told(found.hits, unsafe)
            left = [found.hits[hit] for hit in hits]
            facts["recovered_before_dropping"] += len(hits)
            if not hits and not contradicted:
                break
            names = {(hit[2], hit[3], _kind_of(connection, hit[5])) for hit in hits}
            removed = _layer_dropped(connection, layer, names) if layer else []
            for name in contradicted:  # a rule that was not kept: nothing of these counts may stay
                apart = families([this(layer)], name)
                names |= {(*family, "all") for family, system in apart.items() if _contradicts(system, until)}
            removed = removed or [name for name in sorted(names) if _coarsened(connection, *name)]
            # An earlier release may have told what this one has not: then more of this one goes.
            removed = removed or [
                step for measure, dimension, _ in sorted(names) for step in _more(connection, measure, dimension)
            ]
            if not removed:
                raise _not_curable(hits, is_contradicted=bool(found.contradictions))
            for measure, dimension, kind in removed:
                told = f"{measure} by {dimension}" + ("" if kind == "all" or "+" in dimension else f" and {kind}")
                facts["collided"].append({"dropped": told, "because": _because(measure, hits)})
                dropped.append(told)
    facts |= {"recovered_exactly": left.count(0), "recovered_within_one": left.count(1), "unanswered": left.count(None)}
    facts["known_from_earlier_releases_alone"] = len(before.told)
    return facts, sorted(set(dropped))


def _because(measure: str, hits: Sequence[Name]) -> list[str]:
    """Hidden counts that could be worked out while a table stood: of its own measure where there are such."""
    named = {hit: f"{hit[2]} by {hit[3]}, {hit[4]}, in {hit[5]} ({hit[0]})" for hit in sorted(hits)}
    own = [told for hit, told in named.items() if hit[2] == measure]
    return list(dict.fromkeys(own or named.values()))[:_MOST_REASONS]


class _Before:
    """What earlier releases gave away by themselves: it can not be taken back, so it is said, and not counted again.

    It is asked only of what is hit, and once.
    """

    def __init__(self, earlier: Sequence[Published], truth: Truth | None, until: float, say: Progress) -> None:
        self._earlier, self._truth = earlier, truth
        self._systems: dict[Name, tuple[System, bool]] = {}
        self._until, self._say = until, say
        self._asked: set[Name] = set()
        self._widths: dict[Name, int] = {}
        self.told: set[Name] = set()

    def not_told(self, hits: Mapping[Name, int | None], where: Collection[Name]) -> list[Name]:
        """The hits of some systems that earlier releases do not tell as well by themselves."""
        if hits and self._earlier and not self._systems:
            self._systems = systems(self._earlier)
            for system, _ in self._systems.values():
                system.truth = self._truth.of(system) if self._truth else {}
        asked = {
            name: (system, is_belief)
            for name, (system, is_belief) in self._systems.items()
            if name not in self._asked and any(name == one or (not is_belief and set(name) & set(one)) for one in where)
        }
        if hits and asked:
            self._asked |= set(asked)
            found = _attack_all(asked, self._until, self._say)[0].hits
            self._widths |= {hit: width for hit, width in found.items() if width is not None}
        told = {hit for hit, width in hits.items() if _was_known(self._widths.get(hit), width)}
        self.told |= told
        return [hit for hit in hits if hit not in told]


def _not_curable(hits: Sequence[tuple[str, ...]], *, is_contradicted: bool) -> CheckFailedError:
    known = sorted({f"{hit[2]} by {hit[3]} in {hit[5]} ({hit[0]})" for hit in hits})
    return CheckFailedError(
        "with everything published so far "
        + ("the published counts contradict the rule" if is_contradicted else "")
        + ("" if is_contradicted else f"hidden counts are known that no declared drop hides: {', '.join(known[:5])}"),
        remedy="nothing was published; choose a stricter disclosure_profile or fewer measurement periods",
    )


def _published_groups(connection: Any, layer: int | None) -> list[tuple[str, str, str]]:
    """(measure, dimension, kind of period) of the groups of one layer or of all, as they stand now."""
    table = f"publication.{scopes.TABLE}"
    found = connection.execute(
        f"select distinct measure_id, group_dimension, period_kind from {table} order by all"
    ).fetchall()
    return [
        (str(measure), str(dimension), str(kind))
        for measure, dimension, kind in found
        if layer is None or scopes.layer_of(str(dimension), str(kind)) == layer
    ]


def _layer_dropped(connection: Any, layer: int, hits: set[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Drop the groups of a layer that may have told: the nearest first, those of other measures last."""
    published = _published_groups(connection, layer)
    removed: dict[tuple[str, str, str], None] = {}
    for measure, dimension, _ in sorted(hits):
        own = [group for group in published if group[0] == measure]
        choices = [
            [group for group in own if group[1] == dimension],
            [group for group in own if dimension == EVERYBODY or _have_a_common_column(group[1], dimension)],
            own,
            [group for group in published if _have_a_common_column(group[1], dimension)],
            published,
        ]
        for group in next((chosen for chosen in choices if chosen), []):
            if group not in removed and _coarsened(connection, *group):
                removed[group] = None
    return list(removed)


def _have_a_common_column(one: str, other: str) -> bool:
    return bool(set(one.split("+")) & set(other.split("+")))


def _was_known(before: int | None, now: int | None) -> bool:
    """Whether earlier releases alone tell as much of a count as everything together does."""
    return before is not None and now is not None and now >= before


def _kind_of(connection: Any, period_id: str) -> str:
    """The kind of a period; one that only an earlier release had counts as all days."""
    row = connection.execute(
        "select period_kind from publication.pub_service_overview where period_id = ? limit 1", [period_id]
    ).fetchone()
    return str(row[0]) if row else "all"


def _coarsened(connection: Any, measure: str, dimension: str, kind: str) -> bool:
    """Drop the periods of a kind of a measure by a dimension, over all days the measure by it; whether any was there.

    Of the whole service single kinds of period may go, so that a measure is published over all days alone; those stay.
    """
    if dimension == "all" and kind == "all":
        return False
    table = "pub_service_overview" if dimension == "all" else "pub_outcomes_by_group"
    where, values = "measure_id = ?", [measure]
    for column, value in (("group_dimension", dimension), ("period_kind", kind)):
        if value != "all":
            where, values = f"{where} and {column} = ?", [*values, value]
    row = connection.execute(f"delete from publication.{table} where {where}", values).fetchone()
    return bool(row and row[0])


def _more(connection: Any, measure: str, dimension: str) -> list[tuple[str, str, str]]:
    """Drop the next of a measure that there is: its periods by a dimension, all of that, its groups of two columns that
    have one in common, and its periods of the whole service."""
    groups = _published_groups(connection, None)
    near = sorted({other for own, other, _ in groups if own == measure and _have_a_common_column(other, dimension)})
    kinds = sorted({kind for own, other, kind in groups if own == measure and other == dimension} - {"all"})
    whole = connection.execute(
        "select distinct period_kind from publication.pub_service_overview order by 1"
    ).fetchall()
    ladder = [
        *((measure, dimension, kind) for kind in kinds),
        (measure, dimension, "all"),
        *((measure, other, "all") for other in near),
        *((measure, EVERYBODY, str(kind)) for (kind,) in whole),
    ]
    return next(([step] for step in ladder if _coarsened(connection, *step)), [])


def _attack_all(
    attacked: Mapping[Name, tuple[System, bool]], until: float, say: Progress
) -> tuple[AttackReport, set[Name], set[Name], dict[Name, set[Name]]]:
    """All systems attacked, as one report; the names of those with a hit and of those that contradict the rule; and
    which counts were shown safe in each.

    Counts that contradict a belief refute it, and then it tells nothing.
    """
    whole = AttackReport("everything published")
    unsafe, contradicted, safe = set(), set(), {}
    done = 0

    def told(name: Name, system: System, workers: int) -> AttackReport:
        nonlocal done
        found = attack(system, seconds=max(until - time.monotonic(), 0.0), workers=workers)
        done += 1
        say(f"attacked {done} of {len(attacked)} of everything published so far: {' by '.join(name)}")
        return found

    # Large systems one by one, with two solvers each; then the many small ones beside each other.
    reports = {name: told(name, system, 2) for name, (system, is_belief) in attacked.items() if not is_belief}
    with ThreadPoolExecutor(2) as pool:
        waiting = {
            name: pool.submit(told, name, system, 1) for name, (system, _) in attacked.items() if name not in reports
        }
        reports |= {name: one.result() for name, one in waiting.items()}
    for name, (_, is_belief) in attacked.items():
        found = reports[name]
        whole.questions += found.questions
        if is_belief and found.contradictions:
            continue
        whole.protected_cells += found.protected_cells
        whole.contradictions += found.contradictions
        whole.unanswered += found.unanswered
        whole.add_hits(found.hits)
        if not is_belief:  # what a belief leaves open, the whole system may tell
            safe[name] = found.safe
        if found.hits or found.contradictions:
            unsafe.add(name)
        if found.contradictions:
            contradicted.add(name)
    return whole, unsafe, contradicted, safe


def _contradicts(system: System, until: float) -> bool:
    return bool(attack(system, seconds=max(until - time.monotonic(), 0.0)).contradictions)
