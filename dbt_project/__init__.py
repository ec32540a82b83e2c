"""All SQL that makes tables: staging, intermediate, marts and publication. SQL only, so that every engine can run it."""
