"""``caseness explain``: what a measure counts, in words and flags, with its source and the benchmarks beside it."""

from __future__ import annotations

from typing import Any

from caseness.errors import UsageError
from screening.definitions import definitions


def run_explain(measure: str) -> dict[str, Any]:
    """The definition rows a measure stands on. ``recovery`` finds ``nhs_tt_recovery``; unknown names list the known."""
    rows = definitions("measures")
    wanted = measure.strip().lower().replace("-", "_").replace(" ", "_")
    found = [row for row in rows if row["measure_id"] in (wanted, f"nhs_tt_{wanted}")]
    if not found:
        raise UsageError(
            "there is no measure of this name", remedy="known: " + ", ".join(row["measure_id"] for row in rows)
        )
    row = found[0]
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
