"""The audit of a release before it is published: structure, forbidden counts, recomputed rates, and an attacker.

The attacker knows the rule and every published number. For each count that was hidden because it is small it asks an
integer programme for the smallest and the greatest value that agree with everything published in the same family of
tables (a group's cells, its margins by group and by period, the whole, numerators within denominators). A count whose
two answers meet, or lie at most one apart, is recovered. Method: Fischetti and Salazar 2000.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from screening.definitions import definitions

Row = Mapping[str, Any]
_OUTCOME_TABLES = ("pub_service_overview", "pub_outcomes_by_group")
_NARROW_WIDTH = 1
_NO_CEILING = 10**9


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
    timed_out: int = 0
    contradictions: int = 0
    seconds: float = 0.0

    @property
    def is_broken(self) -> bool:
        """Whether any protected count is known, or known to within one."""
        return self.recovered_exactly + self.recovered_within_one > 0


@dataclass
class Cell:
    """One published count: where it stands, what it says, and the variables that sum to it."""

    key: tuple[str, ...]
    low: int
    high: int
    parts: tuple[tuple[str, ...], ...]
    is_protected: bool = False


@dataclass
class System:
    """Cells and base variables of one family; ``within`` lists pairs (part, whole) of base variables."""

    family: str
    cells: list[Cell] = field(default_factory=list)
    within: list[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)


def attack(system: System, *, seconds: float) -> AttackReport:
    """Bound every protected cell of ``system``; a question that is not answered in time counts as timed out."""
    started = time.monotonic()
    names: dict[tuple[str, ...], int] = {}
    for cell in system.cells:
        for part in cell.parts:
            names.setdefault(part, len(names))
    report = AttackReport(system.family)
    protected = [cell for cell in system.cells if cell.is_protected]
    report.protected_cells = len(protected)
    if not protected:
        return report
    width = len(names)
    rows: list[np.ndarray] = []
    low: list[float] = []
    high: list[float] = []
    for cell in system.cells:
        row = np.zeros(width)
        for part in cell.parts:
            row[names[part]] += 1
        rows.append(row)
        low.append(cell.low)
        high.append(cell.high)
    for part, whole in system.within:
        if part in names and whole in names:
            row = np.zeros(width)
            row[names[part]], row[names[whole]] = 1, -1
            rows.append(row)
            low.append(-np.inf)
            high.append(0)
    constraint = LinearConstraint(np.array(rows), np.array(low), np.array(high))
    for cell in protected:
        left = seconds - (time.monotonic() - started)
        if left <= 0:
            report.timed_out += 1
            continue
        target = np.zeros(width)
        for part in cell.parts:
            target[names[part]] += 1
        ends = []
        for sign in (1, -1):
            answer = milp(
                sign * target,
                constraints=constraint,
                integrality=np.ones(width),
                bounds=Bounds(0, np.inf),
                options={"time_limit": min(left, 10.0)},
            )
            if answer.status == 2:
                report.contradictions += 1
                break
            if answer.x is None or answer.status != 0:
                report.timed_out += 1
                break
            ends.append(round(sign * answer.fun))
        else:
            gap = ends[1] - ends[0]
            report.recovered_exactly += gap == 0
            report.recovered_within_one += 0 < gap <= _NARROW_WIDTH
    report.seconds = round(time.monotonic() - started, 2)
    return report


def outcome_systems(overview: Sequence[Row], groups: Sequence[Row], profile: Profile) -> dict[tuple[str, ...], System]:
    """One system per group dimension and measure: cells, margins by group and by period, the whole.

    Keys are ``(group_dimension, measure_id)``; the dimension ``all`` is the overview by itself.
    """
    # Where dates are no calendar dates there are no years, and the whole is its own only part.
    years = sorted({row["period_id"] for row in overview if row["period_kind"] == "financial_year"}) or ["all"]
    spans = {"all", *years}
    whole: dict[str, list[Row]] = {}
    for row in overview:
        if row["period_id"] in spans:
            whole.setdefault(row["measure_id"], []).append(row)
    families: dict[tuple[str, ...], list[Row]] = {("all", measure): [] for measure in whole}
    for row in groups:
        families.setdefault((row["group_dimension"], row["measure_id"]), []).append(row)
    systems: dict[tuple[str, ...], System] = {}
    for (dimension, measure), own in sorted(families.items()):
        values = sorted({row["group_value"] for row in own}) or ["all"]
        ceiling = max(_highest(row, profile) for row in whole[measure])
        system = System(f"{measure} by {dimension}")
        for row in [*own, *whole[measure]]:
            value = row.get("group_value")
            chosen_values = [str(value)] if value is not None else values
            chosen_years = years if row["period_id"] == "all" else [row["period_id"]]
            for what in ("denominator", "numerator"):
                system.cells.append(_cell(row, what, chosen_values, chosen_years, profile, ceiling))
        system.within = [
            (("numerator", value, year), ("denominator", value, year)) for value in values for year in years
        ]
        systems[dimension, measure] = system
    return systems


def _highest(row: Row, profile: Profile) -> int:
    return profile.interval(row["denominator_count"], row["denominator_status"], _NO_CEILING)[1]


def _cell(row: Row, what: str, values: Sequence[str], years: Sequence[str], profile: Profile, ceiling: int) -> Cell:
    status = row[f"{what}_status"]
    if status == "not_applicable":
        low = high = 0
    else:
        low, high = profile.interval(row[f"{what}_count"], status, ceiling)
    is_hidden = status == "suppressed"
    if is_hidden and what == "numerator":
        # Hidden because small, or because it is nobody or everybody: the attacker can not tell which.
        low = 0
        top = profile.interval(row["denominator_count"], row["denominator_status"], ceiling)[1]
        high = max(high, top)
    parts = tuple((what, value, year) for value in values for year in years)
    return Cell((what, *values, *years), low, high, parts, is_protected=is_hidden)


def flow_systems(flow: Sequence[Row], profile: Profile) -> dict[tuple[str, ...], System]:
    """One system per instrument and pair of weeks. No margin of these tables is published."""
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


def headline_accuracy(overview: Sequence[Row], truth: Sequence[Row]) -> dict[str, float | None]:
    """Greatest error of a shown headline rate (percentage points) and count, over all days; none when none is shown."""
    exact = {row["measure_id"]: row for row in truth if row["period_id"] == "all"}
    rate_errors: list[float] = []
    count_errors: list[float] = []
    for row in overview:
        if row["period_id"] != "all" or row["rate_status"] != "shown":
            continue
        true = exact[row["measure_id"]]
        rate_errors.append(abs(row["rate_percent"] - true["rate_percent"]))
        count_errors.append(abs(row["denominator_count"] - true["denominator_count"]))
        count_errors.append(abs(row["numerator_count"] - true["numerator_count"]))
    return {
        "measures_shown": len(rate_errors),
        "greatest_rate_error_percentage_points": round(max(rate_errors), 3) if rate_errors else None,
        "greatest_count_error": max(count_errors, default=None),
    }
