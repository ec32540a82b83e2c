"""``caseness publish``: a release from the current build."""

from __future__ import annotations

from collections.abc import Callable

from caseness.release import ReleaseReport, publish
from caseness.settings import Settings


def run_publish(*, settings: Settings, progress: Callable[[str], None] | None = None) -> ReleaseReport:
    """Publish the current build; see ``caseness.release.publish``."""
    return publish(settings=settings, progress=progress)
