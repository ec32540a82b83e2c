"""Source files: on disk, or inside a zip archive. Names are opened as they are, never as patterns; bytes are bounded.

An archive is read member by member as a stream and never extracted. One that could write outside a folder, hide a
file behind another, or grow without bound is refused whole.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ingestion.problems import RefusedFile

ARCHIVE_SUFFIX = ".zip"
WHOLE_DOCUMENT_LIMIT_BYTES = 64 << 20
_MOST_MEMBERS = 20_000
_LARGEST_RATIO = 250
_RATIO_COUNTS_FROM_BYTES = 1 << 20
_LARGEST_DIRECTORY_BYTES = 16 << 20
_LEFT_ALONE = ("__MACOSX/",)
_HOSTILE_NAME = re.compile(r"(^/)|(^[A-Za-z]:)|\\|[\x00-\x1f\x7f]|(^|/)\.\.(/|$)")
_ARCHIVE_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class SourceFile:
    """One file of a delivery. ``label`` is how reports speak of it, relative to what was given."""

    path: Path
    label: str
    member: str | None = None

    @property
    def name(self) -> str:
        """The file's own name, without folders."""
        return PurePosixPath(self.member).name if self.member else self.path.name

    @property
    def plain_name(self) -> str:
        """The name without a ``.gz`` ending."""
        return self.name.removesuffix(".gz")

    @property
    def folder(self) -> str:
        """The folder it lies in, inside its archive where it has one."""
        return str(PurePosixPath(self.member).parent) if self.member else str(self.path.parent)

    def beside(self, name: str) -> SourceFile | None:
        """Another file of the same folder (for a member also beside the archive), or ``None``."""
        if self.member is None:
            other = self.path.with_name(name)
            return SourceFile(other, name) if other.is_file() else None
        wanted = str(PurePosixPath(self.member).with_name(name))
        with _archive(self.path) as archive:
            if wanted in archive.NameToInfo:
                return SourceFile(self.path, f"{self.path.name}/{wanted}", wanted)
        other = self.path.with_name(name)
        return SourceFile(other, name) if other.is_file() else None

    def siblings(self, name: re.Pattern[str]) -> list[SourceFile]:
        """The other files of the same folder whose whole name fits, in name order."""
        if self.member is None:
            others = [path.name for path in self.path.parent.iterdir() if path.is_file() and not path.is_symlink()]
        else:
            with _archive(self.path) as archive:
                own = [PurePosixPath(entry) for entry in archive.NameToInfo]
            others = [path.name for path in own if path.parent == PurePosixPath(self.member).parent]
        found = [self.beside(other) for other in sorted(others) if other != self.name and name.fullmatch(other)]
        return [file for file in found if file is not None]

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The file's bytes as they are stored (a ``.gz`` stays packed). A damaged archive refuses the file."""
        if self.member is None:
            with self.path.open("rb") as handle:
                yield handle
            return
        with _archive(self.path) as archive:
            try:
                member = archive.open(self.member)
            except _ARCHIVE_ERRORS as error:
                raise _damaged() from error
            with member:
                yield member

    def sha256(self) -> str:
        """Hash of the file's bytes, read in blocks."""
        digest = hashlib.sha256()
        try:
            with self.opened() as handle:
                while block := handle.read(1 << 22):
                    digest.update(block)
        except _ARCHIVE_ERRORS as error:
            raise _damaged() from error
        return digest.hexdigest()

    def state(self) -> tuple[int, int, int]:
        """Size, time and inode, to notice a file that changes while it is read."""
        found = self.path.stat()
        return found.st_size, found.st_mtime_ns, found.st_ino


class BoundedReader(io.RawIOBase):
    """A byte stream that refuses to yield more than ``limit`` bytes, so a small archive cannot fill the machine."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._left = limit

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; refuse the file when the limit is passed or the archive is broken."""
        try:
            size: int = self._stream.readinto(buffer)  # type: ignore[attr-defined]  # every binary stream has it
        except _ARCHIVE_ERRORS as error:
            raise _damaged() from error
        self._left -= size
        if self._left < 0:
            raise RefusedFile("too_large", "the file is larger than allowed", remedy="raise file_size_limit_megabytes")
        return size


@contextmanager
def open_bytes(file: SourceFile, *, limit_bytes: int) -> Iterator[io.BufferedReader[Any]]:
    """The file's bytes, unpacked when its name ends in ``.gz``, bounded."""
    with file.opened() as stored:
        stream: Any = gzip.GzipFile(fileobj=stored) if file.name.endswith(".gz") else stored
        with io.BufferedReader(BoundedReader(stream, limit_bytes), buffer_size=1 << 20) as reader:
            yield reader


@contextmanager
def open_seekable(file: SourceFile, *, limit_bytes: int) -> Iterator[IO[bytes]]:
    """The file for a format that is read back and forth. A member of an archive is held in memory, so it is bounded."""
    if file.member is None:
        if file.path.stat().st_size > limit_bytes:
            raise RefusedFile("too_large", "the file is larger than allowed", remedy="raise file_size_limit_megabytes")
        with file.path.open("rb") as handle:
            yield handle
        return
    limit = min(limit_bytes, WHOLE_DOCUMENT_LIMIT_BYTES)
    with open_bytes(file, limit_bytes=limit) as reader:
        try:
            content = reader.read()
        except RefusedFile as refusal:
            if refusal.rule == "too_large":
                raise RefusedFile(
                    "too_large", "the file is too large to be read inside an archive", remedy="send it unpacked"
                ) from refusal
            raise
    yield io.BytesIO(content)


def files_in(path: Path) -> Iterator[SourceFile]:
    """Every file under a path, in name order; hidden files and links are left alone, archives stay closed."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.is_file() and not file.is_symlink() and not hidden:
                yield SourceFile(file, str(file.relative_to(path)))
    else:
        yield SourceFile(path, path.name)


def count_files(paths: Iterable[Path]) -> int:
    """How many files there are under some paths; archives count as one."""
    return sum(1 for path in paths for _ in files_in(path))


def is_archive(file: SourceFile) -> bool:
    """Whether the file is a zip of files (an ``.xlsx`` is not: it is a table)."""
    return file.member is None and file.name.lower().endswith(ARCHIVE_SUFFIX)


def members_of(file: SourceFile, *, limit_bytes: int) -> list[SourceFile]:
    """The files inside an archive, in name order. Raises ``RefusedFile`` for an archive that may do harm."""
    with _archive(file.path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        check_members(entries, limit_bytes)
        return [
            SourceFile(file.path, f"{file.label}/{entry.filename}", entry.filename)
            for entry in sorted(entries, key=lambda entry: entry.filename)
            if not _is_left_alone(entry.filename)
        ]


def _is_left_alone(name: str) -> bool:
    return name.startswith(_LEFT_ALONE) or any(part.startswith(".") for part in PurePosixPath(name).parts)


def check_members(entries: Sequence[zipfile.ZipInfo], limit_bytes: int) -> None:
    """Refuse the names, links and sizes with which an archive could do harm."""
    seen: set[str] = set()
    total = 0
    for number, entry in enumerate(entries, start=1):
        name = entry.filename
        if number > _MOST_MEMBERS:
            raise _hostile("archive_members", f"the archive holds more than {_MOST_MEMBERS} files")
        if _HOSTILE_NAME.search(entry.orig_filename) or _HOSTILE_NAME.search(name) or not name.strip():
            raise _hostile("archive_name", "a name in the archive leads out of its folder, or holds control characters")
        if name.casefold() in seen:
            raise _hostile("archive_name", "two names in the archive are the same, or differ by case only")
        seen.add(name.casefold())
        if entry.flag_bits & 0x1:
            raise _hostile("archive_encrypted", "the archive is encrypted")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _hostile("archive_link", "the archive holds a link")
        total += entry.file_size
        is_large = entry.file_size > _RATIO_COUNTS_FROM_BYTES
        if total > limit_bytes or (is_large and entry.file_size > _LARGEST_RATIO * max(1, entry.compress_size)):
            raise _hostile("archive_size", "the archive unpacks to more than is allowed")
    placed = sorted((entry.header_offset, entry.compress_size) for entry in entries)
    if any(start + size > following for (start, size), (following, _) in pairwise(placed)):
        raise _hostile("archive_overlap", "two files of the archive share the same bytes")


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with path.open("rb") as handle:
            check_directory_size(handle)
        archive = zipfile.ZipFile(path)
    except _ARCHIVE_ERRORS as error:
        raise _damaged() from error
    try:
        yield archive
    except (zipfile.BadZipFile, zlib.error) as error:
        raise _damaged() from error
    finally:
        archive.close()


def check_directory_size(handle: IO[bytes]) -> None:
    """The list of members stands at the end; one that is larger than any honest archive's is not parsed at all."""
    size = handle.seek(0, io.SEEK_END)
    handle.seek(max(0, size - (1 << 16) - 22))
    tail = handle.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise zipfile.BadZipFile
    if int.from_bytes(tail[at + 12 : at + 16], "little") not in range(_LARGEST_DIRECTORY_BYTES):
        raise _hostile("archive_members", "the archive's list of files is larger than allowed")


def _hostile(rule: str, message: str) -> RefusedFile:
    return RefusedFile(rule, message, remedy="unpack it, look at it, and send the files themselves")


def _damaged() -> RefusedFile:
    return RefusedFile("archive", "the compressed file is damaged", remedy="send it again")
