"""The door of the warehouse: contracts, sources, identifier gate, pseudonyms, parts and quarantine."""

from ingestion.contracts import contracts
from ingestion.door import ingest, person_tokens, raw_streams
from ingestion.landing import deliveries_table, landed_parts, manifest_entries, quarantine_parts, reconcile
from ingestion.loading import quarantined_faults
from ingestion.refusals import REFUSAL_REMEDY, refusal_words, refused_lately
from ingestion.reports import IngestReport

__all__ = [
    "REFUSAL_REMEDY",
    "IngestReport",
    "contracts",
    "deliveries_table",
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
]
