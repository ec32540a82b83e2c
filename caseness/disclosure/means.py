"""What published means tell of groups whose own mean is hidden, or who are not published at all.

A mean printed with one decimal holds the sum of the scores between two multiples of the count, and sums add up as
counts do. So the mean of a small group is what is left of the whole: it is known when every one that agrees with the
published numbers lies within one score point. The same holds for the model's means, weighted by those who started, and
for those who were added between two builds. Extremes of a quotient: Dinkelbach 1967.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from scipy import stats

from caseness.disclosure.attack import Cell, Part, Profile, Programme, Ratio, Relation, System, programmes
from screening.definitions import definitions

Row = Mapping[str, Any]
WITHIN_SCORE_POINTS = 1.0  # a mean that is known to within so much is known
_ENUMERATED = 200  # of more people than this, every count within a rounding agrees with every interval of a mean
_ROUNDS = 30
_NOWHERE = float("inf")


@dataclass(frozen=True)
class Hidden:
    """A group whose mean nobody may know: its count and its sum, as sums of variables less others.

    ``most`` is the size up to which it is protected: a group that nobody asked to hide is, while it is small.
    """

    name: Part
    counts: tuple[Part, ...]
    sums: tuple[Part, ...]
    less_counts: tuple[Part, ...] = ()
    less_sums: tuple[Part, ...] = ()
    most: float = _NOWHERE


@dataclass
class MeanSystem:
    """Counts and sums of one statistic of one instrument and week, and the groups whose mean nobody may know.

    ``scale`` is how many units of a sum are one score point: sums of scores are whole numbers, those of a model not.
    """

    system: System
    scale: int = 1
    hidden: list[Hidden] = field(default_factory=list)

    def add_sum(self, total: Part, count: Part, profile: Profile, *, greatest: int, mean: float | None = None) -> None:
        """Tie a sum to its count: within the instrument's range and, where the mean is shown, within its decimal."""
        low, high = 0.0, float(greatest)
        if mean is not None:
            low, high = max(low, mean - _half_unit(profile)), min(high, mean + _half_unit(profile))
        self.system.cells.append(Cell(total, 0, _NOWHERE, (total,)))
        self.system.ratios.append(Ratio((total,), (count,), low * self.scale, high * self.scale))


def _half_unit(profile: Profile) -> float:
    """Half of the last decimal that means are printed with."""
    return float(0.5 * 10**-profile.statistic_decimals + 1e-9)


@cache
def greatest_score(instrument: str) -> int:
    """The greatest total of an instrument; ``ValueError`` where none is stated, since no mean bounds a count then."""
    found = next(row["total_max"] for row in definitions("instruments") if row["instrument_code"] == instrument)
    if not found:
        raise ValueError(f"{instrument} states no greatest total, so what its means tell cannot be bounded")
    return int(found)


def known_means(means: MeanSystem, *, until: float) -> dict[Part, float | None]:
    """Hidden groups whose mean is known -> to within how many score points; ``None`` where no answer was found.

    Numbers that contradict each other tell nothing: the group can not be there, or what was believed is not so.
    """
    found = {}
    for group in means.hidden:
        width = _width(means, group, until)
        if width is None or width <= WITHIN_SCORE_POINTS:
            found[group.name] = width
    return found


def _width(means: MeanSystem, group: Hidden, until: float) -> float | None:
    """Between the least and the greatest mean that a group can have; wide enough is enough."""
    count = Cell(group.name, 1, group.most, group.counts, less=group.less_counts)
    asked = System(means.system.family, [*means.system.cells, count], [], means.system.ratios, means.system.relations)
    asked.truth = means.system.truth
    total = Cell(group.name, 0, _NOWHERE, group.sums, less=group.less_sums)
    for programme in programmes(asked):
        answer = _quotient_range(programme, total, count, WITHIN_SCORE_POINTS * means.scale, until)
        if answer != _CONTRADICTED:
            return answer / means.scale if answer is not None else None
    return _NOWHERE


_CONTRADICTED = -1.0


def _quotient_range(programme: Programme, total: Cell, count: Cell, enough: float, until: float) -> float | None:
    """How far apart the quotients of two sums can be; more than ``enough`` is not looked into further."""
    sums, counts = programme.targets([total, count]).toarray()
    says, solution = programme.extreme(counts, 1, seconds=max(until - time.monotonic(), 0.0))
    if says == "contradiction":
        return _CONTRADICTED
    if solution is None:
        return None
    ends: list[float] = []
    for sign in (1, -1):
        quotient = (sums @ solution) / (counts @ solution)
        for _ in range(_ROUNDS):
            says, further = programme.extreme(
                sums - quotient * counts, sign, seconds=max(until - time.monotonic(), 0.0)
            )
            if says == "unbounded":
                return _NOWHERE
            if further is None:
                return None
            following = (sums @ further) / (counts @ further)
            if sign * (quotient - following) <= 1e-9:
                break
            quotient = following
            if ends and quotient - ends[0] > enough:
                return float(quotient - ends[0])
        ends.append(float(quotient))
    return float(ends[1] - ends[0])


def counts_that_agree(row: Row, low: float, high: float, profile: Profile) -> tuple[float, float]:
    """Which counts within a rounding agree with the mean and its interval, as whole scores can make them."""
    if high > _ENUMERATED or row["observed_ci_low"] is None:
        return low, high
    agreeing = [n for n in range(max(int(low), 2), int(high) + 1) if _agrees(row, n, _half_unit(profile))]
    return (agreeing[0], agreeing[-1]) if agreeing else (low, high)


def _agrees(row: Row, n: int, half: float) -> bool:
    """Whether ``n`` whole scores can have this mean and these limits: their sum and that of their squares are whole."""
    greatest, mean = greatest_score(str(row["instrument_code"])), float(row["observed_mean"])
    sums = np.arange(math.ceil((mean - half) * n), math.floor((mean + half) * n) + 1)
    sums = sums[(sums >= 0) & (sums <= greatest * n)]
    least = np.maximum(sums / n - float(row["observed_ci_low"]), float(row["observed_ci_high"]) - sums / n) - half
    most = np.minimum(sums / n - float(row["observed_ci_low"]), float(row["observed_ci_high"]) - sums / n) + half
    # The half width is t times the deviation over the root of n.
    squared = n * (n - 1) / float(stats.t.ppf(_upper(), n - 1)) ** 2
    fewest = np.maximum(np.maximum(least, 0) ** 2 * squared + sums**2 / n, sums)
    greatest_squares = np.minimum(np.maximum(most, 0) ** 2 * squared + sums**2 / n, greatest * sums)
    # Whole scores have a sum of squares that is even where their sum is, and odd where it is odd.
    first = np.ceil(fewest - 1e-6) + (np.ceil(fewest - 1e-6) - sums) % 2
    return bool(((first <= greatest_squares + 1e-6) & (least <= most)).any())


@cache
def _upper() -> float:
    rows: Sequence[Mapping[str, str]] = definitions("analysis_rules")
    return 0.5 + next(float(row["rule_value"]) for row in rows if row["rule_id"] == "confidence_level") / 2


def at_most(some: Sequence[Part], whole: Sequence[Part], times: int = 1) -> Relation:
    """A sum of variables is at most so many times another."""
    return Relation((*((part, 1) for part in some), *((part, -times) for part in whole)), -_NOWHERE, 0)
