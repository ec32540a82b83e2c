"""The door of the warehouse: contracts, sources, identifier gate, pseudonyms, parts and quarantine."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingestion.door import ingest, person_tokens, raw_streams
    from ingestion.erasure import Erased, ErasureReason, erasures, forget, settle
    from ingestion.landing import deliveries_table, landed_parts, manifest_entries, quarantine_parts, reconcile
    from ingestion.loading import quarantined_faults
    from ingestion.refusals import REFUSAL_REMEDY, refusal_words, refused_lately, settled_files
    from ingestion.reports import IngestReport
    from ingestion.sealed import write as write_sealed

__all__ = [
    "REFUSAL_REMEDY",
    "Erased",
    "ErasureReason",
    "IngestReport",
    "deliveries_table",
    "erasures",
    "forget",
    "ingest",
    "landed_parts",
    "manifest_entries",
    "person_tokens",
    "quarantine_parts",
    "quarantined_faults",
    "raw_streams",
    "reconcile",
    "refusal_words",
    "refused_lately",
    "settle",
    "settled_files",
    "write_sealed",
]

_PLACES = {
    **dict.fromkeys(("Erased", "ErasureReason", "erasures", "forget", "settle"), "erasure"),
    **dict.fromkeys(("ingest", "person_tokens", "raw_streams"), "door"),
    **dict.fromkeys(
        ("deliveries_table", "landed_parts", "manifest_entries", "quarantine_parts", "reconcile"), "landing"
    ),
    "IngestReport": "reports",
    "quarantined_faults": "loading",
    **dict.fromkeys(("REFUSAL_REMEDY", "refusal_words", "refused_lately", "settled_files"), "refusals"),
}


def __getattr__(name: str) -> Any:
    """Heavy imports wait until a name is asked for: the children of the door import this package too."""
    if name == "write_sealed":
        return importlib.import_module("ingestion.sealed").write
    if name not in _PLACES:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"ingestion.{_PLACES[name]}"), name)
