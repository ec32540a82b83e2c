"""The audit of a release before it is published: structure, forbidden counts, recomputed rates, and an attacker.

The attacker knows the rule and every published number. For each count that was hidden because it is small it asks an
integer programme for the smallest and the greatest value that agree with everything published in the same family of
tables (a group's cells, its margins by group and by period, the whole, numerators within denominators). A count whose
two answers meet, or lie at most one apart, is recovered. Method: Fischetti and Salazar 2000.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from screening.definitions import definitions

Row = Mapping[str, Any]
_OUTCOME_TABLES = ("pub_service_overview", "pub_outcomes_by_group")
_NARROW_WIDTH = 1
_NO_CEILING = 10**9
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


def outcome_systems(overview: Sequence[Row], groups: Sequence[Row], profile: Profile) -> dict[tuple[str, ...], System]:
    """One system per group dimension and measure: cells, margins by group and by period, the whole.

    Keys are ``(group_dimension, measure_id)``; the dimension ``all`` is the overview by itself. Periods that overlap
    are sums of the same stretches of days, so that quarters, years and a user's own period are attacked together.
    """
    families: dict[tuple[str, ...], list[Row]] = {("all", row["measure_id"]): [] for row in overview}
    for row in groups:
        families.setdefault((row["group_dimension"], row["measure_id"]), []).append(row)
    systems: dict[tuple[str, ...], System] = {}
    for (dimension, measure), own in sorted(families.items()):
        whole = [row for row in overview if row["measure_id"] == measure]
        if own:
            published = {row["period_id"] for row in own}
            whole = [row for row in whole if row["period_id"] in published]
        stretches = _stretches([*own, *whole])
        values = sorted({row["group_value"] for row in own}) or ["all"]
        ceiling = max(_highest(row, profile) for row in whole)
        system = System(f"{measure} by {dimension}")
        for row in [*own, *whole]:
            value = row.get("group_value")
            chosen_values = [str(value)] if value is not None else values
            chosen = [name for name, day in stretches if row["period_start"] <= day <= row["period_end"]]
            for what in ("denominator", "numerator"):
                system.cells.append(_cell(row, what, chosen_values, chosen, profile, ceiling))
        system.within = [
            (("numerator", value, name), ("denominator", value, name)) for value in values for name, _ in stretches
        ]
        systems[dimension, measure] = system
    return systems


def _stretches(rows: Sequence[Row]) -> list[tuple[str, Any]]:
    """The stretches of days that periods are made of, each by its first day."""
    starts = {row["period_start"] for row in rows}
    starts |= {row["period_end"] + dt.timedelta(days=1) for row in rows}
    inside = [day for day in sorted(starts) if any(row["period_start"] <= day <= row["period_end"] for row in rows)]
    return [(day.isoformat(), day) for day in inside]


def _highest(row: Row, profile: Profile) -> int:
    return profile.interval(row["denominator_count"], row["denominator_status"], _NO_CEILING)[1]


def _cell(row: Row, what: str, values: Sequence[str], stretches: Sequence[str], profile: Profile, ceiling: int) -> Cell:
    status = row[f"{what}_status"]
    if status == "not_applicable":
        low = high = 0
    else:
        low, high = profile.interval(row[f"{what}_count"], status, ceiling)
    is_hidden = status == "suppressed"
    parts = tuple((what, value, name) for value in values for name in stretches)
    whole: tuple[Part, ...] = ()
    if is_hidden and what == "numerator":
        # Hidden because small, or because it is nobody or everybody: the attacker can not tell which.
        low, high = 0, max(high, profile.interval(row["denominator_count"], row["denominator_status"], ceiling)[1])
        whole = tuple(("denominator", value, name) for value in values for name in stretches)
    return Cell((what, *values, *stretches), low, high, parts, is_protected=is_hidden, whole=whole)


def flow_systems(flow: Sequence[Row], profile: Profile) -> dict[tuple[str, ...], System]:
    """One system per instrument and pair of weeks.

    The cells stand alone: the starters of the trajectories, who are a margin where every course can be reached, are not
    attacked together with them.
    """
    systems: dict[tuple[str, ...], System] = {}
    open_rows = {_flow_row(row) for row in flow if row["episodes_status"] != "suppressed"}
    for row in flow:
        key = (row["instrument_code"], str(row["from_week"]))
        system = systems.setdefault(key, System(f"severity flow of {key[0]} from week {key[1]}"))
        low, high = profile.interval(row["episodes_count"], row["episodes_status"], _NO_CEILING)
        if _flow_row(row) not in open_rows:
            # Hidden because small, or because everyone moved alike: the attacker can not tell which.
            low, high = 0, _NO_CEILING
        part = ("flow", str(row["from_band"]), str(row["to_band"]))
        system.cells.append(Cell(part, low, high, (part,), is_protected=row["episodes_status"] == "suppressed"))
    return systems


def _flow_row(row: Row) -> tuple[str, str, str]:
    return row["instrument_code"], str(row["from_week"]), str(row["from_band"])


def structure_faults(tables: Mapping[str, Sequence[Row]], declared: Iterable[str]) -> list[str]:
    """Tables that no row of ``publication_tables.csv`` declares, or declared ones that are missing."""
    known = set(declared)
    faults = [f"{name} is not a declared table" for name in sorted(set(tables) - known)]
    return faults + [f"{name} is declared and missing" for name in sorted(known - set(tables))]


def count_faults(tables: Mapping[str, Sequence[Row]], profile: Profile) -> list[str]:
    """Published numbers the rule cannot have produced, and rates that do not follow from the published counts."""
    faults = []
    for name, rows in tables.items():
        for row in rows:
            for column in (column for column in row if column.endswith("_count")):
                status, count = row.get(column.removesuffix("_count") + "_status"), row[column]
                if status is None:
                    faults.append(f"{name}.{column} has no status")
                elif (count is not None) != (status in ("shown", "zero")):
                    faults.append(f"{name}.{column} is {status} and {'has' if count is not None else 'lacks'} a number")
                elif count is not None and not profile.is_publishable(int(count), status):
                    faults.append(f"{name}.{column} holds a count the profile {profile.name} forbids")
            rate = row.get("rate_percent")
            if rate is not None and (
                not row["denominator_count"]
                or abs(rate - 100 * row["numerator_count"] / row["denominator_count"]) > 0.0501
            ):
                faults.append(f"{name}.rate_percent does not follow from the published counts")
    return sorted(set(faults))


@dataclass(frozen=True)
class HeadlineAccuracy:
    """How far shown headline rates (over all days) can be, and are, from the truth.

    ``greatest_possible_*`` follow from published numbers and the rule, so they may be published. The measured errors
    would, with the published counts, tell the exact ones: they stay with whoever publishes.
    """

    measures_shown: int
    greatest_possible_rate_error_percentage_points: float | None
    greatest_possible_count_error: int
    measured_rate_error_percentage_points: float | None
    measured_count_error: int | None

    @property
    def is_within_the_rule(self) -> bool:
        """Whether no shown number is further from the truth than its rounding allows."""
        if not self.measures_shown:
            return True
        return (self.measured_count_error or 0) <= self.greatest_possible_count_error and (
            self.measured_rate_error_percentage_points or 0.0
        ) <= (self.greatest_possible_rate_error_percentage_points or 0.0)

    def published(self) -> dict[str, float | int | bool | None]:
        """What a manifest may say."""
        return {
            "measures_shown": self.measures_shown,
            "greatest_possible_rate_error_percentage_points": self.greatest_possible_rate_error_percentage_points,
            "greatest_possible_count_error": self.greatest_possible_count_error,
            "is_within_the_rule": self.is_within_the_rule,
        }


def headline_accuracy(overview: Sequence[Row], truth: Sequence[Row], profile: Profile) -> HeadlineAccuracy:
    """Accuracy of the shown headline rates and counts, over all days."""
    exact = {row["measure_id"]: row for row in truth if row["period_id"] == "all"}
    possible, rates, counts = [], [], []
    base = profile.rounding_base
    greatest_count = base - 1 - (base - 1) // 2 if profile.rounding_mode == "midpoint" else base // 2
    for row in overview:
        if row["period_id"] != "all" or row["rate_status"] != "shown":
            continue
        shown = (row["numerator_count"], row["denominator_count"])
        low = [profile.interval(count, "shown", _NO_CEILING) for count in shown]
        corners = [100 * min(n / d, 1.0) for n in low[0] for d in low[1]]
        # Half a unit of the printed decimal is part of what can be off.
        possible.append(max(abs(corner - row["rate_percent"]) for corner in corners) + 0.05)
        true = exact[row["measure_id"]]
        rates.append(abs(row["rate_percent"] - true["rate_percent"]))
        counts.append(abs(row["denominator_count"] - true["denominator_count"]))
        counts.append(abs(row["numerator_count"] - true["numerator_count"]))
    return HeadlineAccuracy(
        measures_shown=len(rates),
        greatest_possible_rate_error_percentage_points=round(max(possible), 2) if possible else None,
        greatest_possible_count_error=greatest_count,
        measured_rate_error_percentage_points=round(max(rates), 3) if rates else None,
        measured_count_error=int(max(counts)) if counts else None,
    )
