"""The version of a home's layout. ``init`` writes it; every command that reads a home checks it here."""

from __future__ import annotations

import json
from typing import Any

import orjson

from caseness import journal
from caseness.errors import DamagedHomeError, NotReadyError
from caseness.settings import Settings

HOME_VERSION = 2


def facts(settings: Settings) -> dict[str, Any]:
    """What ``home.json`` says; empty when there is none. Raises ``DamagedHomeError`` when it cannot be read."""
    path = settings.paths.home_file
    if not path.exists():
        return {}
    try:
        body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(body["home_version"], int) or body["home_version"] < HOME_VERSION:
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedHomeError("home.json is damaged", remedy="remove it and run `caseness migrate`") from error
    return body


def version(settings: Settings) -> int | None:
    """The layout's version; ``None`` when there is no home yet. The first release wrote no version."""
    found = facts(settings)
    if found:
        return int(found["home_version"])
    return 1 if settings.paths.landing.exists() or settings.paths.journal.exists() else None


def check(settings: Settings) -> None:
    """Refuse a home of another layout with ``NotReadyError``: an older one is migrated, a newer one left alone."""
    found = version(settings)
    if found is not None and found < HOME_VERSION:
        raise NotReadyError(
            f"this home has the layout of an earlier release (version {found}, now {HOME_VERSION})",
            remedy="run `caseness migrate`; it keeps a copy of what it changes",
        )
    if found is not None and found > HOME_VERSION:
        raise NotReadyError(
            f"this home was written by a newer caseness (layout {found}, this one knows {HOME_VERSION})",
            remedy="use that version or a later one",
        )


def begin(settings: Settings) -> None:
    """Make a home of this version where there is none, with its first receipt; check one that is there."""
    if version(settings) is None:
        journal.append(settings.paths.journal, "init", home_version=HOME_VERSION)
        write(settings)
    check(settings)


def write(settings: Settings, **changes: Any) -> None:
    """Write ``home.json``, keeping what it says beside the changes."""
    body = {**facts(settings), "home_version": HOME_VERSION, **changes}
    journal.write_atomically(settings.paths.home_file, orjson.dumps(body, option=orjson.OPT_INDENT_2))
