"""FHIR R4 as NDJSON, bundles or single resources."""
