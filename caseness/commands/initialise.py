"""``caseness init``: an empty home, its key and a settings file to edit."""

from __future__ import annotations

import stat
from typing import Any

from caseness import home, journal
from caseness.errors import UsageError
from caseness.settings import Settings
from ingestion.keys import ensure_key

# What a user may put into a home before it is one, and what the demo and the lock leave there.
_MAY_STAND_BEFORE = (
    "caseness.toml",
    "keys",
    "sources",
    "value_sets",
    "home.json",
    "logs",
    ".lock",
    ".gitignore",
    ".DS_Store",
    ".caseness-demo",
    "synthetic_service",
)
_HEADER = (
    "# Settings of this caseness home. Every line is optional; the environment (CASENESS_...) wins over this file.\n"
)


def settings_file_text() -> str:
    """Every setting with its description and default, commented out."""
    lines = [_HEADER]
    for name, field in Settings.model_fields.items():
        if name == "home":
            continue
        default = field.get_default(call_default_factory=True)
        if isinstance(default, dict):  # a section, which has to stand at the end
            lines.append(f"\n# {field.description}\n# [{name}]\n")
            continue
        shown = getattr(default, "value", default)
        text = "" if shown is None else (str(shown) if isinstance(shown, int) else f'"{shown}"')
        lines.append(f"\n# {field.description}\n# {name} = {text}\n")
    return "".join(lines)


def is_home(settings: Settings) -> bool:
    """Whether somebody has initialised this folder before."""
    return home.version(settings) is not None


def run_init(*, settings: Settings) -> dict[str, Any]:
    """Make what is missing; what is there stays as it is. New folders are open to their owner only.

    An older home has to be migrated first. Raises ``UsageError`` for a folder that holds anything else than a home: the
    files of one would stand among somebody else's.
    """
    paths = settings.paths
    was_a_home = is_home(settings)
    if paths.home.is_dir() and not was_a_home:
        strange = [
            entry
            for entry in paths.home.iterdir()
            if entry.name not in _MAY_STAND_BEFORE and entry != settings.key_file
        ]
        if strange:
            raise UsageError(
                f"the folder is not empty and is not a caseness home ({len(strange)} other files or folders)",
                remedy="give --home a new or an empty folder",
            )
    home.begin(settings)
    made = [folder for folder in paths.folders() if not folder.exists()]
    for folder in made:
        folder.mkdir(parents=True, exist_ok=True)
    for folder in made if was_a_home else (*paths.folders(), paths.landing):
        folder.chmod(stat.S_IRWXU)
    paths.keys.chmod(stat.S_IRWXU)
    ensure_key(settings)
    wrote = not paths.settings_file.exists()
    if wrote:
        journal.write_atomically(paths.settings_file, settings_file_text().encode())
    return {
        "home": str(settings.home),
        "was_a_home": was_a_home,
        "folders_made": len(made),
        "settings_file_written": wrote,
    }
