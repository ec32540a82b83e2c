"""``caseness quarantine``: which files and rows were not admitted as sent, and what to do. Needs no build."""

from __future__ import annotations

from typing import Any

import ingestion
from caseness.errors import NotReadyError, UsageError
from caseness.settings import Settings


def run_quarantine(*, settings: Settings, source: str | None = None) -> list[dict[str, Any]]:
    """One object per load with faults: source, hash of the file, and its faults by stream, rule and column.

    A refused file is one too, unless the same bytes were loaded since or their sender took them back.
    """
    if not settings.paths.manifest.is_dir():
        raise NotReadyError("nothing has been ingested yet", remedy="run `caseness ingest PATH...` first")
    entries = ingestion.manifest_entries(settings)
    known = sorted({entry["source_name"] for entry in entries})
    if source is not None and source not in known:
        raise UsageError("no such source has delivered", remedy="known: " + ", ".join(known))
    settled = ingestion.settled_files(settings, entries)
    chosen = [entry for entry in entries if source in (None, entry["source_name"])]
    return [
        {
            "source": entry["source_name"],
            "load_id": entry["load_id"],
            "source_file_sha256": entry["source_file_sha256"],
            "file_label": entry["file_label"],
            "faults": faults,
        }
        for entry in chosen
        if (faults := _faults(settings, entry, settled))
    ]


def _faults(settings: Settings, entry: dict[str, Any], settled: set[str]) -> list[dict[str, Any]]:
    if entry["load_status"] == "loaded":
        return ingestion.quarantined_faults(settings, entry)
    if entry["load_status"] != "refused" or entry["source_file_sha256"] in settled:
        return []
    return [
        {
            "stream": entry["stream"],
            "rule": "file_refused",
            "column": None,
            "rows": entry["rows_in"],
            "first_rows": [],
            "consequence": "file_refused",
            "remedy": "ingest the file again to see the rule it breaks; where the sender has sent it anew, withdraw it",
        }
    ]
