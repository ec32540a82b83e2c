"""The tables beside the outcomes, of every release, as the attacker sees them: counts that are tied to each other.

Activity adds up over periods. Kinds of completeness add up to all scores. The courses that severity flows follow are
the same for every instrument, fewer the later the week, and among those that started; whoever answered in a week is
among the starters too; modalities are parts of the whole. As with the outcomes (``disclosure.union``), releases of one
build share their true counts, and of an earlier build the attacker may believe that people were only added since.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

from caseness.dbt_runner import flow_week_rows
from caseness.disclosure.attack import NO_CEILING, Cell, Part, Relation, System, count_cell
from caseness.disclosure.means import Hidden, MeanSystem, at_most, counts_that_agree, greatest_score
from caseness.disclosure.union import (
    EVERYBODY,
    Published,
    exactly_inside,
    recent_builds,
    stretches_inside,
    stretches_of,
)
from screening.definitions import definitions

Row = Mapping[str, Any]
Name = tuple[str, ...]
ACTIVITY, COMPLETENESS = "pub_activity", "pub_score_completeness"
FLOW, TRAJECTORIES = "pub_severity_flow", "pub_trajectories"
QUALITY = "pub_data_quality"
TABLES = (ACTIVITY, COMPLETENESS, FLOW, TRAJECTORIES, QUALITY)
MODALITY = "modality"
_NOWHERE = float("inf")
_ALL_REACHED = "if every course could be followed to the last week"
_ALL_PARTED = "if every course has a modality"
_ALL_DATED = "if every first treatment lies within the periods"
_ONLY_GROWS = "if people were only added"
_NOT_ANSWERED = "not_answered"
_MOST_OF_A_HIDDEN_BAND = 10_000  # beyond what is shown beside it; it only has to be large
_KINDS = ("complete", "prorated", "total_only", "neither")


def systems_beside(
    releases: Sequence[Published], truth: Callable[[System], dict[Part, int]] | None = None
) -> dict[Name, tuple[System, bool]]:
    """What is attacked of these tables, by name, and whether it is a belief. Releases come oldest first.

    Of the last build whoever publishes knows which beliefs are so: those are taken for known, one by one. Without the
    ``truth`` each belief is tried by itself, and all together.
    """
    last = [release for release in releases if release.build == releases[-1].build]
    found: dict[Name, tuple[System, bool]] = {
        ("scores",): (_scores(last), False),
        ("quality",): (_quality(last), False),
    }
    courses, believed = _courses(last)
    known = truth(courses) if truth else {}
    if known:
        courses.relations += [one for group in believed.values() for one in group if one.holds(known)]
        found["courses",] = courses, False
    else:
        found["courses",] = courses, False
        for names in (*((name,) for name in believed), tuple(believed)):
            more = [one for name in names for one in believed[name]]
            found["courses", *names] = replace(courses, relations=[*courses.relations, *more]), True
    if len(last) < len(releases):
        recent = recent_builds(releases)
        joint = [release for release in releases if release.build in recent]
        older = [release for release in releases if release.build not in recent]
        for name, system in _pieces(joint, older).items():
            system.relations += _growth(joint, system)
            found[*name, _ONLY_GROWS] = system, True
    for system, _ in found.values():
        system.leave_what_is_open()
        system.truth = truth(system) if truth else {}
    return {name: (system, is_belief) for name, (system, is_belief) in found.items() if system.cells}


def _pieces(joint: Sequence[Published], older: Sequence[Published]) -> dict[Name, System]:
    """Tables of several builds, piece by piece: what one of them refutes is still believed of the others."""
    found: dict[Name, System] = {}
    for stage in sorted({str(row["stage"]) for row in _all_rows(joint, ACTIVITY)}):
        own = [_only(one, ACTIVITY, stage=stage) for one in joint]
        found["activity", stage] = _activity(own, [_only(one, ACTIVITY, stage=stage) for one in older])
    for instrument in sorted({str(row["instrument_code"]) for row in _all_rows(joint, COMPLETENESS)}):
        found["scores", instrument] = _scores([_only(one, COMPLETENESS, instrument_code=instrument) for one in joint])
    for instrument, leg in sorted({(str(row["instrument_code"]), _leg(row)) for row in _all_rows(joint, FLOW)}):
        only = {"instrument_code": instrument, "from_week": int(leg[0])}
        found["courses", instrument, *leg] = _courses([_only(one, FLOW, **only) for one in joint])[0]
    for instrument in sorted({str(row["instrument_code"]) for row in _all_rows(joint, TRAJECTORIES)}):
        whole = {"instrument_code": instrument, "stratum_dimension": EVERYBODY}
        found["courses", instrument] = _courses([_only(one, TRAJECTORIES, **whole) for one in joint])[0]
    return found


def _rows(release: Published, table: str) -> Sequence[Row]:
    return release.beside.get(table, ())


def _all_rows(releases: Sequence[Published], table: str) -> list[Row]:
    return [row for release in releases for row in _rows(release, table)]


def _only(release: Published, table: str, **values: object) -> Published:
    """A release with some rows of one table alone."""
    rows = [row for row in _rows(release, table) if all(row[name] == value for name, value in values.items())]
    return replace(release, beside={table: rows})


def _leg(row: Row) -> tuple[str, str]:
    return str(row["from_week"]), str(row["to_week"])


def _parts_of(system: System) -> list[Part]:
    return sorted({part for cell in system.cells for part in cell.parts})


def _equal(some: Sequence[Part], whole: Sequence[Part]) -> Relation:
    return Relation((*((part, 1) for part in some), *((part, -1) for part in whole)), 0, 0)


# --- activity and scores ------------------------------------------------------------------------------------------


def _activity(releases: Sequence[Published], older: Sequence[Published] = ()) -> System:
    system = System("activity")
    stretches = stretches_of(_all_rows(releases, ACTIVITY))
    for release in releases:
        for row in _rows(release, ACTIVITY):
            stage = str(row["stage"])
            parts = tuple((release.build, "activity", stage, name) for name in stretches_inside(row, stretches))
            key = (release.release_id, ACTIVITY, stage, str(row["period_id"]))
            system.cells.append(count_cell(key, row, "episodes", parts, release.profile))
    known = set(_parts_of(system))
    for build, what, stage, stretch in sorted(known):
        if stage == "finished_courses":  # each of them was discharged, that day
            system.relations.append(at_most([(build, what, stage, stretch)], [(build, what, "discharged", stretch)]))
    for release in older:  # what they show of a time that had ended is the least there has been since
        for row in _rows(release, ACTIVITY):
            stage, name = str(row["stage"]), releases[0].build
            least = tuple((name, "activity", stage, one) for one in exactly_inside(row, stretches))
            if (
                row["episodes_status"] == "shown"
                and least
                and row["period_end"] <= release.as_of
                and known >= set(least)
            ):
                low, _ = release.profile.interval(row["episodes_count"], "shown", NO_CEILING)
                name_of = (release.release_id, ACTIVITY, stage, str(row["period_id"]), "least")
                system.cells.append(Cell(name_of, low, _NOWHERE, least))
    return system


def _scores(releases: Sequence[Published]) -> System:
    system = System("scores")
    for release in releases:
        for row in _rows(release, COMPLETENESS):
            instrument, kind = str(row["instrument_code"]), str(row["completeness"])
            kinds = _KINDS if kind == EVERYBODY else (kind,)
            parts = tuple((release.build, "scores", instrument, own) for own in kinds)
            key = (release.release_id, COMPLETENESS, instrument, kind)
            system.cells.append(count_cell(key, row, "scores", parts, release.profile))
    return system


def _quality(releases: Sequence[Published]) -> System:
    """Rows that failed a rule, each by itself: two rules of disclosure tell more of one than either."""
    system = System("quality")
    for release in releases:
        for row in _rows(release, QUALITY):
            rule = str(row["rule_id"])
            part = (release.build, "failed", rule)
            key = (release.release_id, QUALITY, rule)
            system.cells.append(count_cell(key, row, "rows_failed", (part,), release.profile))
    return system


# --- courses in treatment: who started, who answered, and how they moved -------------------------------------------


def _courses(releases: Sequence[Published]) -> tuple[System, dict[str, list[Relation]]]:
    """Activity and courses in treatment, with what is always so of them, and what may be believed."""
    system = _activity(releases)
    system.family = "activity and courses in treatment"
    for release in releases:
        seen: set[Part] = set()
        for row in _rows(release, TRAJECTORIES):
            for cell in trajectory_counts(release, row):
                if cell.key not in seen:  # the starters stand in the row of every week
                    seen.add(cell.key)
                    system.cells.append(cell)
        _add_flows(system, release)
    bounded = {
        cell.parts[0][0] for cell in system.cells if cell.parts[0][1:3] == ("starters", EVERYBODY) and cell.is_shown
    }
    if any(release.build not in bounded for release in releases):
        shown = [cell.high for cell in system.cells if cell.parts[0][1] == "flow" and cell.high < NO_CEILING]
        system.ceiling = sum(shown) + _MOST_OF_A_HIDDEN_BAND
    parts = _parts_of(system)
    system.relations += trajectory_relations(parts)
    believed: dict[str, list[Relation]] = {_ALL_REACHED: [], _ALL_PARTED: _parted(parts), _ALL_DATED: []}
    for build in sorted({part[0] for part in parts}):
        starters = [(build, "starters", EVERYBODY, EVERYBODY)]
        treated = [part for part in parts if part[:3] == (build, "activity", "first_treatments")]
        if treated:
            system.relations.append(at_most(treated, starters))
            believed[_ALL_DATED].append(_equal(treated, starters))
        flow = [part for part in parts if part[0] == build and part[1] == "flow"]
        always, if_reached = _of_flows(build, flow)
        system.relations += always
        believed[_ALL_REACHED] += if_reached
    return system, {name: relations for name, relations in believed.items() if relations}


def trajectory_counts(release: Published, row: Row) -> list[Cell]:
    """Starters and those who answered, of one row of the trajectories."""
    group = (str(row["stratum_dimension"]), str(row["stratum_value"]))
    instrument, week = str(row["instrument_code"]), str(row["week_of_treatment"])
    starters = (release.build, "starters", *group)
    observed = (release.build, "observed", *group, instrument, week)
    cells = [
        count_cell((release.release_id, TRAJECTORIES, *part[1:]), row, part[1], (part,), release.profile)
        for part in (starters, observed)
    ]
    if row["model_status"] == "shown":
        cells[1].low = max(cells[1].low, _fewest_for_a_model())
    if row["observed_mean_status"] == "shown":
        cells[1].low, cells[1].high = counts_that_agree(row, cells[1].low, cells[1].high, release.profile)
    return cells


@cache
def _fewest_for_a_model() -> int:
    rows = definitions("analysis_rules")
    return next(int(row["rule_value"]) for row in rows if row["rule_id"] == "trajectory_minimum_observed")


def trajectory_relations(parts: Iterable[Part]) -> list[Relation]:
    """Who answered started; modalities are parts of the whole, and so are those of none."""
    found = []
    known = sorted(set(parts))
    starters = {part[0]: [other for other in known if other[:3] == (part[0], "starters", MODALITY)] for part in known}
    for build, members in starters.items():
        found.append(at_most(members, [(build, "starters", EVERYBODY, EVERYBODY)]))
    for part in known:
        build, what, dimension, value, *place = part
        if what != "observed":
            continue
        own = (build, "starters", dimension, value)
        found.append(at_most([part], [own]))
        if dimension == EVERYBODY:
            members = [other for other in known if other[:3] == (build, what, MODALITY) and [*other[4:]] == place]
            found.append(at_most(members, [part]))
            if len(members) == len(starters[build]):
                found.append(at_most([part, *starters[build]], [own, *members]))
    return found


def _parted(parts: Iterable[Part]) -> list[Relation]:
    """The modalities are all there is of the whole."""
    known = sorted(set(parts))
    found = []
    for part in known:
        if part[1] in ("starters", "observed") and part[2] == EVERYBODY:
            members = [other for other in known if other[:3] == (*part[:2], MODALITY) and other[4:] == part[4:]]
            found += [_equal(members, [part])] if members else []
    return found


def _add_flows(system: System, release: Published) -> None:
    """A row of a band is hidden whole where nearly all of it went one way, or where all its counts are small."""
    rows, profile = _rows(release, FLOW), release.profile
    open_bands = {_band(row) for row in rows if row["episodes_status"] != "suppressed"}
    # Of a band that is open and that somebody began in it is not true that nearly all moved to one place.
    parted = open_bands & {_band(row) for row in rows if row["episodes_status"] not in ("zero", "not_applicable")}
    bands: dict[tuple[str, ...], list[Part]] = {}
    for row in rows:
        bands.setdefault(_band(row), []).append((release.build, "flow", *_band(row), str(row["to_band"])))
    for row in rows:
        part: Part = (release.build, "flow", *_band(row), str(row["to_band"]))
        key = (release.release_id, FLOW, *part[2:])
        if _band(row) in open_bands:
            system.cells.append(count_cell(key, row, "episodes", (part,), profile))
            continue
        whole, margin = tuple(bands[_band(row)]), profile.all_or_none_margin
        small = max(margin, profile.redact_at_or_below)
        # One at most is larger than the limit, and then the others together are few.
        own = Cell(key, 0, NO_CEILING, (part,), is_protected=True, whole=whole, small=small, few=margin)
        own.secret = (1 if profile.is_zero_shown else 0, _NOWHERE)
        rest = tuple(other for other in whole if other != part)
        # That nearly nobody went elsewhere is what it hides.
        others = Cell((*key, "others"), 0, _NOWHERE, rest, is_protected=True, is_shown=True, secret=(0, margin))
        system.cells += [own, others]
    for band in sorted(parted):
        for part in bands[band]:
            terms = tuple((other, 1) for other in bands[band] if other != part)
            system.relations.append(Relation(terms, profile.all_or_none_margin + 1, _NOWHERE))
    for leg in sorted({_leg(row) for row in rows}):
        followed: Part = (release.build, "followed", *leg)
        system.cells.append(Cell((release.release_id, FLOW, "followed", *leg), 0, _NOWHERE, (followed,)))


def _band(row: Row) -> tuple[str, str, str, str]:
    return str(row["instrument_code"]), str(row["from_week"]), str(row["to_week"]), str(row["from_band"])


def _of_flows(build: str, flow: Sequence[Part]) -> tuple[list[Relation], list[Relation]]:
    """What is always so of flows, and what is so if every course could be followed to the last week.

    Every flow follows the same courses, fewer the later it ends; a band at its start was the end of the one before; a
    band is the last answer of some weeks. Parts are (build, flow, instrument, from week, to week, from band, to band).
    """
    starters = (build, "starters", EVERYBODY, EVERYBODY)
    legs: dict[tuple[str, str], dict[str, list[Part]]] = {}
    for part in flow:
        legs.setdefault((part[3], part[4]), {}).setdefault(part[2], []).append(part)
    ordered = sorted(legs, key=lambda leg: (int(leg[0]), int(leg[1])))
    followed = {leg: (build, "followed", *leg) for leg in ordered}
    always, if_reached = [], []

    def compare(some: Sequence[Part], whole: Sequence[Part]) -> None:
        always.append(at_most(some, whole))
        if_reached.append(_equal(some, whole))

    for leg in ordered:
        compare([followed[leg]], [starters])
        for instrument, members in legs[leg].items():
            always.append(_equal(members, [followed[leg]]))
            for end, place in ((leg[0], 5), (leg[1], 6)):
                answered = [part for part in members if part[place] != _NOT_ANSWERED]
                weeks = [(build, "observed", EVERYBODY, EVERYBODY, instrument, week) for week in _window(leg, end)]
                always.append(at_most(answered, weeks))
                if_reached += [at_most([week], answered) for week in weeks]
    for before, after in pairwise(ordered):
        compare([followed[after]], [followed[before]])
    for before, after in ((one, other) for one in ordered for other in ordered if one[1] == other[0]):
        for instrument in sorted(set(legs[before]) & set(legs[after])):
            for band in sorted({part[5] for part in legs[after][instrument]}):
                begun = [part for part in legs[after][instrument] if part[5] == band]
                compare(begun, [part for part in legs[before][instrument] if part[6] == band])
    return always, if_reached


def _window(leg: tuple[str, str], end: str) -> list[str]:
    """The weeks whose last answer is the band at an end of a flow; of week 0 it is the baseline alone."""
    row = next(
        (row for row in flow_week_rows() if (row["from_week"], row["to_week"]) == leg),
        {"window_weeks": "1"},
    )
    last = int(end)
    return ["0"] if last == 0 else [str(week) for week in range(last - int(row["window_weeks"]) + 1, last + 1)]


# --- means --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Statistic:
    """A mean of the trajectories: the column, the count it is a mean of, and how many units of its sum are a point."""

    column: str
    status: str
    of: str
    scale: int


_OBSERVED = _Statistic("observed_mean", "observed_mean_status", "observed", 1)
_MODEL = _Statistic("model_mean", "model_status", "starters", 100)


def mean_systems(
    releases: Sequence[Published], truth: Callable[[System], dict[Part, int]] | None = None
) -> dict[Name, MeanSystem]:
    """Of every instrument and week what the means tell together, by (statistic, instrument, week) and what is believed.

    The model's mean of everybody is taken for that of the modalities, weighted; where it is not, the numbers
    contradict each other and tell nothing.
    """
    last = [release for release in releases if release.build == releases[-1].build]
    places = sorted(
        {
            (str(row["instrument_code"]), int(row["week_of_treatment"]))
            for release in releases
            for row in _rows(release, TRAJECTORIES)
        }
    )
    found: dict[Name, MeanSystem] = {}
    for instrument, week in places:
        for statistic in (_OBSERVED, _MODEL):
            name = (statistic.column, instrument, str(week))
            means, believed = _means(last, instrument, week, statistic)
            known = truth(means.system) if truth else {}
            found[name] = means
            if known:
                means.system.truth = known
                means.system.relations += [one for one in believed if one.holds(known)]
            elif believed:
                parted = replace(means.system, relations=[*means.system.relations, *believed])
                found[*name, _ALL_PARTED] = replace(means, system=parted)
        if len(last) < len(releases):
            joint = [release for release in releases if release.build in recent_builds(releases)]
            found[_OBSERVED.column, instrument, str(week), _ONLY_GROWS] = _added(joint, instrument, week)
    return {name: means for name, means in found.items() if means.hidden}


def _means(
    releases: Sequence[Published], instrument: str, week: int, statistic: _Statistic
) -> tuple[MeanSystem, list[Relation]]:
    """Counts and sums of one statistic, and the belief that every course has a modality."""
    means = MeanSystem(System(f"{statistic.column} of {instrument} in week {week}"), statistic.scale)
    shown: set[Part] = set()
    totals: dict[Part, Part] = {}  # the count of each group -> its sum
    fewest = max(release.profile.minimum_n_for_statistics for release in releases)
    for release in releases:
        for row in _rows(release, TRAJECTORIES):
            if (str(row["instrument_code"]), int(row["week_of_treatment"])) != (instrument, week):
                continue
            cells = trajectory_counts(release, row)
            means.system.cells += cells
            count = next(cell.parts[0] for cell in cells if cell.parts[0][1] == statistic.of)
            totals[count] = (count[0], "sum", *count[1:])
            is_shown = row[statistic.status] == "shown"
            mean = float(row[statistic.column]) if is_shown else None
            means.add_sum(totals[count], count, release.profile, greatest=greatest_score(instrument), mean=mean)
            if is_shown:
                shown.add(count)
    counts = [part for part in _parts_of(means.system) if part[1] != "sum"]
    means.system.relations += trajectory_relations(counts)
    small = float(fewest - 1)
    for count, total in totals.items():
        if count not in shown:
            most = small if statistic is _MODEL else _NOWHERE
            means.hidden.append(Hidden(total, (count,), (total,), most=most))
    for build in sorted({count[0] for count in totals}):
        _add_rest(means, totals, shown, build, greatest=greatest_score(instrument) * statistic.scale, most=small)
    return means, _parted(counts)


def _add_rest(
    means: MeanSystem, totals: Mapping[Part, Part], shown: set[Part], build: str, *, greatest: int, most: float
) -> None:
    """Whoever is in the whole and in no published modality, and in none whose mean is shown, is a group too."""
    whole = next((count for count in totals if count[0] == build and count[2] == EVERYBODY), None)
    members = [count for count in totals if count[0] == build and count[2] == MODALITY]
    if whole is None or not members:
        return
    sums = [totals[count] for count in members]
    means.system.relations.append(at_most(sums, [totals[whole]]))
    scores = ((totals[whole], 1), *((part, -1) for part in sums))
    people = ((whole, -greatest), *((part, greatest) for part in members))
    means.system.relations.append(Relation((*scores, *people), -_NOWHERE, 0))
    for less in dict.fromkeys((tuple(members), tuple(count for count in members if count in shown))):
        name = (build, "rest", *whole[1:], *(count[3] for count in less))
        means.hidden.append(
            Hidden(name, (whole,), (totals[whole],), less, tuple(totals[count] for count in less), most=most)
        )


def _added(releases: Sequence[Published], instrument: str, week: int) -> MeanSystem:
    """Those who were added to the whole between one build and the next, if nobody left and no score was changed."""
    means = MeanSystem(System(f"{_OBSERVED.column} of {instrument} in week {week}, of those added"))
    counts: dict[Part, Part] = {}
    greatest, fewest = greatest_score(instrument), 0
    for release in releases:
        fewest = max(fewest, release.profile.minimum_n_for_statistics)
        for row in _rows(release, TRAJECTORIES):
            if (row["instrument_code"], row["week_of_treatment"], row["stratum_dimension"]) != (
                instrument,
                week,
                EVERYBODY,
            ):
                continue
            cell = trajectory_counts(release, row)[1]
            means.system.cells.append(cell)
            counts[cell.parts[0]] = (cell.parts[0][0], "sum", *cell.parts[0][1:])
            mean = float(row["observed_mean"]) if row["observed_mean_status"] == "shown" else None
            means.add_sum(counts[cell.parts[0]], cell.parts[0], release.profile, greatest=greatest, mean=mean)
    for (old, old_sum), (new, new_sum) in pairwise(counts.items()):
        means.system.relations += [at_most([old], [new]), at_most([old_sum], [new_sum])]
        scores = ((new_sum, 1), (old_sum, -1), (new, -greatest), (old, greatest))
        means.system.relations.append(Relation(scores, -_NOWHERE, 0))
        means.hidden.append(
            Hidden((new[0], "added", *new[1:]), (new,), (new_sum,), (old,), (old_sum,), most=float(fewest - 1))
        )
    return means


# --- over builds ---------------------------------------------------------------------------------------------------


def _growth(releases: Sequence[Published], system: System) -> list[Relation]:
    """Nobody leaves what was counted before. Courses may change their modality: nothing is said of it."""
    parts = _parts_of(system)
    known = set(parts)
    builds = {release.build: release.as_of for release in releases}
    order = list(builds)
    ends = {name: end for name, _, end in stretches_of(_all_rows(releases, ACTIVITY))}
    found = []
    for part in parts:
        build, what, *place = part
        if MODALITY in place or (what == "activity" and ends[place[-1]] > builds[build]):
            continue
        for later in order[order.index(build) + 1 :]:
            if (later, *part[1:]) in known:
                found.append(at_most([part], [(later, *part[1:])]))
                break
    return found


# --- what they truly are ------------------------------------------------------------------------------------------


class TruthBeside:
    """True counts of one build behind these tables."""

    def __init__(self, connection: Any, build: str) -> None:
        self._connection = connection
        self._build = build
        self._known = {
            (build, what, *map(str, key)): int(count)
            for what, statement in _COUNTS.items()
            for *key, count in connection.execute(statement).fetchall()
        }

    def of(self, system: System) -> dict[Part, int]:
        """Every variable of the system; empty when some are of another build, whose people this one does not hold."""
        parts = _parts_of(system)
        if any(part[0] != self._build for part in parts):
            return {}
        stretches = sorted({part[3] for part in parts if part[1] == "activity"})
        known = self._known | (self._activity(stretches) if stretches else {})
        return {part: known.get(part, 0) for part in parts}

    def _activity(self, stretches: Sequence[str]) -> dict[Part, int]:
        days = [dt.date.fromisoformat(name) for name in stretches]
        rows = self._connection.execute(_ACTIVITY, [days]).fetchall()
        return {(self._build, "activity", str(stage), str(day)): int(count) for stage, day, count in rows}


_COUNTS = {
    "flow": "select instrument_code, from_week, to_week, from_band, to_band, episodes_true "
    "from publication.cells_severity_flow",
    "followed": "select from_week, to_week, sum(episodes_true) from publication.cells_severity_flow "
    "where instrument_code = (select min(instrument_code) from publication.cells_severity_flow) group by all",
    "starters": "select distinct stratum_dimension, stratum_value, starters_count from raw.trajectory_means",
    "observed": "select stratum_dimension, stratum_value, instrument_code, week_of_treatment, observed_count "
    "from raw.trajectory_means",
    "failed": "select rule_id, rows_failed from raw.check_findings where rows_failed is not null",
    "scores": """
        select instrument_code, completeness, scores_true from publication.cells_score_completeness
        where completeness <> 'all'
        union all
        select instrument_code, 'neither',
            sum(case when completeness = 'all' then scores_true else -scores_true end)
        from publication.cells_score_completeness group by instrument_code
    """,
}
_ACTIVITY = """
    select dated.stage, cast(stretches.first_day as varchar), count(*)
    from publication.cohort_stages as dated
    asof join (select unnest(cast(? as date[])) as first_day) as stretches on dated.stage_date >= stretches.first_day
    where dated.stage_date <= (select max(period_end) from publication.cells_activity)
    group by all
"""
