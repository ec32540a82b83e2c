"""A trailer line: the sender's own statement, in the last line of a file, of how many rows it holds."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import IO, Any

from ingestion.problems import RefusedFile

_LONGEST_LINE_BYTES = 2 << 20
_FIX = "send the file again, whole; its last line is the trailer the mapping declares"


@dataclass
class Trailer:
    """The declared form of the last line. ``count`` is what it announces, known once the file is read to its end."""

    pattern: re.Pattern[str]
    count: int | None = None

    def check(self, rows: int) -> None:
        """Refuse the file when the trailer announces another number of rows."""
        if self.count != rows:
            raise RefusedFile(
                "row_count", f"the trailer announces {self.count} rows, the file holds {rows}", remedy=_FIX
            )


class TrailedReader(io.RawIOBase):
    """A byte stream without its last line, which has to be the trailer; otherwise the file may be cut off."""

    def __init__(self, stream: IO[bytes], trailer: Trailer) -> None:
        self._stream = stream
        self._trailer = trailer
        self._held = b""
        self._ready = b""
        self._is_done = False

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with whole lines, the last one held back."""
        while not self._ready and not self._is_done:
            if chunk := self._stream.read(1 << 20):
                held = self._held + chunk
                end = held.rfind(b"\n")
                start = held.rfind(b"\n", 0, end) + 1 if end >= 0 else 0
                self._ready, self._held = held[:start], held[start:]
                if len(self._held) > _LONGEST_LINE_BYTES:
                    raise RefusedFile("field_too_long", "a line is longer than 1 MB", remedy=_FIX)
            else:
                self._is_done = True
                self._read_trailer()
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _read_trailer(self) -> None:
        line, end, rest = self._held.partition(b"\n")
        found = self._trailer.pattern.search(line.decode("utf-8", errors="replace").rstrip("\r")) if end else None
        if rest or found is None or not re.fullmatch(r"\d{1,12}", found.group(1) or "", re.ASCII):
            raise RefusedFile("trailer", "the last line is not the declared trailer", remedy=_FIX)
        self._trailer.count = int(found.group(1))
