"""Small files of a home that must not change or vanish unseen: marks of withdrawal, forgotten people, value sets.

A change is announced in the journal, made, and acknowledged there. Whatever the last acknowledgement does not say and
no announcement explains is damage.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from caseness import journal
from caseness.errors import DamagedHomeError
from caseness.faults import fault_point
from caseness.settings import Settings

ANNOUNCED = "change"
_SETTLED = "settled"
_ABSENT = "absent"
_REMEDY = "restore the home from a backup (`caseness restore`)"


def write(settings: Settings, path: Path, content: bytes, *, event: str, **facts: Any) -> None:
    """Write a file under the journal's eyes. ``facts`` are codes, counts and hashes, never values."""
    seal = hashlib.sha256(content).hexdigest()
    _announce(settings, path, seal, event, facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    journal.write_atomically(path, content)
    journal.append(settings.paths.journal, event, file=_name(settings, path), seal=seal, **facts)


def remove(settings: Settings, path: Path, *, event: str, **facts: Any) -> None:
    """Remove a file under the journal's eyes."""
    _announce(settings, path, _ABSENT, event, facts)
    path.unlink(missing_ok=True)
    journal.fsync_folder(path.parent)
    journal.append(settings.paths.journal, event, file=_name(settings, path), seal=_ABSENT, **facts)


def _announce(settings: Settings, path: Path, seal: str, event: str, facts: dict[str, Any]) -> None:
    journal.append(settings.paths.journal, ANNOUNCED, file=_name(settings, path), seal=seal, of=event, **facts)
    fault_point("change_announced")


def _name(settings: Settings, path: Path) -> str:
    return path.relative_to(settings.home).as_posix()


class SealedFiles:
    """What the journal says of these files, gathered receipt by receipt."""

    def __init__(self) -> None:
        self._acknowledged: dict[str, str] = {}
        self._announced: dict[str, set[str]] = {}

    def take(self, receipt: dict[str, Any]) -> None:
        """Look at one receipt; those of other things are passed over."""
        name = receipt.get("file")
        if name is None:
            return
        if receipt["event"] == ANNOUNCED:
            self._announced.setdefault(name, set()).add(receipt["seal"])
        else:
            self._acknowledged[name] = receipt["seal"]
            self._announced.pop(name, None)

    def check(self, settings: Settings) -> None:
        """Compare with the files. A change that was made but not acknowledged, as its process stopped, is now."""
        for name in sorted({*self._acknowledged, *self._announced}):
            path = settings.home / name
            seal = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else _ABSENT
            if seal == self._acknowledged.get(name, _ABSENT):
                continue
            if seal not in self._announced.get(name, ()):
                fault = "is missing" if seal == _ABSENT else "was cut or changed after it was written"
                raise DamagedHomeError(f"{name} {fault}", remedy=_REMEDY)
            journal.append(settings.paths.journal, _SETTLED, file=name, seal=seal)
