"""``caseness rotate-key``: the next pseudonym key, and what has to be delivered again under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ingestion
from caseness import home, journal
from caseness.errors import NotReadyError
from caseness.faults import fault_point
from caseness.settings import Settings
from ingestion.keys import ensure_key, is_key_new
from ingestion.pseudonyms import read_key, rotate_key
from ingestion.rotation import NEXT_STEPS, loads_before


@dataclass(frozen=True)
class RotationReport:
    """The version in force, and how many loads of which namespaces stand under earlier keys."""

    key_version: int
    loads_under_earlier_keys: dict[str, int]

    @property
    def next_steps(self) -> tuple[str, ...]:
        """What to do next; nothing where no load stands under an earlier key."""
        return NEXT_STEPS if self.loads_under_earlier_keys else ()

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready facts."""
        return {**vars(self), "next_steps": list(self.next_steps)}


def run_rotate_key(*, settings: Settings) -> RotationReport:
    """Make the next key and put it in force. Earlier keys stay: by them forgotten people are recognised.

    A key the home has not met yet, because a rotation was stopped or somebody put it beside ``key_file``, is the next
    one: it is put in force and no other is made. Raises ``CasenessError`` when the key is kept by somebody else.
    """
    if home.version(settings) is None:
        raise NotReadyError("there is no home yet", remedy="run `caseness init`")
    with journal.exclusive(settings.paths.lock, purpose="rotate-key"):
        home.check(settings)
        manifest = ingestion.settle(settings)
        if not is_key_new(settings):
            ensure_key(settings)  # the key before is known by its fingerprint, so that it is missed when it is gone
            rotate_key(settings)
            fault_point("key_made")
        ensure_key(settings)
        version = read_key(settings).version
        return RotationReport(version, loads_before(manifest.entries(), version))
