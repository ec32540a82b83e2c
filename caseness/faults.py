"""Named places at which a test may end the process, to show that nothing is lost, doubled or half done there.

``CASENESS_FAULT_AT=name`` (or ``name:3`` for its third passing) kills the process with SIGKILL at that place. Nothing
sets it outside tests.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

FAULT_POINTS = (
    "parts_renamed",
    "entry_committed",
    "receipt_written",
    "entry_retired",
    "change_announced",
    "withdrawal_marked",
    "build_finished",
    "previous_linked",
    "build_in_place",
    "previous_stated",
    "release_written",
    "release_in_place",
    "person_marked",
    "part_rewritten",
    "entry_erased",
    "parts_erased",
    "builds_removed",
    "migration_saved",
    "entry_migrated",
    "migration_journalled",
    "backup_written",
    "backup_unpacked",
    "home_restored",
    "key_made",
    "rotation_told",
)
_passed: Counter[str] = Counter()


def fault_point(name: str) -> None:
    """Pass a named place; end here if a test asked for it."""
    wanted = os.environ.get("CASENESS_FAULT_AT")
    if not wanted:
        return
    at, _, times = wanted.partition(":")
    _passed[name] += 1
    if at == name and _passed[name] == int(times or 1):
        os.kill(os.getpid(), signal.SIGKILL)
