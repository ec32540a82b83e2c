"""From marts and results to a release: one file per scope that holds disclosure-controlled tables and nothing else."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

import ingestion
from caseness import __version__, build_state, journal, warehouse
from caseness.build_state import definitions_hash
from caseness.dbt_runner import run_dbt
from caseness.disclosure import beside, scopes
from caseness.disclosure.attack import Profile, disclosure_profile, profile_of_release
from caseness.disclosure.audit import audited
from caseness.disclosure.truth import Truth
from caseness.disclosure.union import Published
from caseness.errors import CheckFailedError, DamagedHomeError, NotReadyError, UsageError
from caseness.faults import fault_point
from caseness.pathway_switches import stated
from caseness.settings import Deidentification, Settings

Progress = Callable[[str], None]
SCOPE = scopes.PUBLIC
_STATEMENTS = {
    Deidentification.LIMITED_DATA_SET: (
        "Made from a limited data set: not de-identified data. A data-use agreement applies to the data behind it."
    ),
    Deidentification.EXPERT_DETERMINATION: "De-identified by expert determination; see the report named.",
    Deidentification.SAFE_HARBOR: "Made from data de-identified by the Safe Harbor method (45 CFR 164.514(b)(2)).",
}


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
    was_published_before: bool = False

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
        profile = disclosure_profile(settings.disclosure_profile.value)
        release_id = _release_id(state, profile.name, settings)
        built = build_state.verified(settings, state)
        known = settings.paths.releases / release_id
        if known.is_dir() and not fault_of_release(known):
            say("this is published already; making it current again")
            report = _as_published(known)
            _make_current(settings, state, report)
            report.seconds = round(time.monotonic() - started, 2)
            return report
        working = settings.paths.temporary / "publishing.duckdb"
        try:
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
                earlier, unreadable = _earlier_releases(settings, but=release_id)
                dropped, audit, tables = audited(
                    connection,
                    profile,
                    state,
                    earlier,
                    truth=Truth(connection, str(state["build_id"])),
                    say=say,
                )
                audit["earlier_releases_attacked"] = [release.release_id for release in earlier]
                audit["earlier_releases_not_readable"] = unreadable
                folder = settings.paths.temporary / release_id
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                _write_metadata(connection, settings, state, profile, release_id)
                found = scopes.scopes(connection)
                tables[scopes.TABLE] = scopes.rows_of(connection, found[SCOPE])
                for scope, rows in found.items():
                    connection.execute("update publication.release_metadata set value = ? where key = 'scope'", [scope])
                    names = sorted({*tables, "release_metadata"})
                    where = {scopes.TABLE: rows}
                    warehouse.export_tables(connection, "publication", names, folder / f"{scope}.duckdb", where=where)
            report = ReleaseReport(release_id, profile.name, tables, dropped, audit)
            report.files = {scope: f"{release_id}/{scope}.duckdb" for scope in found}
            say("putting the release in its place")
            _put_in_place(settings, state, folder, report)
        finally:
            warehouse.remove_database(working)
    report.seconds = round(time.monotonic() - started, 2)
    return report


def _as_published(folder: Path) -> ReleaseReport:
    """What the manifest of a release says that is in its place: the same build under the same rules."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return ReleaseReport(
        manifest["release_id"],
        manifest["disclosure_profile"],
        manifest["tables"],
        manifest["dropped_by_the_audit"],
        manifest["audit"],
        files={name.removesuffix(".duckdb"): f"{folder.name}/{name}" for name in manifest["files"]},
        was_published_before=True,
    )


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
            scopes.TABLE: {},
            **{name: {} for name in beside.TABLES},
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
                profile_of_release(manifest),
                list(rows["pub_service_overview"].values()),
                list(rows[scopes.TABLE].values()),
                {name: list(rows[name].values()) for name in beside.TABLES},
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
    connection: Any, settings: Settings, state: dict[str, Any], profile: Profile, release_id: str
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
        "pathway_switches": stated(state["rules"]["pathway_switches"]),
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
        "disclosure_rule": vars(disclosure_profile(report.disclosure_profile)),
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
    os.replace(folder, target)
    journal.fsync_folder(settings.paths.releases)
    fault_point("release_in_place")
    _make_current(settings, state, report)


def _make_current(settings: Settings, state: dict[str, Any], report: ReleaseReport) -> None:
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
