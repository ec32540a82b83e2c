"""``caseness explain``: what a measure counts, in words and flags, with its source and the benchmarks beside it."""

from __future__ import annotations

from typing import Any

from caseness.errors import UsageError
from screening.definitions import definitions


def measure_row(measure: str) -> dict[str, str]:
    """The definition row of a measure. ``recovery`` finds ``nhs_tt_recovery``. Raises ``UsageError``."""
    rows = definitions("measures")
    wanted = measure.strip().lower().replace("-", "_").replace(" ", "_")
    for row in rows:
        if row["measure_id"] in (wanted, f"nhs_tt_{wanted}"):
            return row
    raise UsageError(
        "there is no measure of this name", remedy="known: " + ", ".join(row["measure_id"] for row in rows)
    )


def run_explain(measure: str) -> dict[str, Any]:
    """The definition rows a measure stands on. Raises ``UsageError`` for a name that no measure has."""
    row = measure_row(measure)
    rules = [rule for rule in definitions("pathway_rules") if rule["rule_id"] in row["rule_ids"].split()]
    return {
        "measure_id": row["measure_id"],
        "definition_version": int(row["definition_version"]),
        "name": row["name"],
        "formula": row["formula"],
        "denominator": row["denominator_text"],
        "counted_by": row["period_anchor"],
        "initial_population_flag": row["initial_population_flag"],
        "denominator_flag": row["denominator_flag"],
        "denominator_exclusion_flag": row["denominator_exclusion_flag"] or None,
        "numerator_flag": row["numerator_flag"],
        "higher_is": row["higher_is"],
        "completeness_policy": row["completeness_policy"],
        "caveat": row["caveat"],
        "source": row["source"],
        "thresholds": [
            {key: item[key] for key in ("threshold_id", "comparator", "threshold_value", "source")}
            for item in definitions("thresholds")
            if item["threshold_id"] in row["threshold_ids"].split()
        ],
        "pathway_rules": [
            {key: item[key] for key in ("rule_id", "comparator", "threshold_value", "unit", "source")} for item in rules
        ],
        "benchmarks": [
            {
                key: item[key]
                for key in (
                    "authority",
                    "area",
                    "benchmark_kind",
                    "benchmark_percent",
                    "period_start",
                    "period_end",
                    "source",
                )
            }
            for item in definitions("measure_benchmarks")
            if item["measure_id"] == row["measure_id"]
        ],
    }
