"""``caseness valuesets``: expansions that a licence keeps out of the repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ingestion
from caseness import home, journal, value_sets
from caseness.settings import Settings


def run_load(paths: Sequence[Path], *, settings: Settings) -> dict[str, Any]:
    """Load every value set of the files, all or none."""
    with journal.exclusive(settings.paths.lock, purpose="valuesets"):
        home.begin(settings)
        ingestion.settle(settings)
        return value_sets.load(paths, settings=settings)


def run_list(*, settings: Settings) -> dict[str, Any]:
    """The value sets that are loaded."""
    return {"value_sets": [vars(item) for item in value_sets.listed(settings)]}
