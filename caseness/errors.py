"""Errors a user can act on, and the exit code each one ends with.

Every message says what is wrong, where, and what to do. None holds a value of the data.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

_DISK_FULL_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_DISK_FULL_WORDS = ("No space left on device", "os error 28", "Disk quota exceeded", "os error 122")


class CasenessError(Exception):
    """Something the user can put right. ``remedy`` says how."""

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageError(CasenessError):
    """The command was called in a way it does not understand."""

    exit_code = 2


class RefusedInputError(CasenessError):
    """At least one file was refused at the door; the others were loaded."""

    exit_code = 3


class CheckFailedError(CasenessError):
    """A fatal data-quality rule or a disclosure audit stopped the publication."""

    exit_code = 4


class NotReadyError(CasenessError):
    """A step that must come first has not been run (no build, no release, no key)."""

    exit_code = 5


class LockedError(CasenessError):
    """Another process is writing to this home."""

    exit_code = 6


class DamagedHomeError(CasenessError):
    """Receipts, manifest and parts disagree; nothing is computed until it is put right."""

    exit_code = 7


class DiskFullError(CasenessError):
    """The disk is full. What was being written is gone, what was there before is whole."""

    exit_code = 9

    def __init__(self) -> None:
        super().__init__(
            "the disk is full; what was being written is as if it had not begun",
            remedy="free space where the home lies, then run the same command again",
        )


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk is behind an error, whichever library met it."""
    return isinstance(error, DiskFullError) or any(
        getattr(one, "errno", None) in _DISK_FULL_NUMBERS or any(words in str(one) for words in _DISK_FULL_WORDS)
        for one in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
