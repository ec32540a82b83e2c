"""What the current build was made from, whether ``current.duckdb`` is the file that the last build wrote, and the build
before it, which the next delivery is added to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson

import ingestion
from caseness import journal, warehouse
from caseness.dbt_runner import project_folder
from caseness.errors import DamagedHomeError, NotReadyError
from caseness.faults import fault_point
from caseness.settings import Settings

# Where one of these changed since a build, everyone is transformed anew.
RULES_OF_EVERYONE = ("definitions_hash", "value_sets", "date_form", "pathway_switches")
# A build that misses more of all rows than this is no shorter way than a copy.
_MUCH_MISSED = 0.05
_CHANGED = "current.duckdb was cut or changed after the build wrote it"
_BUILD_ANEW = "run `caseness build --full-refresh`, which makes the build anew from the parts"


def definitions_hash() -> str:
    """Hash of everything that decides how a number is made: definitions, contracts and the SQL."""
    digest = hashlib.sha256()
    folders = [Path(str(files("screening.definitions"))), Path(str(files("ingestion.contracts"))), project_folder()]
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".csv", ".yml", ".sql") and path.is_file():
                digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def read_build_state(settings: Settings) -> dict[str, Any]:
    """What the current build was made from; empty when there is none.

    A build that was stopped between its two renames is told by the database's hash, and counts.
    """
    paths = settings.paths
    following = _read(paths.next_build_state)
    if following and paths.current.exists() and _sha256(paths.current) == following["sha256"]:
        return following
    return _read(paths.build_state)


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        state["build_id"], state["load_ids"], state["rules"]["as_of_date"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedHomeError(f"build/{path.name} was cut or changed", remedy=_BUILD_ANEW) from error
    return state


def ready(settings: Settings, *, is_deep: bool = False) -> dict[str, Any]:
    """The state of a build that may be read: complete, of this release's making, without a person who was removed.

    The file's size is compared, its hash too when ``is_deep``.
    """
    state = read_build_state(settings)
    if not state:
        raise NotReadyError("there is no build yet", remedy="run `caseness build` first (or `caseness run PATH...`)")
    if "sha256" not in state:
        raise NotReadyError("the build was made by an earlier release", remedy="run `caseness build`")
    if state.get("erasures", 0) < ingestion.erasures(settings):
        raise NotReadyError("the build still holds a person who was removed", remedy="run `caseness build`")
    fault = fault_of_current(settings, state, is_deep=is_deep)
    if fault:
        raise DamagedHomeError(fault, remedy=_BUILD_ANEW)
    return state


def fault_of_current(settings: Settings, state: dict[str, Any], *, is_deep: bool) -> str:
    """What is wrong with the current database, or nothing."""
    path = settings.paths.current
    if not path.exists():
        return "current.duckdb is missing, though a build was made"
    if path.stat().st_size != state["bytes"] or (is_deep and _sha256(path) != state["sha256"]):
        return _CHANGED
    return ""


def base_of_next(
    settings: Settings, state: dict[str, Any], target: Path, rows_by_load: Mapping[str, int]
) -> dict[str, Any]:
    """Put at ``target`` a build to add the newest deliveries to, and give what it was made from.

    It is the one before the current where that was kept, is unharmed and follows the same rules: it misses the
    deliveries of one more build, but is nobody's any more and need not be copied. Else, or where what it misses is much
    of all there is, it is a copy of the current one.
    """
    paths = settings.paths
    previous = _state_of_previous(settings)
    missed = set(state["load_ids"]) - set(previous.get("load_ids", []))
    if sum(rows_by_load.get(load, 0) for load in missed) > _MUCH_MISSED * sum(rows_by_load.values()):
        previous = {}
    paths.previous_state.unlink(missing_ok=True)  # from here on it is no build that is kept
    if previous and is_followed_by(previous, state) and _sha256(paths.previous) == previous["sha256"]:
        os.replace(paths.previous, target)
        if warehouse.is_free(target):
            return previous
        warehouse.remove_database(target)
    warehouse.remove_database(paths.previous)
    copied(settings, state, target)
    return state


def _state_of_previous(settings: Settings) -> dict[str, Any]:
    """What the build before the current one was made from; empty where it was not kept, or is still the current one."""
    paths = settings.paths
    try:
        state = _read(paths.previous_state)
        is_whole = bool(state) and paths.previous.stat().st_size == state["bytes"]
        # Neither the current one under another name, nor a snapshot that somebody made of it.
        is_own = paths.previous.stat().st_nlink == 1
        return state if is_whole and is_own else {}
    except (DamagedHomeError, FileNotFoundError, KeyError):
        return {}


def is_followed_by(earlier: dict[str, Any], later: dict[str, Any]) -> bool:
    """Whether the deliveries of ``later`` may be added to what ``earlier`` made: same rules, nobody removed since."""
    return (
        all(earlier["rules"].get(name) == later["rules"].get(name) for name in RULES_OF_EVERYONE)
        and earlier.get("erasures", 0) == later.get("erasures", 0)
        and earlier.get("deidentification") == later.get("deidentification")
        and set(earlier["load_ids"]) <= set(later["load_ids"])
    )


def remove_previous(settings: Settings) -> None:
    """Remove the build before the current one; the state goes first, so that nothing is added to half of it."""
    settings.paths.previous_state.unlink(missing_ok=True)
    warehouse.remove_database(settings.paths.previous)


def copied(settings: Settings, state: dict[str, Any], target: Path) -> None:
    """Copy the current build for the next step, checking on the way that it is what the build wrote."""
    fault = fault_of_current(settings, state, is_deep=False)
    if not fault and warehouse.working_copy(settings.paths.current, target) != state["sha256"]:
        warehouse.remove_database(target)
        fault = _CHANGED
    if fault:
        raise DamagedHomeError(fault, remedy=_BUILD_ANEW)


def verified(settings: Settings, state: dict[str, Any]) -> Path:
    """The current build, to be read where it is. Raises ``DamagedHomeError`` when it is not what the build wrote."""
    fault = fault_of_current(settings, state, is_deep=True)
    if fault:
        raise DamagedHomeError(fault, remedy=_BUILD_ANEW)
    return settings.paths.current


def put_in_place(settings: Settings, built: Path, state: dict[str, Any], *, keep_previous: bool = False) -> None:
    """Rename a finished database over the current one, and then what it was made from.

    ``keep_previous``: the one it takes the place of is kept where the next delivery can be added to it, under a second
    name first, and with a state of its own, without which it counts for nothing, when the new one is in place. Where
    the file system will not have it, it is not kept.
    """
    paths = settings.paths
    whole = {**state, "bytes": built.stat().st_size, "sha256": _sha256(built)}
    replaced = _replaced(settings, whole) if keep_previous else {}
    journal.write_atomically(paths.next_build_state, orjson.dumps(whole, option=orjson.OPT_INDENT_2))
    fault_point("build_finished")
    remove_previous(settings)
    if replaced:
        try:
            os.link(paths.current, paths.previous)
        except OSError:
            replaced = {}
        fault_point("previous_linked")
    warehouse.take_place(built, paths.current)
    fault_point("build_in_place")
    if replaced:
        with contextlib.suppress(OSError):
            journal.write_atomically(paths.previous_state, orjson.dumps(replaced, option=orjson.OPT_INDENT_2))
        fault_point("previous_stated")
    os.replace(paths.next_build_state, paths.build_state)
    journal.fsync_folder(paths.build)


def _replaced(settings: Settings, state: dict[str, Any]) -> dict[str, Any]:
    """The state of the current build, where it is worth keeping beside the one that follows; else nothing."""
    try:
        current = read_build_state(settings) if settings.keep_previous_build else {}
    except DamagedHomeError:
        return {}
    is_kept = "sha256" in current and is_followed_by(current, state)
    return current if is_kept and not fault_of_current(settings, current, is_deep=False) else {}


def remove_build(settings: Settings) -> None:
    """Remove the current build and what it is known by; the state goes first, so that no reader trusts half of it."""
    paths = settings.paths
    for path in (paths.next_build_state, paths.build_state):
        path.unlink(missing_ok=True)
    warehouse.remove_database(paths.current)
    remove_previous(settings)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
