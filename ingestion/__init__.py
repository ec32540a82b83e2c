"""ingestion room of caseness."""
