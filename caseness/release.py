"""From marts and results to a release: one file per scope that holds disclosure-controlled tables and nothing else."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

import ingestion
from caseness import (
    __version__,
    build_state,
    disclosure_attack,
    disclosure_audit,
    disclosure_beside,
    disclosure_scopes,
    disclosure_truth,
    journal,
    warehouse,
)
from caseness.build_state import definitions_hash
from caseness.dbt_runner import publication_rows, run_dbt
from caseness.disclosure_attack import System
from caseness.disclosure_beside import TruthBeside
from caseness.disclosure_beside_audit import attack_beside
from caseness.disclosure_union import EVERYBODY, Published, families, systems
from caseness.errors import CheckFailedError, DamagedHomeError, NotReadyError, UsageError
from caseness.faults import fault_point
from caseness.settings import Deidentification, Settings

Progress = Callable[[str], None]
Name = tuple[str, ...]
SCOPE = disclosure_scopes.PUBLIC
_ATTACK_SECONDS = 1200.0  # a guard; what is dropped is decided by nodes, which are the same on every machine
_STATEMENTS = {
    Deidentification.LIMITED_DATA_SET: (
        "Made from a limited data set: not de-identified data. A data-use agreement applies to the data behind it."
    ),
    Deidentification.EXPERT_DETERMINATION: "De-identified by expert determination; see the report named.",
    Deidentification.SAFE_HARBOR: "Made from data de-identified by the Safe Harbor method (45 CFR 164.514(b)(2)).",
}


# What the audit says of the outcomes together, and of the tables beside them, and in all.
_TOLD = (
    "protected_cells",
    "recovered_exactly",
    "recovered_within_one",
    "unanswered",
    "known_from_earlier_releases_alone",
)
_NO_CALENDAR = "Its dates are no calendar dates: results by year or quarter are not computable."


@dataclass
class ReleaseReport:
    """What was published and what the audit found."""

    release_id: str
    disclosure_profile: str
    tables: dict[str, int]
    dropped: list[str]
    audit: dict[str, Any]
    seconds: float = 0.0
    files: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready facts."""
        return dict(vars(self))


def publish(*, settings: Settings, progress: Progress | None = None) -> ReleaseReport:
    """Publish the current build. Raises ``NotReadyError`` before check and evaluate, ``CheckFailedError`` on a hit.

    A fatal quality rule, a number the profile forbids or a recovered count that no declared drop cures stops it; the
    release before stays current.
    """
    say = progress or (lambda message: None)
    started = time.monotonic()
    with journal.exclusive(settings.paths.lock, purpose="publish"):
        state = _ready(settings)
        profile = disclosure_attack.disclosure_profile(settings.disclosure_profile.value)
        working = settings.paths.temporary / "publishing.duckdb"
        try:
            built = build_state.verified(settings, state)
            say("making the published tables")
            warehouse.remove_database(working)
            with warehouse.writer(working, settings, built=built) as connection:
                warehouse.create_views_of_built(connection)
                for name in ("trajectory_means", "check_findings"):
                    warehouse.create_result_view(connection, name, settings.paths.results / f"{name}.parquet")
            run_dbt(
                ["run", "--select", "tag:publication"],
                database=working,
                settings=settings,
                variables={
                    "as_of_date": state["rules"]["as_of_date"],
                    "disclosure_profile": profile.name,
                    "dates_are_calendar": _dates_are_calendar(state),
                },
                target="publication",
                built=built,
            )
            say("attacking them")
            with warehouse.writer(working, settings, built=built) as connection:
                release_id = _release_id(state, profile.name, settings)
                earlier, unreadable = _earlier_releases(settings, but=release_id)
                dropped, audit, tables = _audited(
                    connection,
                    profile,
                    state,
                    earlier,
                    truth=disclosure_truth.Truth(connection, str(state["build_id"])),
                    say=say,
                )
                audit["earlier_releases_attacked"] = [release.release_id for release in earlier]
                audit["earlier_releases_not_readable"] = unreadable
                folder = settings.paths.temporary / release_id
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                _write_metadata(connection, settings, state, profile, release_id)
                scopes = disclosure_scopes.scopes(connection)
                tables[disclosure_scopes.TABLE] = disclosure_scopes.rows_of(connection, scopes[SCOPE])
                for scope, rows in scopes.items():
                    connection.execute("update publication.release_metadata set value = ? where key = 'scope'", [scope])
                    names = sorted({*tables, "release_metadata"})
                    where = {disclosure_scopes.TABLE: rows}
                    warehouse.export_tables(connection, "publication", names, folder / f"{scope}.duckdb", where=where)
            report = ReleaseReport(release_id, profile.name, tables, dropped, audit)
            report.files = {scope: f"{release_id}/{scope}.duckdb" for scope in scopes}
            say("putting the release in its place")
            _put_in_place(settings, state, folder, report)
        finally:
            warehouse.remove_database(working)
    report.seconds = round(time.monotonic() - started, 2)
    return report


def _date_form(state: dict[str, Any]) -> str:
    return str(state["rules"].get("date_form", "calendar"))


def _dates_are_calendar(state: dict[str, Any]) -> bool:
    return _date_form(state) == "calendar"


def _ready(settings: Settings) -> dict[str, Any]:
    """The build state, when check and evaluate have run on this very build and no fatal rule failed."""
    state = build_state.ready(settings)
    if state["rules"].get("definitions_hash") != definitions_hash():
        raise NotReadyError("definitions or SQL have changed since the build", remedy="run `caseness build` again")
    if state.get("deidentification") != settings.deidentification.value:
        raise NotReadyError(
            "the build was made under another de-identification profile", remedy="run `caseness build` again"
        )
    import pyarrow.parquet as parquet

    for name, command in (("check_findings", "check"), ("trajectory_means", "evaluate")):
        path = settings.paths.results / f"{name}.parquet"
        if not path.exists():
            raise NotReadyError(f"`caseness {command}` has not been run", remedy=f"run `caseness {command}`")
        table = parquet.read_table(path)
        builds = set(table.column("build_id").to_pylist()) if table.num_rows else {state["build_id"]}
        if builds != {state["build_id"]}:
            raise NotReadyError(
                f"the results of `caseness {command}` belong to another build", remedy=f"run `caseness {command}` again"
            )
        if name == "check_findings":
            failed = sorted(
                row["rule_id"]
                for row in table.select(["rule_id", "severity", "status"]).to_pylist()
                if row["severity"] == "fatal" and row["status"] in ("failed", "error")
            )
            if failed:
                raise CheckFailedError(
                    "fatal quality rules failed: " + ", ".join(failed),
                    remedy="see build/check.html for each rule's reason and remedy; nothing was published",
                )
    return state


def _audited(
    connection: Any,
    profile: disclosure_attack.Profile,
    state: dict[str, Any],
    earlier: Sequence[Published] = (),
    *,
    truth: disclosure_truth.Truth | None = None,
    say: Progress | None = None,
) -> tuple[list[str], dict[str, Any], dict[str, int]]:
    """Audit; what the attacker breaks is dropped where the declaration allows it. Returns drops, report, table sizes.

    Outcomes are attacked with everything published so far (``disclosure_union``), and so are the tables beside them
    (``disclosure_beside``).
    """
    names = sorted({row["table_name"] for row in publication_rows()})
    tables = {name: warehouse.table_rows(connection, f"publication.{name}") for name in names}
    faults = disclosure_audit.structure_faults(tables, names) + disclosure_audit.count_faults(tables, profile)
    if faults:
        raise CheckFailedError(
            "the tables break the disclosure rule: " + "; ".join(faults[:5]),
            remedy="nothing was published; this is a fault of caseness, please report it",
        )
    started = time.monotonic()
    until = started + _ATTACK_SECONDS
    say = say or (lambda message: None)
    beside, dropped = attack_beside(
        connection,
        earlier,
        lambda: _this_release(connection, profile, state, layer=0),
        truth=TruthBeside(connection, str(state["build_id"])) if truth else None,
        until=until,
        say=say,
    )
    together, coarsened = _attacked_together(
        connection,
        profile,
        state,
        earlier,
        truth=truth,
        until=until,
        say=say,
    )
    dropped += coarsened
    overview = warehouse.table_rows(connection, "publication.pub_service_overview")
    results = warehouse.table_rows(connection, "marts.measure_results")
    accuracy = disclosure_audit.headline_accuracy(overview, results, profile)
    if not accuracy.is_within_the_rule:
        raise CheckFailedError(
            "a shown headline number is further from the truth than its rounding allows",
            remedy="nothing was published; this is a fault of caseness, please report it",
        )
    audit = {
        "attacked": "the tables of this and every earlier release together: outcomes with their margins by group, by "
        "period and over all and with what the measures' definitions imply; activity, completeness, trajectories, "
        "severity flows and who started; and what the means tell of groups whose own is hidden",
        "not_attacked": "ties between the outcomes and the other tables; intervals of the model's means",
        **{name: together[name] + beside[name] for name in _TOLD},
        "together": together,
        "beside": beside,
        "seconds": round(time.monotonic() - started, 2),
        "time_limit_seconds": _ATTACK_SECONDS,
        "headline": accuracy.published(),
    }
    sizes = {name: len(warehouse.table_rows(connection, f"publication.{name}")) for name in names}
    return dropped, audit, sizes


def _attacked_together(
    connection: Any,
    profile: disclosure_attack.Profile,
    state: dict[str, Any],
    earlier: Sequence[Published],
    *,
    truth: disclosure_truth.Truth | None,
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
    facts: dict[str, Any] = {"rounds": 0, "protected_cells": 0, "questions": 0, "collided": []}
    dropped: list[str] = []
    before = _Before(earlier, truth, until, say)
    for layer in disclosure_scopes.LAYERS:
        added = _published_groups(connection, layer)
        if layer and not added:
            continue
        unsafe: set[Name] | None = None
        safe: dict[Name, set[Name]] = {}
        while True:
            attacked = systems([*earlier, _this_release(connection, profile, state, layer=layer)])
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
            if not hits and not contradicted:
                break
            names = {(hit[2], hit[3], _kind_of(connection, hit[5])) for hit in hits}
            removed = _layer_dropped(connection, layer, names) if layer else []
            for name in contradicted:  # a rule that was not kept: nothing of these counts may stay
                apart = families([_this_release(connection, profile, state, layer=layer)], name)
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
                facts["collided"].append(told)
                dropped.append(told)
    facts |= {"recovered_exactly": 0, "recovered_within_one": 0, "unanswered": 0}
    facts["known_from_earlier_releases_alone"] = len(before.told)
    return facts, sorted(set(dropped))


class _Before:
    """What earlier releases gave away by themselves: it can not be taken back, so it is said, and not counted again.

    It is asked only of what is hit, and once.
    """

    def __init__(
        self, earlier: Sequence[Published], truth: disclosure_truth.Truth | None, until: float, say: Progress
    ) -> None:
        self._systems = systems(earlier) if earlier else {}
        for system, _ in self._systems.values():
            system.truth = truth.of(system) if truth else {}
        self._until, self._say = until, say
        self._asked: set[Name] = set()
        self._widths: dict[Name, int] = {}
        self.told: set[Name] = set()

    def not_told(self, hits: Mapping[Name, int | None], where: Collection[Name]) -> list[Name]:
        """The hits of some systems that earlier releases do not tell as well by themselves."""
        asked = {
            name: (system, is_belief)
            for name, (system, is_belief) in self._systems.items()
            if name not in self._asked and any(name == one or (not is_belief and set(name) & set(one)) for one in where)
        }
        self._asked |= set(asked)
        if hits and asked:
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
    table = f"publication.{disclosure_scopes.TABLE}"
    found = connection.execute(
        f"select distinct measure_id, group_dimension, period_kind from {table} order by all"
    ).fetchall()
    return [
        (str(measure), str(dimension), str(kind))
        for measure, dimension, kind in found
        if layer is None or disclosure_scopes.layer_of(str(dimension), str(kind)) == layer
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


def _this_release(
    connection: Any, profile: disclosure_attack.Profile, state: dict[str, Any], *, layer: int
) -> Published:
    """What is published of this build up to a layer."""
    groups = warehouse.table_rows(connection, "publication.pub_outcomes_by_group")
    return Published(
        "this release",
        str(state["build_id"]),
        dt.date.fromisoformat(state["rules"]["as_of_date"]),
        profile,
        warehouse.table_rows(connection, "publication.pub_service_overview"),
        [
            row
            for row in groups
            if disclosure_scopes.layer_of(str(row["group_dimension"]), str(row["period_kind"])) <= layer
        ],
        {name: warehouse.table_rows(connection, f"publication.{name}") for name in disclosure_beside.TABLES},
    )


def _attack_all(
    attacked: Mapping[Name, tuple[System, bool]], until: float, say: Progress
) -> tuple[disclosure_attack.AttackReport, set[Name], set[Name], dict[Name, set[Name]]]:
    """All systems attacked, as one report; the names of those with a hit and of those that contradict the rule; and
    which counts were shown safe in each.

    Counts that contradict a belief refute it, and then it tells nothing.
    """
    whole = disclosure_attack.AttackReport("everything published")
    unsafe, contradicted, safe = set(), set(), {}
    done = 0

    def told(name: Name, system: System, workers: int) -> disclosure_attack.AttackReport:
        nonlocal done
        found = disclosure_attack.attack(system, seconds=max(until - time.monotonic(), 0.0), workers=workers)
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
        whole.hits |= found.hits
        safe[name] = found.safe
        if found.hits or found.contradictions:
            unsafe.add(name)
        if found.contradictions:
            contradicted.add(name)
    return whole, unsafe, contradicted, safe


def _contradicts(system: System, until: float) -> bool:
    return bool(disclosure_attack.attack(system, seconds=max(until - time.monotonic(), 0.0)).contradictions)


def _earlier_releases(settings: Settings, *, but: str) -> tuple[list[Published], list[str]]:
    """Every other release that was put in place, oldest first, and those that can no longer be read."""
    ids = [receipt["release_id"] for receipt in journal.read(settings.paths.journal) if receipt["event"] == "publish"]
    found, unreadable = [], []
    for release_id in dict.fromkeys(ids):
        folder = settings.paths.releases / release_id
        if release_id == but:
            continue
        if not folder.is_dir() or fault_of_release(folder):
            unreadable.append(release_id)
            continue
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        # Whoever has one scope's file may come to have another's; what stands in several counts once.
        rows: dict[str, dict[tuple[object, ...], dict[str, object]]] = {
            "pub_service_overview": {},
            disclosure_scopes.TABLE: {},
            **{name: {} for name in disclosure_beside.TABLES},
        }
        for file in manifest["files"]:
            with warehouse.reader(folder / file, settings) as connection:
                for table, known in rows.items():
                    known |= {tuple(row.values()): row for row in warehouse.table_rows(connection, table)}
        found.append(
            Published(
                release_id,
                str(manifest["build_id"]),
                dt.date.fromisoformat(manifest["as_of_date"]),
                disclosure_attack.profile_of_release(manifest),
                list(rows["pub_service_overview"].values()),
                list(rows[disclosure_scopes.TABLE].values()),
                {name: list(rows[name].values()) for name in disclosure_beside.TABLES},
            )
        )
    return found, unreadable


def _release_id(state: dict[str, Any], profile: str, settings: Settings) -> str:
    results = [
        hashlib.sha256((settings.paths.results / f"{name}.parquet").read_bytes()).hexdigest()
        for name in ("trajectory_means", "check_findings")
    ]
    body = json.dumps([state["build_id"], profile, state["deidentification"], __version__, results], sort_keys=True)
    day = state["rules"]["as_of_date"].replace("-", "") if _dates_are_calendar(state) else "undated"
    return f"r_{day}_{hashlib.sha256(body.encode()).hexdigest()[:12]}"


def _write_metadata(
    connection: Any, settings: Settings, state: dict[str, Any], profile: disclosure_attack.Profile, release_id: str
) -> None:
    loads = [row for row in ingestion.manifest_entries(settings) if row["load_status"] == "loaded"]
    span = connection.execute(
        "select min(period_start), max(period_end) from raw.measurement_periods where period_kind = 'all'"
    ).fetchone()
    facts = {
        "release_id": release_id,
        "scope": SCOPE,
        "published_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "as_of_date": state["rules"]["as_of_date"] if _dates_are_calendar(state) else "no calendar date",
        "disclosure_profile": profile.name,
        "disclosure_rule": profile.description,
        "deidentification": state["deidentification"],
        "rounding_base": profile.rounding_base,
        "redact_at_or_below": profile.redact_at_or_below,
        "date_form": _date_form(state),
        "data_period_start": (span[0] if span else "") if _dates_are_calendar(state) else "no calendar date",
        "data_period_end": (span[1] if span else "") if _dates_are_calendar(state) else "no calendar date",
        "sources": ", ".join(sorted({row["source_name"] for row in loads})),
        "statement": _STATEMENTS[Deidentification(state["deidentification"])]
        + (f" Expert's report: {settings.expert_report}." if settings.expert_report else "")
        + ("" if _dates_are_calendar(state) else f" {_NO_CALENDAR} Form of the dates: {_date_form(state)}."),
    }
    connection.execute("create or replace table publication.release_metadata (key varchar, value varchar)")
    connection.executemany(
        "insert into publication.release_metadata values (?, ?)", [[key, str(value)] for key, value in facts.items()]
    )


def _put_in_place(settings: Settings, state: dict[str, Any], folder: Path, report: ReleaseReport) -> None:
    """Manifest, rename, pointer: the release is current only when all of it is on disk."""
    loads = [row for row in ingestion.manifest_entries(settings) if row["load_status"] == "loaded"]
    manifest = {
        "release_id": report.release_id,
        "build_id": state["build_id"],
        "code_version": __version__,
        "as_of_date": state["rules"]["as_of_date"],
        "definitions_hash": state["rules"]["definitions_hash"],
        "periods": state["rules"]["periods"],
        "deidentification": state["deidentification"],
        "disclosure_profile": report.disclosure_profile,
        "disclosure_rule": vars(disclosure_attack.disclosure_profile(report.disclosure_profile)),
        "inputs": [
            {
                "load_id": row["load_id"],
                "source": row["source_name"],
                "stream": row["stream"],
                "source_file_sha256": row["source_file_sha256"],
            }
            for row in sorted(loads, key=lambda row: str(row["load_id"]))
        ],
        "tables": report.tables,
        "dropped_by_the_audit": report.dropped,
        "audit": report.audit,
        "files": {name.name: hashlib.sha256(name.read_bytes()).hexdigest() for name in sorted(folder.glob("*.duckdb"))},
    }
    manifest["seal"] = seal_of_manifest(manifest)
    journal.write_atomically(folder / "manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    for file in folder.iterdir():
        file.chmod(0o444)
    fault_point("release_written")
    target = settings.paths.releases / report.release_id
    settings.paths.releases.mkdir(parents=True, exist_ok=True)
    if target.exists() and fault_of_release(target):
        # Damaged since: it makes way for the same content, and readers who have it open keep their file.
        os.replace(target, settings.paths.temporary / f"{report.release_id}.damaged")
        shutil.rmtree(settings.paths.temporary / f"{report.release_id}.damaged", ignore_errors=True)
    if target.exists():
        # The same inputs under the same rules: the release that readers may have open stays.
        shutil.rmtree(folder)
    else:
        os.replace(folder, target)
        journal.fsync_folder(settings.paths.releases)
    fault_point("release_in_place")
    pointer = {"release_id": report.release_id, "files": report.files}
    journal.write_atomically(settings.paths.current_release, orjson.dumps(pointer, option=orjson.OPT_INDENT_2))
    journal.append(
        settings.paths.journal,
        "publish",
        release_id=report.release_id,
        build_id=state["build_id"],
        disclosure_profile=report.disclosure_profile,
        dropped=report.dropped,
    )


def current_file(settings: Settings, scope: str = SCOPE) -> tuple[str, Path]:
    """Id of the current release and its file for a scope. Raises ``NotReadyError`` when there is none."""
    pointer = settings.paths.current_release
    if not pointer.exists():
        raise NotReadyError("nothing is published yet", remedy="run `caseness publish` (or `caseness run PATH...`)")
    body = json.loads(pointer.read_text(encoding="utf-8"))
    if scope not in body["files"]:
        raise UsageError("the release has no such scope", remedy="known: " + ", ".join(sorted(body["files"])))
    return str(body["release_id"]), settings.paths.releases / str(body["files"][scope])


def release_faults(settings: Settings) -> list[str] | None:
    """What is wrong with the published releases and the pointer to the current one; ``None`` when nothing is published.

    Every file is hashed. A damaged journal is told elsewhere; here it only names no release.
    """
    paths = settings.paths
    published = set()
    with suppress(DamagedHomeError):
        published = {receipt["release_id"] for receipt in journal.read(paths.journal) if receipt["event"] == "publish"}
    if not published and not paths.current_release.exists():
        return None
    faults = []
    try:
        pointer = json.loads(paths.current_release.read_text(encoding="utf-8"))
        named = [paths.releases / str(file) for file in pointer["files"].values()]
        faults += [f"releases/{file.relative_to(paths.releases)} is missing" for file in named if not file.exists()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        faults.append("releases/current.json was cut, changed or removed")
    folders = {path.name for path in paths.releases.iterdir() if path.is_dir()} if paths.releases.is_dir() else set()
    for name in sorted(folders | published):
        fault = fault_of_release(paths.releases / name) if name in folders else "is missing"
        if fault:
            faults.append(f"releases/{name}{fault}" if fault.startswith("/") else f"releases/{name} {fault}")
    return faults


def fault_of_release(folder: Path) -> str:
    """What is wrong with one release, or nothing. A name is told with the slash before it."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        files = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return "/manifest.json was cut, changed or removed"
    if manifest.get("seal", seal_of_manifest(manifest)) != seal_of_manifest(manifest):
        return "/manifest.json was changed"
    for name, digest in files.items():
        path = folder / name
        if not path.is_file():
            return f"/{name} is missing"
        with path.open("rb") as handle:
            if hashlib.file_digest(handle, "sha256").hexdigest() != digest:
                return f"/{name} was cut or changed after it was published"
    return ""


def seal_of_manifest(manifest: dict[str, Any]) -> str:
    """Hash of a release's manifest without its own seal."""
    body = {key: value for key, value in manifest.items() if key != "seal"}
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
