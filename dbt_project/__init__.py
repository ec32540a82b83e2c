"""All SQL that makes tables: staging, intermediate, marts and publication. SQL only, for every engine."""
