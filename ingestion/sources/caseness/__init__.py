"""The project's own contract as CSV, NDJSON or Parquet."""
