"""Everything published so far, tied by what is true of any data: all measures of a group, and all releases.

Releases of one build share their true counts, under whatever profile. Of an earlier build the attacker may believe that
people were only added since, in periods that had ended: ``only_grows``. Where the published counts contradict that, the
belief is dropped. Groups of one dimension, and of another, add up to the same whole; measures with one denominator
share it; ``measure_relations.csv`` says what else their definitions imply. Groups of two columns add up to the groups
of each, so that tables that have a column in common are attacked together.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Any

from caseness.disclosure.attack import NO_CEILING, Cell, Part, Profile, Relation, System, outcome_cells
from screening.definitions import definitions

Row = Mapping[str, Any]
Stretch = tuple[str, dt.date, dt.date]
Stretches = Mapping[str, Sequence[Stretch]]
EVERYBODY = "all"
_MOST_BUILDS = 4
_COUNTS = ("denominator", "numerator")
_KEYS = ("group_dimension", "group_value", "measure_id", "period_id")
_DENOMINATOR_COLUMNS = (
    "subject_type",
    "period_anchor",
    "initial_population_flag",
    "denominator_flag",
    "denominator_exclusion_flag",
    "denominator_exception_flag",
)


@dataclass(frozen=True)
class Published:
    """The outcome tables of one release, as anybody can read them. ``build`` says which true counts they come from."""

    release_id: str
    build: str
    as_of: dt.date
    profile: Profile
    overview: Sequence[Row]
    groups: Sequence[Row]
    # The tables beside the outcomes, by name (``disclosure.beside``).
    beside: Mapping[str, Sequence[Row]] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        """Every cell in one order, the whole service as the one group of the dimension ``all``."""
        whole = [{**row, "group_dimension": EVERYBODY, "group_value": EVERYBODY} for row in self.overview]
        return sorted([*whole, *self.groups], key=lambda row: tuple(str(row[name]) for name in _KEYS))


def union_system(releases: Sequence[Published], *, only_grows: bool = False, older: Sequence[Published] = ()) -> System:
    """One system over releases, oldest first. Every hidden count is protected: a new release may tell an old one's.

    With ``only_grows`` what ``older`` ones show is the least that there has been since.
    """
    system = System("everything published")
    stretches = _stretches_by_dimension(releases)
    variables: dict[str, dict[Part, None]] = {}
    for release in releases:
        ceiling = max((_most(row, release.profile) for row in release.overview), default=NO_CEILING)
        own = variables.setdefault(release.build, {})
        for row in release.rows:
            inside = stretches_inside(row, stretches[row["group_dimension"]])
            for what in _COUNTS:
                cells, relations = _cells(release, row, what, inside, ceiling)
                own.update(dict.fromkeys(part for cell in cells for part in (*cell.parts, *cell.whole)))
                system.cells += cells
                system.relations += relations
    pairs = {
        (str(row["group_dimension"]), str(row["group_value"])): (
            str(row["first_group_value"]),
            str(row["second_group_value"]),
        )
        for release in releases
        for row in release.groups
        if len(_columns(row)) > 1
    }
    for parts in variables.values():
        system.relations += _wholes(parts, stretches)
        system.relations += _margins(parts, pairs, stretches)
        system.relations += _of_definitions(parts)
    if only_grows:
        system.relations += _growth(releases, variables, stretches)
        system.cells += _least(older, variables, stretches)
    system.leave_what_is_open()
    return system


def systems(releases: Sequence[Published]) -> dict[tuple[str, ...], tuple[System, bool]]:
    """What is attacked of everything published, by name, and whether it is a belief. Releases come oldest first.

    One system for all tables that have columns in common, with all measures and all releases of the last build; then
    one for each measure and group over all builds, with the belief that people were only added. Tables without a common
    column meet in the whole alone, which every system holds.
    """
    last = [release for release in releases if release.build == releases[-1].build]
    found: dict[tuple[str, ...], tuple[System, bool]] = {
        tuple(sorted(dimensions)): (union_system([_part_of(release, None, dimensions) for release in last]), False)
        for dimensions in _tied(row for release in last for row in release.groups) or [{EVERYBODY}]
    }
    if len(last) < len(releases):
        recent = recent_builds(releases)
        families = sorted({(row["measure_id"], row["group_dimension"]) for release in releases for row in release.rows})
        for measure, dimension in families:
            dimensions = {dimension, *dimension.split("+")}
            parts = [_part_of(release, measure, dimensions) for release in releases]
            joint, older = ([one for one in parts if (one.build in recent) == is_in] for is_in in (True, False))
            found[measure, dimension] = union_system(joint, only_grows=True, older=older), True
    return found


def recent_builds(releases: Sequence[Published]) -> set[str]:
    """The builds whose releases are taken together; of older ones each count bounds later ones by itself."""
    by_last = list(dict.fromkeys(release.build for release in reversed(releases)))
    return set(by_last[:_MOST_BUILDS])


def families(releases: Sequence[Published], name: Collection[str]) -> dict[tuple[str, str], System]:
    """The measures and dimensions of one system, each by itself, to find those whose counts contradict each other."""
    last = [release for release in releases if release.build == releases[-1].build]
    return {
        (measure, dimension): union_system([_part_of(release, measure, {dimension}) for release in last])
        for measure in sorted({str(row["measure_id"]) for release in last for row in release.rows})
        for dimension in sorted(name)
    }


def _columns(row: Row) -> list[str]:
    """The columns that a group is made of."""
    return str(row["group_dimension"]).split("+")


def _tied(rows: Iterable[Row]) -> list[set[str]]:
    """Dimensions in sets: those of one set have columns in common, one after the other."""
    tied: list[tuple[set[str], set[str]]] = []  # columns, dimensions
    for dimension in sorted({str(row["group_dimension"]) for row in rows}):
        columns = set(dimension.split("+"))
        touching = [one for one in tied if one[0] & columns]
        tied = [one for one in tied if not one[0] & columns]
        tied.append((columns.union(*(one[0] for one in touching)), {dimension}.union(*(one[1] for one in touching))))
    return sorted((dimensions for _, dimensions in tied), key=sorted)


def _part_of(release: Published, measure: str | None, dimensions: Collection[str]) -> Published:
    return replace(
        release,
        overview=[row for row in release.overview if measure in (None, row["measure_id"])],
        groups=[
            row
            for row in release.groups
            if measure in (None, row["measure_id"]) and row["group_dimension"] in dimensions
        ],
    )


def _cells(
    release: Published, row: Row, what: str, stretches: Sequence[str], ceiling: int
) -> tuple[list[Cell], list[Relation]]:
    parts, whole = (
        tuple(_variable(release, row, count, stretch) for stretch in stretches) for count in (what, "denominator")
    )
    place = (str(row["group_dimension"]), str(row["group_value"]), str(row["period_id"]))
    key = (release.release_id, what, str(row["measure_id"]), *place)
    return outcome_cells(key, row, what, parts, whole, release.profile, ceiling)


def _variable(release: Published, row: Row, what: str, stretch: str) -> Part:
    measure = sharer(row["measure_id"]) if what == "denominator" else row["measure_id"]
    return (release.build, what, measure, str(row["group_dimension"]), str(row["group_value"]), stretch)


def sharer(measure: str) -> str:
    """The measure that stands for all with the same denominator."""
    return _with_one_denominator().get(measure, measure)


@cache
def _with_one_denominator() -> dict[str, str]:
    """Measure -> the first measure that counts the same people in its denominator."""
    first: dict[tuple[str, ...], str] = {}
    return {
        row["measure_id"]: first.setdefault(tuple(row[name] for name in _DENOMINATOR_COLUMNS), row["measure_id"])
        for row in definitions("measures")
        if row["is_published"] == "true"
    }


# --- what is true of any data -------------------------------------------------------------------------------------


def _wholes(parts: Iterable[Part], stretches: Stretches) -> list[Relation]:
    """The groups of every dimension add up to the whole service, stretch by stretch."""
    groups: dict[tuple[str, ...], list[Part]] = {}
    for part in parts:
        build, what, measure, dimension, _, stretch = part
        groups.setdefault((build, what, measure, dimension, stretch), []).append(part)
    found = []
    for (build, what, measure, dimension, stretch), members in sorted(groups.items()):
        if dimension != EVERYBODY:
            names = _pieces(stretches, dimension, stretch, EVERYBODY)
            pieces = [(build, what, measure, EVERYBODY, EVERYBODY, name) for name in names]
            found.append(Relation((*((part, 1) for part in members), *((piece, -1) for piece in pieces)), 0, 0))
    return found


def _margins(
    parts: Iterable[Part], pairs: Mapping[tuple[str, str], tuple[str, str]], stretches: Stretches
) -> list[Relation]:
    """The groups of two columns add up to the groups of each, where those are published too."""
    known = dict.fromkeys(parts)
    cells: dict[Part, list[Part]] = {}
    for part in known:
        build, what, measure, dimension, value, stretch = part
        for column, own in zip(dimension.split("+"), pairs.get((dimension, value), ()), strict=False):
            if column in stretches:
                cells.setdefault((build, what, measure, dimension, column, own, stretch), []).append(part)
    found = []
    for (build, what, measure, dimension, column, own, stretch), members in sorted(cells.items()):
        names = _pieces(stretches, dimension, stretch, column)
        pieces = [(build, what, measure, column, own, name) for name in names]
        if all(piece in known for piece in pieces):
            found.append(Relation((*((part, 1) for part in members), *((piece, -1) for piece in pieces)), 0, 0))
    return found


def _of_definitions(parts: Iterable[Part]) -> list[Relation]:
    """Numerators within denominators, and the rows of ``measure_relations.csv``, in every group and stretch."""
    known = sorted(set(parts))  # in one order, so that the same tables are asked the same questions everywhere
    found = []
    for part in known:
        build, what, measure, *place = part
        if what == "numerator":
            within = (build, "denominator", sharer(measure), *place)
            found.append(Relation(((part, 1), (within, -1)), float("-inf"), 0))
    places = sorted({(part[0], *part[3:]) for part in known})
    for low, terms in _relations():
        for build, *place in places:
            found.append(Relation(tuple(((build, what, m, *place), sign) for what, m, sign in terms), low, 0))
    return found


@cache
def _relations() -> tuple[tuple[float, tuple[tuple[str, str, int], ...]], ...]:
    """(lower bound of left minus right, terms as (what, measure, sign)); the upper bound is 0."""
    found = []
    for row in definitions("measure_relations"):
        terms = []
        for side, sign in (("left_terms", 1), ("right_terms", -1)):
            for term in row[side].split(" + "):
                measure, what = term.rsplit(".", 1)
                terms.append((what, sharer(measure) if what == "denominator" else measure, sign))
        found.append((0.0 if row["relation"] == "equals" else float("-inf"), tuple(terms)))
    return tuple(found)


def _growth(
    releases: Sequence[Published],
    variables: Mapping[str, Iterable[Part]],
    stretches: Stretches,
) -> list[Relation]:
    """Nobody leaves a stretch that was over when the earlier build was made."""
    found = []
    ends = {(dimension, name): end for dimension, own in stretches.items() for name, _, end in own}
    builds = {release.build: release.as_of for release in releases}
    order = list(builds)
    for place, older in enumerate(order):
        for part in variables[older]:
            # The next build that has it: one in between may have published less.
            newer = next((build for build in order[place + 1 :] if (build, *part[1:]) in variables[build]), None)
            if newer is not None and ends[part[3], part[-1]] <= builds[older]:
                found.append(Relation(((part, 1), ((newer, *part[1:]), -1)), float("-inf"), 0))
    return found


def _least(older: Sequence[Published], variables: Mapping[str, Iterable[Part]], stretches: Stretches) -> list[Cell]:
    """Shown counts of older releases, as the least that there was in what had ended."""
    if not older or not variables:
        return []
    oldest = next(iter(variables))
    known = set(variables[oldest])
    found = []
    for release in older:
        for row in release.rows:
            own = stretches.get(str(row["group_dimension"]), ())
            inside = exactly_inside(row, own)
            if not inside or row["period_end"] > release.as_of:
                continue
            for what in _COUNTS:
                if row[f"{what}_status"] == "shown":
                    parts = tuple(_variable(replace(release, build=oldest), row, what, name) for name in inside)
                    low, _ = release.profile.interval(row[f"{what}_count"], "shown", NO_CEILING)
                    if known.issuperset(parts):
                        found.append(Cell((release.release_id, "least", *parts[0]), low, float("inf"), parts))
    return found


# --- stretches of days --------------------------------------------------------------------------------------------


def stretches_of(rows: Iterable[Row]) -> list[Stretch]:
    """The stretches of days that periods are made of: name, first day, last day."""
    spans = {(row["period_start"], row["period_end"]) for row in rows}
    starts = sorted({start for start, _ in spans} | {end + dt.timedelta(days=1) for _, end in spans})
    return [
        (day.isoformat(), day, following - dt.timedelta(days=1))
        for day, following in pairwise(starts)
        if any(start <= day <= end for start, end in spans)
    ]


def _stretches_by_dimension(releases: Sequence[Published]) -> Stretches:
    """Of each dimension the stretches of its own periods, cut where a dimension it has to add up with is cut less.

    Every cut of a group of two columns is one of its columns' too, and every cut of those one of the whole service.
    """
    rows = [row for release in releases for row in release.rows]
    dimensions = {str(row["group_dimension"]) for row in rows}
    found = {}
    for dimension in dimensions:
        finer = [row for row in rows if dimension in (EVERYBODY, row["group_dimension"], *_columns(row))]
        found[dimension] = stretches_of(finer)
    return found


def _pieces(stretches: Stretches, dimension: str, stretch: str, of: str) -> list[str]:
    """The stretches of another dimension that one of this dimension is made of."""
    start, end = next((first, last) for name, first, last in stretches[dimension] if name == stretch)
    return [name for name, first, _ in stretches[of] if start <= first <= end]


def stretches_inside(row: Row, stretches: Sequence[Stretch]) -> list[str]:
    """Names of the stretches that the period of a row is made of."""
    return [name for name, day, _ in stretches if row["period_start"] <= day <= row["period_end"]]


def exactly_inside(row: Row, stretches: Sequence[Stretch]) -> list[str]:
    """The same where they begin and end with the period; none where they do not."""
    inside = [one for one in stretches if row["period_start"] <= one[1] <= row["period_end"]]
    is_exact = inside and inside[0][1] == row["period_start"] and inside[-1][2] == row["period_end"]
    return [name for name, *_ in inside] if is_exact else []


def _most(row: Row, profile: Profile) -> int:
    return profile.interval(row["denominator_count"], row["denominator_status"], NO_CEILING)[1]
