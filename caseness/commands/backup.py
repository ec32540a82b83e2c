"""``caseness backup`` and ``caseness restore``: all of a home that cannot be built again, hashed file by file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import orjson

import ingestion
from caseness import __version__, build_state, home, journal
from caseness.build_state import definitions_hash
from caseness.commands.build import run_build
from caseness.errors import CheckFailedError, DamagedHomeError, UsageError
from caseness.faults import fault_point
from caseness.settings import HomePaths, Settings

BACKUP_VERSION = 1
MANIFEST_NAME = "backup.json"
_LARGEST_MANIFEST_BYTES = 1 << 30
_BLOCK_BYTES = 1 << 22
_SAY_EVERY = 500
_REFUSED = "nothing was restored; use another backup"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class BackupReport:
    """What was saved."""

    target: str
    files: int
    bytes: int
    content_hash: str | None
    has_key: bool

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready facts."""
        return dict(vars(self))


@dataclass(frozen=True)
class RestoreReport:
    """What came back. ``is_same`` is None where the backup recorded no hash this release could meet."""

    home: str
    files: int
    content_hash: str | None
    content_hash_of_backup: str | None
    is_same: bool | None
    has_key: bool

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready facts."""
        return dict(vars(self))


class _Sink(Protocol):
    def add(self, name: str, source: Path) -> dict[str, Any]: ...
    def finish(self, manifest: bytes) -> None: ...


def run_backup(
    target: Path, *, settings: Settings, with_key: bool = False, progress: Progress | None = None
) -> BackupReport:
    """Save the home, without builds and working files, to a new folder or ``.tar``. A damaged home is not saved.

    The pseudonym key is left out unless ``with_key``: who holds it can tell whose rows these are.
    """
    say = progress or (lambda message: None)
    target = target.expanduser().absolute()
    if target.exists():
        raise UsageError(f"{target.name} exists already", remedy="give a name that is free")
    if target.is_relative_to(settings.home):
        raise UsageError("a backup does not lie inside the home it saves", remedy="give a folder elsewhere")
    if with_key and settings.key_file is not None:
        raise UsageError("the key lies outside the home (key_file)", remedy="save it by itself, apart from the backup")
    temporary = _temporary(target)
    with journal.exclusive(settings.paths.lock, purpose="backup"):
        home.check(settings)
        if home.version(settings) is None:
            raise UsageError("there is no home to save", remedy="check --home")
        ingestion.settle(settings, is_deep=True)
        recorded = _recorded_hash(settings)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_behind(target)
        try:
            files: dict[str, dict[str, Any]] = {}
            with _sink(temporary, is_archive=target.suffix == ".tar") as sink:
                for path in _kept(settings.paths, with_key=with_key):
                    name = path.relative_to(settings.home).as_posix()
                    files[name] = sink.add(name, path)
                    if len(files) % _SAY_EVERY == 0:
                        say(f"{len(files):,} files")
                manifest = {
                    "backup_version": BACKUP_VERSION,
                    "home_version": home.HOME_VERSION,
                    "code_version": __version__,
                    "has_key": with_key,
                    **recorded,
                    "files": files,
                }
                sink.finish(orjson.dumps({**manifest, "seal": _seal(manifest)}))
            fault_point("backup_written")
            os.replace(temporary, target)
            journal.fsync_folder(target.parent)
        except BaseException:
            _remove(temporary)
            raise
        journal.append(settings.paths.journal, "backup", files=len(files), has_key=with_key)
    size = sum(int(facts["bytes"]) for facts in files.values())
    return BackupReport(str(target), len(files), size, recorded["content_hash"], with_key)


def run_restore(
    backup: Path, *, settings: Settings, with_build: bool = True, progress: Progress | None = None
) -> RestoreReport:
    """Make a new home of a backup: every hash is compared before it takes its place, then it is built anew.

    Raises ``DamagedHomeError`` for a backup that is damaged, cut or holds more than it says; then there is no new home.
    """
    say = progress or (lambda message: None)
    target = settings.home
    if target.exists() and any(target.iterdir()):
        raise UsageError("the new home is not empty", remedy="give another --home")
    if not backup.exists():
        raise UsageError(f"there is no backup {backup.name!r}", remedy="check the path")
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(target)
    temporary = _temporary(target)
    with journal.plain_disk_full():
        try:
            manifest = _unpacked(backup, temporary, say)
            fault_point("backup_unpacked")
            unpacked = Settings.model_validate({**settings.model_dump(), "home": temporary})
            home.check(unpacked)
            ingestion.reconcile(unpacked, is_deep=True)
            for folder in unpacked.paths.folders():
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o700)
            for folder in (temporary, unpacked.paths.landing, unpacked.paths.keys):
                folder.chmod(0o700)
            if target.exists():
                target.rmdir()
            os.replace(temporary, target)
            journal.fsync_folder(target.parent)
        except BaseException:
            _remove(temporary)
            raise
    fault_point("home_restored")
    # What the home's own caseness.toml says counts from now on; the day the data speak for is the backup's.
    restored = Settings(home=target).with_changes(
        threads=settings.threads, memory_limit_megabytes=settings.memory_limit_megabytes
    )
    if manifest["as_of_date"]:
        restored = restored.with_changes(as_of_date=manifest["as_of_date"])
    expected = manifest["content_hash"]
    found = None
    if with_build and any(row["load_status"] == "loaded" for row in ingestion.manifest_entries(restored)):
        found = run_build(settings=restored, full_refresh=True, progress=say).content_hash
    is_comparable = found is not None and expected is not None and manifest["definitions_hash"] == definitions_hash()
    if is_comparable and found != expected:
        raise CheckFailedError(
            f"the restored home is whole, but its marts differ from those of the backup ({found}, not {expected})",
            remedy="compare the settings of the two (as_of_date), then report it",
        )
    return RestoreReport(
        str(target), len(manifest["files"]), found, expected, is_comparable or None, bool(manifest["has_key"])
    )


def _kept(paths: HomePaths, *, with_key: bool) -> Iterator[Path]:
    """Files of a home that cannot be built again."""
    single = (paths.home_file, paths.settings_file, paths.periods)
    folders = [paths.landing, paths.quarantine, paths.journal.parent, paths.value_sets, paths.sources, paths.releases]
    folders += [paths.keys] if with_key else []
    found = [path for path in single if path.is_file()]
    found += [path for folder in folders if folder.is_dir() for path in folder.rglob("*") if path.is_file()]
    yield from sorted(path for path in found if not path.name.endswith(".tmp") and not path.is_symlink())


def _recorded_hash(settings: Settings) -> dict[str, Any]:
    """The content hash a restore has to meet, where the current build holds what is landed under these definitions."""
    facts: dict[str, Any] = {"content_hash": None, "definitions_hash": definitions_hash(), "as_of_date": None}
    state = build_state.read_build_state(settings)
    loads = {row["load_id"] for row in ingestion.manifest_entries(settings) if row["load_status"] == "loaded"}
    if (
        "content_hash" in state
        and set(state["load_ids"]) == loads
        and state["erasures"] == ingestion.erasures(settings)
        and state["rules"]["definitions_hash"] == facts["definitions_hash"]
    ):
        facts |= {"content_hash": state["content_hash"], "as_of_date": state["rules"]["as_of_date"]}
    return facts


def _seal(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)).hexdigest()


@contextmanager
def _sink(temporary: Path, *, is_archive: bool) -> Iterator[_Sink]:
    if not is_archive:
        temporary.mkdir()
        yield _Folder(temporary)
        return
    with temporary.open("wb") as handle:
        with tarfile.open(fileobj=handle, mode="w", format=tarfile.PAX_FORMAT) as archive:
            yield _Archive(archive)
        handle.flush()
        os.fsync(handle.fileno())


class _Folder:
    """A backup as a folder of files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, source: Path) -> dict[str, Any]:
        """Copy a file; its size and hash."""
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as read:
            return _copied(read, target)

    def finish(self, manifest: bytes) -> None:
        """Write the manifest, last."""
        journal.write_atomically(self._folder / MANIFEST_NAME, manifest)


class _Archive:
    """A backup as one tar file."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def add(self, name: str, source: Path) -> dict[str, Any]:
        """Append a file; its size and hash."""
        with source.open("rb") as read:
            digest = hashlib.file_digest(read, "sha256").hexdigest()
            size = read.tell()
            read.seek(0)
            self._archive.addfile(_member(name, size), read)
        return {"bytes": size, "sha256": digest}

    def finish(self, manifest: bytes) -> None:
        """Append the manifest, last."""
        self._archive.addfile(_member(MANIFEST_NAME, len(manifest)), io.BytesIO(manifest))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o600
    return member


def _copied(read: Any, target: Path) -> dict[str, Any]:
    """Copy a stream to a new private file, durably; its size and hash."""
    digest, size = hashlib.sha256(), 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as write:
        while block := read.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
            write.write(block)
        write.flush()
        os.fsync(write.fileno())
    return {"bytes": size, "sha256": digest.hexdigest()}


def _unpacked(backup: Path, target: Path, say: Progress) -> dict[str, Any]:
    """Copy a backup's files to ``target`` and compare every one with the backup's own manifest."""
    target.mkdir()
    manifest: bytes | None = None
    found: dict[str, dict[str, Any]] = {}
    try:
        for name, read, size in _members(backup):
            if name == MANIFEST_NAME:
                if size > _LARGEST_MANIFEST_BYTES:
                    raise ValueError
                manifest = read.read()
                continue
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            found[name] = _copied(read, path)
            if len(found) % _SAY_EVERY == 0:
                say(f"{len(found):,} files")
        if manifest is None:
            raise DamagedHomeError("the backup was cut: its manifest is missing", remedy=_REFUSED)
        body: dict[str, Any] = json.loads(manifest)
        seal = body.pop("seal")
        if seal != _seal(body):
            raise ValueError
    except (tarfile.TarError, ValueError, KeyError, TypeError, EOFError, FileExistsError) as error:
        raise DamagedHomeError("the backup is damaged: it cannot be read", remedy=_REFUSED) from error
    if body["backup_version"] > BACKUP_VERSION:
        raise UsageError("the backup was made by a newer caseness", remedy="restore it with that version")
    for name in sorted({*found, *body["files"]}):
        if name not in found:
            raise DamagedHomeError(f"the backup is damaged: {name} is missing", remedy=_REFUSED)
        if name not in body["files"]:
            raise DamagedHomeError(f"the backup holds a file it does not name: {name}", remedy=_REFUSED)
        if found[name] != body["files"][name]:
            raise DamagedHomeError(f"the backup is damaged: {name} was cut or changed", remedy=_REFUSED)
    return body


def _members(backup: Path) -> Iterator[tuple[str, Any, int]]:
    """Every file of a backup: its name, its bytes, its size. Nothing but plain files below the backup is followed."""
    if backup.is_dir():
        for path in sorted(backup.rglob("*")):
            if path.is_symlink():
                raise ValueError("a link")
            if path.is_file():
                with path.open("rb") as read:
                    yield path.relative_to(backup).as_posix(), read, path.stat().st_size
        return
    with tarfile.open(backup, mode="r:") as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if not member.isreg() or name.is_absolute() or ".." in name.parts or "\\" in member.name:
                raise ValueError("not a plain file")
            yield member.name, archive.extractfile(member), member.size


def _temporary(target: Path) -> Path:
    """Where this process writes what becomes ``target`` by a rename."""
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")


def _remove_left_behind(target: Path) -> None:
    """Remove what processes that were killed had written of ``target``: copies of data that nobody would look for.

    Whether a process lives is asked of this machine: two machines do not write to one place at a time.
    """
    form = re.compile(rf"\.{re.escape(target.name)}\.([1-9][0-9]*)\.tmp")
    with suppress(PermissionError):  # another user's, or a folder that cannot be listed: tidying stops nobody
        for path in target.parent.iterdir():
            match = form.fullmatch(path.name)
            if match and (int(match[1]) == os.getpid() or not _is_alive(int(match[1]))):
                _remove(path)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's; or no number a process can have, so not ours to judge
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
