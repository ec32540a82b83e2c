"""``caseness explain``: what a measure counts, in words and flags, with its source and the benchmarks beside it."""

from __future__ import annotations

import difflib
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
    known = [row["measure_id"] for row in rows]
    near = [name for name in known if wanted and wanted in name] or difflib.get_close_matches(wanted, known, cutoff=0.5)
    raise UsageError("there is no measure of this name", remedy="known: " + ", ".join(near or known))


def _parameters(row: dict[str, str]) -> list[dict[str, str]]:
    """Numbers of a measure, of each the newest that is not newer than its definition."""
    found: dict[str, dict[str, str]] = {}
    for item in definitions("measure_parameters"):
        version = int(item["definition_version"])
        if item["measure_id"] == row["measure_id"] and version <= int(row["definition_version"]):
            kept = found.get(item["parameter"])
            if kept is None or int(kept["definition_version"]) < version:
                found[item["parameter"]] = item
    return list(found.values())


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
        "denominator_exception_flag": row["denominator_exception_flag"] or None,
        "numerator_flag": row["numerator_flag"],
        "periods": row["period_kinds"].replace("+", ", "),
        "is_published": row["is_published"] == "true",
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
        "parameters": [
            {key: item[key] for key in ("parameter", "comparator", "parameter_value", "unit", "verification", "source")}
            for item in _parameters(row)
        ],
        "exclusion_list": next(
            (
                f"{item['exclusion_list_status'].replace('_', ' ')}: {item['source']}"
                for item in definitions("measure_exclusion_lists")
                if item["measure_id"] == row["measure_id"]
            ),
            None,
        ),
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
