"""The audit of a release before it is published: structure, forbidden counts, recomputed rates, headline accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caseness.disclosure.attack import NO_CEILING, Profile

Row = Mapping[str, Any]


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

    measures_of: int
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

    def published(self) -> dict[str, str | float | int | bool | None]:
        """What a manifest may say."""
        return {
            "of": "whole service, over all days",
            "measures_of": self.measures_of,
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
        low = [profile.interval(count, "shown", NO_CEILING) for count in shown]
        corners = [100 * min(n / d, 1.0) for n in low[0] for d in low[1]]
        # Half a unit of the printed decimal is part of what can be off.
        possible.append(max(abs(corner - row["rate_percent"]) for corner in corners) + 0.05)
        true = exact[row["measure_id"]]
        rates.append(abs(row["rate_percent"] - true["rate_percent"]))
        counts.append(abs(row["denominator_count"] - true["denominator_count"]))
        counts.append(abs(row["numerator_count"] - true["numerator_count"]))
    return HeadlineAccuracy(
        measures_of=sum(row["period_id"] == "all" for row in overview),
        measures_shown=len(rates),
        greatest_possible_rate_error_percentage_points=round(max(possible), 2) if possible else None,
        greatest_possible_count_error=greatest_count,
        measured_rate_error_percentage_points=round(max(rates), 3) if rates else None,
        measured_count_error=int(max(counts)) if counts else None,
    )
