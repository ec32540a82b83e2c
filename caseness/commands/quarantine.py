"""``caseness quarantine``: which rows of which files were not admitted as sent, and what to do. Needs no build."""

from __future__ import annotations

from typing import Any

import ingestion
from caseness.errors import NotReadyError, UsageError
from caseness.settings import Settings


def run_quarantine(*, settings: Settings, source: str | None = None) -> list[dict[str, Any]]:
    """One object per load with faults: source, hash of the file, and its faults by stream, rule and column."""
    if not settings.paths.manifest.is_dir():
        raise NotReadyError("nothing has been ingested yet", remedy="run `caseness ingest PATH...` first")
    entries = ingestion.manifest_entries(settings)
    known = sorted({entry["source_name"] for entry in entries})
    if source is not None and source not in known:
        raise UsageError("no such source has delivered", remedy="known: " + ", ".join(known))
    chosen = [entry for entry in entries if entry["load_status"] == "loaded" and source in (None, entry["source_name"])]
    return [
        {
            "source": entry["source_name"],
            "load_id": entry["load_id"],
            "source_file_sha256": entry["source_file_sha256"],
            "file_label": entry["file_label"],
            "faults": faults,
        }
        for entry in chosen
        if (faults := ingestion.quarantined_faults(settings, entry))
    ]
