"""The build at the size of a country, beside hand-written DuckDB queries for the same results."""
