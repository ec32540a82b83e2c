"""``caseness trace``: a published figure, followed back to the files it came from."""

from __future__ import annotations

from typing import Any

from caseness import figures
from caseness.settings import Settings


def run_trace(figure: str, *, settings: Settings) -> dict[str, Any]:
    """Row, table, definition, release, build and the hashes of the files loaded into it."""
    return figures.trace(figure, settings=settings)
