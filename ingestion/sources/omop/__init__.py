"""OMOP CDM 5.4 tables as CSV."""
