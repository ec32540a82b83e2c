"""What the deliveries are worth: rules as rows, run by Great Expectations as SQL in the warehouse, findings as rows."""

from expectations.checking import CheckReport, Finding, check, rules

__all__ = ["CheckReport", "Finding", "check", "rules"]
