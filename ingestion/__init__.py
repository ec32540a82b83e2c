"""The door of the warehouse: contracts, sources, identifier gate, pseudonyms, parts and quarantine."""

from ingestion.contracts import contracts
from ingestion.door import ingest, person_tokens, raw_streams
from ingestion.erasure import Erased, ErasureReason, erasures, forget, settle
from ingestion.landing import deliveries_table, landed_parts, manifest_entries, quarantine_parts, reconcile
from ingestion.loading import quarantined_faults
from ingestion.refusals import REFUSAL_REMEDY, refusal_words, refused_lately
from ingestion.reports import IngestReport
from ingestion.sealed import write as write_sealed

__all__ = [
    "REFUSAL_REMEDY",
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
    "quarantined_faults",
    "raw_streams",
    "reconcile",
    "refusal_words",
    "refused_lately",
    "settle",
    "write_sealed",
]
