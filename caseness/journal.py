"""Append-only receipts outside the database, each one chained to the one before by its hash.

A truncated write-ahead log opens without an error as a shorter database, so what was loaded is also written here:
one JSON line per event, flushed to disk before the event counts. Lines hold names, counts and hashes, never values.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from caseness.errors import DamagedHomeError, DiskFullError, LockedError, is_disk_full

GENESIS = "0" * 64
LONGEST_RECEIPT_BYTES = 1 << 20
_RESTORE = "restore the journal from a backup; the parts and manifests are untouched"


def _digest(previous: str, body: dict[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


def fsync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or none of it: temporary name, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def append(journal: Path, event: str, **facts: Any) -> str:
    """Append one receipt and return its hash. Safe against other writers of the same file."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a+b") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _drop_torn_line(handle, _head(journal))
        previous = _last_hash(handle)
        body = {
            "event": event,
            "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "previous": previous,
            **facts,
        }
        digest = _digest(previous, body)
        end = handle.seek(0, os.SEEK_END)
        try:
            handle.write(json.dumps({**body, "hash": digest}, sort_keys=True).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
        except OSError:
            handle.truncate(end)
            raise
        write_atomically(_head_path(journal), json.dumps({"hash": digest}).encode())
    return digest


def _head_path(journal: Path) -> Path:
    """Where the last receipt's hash stands beside the journal, so that a journal cut at a line end is found too."""
    return journal.with_name("head.json")


def _head(journal: Path) -> str | None:
    path = _head_path(journal)
    if not path.exists():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["hash"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedHomeError("the journal's head (head.json) was cut or changed", remedy=_RESTORE) from error


def _tail(handle: BinaryIO) -> bytes:
    """The end of the journal, long enough for its last receipts."""
    size = handle.seek(0, os.SEEK_END)
    handle.seek(max(0, size - 2 * LONGEST_RECEIPT_BYTES))
    return handle.read()


def _drop_torn_line(handle: BinaryIO, head: str | None) -> None:
    """Remove a last line that a power cut tore: its event never counted, because the head names the line before it."""
    tail = _tail(handle)
    if not tail or tail.endswith(b"\n"):
        return
    whole = tail[: tail.rfind(b"\n") + 1]
    if head is None or (_hash_of(whole) if whole else GENESIS) != head:
        raise DamagedHomeError("the last line of the journal is not a receipt", remedy=_RESTORE)
    handle.truncate(handle.seek(0, os.SEEK_END) - (len(tail) - len(whole)))


def _last_hash(handle: BinaryIO) -> str:
    """Hash of the last receipt, read from the end so that a long journal costs nothing to append to."""
    tail = _tail(handle)
    return _hash_of(tail) if tail else GENESIS


def _hash_of(lines: bytes) -> str:
    last = lines.rstrip(b"\n").rsplit(b"\n", 1)[-1]
    try:
        return str(json.loads(last)["hash"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedHomeError(
            "the last line of the journal is not a receipt",
            remedy=_RESTORE,
        ) from error


def has_head(journal: Path) -> bool:
    """Whether the last receipt's hash stands beside the journal, as in every home but the first release's."""
    return _head_path(journal).exists()


def read(journal: Path) -> Iterator[dict[str, Any]]:
    """All receipts in order; a line that was changed, removed or moved raises ``DamagedHomeError``."""
    if not journal.exists():
        if _head_path(journal).exists():
            raise DamagedHomeError("the journal is missing", remedy=_RESTORE)
        return
    previous = GENESIS
    head = _head(journal)
    has_met_head = head is None
    with journal.open("r", encoding="utf-8", errors="replace") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.endswith("\n"):
                if head is not None and previous == head:
                    return  # torn by a power cut before its event counted
                raise DamagedHomeError(f"journal line {number} is cut short", remedy=_RESTORE)
            try:
                receipt = json.loads(line)
                digest = receipt.pop("hash")
            except (ValueError, KeyError, AttributeError) as error:
                raise DamagedHomeError(
                    f"journal line {number} is not a receipt",
                    remedy=_RESTORE,
                ) from error
            if receipt.get("previous") != previous or _digest(previous, receipt) != digest:
                raise DamagedHomeError(
                    f"journal line {number} does not follow from the line before it",
                    remedy="the journal was edited or cut; restore it from a backup",
                )
            previous = digest
            has_met_head = has_met_head or digest == head
            yield {**receipt, "hash": digest}
    if not has_met_head:
        raise DamagedHomeError(
            "the journal does not reach the receipt its head (head.json) names: one of the two was cut or changed",
            remedy=_RESTORE,
        )


@contextmanager
def exclusive(lock: Path, *, purpose: str) -> Iterator[None]:
    """Hold the home's process lock, or raise ``LockedError`` at once.

    Whoever writes holds it, so it is also where a full disk becomes one plain ``DiskFullError``.
    """
    with plain_disk_full():
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LockedError(
                    f"another caseness process is writing to {lock.parent.name!r}, so {purpose} cannot start",
                    remedy="wait until it has finished, then run the command again",
                ) from error
            yield


@contextmanager
def plain_disk_full() -> Iterator[None]:
    """Say a full disk in one sentence, whichever library met it."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise DiskFullError from error
        raise
