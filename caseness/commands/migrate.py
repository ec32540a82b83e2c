"""``caseness migrate``: from an earlier release's layout to this one. Run again, it finishes what was stopped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import ingestion
from caseness import home, journal
from caseness.errors import NotReadyError
from caseness.faults import fault_point
from caseness.settings import Settings
from ingestion.keys import ensure_key
from ingestion.landing import MANIFEST_VERSION, Manifest, remove_strays, seal_of

_FIRST_KEY_VERSION = 1
_SAY_EVERY = 500


def run_migrate(*, settings: Settings, progress: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Bring a home to this release's layout. A home that has it is left alone."""
    say = progress or (lambda message: None)
    paths = settings.paths
    if home.version(settings) is None:
        raise NotReadyError("there is no home yet", remedy="run `caseness init`")
    with journal.exclusive(paths.lock, purpose="migrate"):
        before = int(home.version(settings) or 0)
        if before >= home.HOME_VERSION:
            home.check(settings)
            return {"from_version": before, "to_version": before, "entries_migrated": 0, "saved_as": None}
        entries = ingestion.reconcile(settings)
        remove_strays(settings, entries)
        saved = _save(settings)
        fault_point("migration_saved")
        manifest = Manifest(settings, entries)
        old = [entry for entry in entries if entry.get("manifest_version", 1) < MANIFEST_VERSION]
        for number, entry in enumerate(old, start=1):
            manifest.replace_parts(entry["load_id"], _changes(entry, settings))
            fault_point("entry_migrated")
            if number % _SAY_EVERY == 0:
                say(f"{number:,} of {len(old):,} loads")
        _move_periods(settings)
        journal.append(
            paths.journal, "migrate", from_version=before, to_version=home.HOME_VERSION, entries=len(entries)
        )
        fault_point("migration_journalled")
        home.write(settings)
        for folder in paths.folders():
            folder.mkdir(parents=True, exist_ok=True)
        with suppress(NotReadyError):  # a key that is kept elsewhere is looked at when it is next used
            ensure_key(settings)
    return {
        "from_version": before,
        "to_version": home.HOME_VERSION,
        "entries_migrated": len(old),
        "saved_as": str(saved.relative_to(settings.home)),
    }


def _save(settings: Settings) -> Path:
    """Copy manifest and journal aside, once: what a migration that was stopped left is kept as it is."""
    paths = settings.paths
    target = paths.backups / "version_1"
    if target.exists():
        return target
    temporary = paths.backups / ".version_1.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    for folder in (paths.manifest, paths.journal.parent):
        if folder.exists():
            shutil.copytree(folder, temporary / folder.name)
    temporary.mkdir(parents=True, exist_ok=True)
    for path in temporary.rglob("*"):
        if path.is_file():
            seal_of(path)  # flushes it
    os.replace(temporary, target)
    journal.fsync_folder(paths.backups)
    return target


def _changes(entry: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """What this release's manifest says of a load beside what the first release wrote down."""
    paths = settings.paths
    parts = {
        name: {"rows": rows, **seal_of(paths.parts / name)} if isinstance(rows, int) else rows
        for name, rows in entry["parts"].items()
    }
    quarantine = entry.get("quarantine")
    if isinstance(quarantine, str):
        file = paths.quarantine / quarantine
        quarantine = {"name": quarantine, "rows": pq.ParquetFile(file).metadata.num_rows, **seal_of(file)}
    return {
        "manifest_version": MANIFEST_VERSION,
        "reading_id": entry["load_id"],
        "parts": parts,
        "quarantine": quarantine,
        "key_version": _FIRST_KEY_VERSION,
        "owner": None,
        "is_owner_unknown": True,
    }


def _move_periods(settings: Settings) -> None:
    """Measurement periods that users added lay in the build folder, which may be thrown away."""
    old = settings.paths.build / settings.paths.periods.name
    if old.exists():
        if not settings.paths.periods.exists():
            ingestion.write_sealed(settings, settings.paths.periods, old.read_bytes(), event="periods")
        old.unlink()
