"""Errors a user can act on, and the exit code each one ends with.

Every message says what is wrong, where, and what to do. None holds a value of the data.
"""

from __future__ import annotations


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
