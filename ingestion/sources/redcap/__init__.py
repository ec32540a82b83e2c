"""REDCap flat exports with their data dictionary."""
