"""``caseness init``: an empty home, its key and a settings file to edit."""

from __future__ import annotations

import stat
from typing import Any

from caseness import home, journal
from caseness.settings import Settings
from ingestion.keys import ensure_key

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
        shown = getattr(default, "value", default)
        text = "" if shown is None else (str(shown) if isinstance(shown, int) else f'"{shown}"')
        lines.append(f"\n# {field.description}\n# {name} = {text}\n")
    return "".join(lines)


def run_init(*, settings: Settings) -> dict[str, Any]:
    """Make what is missing; what is there stays as it is. An older home has to be migrated first."""
    paths = settings.paths
    home.begin(settings)
    made = [folder for folder in paths.folders() if not folder.exists()]
    for folder in paths.folders():
        folder.mkdir(parents=True, exist_ok=True)
    paths.keys.chmod(stat.S_IRWXU)
    ensure_key(settings)
    wrote = not paths.settings_file.exists()
    if wrote:
        journal.write_atomically(paths.settings_file, settings_file_text().encode())
    return {"home": str(settings.home), "folders_made": len(made), "settings_file_written": wrote}
