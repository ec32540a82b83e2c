"""A page for each measure, from the rows that decide it, and the list of all."""

from __future__ import annotations

from docs.tables import MADE, table, table_of
from screening.definitions import definition_names, definitions

_FLAGS = (
    ("initial population", "initial_population_flag"),
    ("denominator", "denominator_flag"),
    ("taken out: exclusion", "denominator_exclusion_flag"),
    ("taken out: exception", "denominator_exception_flag"),
    ("numerator", "numerator_flag"),
)
_THRESHOLD = ("threshold_id", "comparator", "threshold_value", "valid_from", "valid_to", "verification", "source")
_RULE = ("rule_id", "comparator", "threshold_value", "unit", "about", "source")
# Definitions whose rows belong to one measure by its id or by a name it begins with, with the columns that are shown.
_OF_A_MEASURE = {
    "measure_parameters": ("What it counts by", ("parameter", "comparator", "parameter_value", "unit", "source")),
    "measure_concepts": ("Codes it asks for", None),
    "measure_exclusions": ("What takes somebody out", None),
    "measure_exclusion_lists": ("Whether the list of exclusions has been read", None),
}


def measure_pages() -> dict[str, str]:
    """File name -> text: ``measures.md`` and one page a measure in ``measures/``."""
    rows = definitions("measures")
    found = {"measures.md": _list(rows)}
    for row in rows:
        found[f"measures/{row['measure_id']}.md"] = _page(row)
    return found


def _list(rows: tuple[dict[str, str], ...]) -> str:
    parts = ["# Measures\n\n", MADE]
    for family in dict.fromkeys(row["measure_family"] for row in rows):
        parts.append(f"## {family.replace('_', ' ')}\n\n")
        own = [row for row in rows if row["measure_family"] == family]
        parts.append(
            table(
                ["measure", "id", "formula", "in releases"],
                [
                    [
                        f"[{row['name']}](measures/{row['measure_id']}.md)",
                        f"`{row['measure_id']}`",
                        row["formula"],
                        row["is_published"] == "true",
                    ]
                    for row in own
                ],
            )
            + "\n"
        )
    parts.append("## Thresholds\n\n")
    parts.append(
        table_of(
            ["threshold_id", "instrument_code", "purpose", "authority", *_THRESHOLD[1:]], definitions("thresholds")
        )
    )
    parts.append("\n## Pathway rules\n\n" + table_of(_RULE, definitions("pathway_rules")))
    parts.append("\n## Switches of the pathway\n\n")
    parts.append(table_of(["switch_id", "option", "is_default", "about", "source"], definitions("pathway_switches")))
    return "".join(parts)


def _page(row: dict[str, str]) -> str:
    parts = [f"# {row['name']}\n\n", MADE, f"`{row['measure_id']}`, version {row['definition_version']}\n\n"]
    parts.append(
        f"- Formula: {row['formula']}\n- Denominator: {row['denominator_text']}\n"
        f"- Counts: {row['subject_type'].replace('_', ' ')}s, by {row['period_anchor'].replace('_', ' ')}\n"
        f"- Kinds of period: {row['period_kinds'].replace('+', ', ').replace('_', ' ')}\n"
        f"- Higher is: {row['higher_is']}\n- Completeness policy: {row['completeness_policy'] or 'none'}\n"
        f"- In releases: {'yes' if row['is_published'] == 'true' else 'no, in the build alone'}\n"
        f"- Caution: {row['caveat']}\n- Source: {row['source']}\n\n"
    )
    parts.append("## Populations\n\n")
    parts.append(table(["population", "flag"], [[said, f"`{row[name]}`"] for said, name in _FLAGS if row[name]]) + "\n")
    thresholds = [one for one in definitions("thresholds") if one["threshold_id"] in row["threshold_ids"].split()]
    if thresholds:
        parts.append("## Thresholds\n\n" + table_of(_THRESHOLD, thresholds) + "\n")
    rules = [one for one in definitions("pathway_rules") if one["rule_id"] in row["rule_ids"].split()]
    if rules:
        parts.append("## Pathway rules\n\n" + table_of(_RULE, rules) + "\n")
    for name, (title, columns) in _OF_A_MEASURE.items():
        own = _rows_of(name, row["measure_id"])
        if own:
            parts.append(f"## {title}\n\n{table_of(columns or _told(own[0]), own)}\n")
    figures = [one for one in definitions("measure_benchmarks") if one["measure_id"] == row["measure_id"]]
    if figures:
        names = ["area", "benchmark_kind", "benchmark_percent", "period_start", "period_end", "source"]
        parts.append("## Published figures and standards\n\n" + table_of(names, figures) + "\n")
    parts.append(
        f"See who counts and why: `caseness explain {row['measure_id']} --subject ID`. "
        "The cases that the tests run: [clinical manual](../manual.md).\n"
    )
    return "".join(parts)


def _rows_of(name: str, measure_id: str) -> list[dict[str, str]]:
    """Rows of a definition for a measure, or for the programme that its id begins with."""
    if name not in definition_names():
        return []
    rows = definitions(name)
    if "measure_id" not in rows[0]:
        return []
    return [one for one in rows if measure_id == one["measure_id"] or measure_id.startswith(one["measure_id"] + "_")]


def _told(row: dict[str, str]) -> list[str]:
    return [name for name in row if name not in ("measure_id", "definition_version")]
