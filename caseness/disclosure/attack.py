"""The attacker: an integer programme over everything published, and what it says of each hidden count.

It knows the rule and every published number. For each count that was hidden because it is small it asks for the
smallest and the greatest value that agree with all of them. A count whose two answers meet, or lie at most one apart,
is recovered. Method: Fischetti and Salazar 2000.

Whoever publishes knows one solution, the truth. From it others are found fast, and two that differ by more than one
show that a count is safe. What they do not show safe is asked of the programme itself, and counts as known where it is
too large to be solved; so the truth makes the audit faster and never kinder.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix, csr_matrix

from screening.definitions import definitions

NO_CEILING = 10**9
_NARROW_WIDTH = 1
_MOST_NODES = 20_000
_SLACK_COURSES = 20
_TOLERANCE = 1e-6
_MOST_ROUNDS, _ROUNDS_IN_VAIN, _HARDLY, _ROUGHLY = 40, 4, 0.97, 0.2
_NEAR, _NEAR_NODES, _NEAR_SIZES = 3, 50, (80, 400, 1200)
_MOST_NEAR = 150
_LARGE = 1000  # variables; a larger programme is not solved to its end
_INFEASIBLE, _UNBOUNDED = 2, 3


@dataclass(frozen=True)
class Profile:
    """One row of ``disclosure_profiles.csv``."""

    name: str
    redact_at_or_below: int
    all_or_none_margin: int
    is_zero_shown: bool
    rounding_base: int
    rounding_mode: str
    minimum_n_for_statistics: int
    description: str
    source: str
    statistic_decimals: int = 1  # as every release had it before manifests said so

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

    def protects(self, count: int | None, status: str) -> bool:
        """Whether a count may not be recovered: it is hidden, or the first step of a rounding that shows small ones."""
        if status == "shown" and self.rounding_mode == "midpoint":
            return self.interval(count, status, NO_CEILING)[1] <= self.rounding_base
        return status == "suppressed"

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
    return _profile(name, row)


def profile_of_release(manifest: Mapping[str, Any]) -> Profile:
    """The profile as it was when a release was made; before releases said so, only everybody was hidden, not nearly."""
    if "disclosure_rule" in manifest:
        return Profile(**manifest["disclosure_rule"])
    return replace(disclosure_profile(manifest["disclosure_profile"]), all_or_none_margin=0)


def _profile(name: str, row: Mapping[str, str]) -> Profile:
    return Profile(
        name=name,
        redact_at_or_below=int(row["redact_at_or_below"]),
        all_or_none_margin=int(row["all_or_none_margin"]),
        is_zero_shown=row["is_zero_shown"] == "true",
        rounding_base=int(row["rounding_base"]),
        rounding_mode=row["rounding_mode"],
        minimum_n_for_statistics=int(row["minimum_n_for_statistics"]),
        description=row["description"],
        source=row["source"],
        statistic_decimals=int(row["statistic_decimals"]),
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
    questions: int = 0
    seconds: float = 0.0
    # Protected counts that were shown safe; they stay so when less is published.
    safe: set[Part] = field(default_factory=set)
    # What was recovered, with the width that is left; ``None`` for what could not be shown to be safe.
    hits: dict[Part, int | None] = field(default_factory=dict)

    def add_hits(self, hits: Mapping[Part, int | None]) -> None:
        """Hits of another attack; of two widths of one count the narrower."""
        self.hits |= narrower(self.hits, hits)

    @property
    def is_broken(self) -> bool:
        """Whether any protected count is known, or known to within one, or the published counts contradict the rule."""
        return self.recovered_exactly + self.recovered_within_one + self.contradictions > 0

    @property
    def is_safe(self) -> bool:
        """Whether every question was answered and none gave a count away."""
        return not self.is_broken and not self.unanswered


Part = tuple[str, ...]
Width = TypeVar("Width", int, float)


def narrower(one: Mapping[Part, Width | None], other: Mapping[Part, Width | None]) -> dict[Part, Width | None]:
    """What is known of every count by either; what was not answered is known to any width."""
    found = dict(one)
    for key, width in other.items():
        before = found.get(key)
        found[key] = width if before is None or (width is not None and width < before) else before
    return found


@dataclass
class Cell:
    """One published count: where it stands, what it says, and the variables that sum to it (``less`` are subtracted).

    A hidden numerator is at most ``small``, or the others of its denominator (its variables are ``whole``) are at most
    ``few``. A small count may be protected though a number is shown for it (``is_shown``), which stands for several.
    Values outside of ``secret`` may be known.
    """

    key: Part
    low: float
    high: float
    parts: tuple[Part, ...]
    is_protected: bool = False
    whole: tuple[Part, ...] = ()
    small: int = 0
    few: int = 0
    less: tuple[Part, ...] = ()
    is_shown: bool = False
    secret: tuple[float, float] = (0, float("inf"))

    @property
    def may_be_of_few(self) -> bool:
        """Whether it may be larger than the limit and still hidden, as few people are behind it."""
        return self.is_protected and not self.is_shown


def outcome_cells(
    key: Part,
    row: Mapping[str, Any],
    what: str,
    parts: tuple[Part, ...],
    whole: tuple[Part, ...],
    profile: Profile,
    ceiling: int,
) -> tuple[list[Cell], list[Relation]]:
    """A published denominator or numerator as the attacker knows it; ``whole`` are the variables of the denominator.

    A numerator and the others of its denominator are both counts of people. Hidden, one of the two is small, and
    neither may be recovered; shown, neither is small.
    """
    status, margin = row[f"{what}_status"], profile.all_or_none_margin
    if status == "not_applicable":
        return [Cell(key, 0, 0, parts)], []
    low, high = profile.interval(row[f"{what}_count"], status, ceiling)
    is_hidden = status == "suppressed"
    if what == "denominator":
        return [count_cell(key, row, what, parts, profile, ceiling)], []
    if not is_hidden:
        others = tuple((part, 1) for part in whole) + tuple((part, -1) for part in parts)
        return [Cell(key, max(low, margin + 1), high, parts)], [Relation(others, margin + 1, float("inf"))]
    small = max(margin, profile.redact_at_or_below)
    most = max(high, profile.interval(row["denominator_count"], row["denominator_status"], ceiling)[1])
    own = Cell(key, 0, most, parts, is_protected=True, whole=whole, small=small, few=margin)
    rest = Cell((*key, "others"), 0, float("inf"), whole, is_protected=True, less=parts)
    return [own, rest], []


def count_cell(
    key: Part, row: Mapping[str, Any], what: str, parts: tuple[Part, ...], profile: Profile, ceiling: int = NO_CEILING
) -> Cell:
    """A published count, ``what`` of a row, that is judged by itself alone."""
    count, status = row[f"{what}_count"], row[f"{what}_status"]
    if status == "not_applicable":
        return Cell(key, 0, 0, parts)
    low, high = profile.interval(count, status, ceiling)
    is_shown = status != "suppressed"
    return Cell(key, low, high, parts, is_protected=profile.protects(count, status), is_shown=is_shown)


@dataclass(frozen=True)
class Relation:
    """A sum of variables, each with its sign, that lies between two numbers whatever the data are."""

    terms: tuple[tuple[Part, int], ...]
    low: float
    high: float

    def holds(self, truth: Mapping[Part, int]) -> bool:
        """Whether it is so of true counts; what is not counted is nobody."""
        return self.low <= sum(sign * truth.get(part, 0) for part, sign in self.terms) <= self.high


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

    ``ratios`` are shares that were made from true counts. Shares made from published counts add nothing. ``relations``
    hold by definition; one that names a variable of no cell is passed over.
    """

    family: str
    cells: list[Cell] = field(default_factory=list)
    within: list[tuple[Part, Part]] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    # What the variables truly are, as far as whoever publishes knows: one solution, from which others are found.
    truth: dict[Part, int] = field(default_factory=dict)
    safe: set[Part] = field(default_factory=set)  # protected counts of which nothing has to be asked any more
    # What no count exceeds, where no shown count says so.
    ceiling: float = 0

    def leave_what_is_open(self) -> None:
        """A count that one release shows exactly, a zero, is not protected because another hides it."""
        open_ = {cell.parts for cell in self.cells if cell.high == 0 and not cell.less}
        for cell in self.cells:
            if cell.parts in open_ and not cell.less:
                cell.is_protected = False


class Programme:
    """A system as an integer programme over its base variables, and one switch for each hidden numerator: off, it is
    small; on, the others are few.
    """

    def __init__(self, system: System, *, slack: int, only: Collection[Part] | None = None) -> None:
        """``slack`` is added to what is known of every hidden count, or of those in ``only``."""

        def slack_of(cell: Cell) -> int:
            return slack if cell.may_be_of_few and (only is None or cell.key in only) else 0

        names: dict[Part, int] = {}
        for cell in system.cells:
            for part in (*cell.parts, *cell.whole, *cell.less):
                names.setdefault(part, len(names))
        self._names = names
        switched = [cell for cell in system.cells if cell.whole]
        self.width = len(names) + len(switched)
        known = (cell.high for cell in system.cells if not cell.is_protected and np.isfinite(cell.high))
        ceiling = max(system.ceiling, max(known, default=0)) + slack
        rows: list[dict[int, float]] = []
        bounds: list[tuple[float, float]] = []

        def add(coefficients: dict[int, float], low: float, high: float) -> None:
            rows.append(coefficients)
            bounds.append((low, high))

        for cell in system.cells:
            add(self._net(cell), cell.low, cell.high + slack_of(cell))
        for part, whole in system.within:
            if part in names and whole in names:
                add({names[part]: 1.0, names[whole]: -1.0}, -np.inf, 0)
        for ratio in system.ratios:
            some, all_ = self._sum(ratio.parts), self._sum(ratio.whole)
            for share, low, high in ((ratio.low, 0.0, np.inf), (ratio.high, -np.inf, 0.0)):
                add({index: some.get(index, 0.0) - share * all_.get(index, 0.0) for index in some | all_}, low, high)
        for relation in system.relations:
            if all(part in names for part, _ in relation.terms):
                summed: dict[int, float] = {}
                for part, sign in relation.terms:
                    summed[names[part]] = summed.get(names[part], 0.0) + sign
                add(summed, relation.low, relation.high)
        for number, cell in enumerate(switched, start=len(names)):
            own, everybody = self._sum(cell.parts), self._sum(cell.whole)
            add({**own, number: -float(ceiling)}, -np.inf, cell.small + slack_of(cell))
            others = {index: everybody.get(index, 0.0) - own.get(index, 0.0) for index in own | everybody}
            add({**others, number: float(ceiling)}, -np.inf, ceiling + cell.few + slack_of(cell))
        data = [(row, column, value) for row, entry in enumerate(rows) for column, value in entry.items()]
        matrix = coo_matrix(
            ([value for _, _, value in data], ([row for row, _, _ in data], [column for _, column, _ in data])),
            shape=(len(rows), self.width),
        )
        low, high = np.array(bounds).T
        self._matrix, self._low, self._high = matrix.tocsr(), low, high
        self._constraint = LinearConstraint(matrix.tocsc(), low, high)
        upper = np.full(self.width, np.inf)
        upper[len(names) :] = 1
        self._bounds = Bounds(np.zeros(self.width), upper)
        self._switches = slice(len(names), self.width)
        self._columns = self._matrix.tocsc()
        self._switched = [(self._sum(cell.parts), cell.small + slack_of(cell)) for cell in switched]

    def _sum(self, parts: Sequence[Part]) -> dict[int, float]:
        total: dict[int, float] = {}
        for part in parts:
            total[self._names[part]] = total.get(self._names[part], 0.0) + 1.0
        return total

    def _net(self, cell: Cell) -> dict[int, float]:
        total = self._sum(cell.parts)
        for index, weight in self._sum(cell.less).items():
            total[index] = total.get(index, 0.0) - weight
        return total

    def targets(self, cells: Sequence[Cell]) -> csr_matrix:
        """The cells' values as rows over the variables."""
        found = [(row, column, weight) for row, cell in enumerate(cells) for column, weight in self._net(cell).items()]
        places, columns, weights = zip(*found, strict=True)
        return csr_matrix((weights, (places, columns)), shape=(len(cells), self.width))

    def extreme(
        self, target: np.ndarray, sign: int, *, seconds: float, gap: float = 0.0
    ) -> tuple[str, np.ndarray | None]:
        """``answered`` with a solution within a share ``gap`` of the best, ``contradiction`` or ``unanswered``."""
        answer = milp(
            sign * target,
            constraints=self._constraint,
            integrality=np.ones(self.width),
            bounds=self._bounds,
            options={"node_limit": _MOST_NODES, "time_limit": max(seconds, 1e-3), "mip_rel_gap": gap},
        )
        if answer.status == _INFEASIBLE:
            return "contradiction", None
        if answer.status == 0 and answer.x is not None:
            whole = np.round(answer.x)
            return ("answered", whole) if self._is_solution(whole) else ("unanswered", None)
        if answer.status == _UNBOUNDED:
            return "unbounded", None
        return "unanswered", None

    def another(self, target: np.ndarray, sign: int, like: np.ndarray, *, seconds: float) -> np.ndarray | None:
        """A solution far out with the switches of a known one: a linear programme, whose corners are mostly whole.

        ``None`` where the corner is not whole, or nothing was found: then nothing is known of it.
        """
        low, high = self._bounds.lb.copy(), self._bounds.ub.copy()
        low[self._switches] = high[self._switches] = np.round(like[self._switches])
        answer = milp(
            sign * target,
            constraints=self._constraint,
            bounds=Bounds(low, high),
            options={"time_limit": max(seconds, 1e-3)},
        )
        if answer.status != 0 or answer.x is None:
            return None
        whole = np.round(answer.x)
        return whole if self._is_solution(whole) and (whole >= low).all() and (whole <= high).all() else None

    def solution_of(self, truth: Mapping[Part, int]) -> np.ndarray | None:
        """The truth as a solution, or ``None`` where it is not all known, or keeps not to every row."""
        if any(part not in truth for part in self._names):
            return None
        whole = np.zeros(self.width)
        whole[: len(self._names)] = [truth[part] for part in self._names]
        for number, (own, small) in enumerate(self._switched, start=len(self._names)):
            whole[number] = float(sum(weight * whole[index] for index, weight in own.items()) > small)
        return whole if self._is_solution(whole) else None

    def near(
        self, target: np.ndarray, sign: int, solution: np.ndarray, *, size: int, seconds: float
    ) -> np.ndarray | None:
        """A solution further out in which only some ``size`` variables around the target differ, and by little."""
        free = self._around(np.flatnonzero(target), size)
        columns = self._columns[:, free]
        rows = np.unique(columns.indices)
        inner = columns.tocsr()[rows]
        rest = self._matrix[rows] @ solution - inner @ solution[free]
        low = np.maximum(self._bounds.lb[free], solution[free] - _NEAR)
        high = np.minimum(self._bounds.ub[free], solution[free] + _NEAR)
        answer = milp(
            sign * target[free],
            constraints=LinearConstraint(inner, self._low[rows] - rest, self._high[rows] - rest),
            integrality=np.ones(len(free)),
            bounds=Bounds(low, high),
            options={"node_limit": _NEAR_NODES, "time_limit": max(seconds, 1e-3)},
        )
        if answer.x is None:
            return None
        whole = solution.copy()
        whole[free] = np.round(answer.x)
        return whole if self._is_solution(whole) else None

    def _around(self, start: np.ndarray, size: int) -> np.ndarray:
        """Variables that share a row with these, and so on; those of short rows first."""
        found = dict.fromkeys(start.tolist())
        waiting = list(found)
        while waiting and len(found) < size:
            following: list[int] = []
            rows = np.unique(np.concatenate([self._rows_of(column) for column in waiting]))
            lengths = np.diff(self._matrix.indptr)[rows]
            for row in rows[np.argsort(lengths, kind="stable")].tolist():
                for column in self._matrix.indices[self._matrix.indptr[row] : self._matrix.indptr[row + 1]].tolist():
                    if column not in found and len(found) < size:
                        found[column] = None
                        following.append(column)
            waiting = following
        return np.array(sorted(found))

    def _rows_of(self, column: int) -> np.ndarray:
        return np.asarray(self._columns.indices[self._columns.indptr[column] : self._columns.indptr[column + 1]])

    def _is_solution(self, whole: np.ndarray) -> bool:
        """Whether whole numbers keep to every row; what was solved in fractions may not once it is rounded."""
        sums = self._matrix @ whole
        is_within = (sums >= self._low - _TOLERANCE).all() and (sums <= self._high + _TOLERANCE).all()
        return bool(is_within and (whole >= self._bounds.lb).all() and (whole <= self._bounds.ub).all())


def attack(system: System, *, seconds: float, workers: int = 2) -> AttackReport:
    """Bound every protected cell of ``system``. A question that is not answered within its nodes is unanswered.

    A count may be hidden because few people are behind many courses. Where the truth is known, the attacker allows for
    that in just those counts, which is the most it can know; else in all of them, where counts of at most the limit
    contradict each other. Every solution found is a witness for all cells at once, so that few questions are asked.
    """
    started = time.monotonic()
    every = [cell for cell in system.cells if cell.is_protected]
    protected = [cell for cell in every if cell.key not in system.safe]
    tried = AttackReport(system.family, protected_cells=len(every))
    if not protected:
        tried.safe = {cell.key for cell in every}
        return tried
    for programme in programmes(system):
        tried = AttackReport(system.family, protected_cells=len(every))
        known = programme.solution_of(system.truth) if system.truth else None
        left = seconds - (time.monotonic() - started)
        _Questions(programme, protected, tried, left, workers=workers).ask(known)
        if not tried.contradictions:
            break
    if not tried.contradictions:
        tried.safe = {cell.key for cell in every} - set(tried.hits)
    tried.seconds = round(time.monotonic() - started, 2)
    return tried


def programmes(system: System) -> Iterator[Programme]:
    """What the attacker may take the counts for, the narrowest first."""
    if system.truth:
        yield Programme(system, slack=_SLACK_COURSES, only=_of_few_people(system))
    for slack in (0, _SLACK_COURSES):
        yield Programme(system, slack=slack)


def _of_few_people(system: System) -> set[Part]:
    """Counts that are hidden though they are larger than the limit: there are fewer people behind them."""

    def value(parts: Sequence[Part]) -> int:
        return sum(system.truth.get(part, 0) for part in parts)

    found = set()
    for cell in system.cells:
        own = value(cell.parts) - value(cell.less)
        is_small = own <= cell.small or value(cell.whole) - own <= cell.few if cell.whole else own <= cell.high
        if cell.may_be_of_few and not is_small:
            found.add(cell.key)
    return found


class _Questions:
    """Every solution found is a witness for all cells: what each can be at least, and at most, so far."""

    def __init__(
        self,
        programme: Programme,
        protected: Sequence[Cell],
        report: AttackReport,
        seconds: float,
        *,
        workers: int,
    ) -> None:
        self._workers = workers
        self._programme = programme
        self._protected = protected
        self._report = report
        self._until = time.monotonic() + seconds
        self._targets = programme.targets(protected)
        self._least = np.full(len(protected), np.inf)
        self._most = np.full(len(protected), -np.inf)

    def ask(self, known: np.ndarray | None = None) -> None:
        """One solution first, unless one is ``known``; then others like it, which settle most cells; then the rest."""
        first = known
        if first is None:
            says, first = self._put(self._sum_of(np.ones(len(self._protected))), 1, gap=_ROUGHLY)
            if says == "contradiction":
                return
        else:
            self._witness(first)
        if first is not None:
            self._ask_like(first)
            self._ask_near(first)
        for number in self._unsettled():
            if self._programme.width > _LARGE:  # not solved to its end; what was not shown safe is not safe
                self._report.unanswered += 1
                self._report.hits[self._protected[number].key] = None
            else:
                self._ask_of(int(number))
            if self._report.contradictions:
                return

    def _ask_near(self, first: np.ndarray) -> None:
        """Solutions that differ from a known one around one cell after another; where many are left, few would help."""
        for size in _NEAR_SIZES:
            if self._programme.width > _LARGE and len(self._unsettled()) > _MOST_NEAR:
                return
            for number in self._unsettled():
                target = self._targets[number].toarray().ravel()
                for sign in (1, -1):
                    if self._is_settled(number):
                        break
                    left = self._until - time.monotonic()
                    solution = self._programme.near(target, sign, first, size=size, seconds=left)
                    self._report.questions += 1
                    if solution is not None:
                        self._witness(solution)

    def _ask_like(self, first: np.ndarray) -> None:
        chance = np.random.default_rng(0)  # which questions are put depends on the tables alone
        in_vain = 0
        for number in range(_MOST_ROUNDS):
            left = self._unsettled()
            if not len(left) or in_vain >= _ROUNDS_IN_VAIN:
                return
            weights = np.zeros(len(self._protected))
            weights[left] = chance.choice([-1.0, 1.0], len(left)) if number else 1.0
            target, left_seconds = self._sum_of(weights), self._until - time.monotonic()
            with ThreadPoolExecutor(self._workers) as pool:
                both = [
                    pool.submit(self._programme.another, target, sign, first, seconds=left_seconds) for sign in (1, -1)
                ]
            for solution in (one.result() for one in both):
                if solution is not None:
                    self._witness(solution)
            in_vain = in_vain + 1 if len(self._unsettled()) > _HARDLY * len(left) else 0

    def _sum_of(self, weights: np.ndarray) -> np.ndarray:
        return np.asarray(self._targets.T @ weights).ravel()

    def _witness(self, solution: np.ndarray) -> None:
        values = np.round(self._targets @ np.round(solution))
        self._least, self._most = np.minimum(self._least, values), np.maximum(self._most, values)

    def _unsettled(self) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.flatnonzero(~(self._most - self._least > _NARROW_WIDTH))

    def _is_settled(self, number: int) -> bool:
        return bool(self._most[number] - self._least[number] > _NARROW_WIDTH)

    def _put(self, target: np.ndarray, sign: int, *, gap: float = 0.0) -> tuple[str, np.ndarray | None]:
        says, solution = self._programme.extreme(target, sign, seconds=self._until - time.monotonic(), gap=gap)
        self._report.questions += 1
        if says == "contradiction":
            self._report.contradictions += 1
        if solution is not None:
            self._witness(solution)
        return says, solution

    def _ask_of(self, number: int) -> None:
        target = self._targets[number].toarray().ravel()
        for sign in (1, -1):
            if self._is_settled(number):
                return
            says, _ = self._put(target, sign)
            if says == "contradiction":
                return
            if says == "unbounded":
                self._most[number] = np.inf
            elif says == "unanswered":
                self._report.unanswered += 1
                self._report.hits[self._protected[number].key] = None
                return
        least, most = self._protected[number].secret
        if self._is_settled(number) or self._least[number] > most or self._most[number] < least:
            return
        gap = round(self._most[number] - self._least[number])
        self._report.recovered_exactly += gap == 0
        self._report.recovered_within_one += 0 < gap <= _NARROW_WIDTH
        self._report.hits[self._protected[number].key] = gap
