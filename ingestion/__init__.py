"""The door of the warehouse: contracts, sources, identifier gate, pseudonyms, parts and quarantine."""

from ingestion.contracts import contracts
from ingestion.door import ingest, person_tokens, raw_streams
from ingestion.erasure import Erased, ErasureReason, erasures, forget, settle
from ingestion.landing import deliveries_table, landed_parts, manifest_entries, quarantine_parts, reconcile
from ingestion.reports import IngestReport
from ingestion.sealed import write as write_sealed

__all__ = [
    "Erased",
    "ErasureReason",
    "IngestReport",
    "contracts",
    "deliveries_table",
    "erasures",
    "forget",
    "ingest",
    "landed_parts",
    "manifest_entries",
    "person_tokens",
    "quarantine_parts",
    "raw_streams",
    "reconcile",
    "settle",
    "write_sealed",
]
