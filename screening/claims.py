"""A claimed rate under every documented reading of the rules: which readings give it, and what makes up the gap.

A reading differs from the official one in some of its dimensions: what counts as success, who is in the denominator,
what a missing last score means, which day and window place a course, which thresholds hold, and each open point of the
pathway. Dimensions and readings are rows of ``claim_readings.csv`` and ``pathway_switches.csv``. The gap is split by
Shapley values (Shapley 1953): each departure's contribution, averaged over every order in which they could be made, so
that the parts add up to the gap whichever is named first.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from screening.definitions import definitions
from screening.pathway import (
    PAIRING_SWITCHES,
    PathwayRules,
    default_options,
    judged,
    judged_by,
    threshold_version_start,
    with_scores,
)

Departure = tuple[str, str]  # dimension, reading
_SHAPE = ("outcome", "population", "base", "missing", "anchor", "window")
_LEVELS = {"ended": 1, "ended_after_treatment": 2, "finished": 3}
_NEEDED = {"counts_as_not": None, "needs_last_phq9": "has_last_phq9", "needs_both_last": "has_both_last"}
_UNFINISHED_SWITCHES = ("one_last_score_missing",)  # a status of its own; no count depends on it


@dataclass(frozen=True)
class Figure:
    """A count of courses and those among them who reached the outcome."""

    numerator: int
    denominator: int

    @property
    def percent(self) -> float | None:
        """The rate in percent, ``None`` where nobody is in the denominator."""
        return 100.0 * self.numerator / self.denominator if self.denominator else None


@dataclass(frozen=True)
class Claim:
    """A rate as it was written: ``percent``, to ``digits`` after the point, and of how many if that was said."""

    percent: float
    digits: int
    denominator: int | None = None

    @classmethod
    def read(cls, text: str, denominator: int | None = None) -> Claim:
        """``62%``, ``62 %`` or ``62.4`` in percent. Raises ``ValueError`` for anything else, or outside 0 to 100."""
        written = text.strip().removesuffix("%").strip()
        whole, point, decimals = written.partition(".")
        if not whole.isdigit() or (point and not decimals.isdigit()) or float(written) > 100:
            raise ValueError(text)
        return cls(float(written), len(decimals), denominator)

    def is_given_by(self, figure: Figure) -> bool:
        """Whether the figure rounds to what was claimed (either way at a half), and has its denominator."""
        if figure.percent is None or (self.denominator is not None and figure.denominator != self.denominator):
            return False
        return abs(figure.percent - self.percent) <= 0.5 * 10.0**-self.digits + 1e-9


@dataclass(frozen=True)
class Readings:
    """Every reading computed: the departures from the official one, and the figure that they give."""

    figures: Mapping[frozenset[Departure], Figure]

    @property
    def official(self) -> Figure:
        """The figure without any departure."""
        return self.figures[frozenset()]

    def giving(self, claim: Claim) -> list[frozenset[Departure]]:
        """Readings that give the claim, fewest departures first, then in the order of the rows."""
        return sorted((one for one, figure in self.figures.items() if claim.is_given_by(figure)), key=_order)

    def simplest(self, claim: Claim) -> list[frozenset[Departure]]:
        """Of those, the ones none of whose own parts gives it already."""
        found: list[frozenset[Departure]] = []
        for one in self.giving(claim):
            if not any(other <= one for other in found):
                found.append(one)
        return found

    def nearest(self, claim: Claim, count: int) -> list[frozenset[Departure]]:
        """Readings whose rate is nearest to the claim, simplest first among equals."""
        known = [
            (abs(figure.percent - claim.percent), _order(one), one)
            for one, figure in self.figures.items()
            if figure.percent is not None
        ]
        nearest: list[frozenset[Departure]] = []
        for _, _, one in sorted(known, key=lambda row: row[:2]):
            if not any(other <= one for other in nearest):
                nearest.append(one)
            if len(nearest) == count:
                break
        return nearest

    def contributions(self, reading: frozenset[Departure]) -> dict[Departure, float] | None:
        """Points that each departure adds to the official rate (Shapley values; they sum to the gap).

        ``None`` where a part of the reading has nobody in its denominator.
        """
        size = len(reading)
        rates = {
            part: self.figures[part].percent
            for length in range(size + 1)
            for part in map(frozenset, itertools.combinations(sorted(reading), length))
        }
        if any(rate is None for rate in rates.values()):
            return None
        found: dict[Departure, float] = {}
        for departure in sorted(reading, key=_rank):
            rest = reading - {departure}
            found[departure] = 0.0
            for length in range(size):
                weight = math.factorial(length) * math.factorial(size - length - 1) / math.factorial(size)
                for part in map(frozenset, itertools.combinations(sorted(rest), length)):
                    before, after = rates[part], rates[part | {departure}]
                    assert before is not None and after is not None  # noqa: S101 - told apart above
                    found[departure] += weight * (after - before)
        return found


def dimensions() -> dict[str, list[str]]:
    """Each dimension with its readings, in the order of the rows; the switches of the pathway among them."""
    found: dict[str, list[str]] = {}
    for row in definitions("claim_readings"):
        found.setdefault(row["dimension"], []).append(row["reading"])
    for row in definitions("pathway_switches"):
        if row["switch_id"] not in _UNFINISHED_SWITCHES:
            found.setdefault(row["switch_id"], []).append(row["option"])
    return found


def official_reading(measure_id: str) -> dict[str, str]:
    """The reading of each dimension that is the measure's own. Raises ``KeyError`` for a measure that has none."""
    found = {
        row["dimension"]: row["reading"]
        for row in definitions("claim_readings")
        if measure_id in row["official_for"].split()
    }
    if "outcome" not in found:
        raise KeyError(measure_id)
    return found | {name: option for name, option in default_options().items() if name not in _UNFINISHED_SWITCHES}


def measures_with_readings() -> list[str]:
    """Measures that a claim can be made of."""
    return list(dict.fromkeys(name for row in definitions("claim_readings") for name in row["official_for"].split()))


def readings(
    courses: pl.DataFrame,
    scores: pl.DataFrame,
    *,
    measure_id: str,
    period: tuple[dt.date, dt.date],
    until: dt.date,
    most_departures: int | None,
    without: Collection[str] = (),
    progress: Callable[[str], None] | None = None,
) -> Readings:
    """Compute every reading that departs from the official one in at most ``most_departures`` dimensions.

    ``None`` is all of them, hundreds of thousands.

    ``courses`` and ``scores`` as ``screening.pathway.classed`` takes them, ``courses`` with ``first_treatment_date`` as
    well. ``period``: first and last day of the claim. ``until``: the last day the data speak for. ``without``:
    dimensions in which no reading departs. Raises ``KeyError`` for a measure without readings.
    """
    say = progress or (lambda message: None)
    official = official_reading(measure_id)
    limit = len(official) if most_departures is None else most_departures
    ways = {name: kinds for name, kinds in dimensions().items() if name not in without}
    shapes = list(_combinations({name: kinds for name, kinds in ways.items() if name in _SHAPE}, official, limit))
    rules = {name: kinds for name, kinds in ways.items() if name not in _SHAPE}
    sets = list(_combinations(rules, official, limit))
    placed = _placed(courses, period, until)
    figures: dict[frozenset[Departure], Figure] = {}
    paired: dict[tuple[str, ...], pl.DataFrame] = {}
    for number, departures in enumerate(sets):
        if number % 50 == 0:
            say(f"{number} of {len(sets)} sets of rules, {len(figures):,} readings")
        chosen = _rules(departures)
        pairing = tuple(chosen.option(switch) for switch in PAIRING_SWITCHES)
        if pairing not in paired:
            paired[pairing] = _alike(with_scores(placed, scores, chosen))
        patterns = _patterns(judged(paired[pairing], chosen))
        vectors = {name: patterns[name].to_numpy() for name in patterns.columns}
        for shape in shapes:
            if len(shape) + len(departures) <= limit:
                figures[departures | shape] = _counted(vectors, official | dict(shape))
    return Readings(figures)


def _combinations(
    kinds: Mapping[str, list[str]], official: Mapping[str, str], limit: int
) -> Iterator[frozenset[Departure]]:
    """Sets of departures, at most one a dimension, small ones first."""
    others = {name: [one for one in ways if one != official[name]] for name, ways in kinds.items()}
    for size in range(min(limit, len(others)) + 1):
        for names in itertools.combinations(others, size):
            yield from (
                frozenset(zip(names, ways, strict=True)) for ways in itertools.product(*(others[one] for one in names))
            )


def _rules(departures: Iterable[Departure]) -> PathwayRules:
    chosen = dict(departures)
    reading = chosen.pop("thresholds", None)
    thresholds = {
        row["threshold_id"]: (row["comparator"], float(row["threshold_value"]))
        for row in definitions("claim_thresholds")
        if row["reading"] == reading
    }
    return PathwayRules(chosen, thresholds)


def _placed(courses: pl.DataFrame, period: tuple[dt.date, dt.date], until: dt.date) -> pl.DataFrame:
    """Where each course stands in time, by each anchor: in the stated period, in the one before, anywhere."""
    first, last = period
    length = last - first + dt.timedelta(days=1)
    spans = {
        "stated": (first, last),
        "preceding": (first - length, first - dt.timedelta(days=1)),
        "following": (last + dt.timedelta(days=1), last + length),
        "all": (dt.date.min, dt.date.max),
    }
    happened = courses.with_columns(
        pl.when(pl.col("discharge_date") <= until).then("discharge_date").alias("discharge_date")
    )
    return happened.with_columns(
        pl.col(anchor).is_between(*span).fill_null(value=False).alias(f"is_{anchor}_in_{window}")
        for anchor in dimensions()["anchor"]
        for window, span in spans.items()
    )


def _alike(courses: pl.DataFrame) -> pl.DataFrame:
    """Courses that no rule tells apart, counted in ``courses``: days become the start of their thresholds' stretch."""
    told = courses.drop("referral_id", "problem_code", "referral_received_date", "first_treatment_date").with_columns(
        threshold_version_start(pl.col("_threshold_date")).alias("_threshold_date"),
        pl.when(pl.col("discharge_date").is_not_null()).then(pl.lit(dt.date.min)).alias("discharge_date"),
    )
    return told.group_by(told.columns).agg(pl.len().alias("courses"))


def _patterns(courses: pl.DataFrame) -> pl.DataFrame:
    """Courses that no reading tells apart, counted: one row per pattern."""
    first, last = pl.col("phq9_first_hundredths"), pl.col("phq9_last_hundredths")
    is_over = pl.col("discharge_date").is_not_null()
    level = (
        pl.when(pl.col("has_finished_course"))
        .then(_LEVELS["finished"])
        .when(is_over & (pl.col("treatment_contacts") > 0))
        .then(_LEVELS["ended_after_treatment"])
        .when(is_over)
        .then(_LEVELS["ended"])
        .otherwise(0)
    )
    is_improved = pl.col("change_class") == "reliable_improvement"
    told = {
        "level": level,
        "is_at_caseness": pl.col("is_at_caseness"),
        "is_not_at_caseness": pl.col("is_not_at_caseness"),
        "has_last_phq9": last.is_not_null(),
        "has_both_last": last.is_not_null() & pl.col("anxiety_last_hundredths").is_not_null(),
        "recovered": pl.col("is_case_no_longer"),
        "reliably_recovered": pl.col("is_case_no_longer") & is_improved,
        "reliably_improved": is_improved,
        "reliably_deteriorated": pl.col("change_class") == "reliable_deterioration",
        "phq9_response": (first > 0) & judged_by("phq9_response", first - last, first),
        "phq9_remission": judged_by("phq9_remission", last),
        "phq9_lower": last < first,
        **{name: pl.col(name) for name in courses.columns if "_date_in_" in name},
    }
    chosen = courses.select(
        "courses",
        told.pop("level").alias("level"),
        *(value.fill_null(value=False).alias(name) for name, value in told.items()),
    )
    return chosen.group_by([name for name in chosen.columns if name != "courses"]).agg(pl.col("courses").sum())


def _counted(vectors: Mapping[str, np.ndarray], reading: Mapping[str, str]) -> Figure:
    chosen = vectors["level"] >= _LEVELS[reading["population"]]
    chosen = chosen & vectors[f"is_{reading['anchor']}_in_{reading['window']}"]
    if reading["base"] == "less_not_at_caseness":
        chosen = chosen & ~vectors["is_not_at_caseness"]
    elif reading["base"] == "at_caseness":
        chosen = chosen & vectors["is_at_caseness"]
    needed = _NEEDED[reading["missing"]]
    if needed is not None:
        chosen = chosen & vectors[needed]
    weights = vectors["courses"].astype(np.int64)
    return Figure(int(weights[chosen & vectors[reading["outcome"]]].sum()), int(weights[chosen].sum()))


def _rank(departure: Departure) -> tuple[int, int]:
    names = dimensions()
    place = list(names).index(departure[0])
    return place, names[departure[0]].index(departure[1])


def _order(reading: frozenset[Departure]) -> tuple[int, list[tuple[int, int]]]:
    return len(reading), sorted(map(_rank, reading))
