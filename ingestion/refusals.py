"""The trace a refused file leaves: a manifest entry without parts, and the receipt of the ingest that met it."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from typing import Any

from caseness import journal
from caseness.settings import Settings
from ingestion import landing
from ingestion.files import SourceFile
from ingestion.landing import Manifest
from ingestion.reports import FileReport, IngestReport

NOBODY = "unknown"  # the source of a file that was refused before anybody could tell whose it is
_EVENT = "ingest"
_ENDINGS = ("csv", "gz", "json", "ndjson", "parquet", "xlsx", "zip")  # any other part of a name may be somebody's
_MOST_NAMED = 1000


def leave_trace(file: SourceFile, found: FileReport, manifest: Manifest, settings: Settings) -> None:
    """Enter a file that was refused before its source could be told; once, whatever the number of attempts."""
    try:
        with file.path.open("rb") as handle:
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return
    found.load_id = landing.load_id_of(
        sha256, source=found.source, namespace=found.namespace, contract_version="refused"
    )
    if manifest.status_of(found.load_id) is not None:
        return
    ending = file.name.rpartition(".")[2].lower()
    entry: dict[str, Any] = {
        "manifest_version": landing.MANIFEST_VERSION,
        "load_id": found.load_id,
        "load_status": "refused",
        "source_name": found.source,
        "namespace": found.namespace,
        "format": None,
        "stream": "several",
        "file_label": ending if ending in _ENDINGS else "file",
        "source_file_sha256": sha256,
        "owner": None,
        "contract_version": None,
        "key_version": None,
        "deidentification": settings.deidentification.value,
        "period_start": None,
        "period_end": None,
        "delivered_at": None,
        "loaded_at": dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
        "rows_in": found.rows_in,
        "rows_admitted": found.rows_admitted,
        "rows_quarantined": found.rows_quarantined,
        "quarantined_by_rule": found.quarantined_by_rule,
        "positive_risk_items_held_back": found.positive_risk_items_held_back,
        "parts": {},
        "quarantine": None,
    }
    manifest.commit(entry, {})


def write_receipt(report: IngestReport, settings: Settings, *, known: set[str]) -> None:
    """One receipt for an ingest that changed something: by source, what was loaded and which loads were refused.

    ``known`` are the loads there were before it: bytes refused again are nothing new.
    """
    for file in report.files:
        file.was_refused_before = file.status == "refused" and file.load_id in known
    is_new = [
        bool(file.load_id) and not file.was_refused_before and file.status in ("loaded", "refused")
        for file in report.files
    ]
    if not any(is_new):
        return
    sources: dict[str, dict[str, Any]] = {}
    for file in report.files:
        facts = sources.setdefault(file.source, {"files_loaded": 0, "files_refused": 0, "refused": []})
        facts["files_loaded"] += file.status == "loaded"
        if file.status == "refused":
            facts["files_refused"] += 1
            if file.load_id and len(facts["refused"]) < _MOST_NAMED:
                facts["refused"].append(file.load_id)
    journal.append(settings.paths.journal, _EVENT, sources={name: sources[name] for name in sorted(sources)})


def refused_lately(settings: Settings) -> list[dict[str, Any]]:
    """Entries of the files refused in each source's newest ingest, unless they are settled."""
    newest: dict[str, list[str]] = {}
    for receipt in journal.read(settings.paths.journal):
        if receipt["event"] == _EVENT:
            newest.pop(NOBODY, None)  # nobody's next delivery would ever settle these
            newest |= {name: facts["refused"] for name, facts in receipt["sources"].items()}
    entries = landing.manifest_entries(settings)
    settled = settled_files(settings, entries)
    wanted = {load_id for refused in newest.values() for load_id in refused}
    return [entry for entry in entries if entry["load_id"] in wanted and entry["source_file_sha256"] not in settled]


def settled_files(settings: Settings, entries: Iterable[dict[str, Any]]) -> set[str]:
    """Hashes of files that need nothing more: the same bytes were loaded, or taken back."""
    loaded = {entry["source_file_sha256"] for entry in entries if entry["load_status"] != "refused"}
    return loaded | landing.withdrawn_files(settings)


def refusal_words(settings: Settings) -> str:
    """What doctor and check say of them; empty when there is nothing to say."""
    entries = refused_lately(settings)
    if not entries:
        return ""
    sources = ", ".join(sorted({entry["source_name"] for entry in entries}))
    rows = sum(entry["rows_in"] for entry in entries)
    return f"of the newest deliveries {len(entries)} files ({rows:,} rows) were refused and are in no figure: {sources}"


REFUSAL_REMEDY = (
    'ingest them again to see why, or ask: caseness sql "select source_name, stream, file_label, rows_in, '
    "source_file_sha256 from raw.deliveries where load_status = 'refused'\" (sha256sum finds the file)"
)
