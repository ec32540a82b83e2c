"""The attacker: an integer programme over everything published, and what it says of each hidden count.

It knows the rule and every published number. For each count that was hidden because it is small it asks for the
smallest and the greatest value that agree with all of them. A count whose two answers meet, or lie at most one apart,
is recovered. Method: Fischetti and Salazar 2000.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from screening.definitions import definitions

NO_CEILING = 10**9
_NARROW_WIDTH = 1
_MOST_NODES = 20_000
_SLACK_COURSES = 20
_INFEASIBLE, _UNBOUNDED = 2, 3


@dataclass(frozen=True)
class Profile:
    """One row of ``disclosure_profiles.csv``."""

    name: str
    redact_at_or_below: int
    is_zero_shown: bool
    rounding_base: int
    rounding_mode: str
    minimum_n_for_statistics: int
    description: str
    source: str

    def interval(self, count: int | None, status: str, ceiling: int) -> tuple[int, int]:
        """Every true value that would have been published like this."""
        if status == "zero":
            return 0, 0
        if status == "shown" and count is not None:
            if self.rounding_mode == "midpoint":
                half = self.rounding_base // 2
                low, high = count - half + 1, count - half + self.rounding_base
            else:
                low = count - self.rounding_base // 2
                high = count + (self.rounding_base - 1) // 2
            return max(low, self.redact_at_or_below + 1), min(high, ceiling)
        return (1 if self.is_zero_shown else 0), self.redact_at_or_below

    def published(self, count: int) -> tuple[int | None, str]:
        """What the macros of ``macros/disclosure`` make of a count of as many people, in whole numbers."""
        if count == 0:
            return (0, "zero") if self.is_zero_shown else (None, "suppressed")
        if count <= self.redact_at_or_below:
            return None, "suppressed"
        base = self.rounding_base
        if self.rounding_mode == "midpoint":
            return (count + base - 1) // base * base - base // 2, "shown"
        return (2 * count + base) // (2 * base) * base, "shown"

    def is_publishable(self, count: int, status: str) -> bool:
        """Whether a shown number is one the rule can produce."""
        if status == "zero":
            return count == 0 and self.is_zero_shown
        if self.rounding_mode == "midpoint":
            return count > 0 and (count - (self.rounding_base - self.rounding_base // 2)) % self.rounding_base == 0
        return count >= self.redact_at_or_below and count % self.rounding_base == 0


def disclosure_profile(name: str) -> Profile:
    """The profile's row."""
    row = next(row for row in definitions("disclosure_profiles") if row["disclosure_profile"] == name)
    return Profile(
        name=name,
        redact_at_or_below=int(row["redact_at_or_below"]),
        is_zero_shown=row["is_zero_shown"] == "true",
        rounding_base=int(row["rounding_base"]),
        rounding_mode=row["rounding_mode"],
        minimum_n_for_statistics=int(row["minimum_n_for_statistics"]),
        description=row["description"],
        source=row["source"],
    )


@dataclass
class AttackReport:
    """What the attacker found in one family of tables."""

    family: str
    protected_cells: int = 0
    recovered_exactly: int = 0
    recovered_within_one: int = 0
    unanswered: int = 0
    contradictions: int = 0
    seconds: float = 0.0

    @property
    def is_broken(self) -> bool:
        """Whether any protected count is known, or known to within one, or the published counts contradict the rule."""
        return self.recovered_exactly + self.recovered_within_one + self.contradictions > 0

    @property
    def is_safe(self) -> bool:
        """Whether every question was answered and none gave a count away."""
        return not self.is_broken and not self.unanswered


Part = tuple[str, ...]


@dataclass
class Cell:
    """One published count: where it stands, what it says, and the variables that sum to it.

    A hidden numerator is small, or it is everybody: ``whole`` names the variables that everybody is.
    """

    key: Part
    low: int
    high: int
    parts: tuple[Part, ...]
    is_protected: bool = False
    whole: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Ratio:
    """A published share: the sum of ``parts`` lies between ``low`` and ``high`` times the sum of ``whole``."""

    parts: tuple[Part, ...]
    whole: tuple[Part, ...]
    low: float
    high: float


@dataclass
class System:
    """Cells and base variables of one family; ``within`` lists pairs (part, whole) of base variables.

    ``ratios`` are shares that were made from true counts. Shares made from published counts add nothing.
    """

    family: str
    cells: list[Cell] = field(default_factory=list)
    within: list[tuple[Part, Part]] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)


class _Programme:
    """A system as an integer programme over its base variables, and one switch for each hidden numerator."""

    def __init__(self, system: System, profile: Profile, *, slack: int) -> None:
        names: dict[Part, int] = {}
        for cell in system.cells:
            for part in (*cell.parts, *cell.whole):
                names.setdefault(part, len(names))
        self._names = names
        switched = [cell for cell in system.cells if cell.whole]
        self.width = len(names) + len(switched)
        ceiling = max((cell.high for cell in system.cells if not cell.is_protected), default=0) + slack
        rows: list[dict[int, float]] = []
        bounds: list[tuple[float, float]] = []

        def add(coefficients: dict[int, float], low: float, high: float) -> None:
            rows.append(coefficients)
            bounds.append((low, high))

        for cell in system.cells:
            add(self._sum(cell.parts), cell.low, cell.high + (slack if cell.is_protected else 0))
        for part, whole in system.within:
            if part in names and whole in names:
                add({names[part]: 1.0, names[whole]: -1.0}, -np.inf, 0)
        for ratio in system.ratios:
            some, all_ = self._sum(ratio.parts), self._sum(ratio.whole)
            for share, low, high in ((ratio.low, 0.0, np.inf), (ratio.high, -np.inf, 0.0)):
                add({index: some.get(index, 0.0) - share * all_.get(index, 0.0) for index in some | all_}, low, high)
        for number, cell in enumerate(switched, start=len(names)):
            own, everybody = self._sum(cell.parts), self._sum(cell.whole)
            add({**own, number: -float(ceiling)}, -np.inf, profile.redact_at_or_below + slack)
            short = {index: own.get(index, 0.0) - everybody.get(index, 0.0) for index in own | everybody}
            add({**short, number: -float(ceiling)}, -float(ceiling), np.inf)
        data = [(row, column, value) for row, entry in enumerate(rows) for column, value in entry.items()]
        matrix = coo_matrix(
            ([value for _, _, value in data], ([row for row, _, _ in data], [column for _, column, _ in data])),
            shape=(len(rows), self.width),
        )
        low, high = np.array(bounds).T
        self._constraint = LinearConstraint(matrix.tocsc(), low, high)
        upper = np.full(self.width, np.inf)
        upper[len(names) :] = 1
        self._bounds = Bounds(np.zeros(self.width), upper)

    def _sum(self, parts: Sequence[Part]) -> dict[int, float]:
        total: dict[int, float] = {}
        for part in parts:
            total[self._names[part]] = total.get(self._names[part], 0.0) + 1.0
        return total

    def target(self, cell: Cell) -> np.ndarray:
        """The cell's value as a row over the variables."""
        row = np.zeros(self.width)
        for index, weight in self._sum(cell.parts).items():
            row[index] = weight
        return row

    def extreme(self, target: np.ndarray, sign: int, *, seconds: float) -> tuple[str, np.ndarray | None]:
        """``answered`` with the solution, ``contradiction`` or ``unanswered``."""
        answer = milp(
            sign * target,
            constraints=self._constraint,
            integrality=np.ones(self.width),
            bounds=self._bounds,
            options={"node_limit": _MOST_NODES, "time_limit": max(seconds, 1e-3), "mip_rel_gap": 0.0},
        )
        if answer.status == _INFEASIBLE:
            return "contradiction", None
        if answer.status == 0 and answer.x is not None:
            return "answered", answer.x
        if answer.status == _UNBOUNDED:
            return "unbounded", None
        return "unanswered", None


def attack(system: System, profile: Profile, *, seconds: float) -> AttackReport:
    """Bound every protected cell of ``system``. A question that is not answered within its nodes is unanswered.

    A count may be hidden because few people are behind many courses: where counts of at most the limit contradict each
    other, the attacker allows for that. Every solution found is a witness for all cells at once, so that few questions
    have to be asked.
    """
    started = time.monotonic()
    protected = [cell for cell in system.cells if cell.is_protected]
    report = AttackReport(system.family, protected_cells=len(protected))
    if not protected:
        return report
    for slack in (0, _SLACK_COURSES):
        report.contradictions = report.recovered_exactly = report.recovered_within_one = report.unanswered = 0
        _ask(_Programme(system, profile, slack=slack), protected, report, seconds - (time.monotonic() - started))
        if not report.contradictions:
            break
    report.seconds = round(time.monotonic() - started, 2)
    return report


def _ask(programme: _Programme, protected: Sequence[Cell], report: AttackReport, seconds: float) -> None:
    started = time.monotonic()
    targets = np.array([programme.target(cell) for cell in protected])
    least, most = np.full(len(protected), np.inf), np.full(len(protected), -np.inf)
    for number in range(len(protected)):
        ends: list[float] = []
        for sign in (1, -1):
            if most[number] - least[number] > _NARROW_WIDTH:
                break
            left = seconds - (time.monotonic() - started)
            says, solution = programme.extreme(targets[number], sign, seconds=left)
            if says == "contradiction":
                report.contradictions += 1
                return
            if says == "unbounded":
                most[number] = np.inf
                break
            if solution is None:
                report.unanswered += 1
                break
            values = np.round(targets @ np.round(solution))
            least, most = np.minimum(least, values), np.maximum(most, values)
            ends.append(float(values[number]))
        if len(ends) == 2 and most[number] - least[number] <= _NARROW_WIDTH:
            gap = round(ends[1] - ends[0])
            report.recovered_exactly += gap == 0
            report.recovered_within_one += 0 < gap <= _NARROW_WIDTH
