"""``python -m docs.generate [--check]``: the pages made from rows.

``--check`` fails when one is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from caseness.dbt_runner import project_folder
from caseness.settings import Settings
from ingestion.contracts import contracts
from screening.definitions import definitions
from screening.scoring import AnswerState, score

FOLDER = Path(__file__).parent
_MADE = "<!-- made by ./dev docs; edit the rows, not this page -->\n\n"
_SHOWN = {"": "none", None: "none", True: "yes", False: "no"}


def _table(columns: list[str], rows: list[list[object]]) -> str:
    def cell(value: object) -> str:
        return str(_SHOWN.get(value, value) if isinstance(value, str | bool | None) else value).replace("|", "\\|")

    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _drawn(table: str) -> str:
    """A drawn table of the specification as a table of the page."""
    lines = [line.split() for line in table.strip().splitlines()]
    return _table(lines[0], [list(line) for line in lines[1:]])


def settings_page() -> str:
    """Every setting with its default and environment variable."""
    rows: list[list[object]] = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True) if name != "threads" else "cores of the machine"
        rows.append(
            [f"`{name}`", f"`CASENESS_{name.upper()}`", str(getattr(default, "value", default)), field.description]
        )
    text = "Read from `caseness.toml` in the home and from the environment, which wins; arguments win over both.\n\n"
    return "# Settings\n\n" + _MADE + text + _table(["setting", "environment", "default", "what it does"], rows)


def dictionary_page() -> str:
    """What may be delivered, and what the marts hold."""
    parts = ["# Data dictionary\n\n", _MADE, "## What may be delivered\n\n"]
    for name, contract in sorted(contracts().items()):
        parts.append(f"### {name}\n\n{contract.description}\n\n")
        body = yaml.safe_load(
            (Path(__file__).parents[1] / "ingestion" / "contracts" / f"{name}.yml").read_text("utf-8")
        )
        rows: list[list[object]] = []
        for column in body["columns"]:
            bounds = []
            if "values" in column:
                bounds.append(", ".join(map(str, column["values"])))
            if "values_from" in column:
                bounds.append(_codes(*column["values_from"].split(".")))
            if "min" in column or "max" in column:
                bounds.append(f"{column.get('min', '')} to {column.get('max', '')}")
            if "pattern" in column:
                bounds.append(f"`{column['pattern']}`")
            if "system_column" in column:
                bounds.append(f"a code of `{column['system_column']}`")
            rows.append(
                [
                    f"`{column['name']}`",
                    column["type"],
                    bool(column.get("required", False)),
                    "; ".join(bounds) or "any",
                    column.get("description", ""),
                ]
            )
        parts.append(_table(["column", "type", "required", "values", "what it is"], rows) + "\n")
    parts.append("## What the marts hold\n\n")
    parts += _models("marts", "marts.")
    parts.append(
        "## What a release holds\n\nA count `x_count` has its `x_status`: `shown` (rounded), `zero`, `suppressed` "
        "(the count is missing) or `not_applicable`. Rates follow from rounded counts.\n\n"
    )
    parts += _models("publication", "")
    return "".join(parts)


def _codes(table: str, column: str) -> str:
    """Codes of a definition table with their meaning, where it has one."""
    rows = definitions(table)
    label = next((name for name in ("meaning", "ethnic_group", "name") if name in rows[0]), None)
    return ", ".join(f"{row[column]} ({row[label]})" if label else row[column] for row in rows)


def _models(layer: str, prefix: str) -> list[str]:
    body = yaml.safe_load((project_folder() / "models" / layer / f"_{layer}.yml").read_text(encoding="utf-8"))
    parts = []
    for model in body["models"]:
        if "columns" in model:
            rows: list[list[object]] = [[f"`{column['name']}`", column["data_type"]] for column in model["columns"]]
            name = model.get("config", {}).get("alias", model["name"])
            parts.append(f"### {prefix}{name}\n\n{model['description']}\n\n")
            parts.append(_table(["column", "type"], rows) + "\n")
    return parts


def measures_page() -> str:
    """Every measure with its formula, denominator, caveat, source and benchmarks."""
    parts = ["# Measures\n\n", _MADE]
    for row in definitions("measures"):
        parts.append(f"## {row['name']}\n\n`{row['measure_id']}`, version {row['definition_version']}\n\n")
        parts.append(
            f"- Formula: {row['formula']}\n- Denominator: {row['denominator_text']}\n"
            f"- Counted by: {row['period_anchor']}\n"
        )
        parts.append(f"- Caution: {row['caveat']}\n- Source: {row['source']}\n")
        for item in definitions("measure_benchmarks"):
            if item["measure_id"] == row["measure_id"]:
                kind = item["benchmark_kind"].replace("_", " ")
                parts.append(
                    f"- {item['area']}, {kind}: {item['benchmark_percent']} % "
                    f"({item['period_start']} to {item['period_end']}; {item['source']})\n"
                )
        parts.append("\n")
    parts.append("## Thresholds\n\n")
    names = [
        "threshold_id",
        "instrument_code",
        "purpose",
        "authority",
        "comparator",
        "threshold_value",
        "verification",
        "source",
    ]
    parts.append(_table(names, [[row[name] for name in names] for row in definitions("thresholds")]))
    parts.append("\n## Pathway rules\n\n")
    names = ["rule_id", "comparator", "threshold_value", "unit", "about", "source"]
    parts.append(_table(names, [[row[name] for name in names] for row in definitions("pathway_rules")]))
    return "".join(parts)


def manual_page() -> str:
    """How sheets are scored, by the cases that the tests run through Python and SQL."""
    from tests.spec import test_instrument_rows, test_pathway, test_pathway_contacts, test_scoring

    parts = [
        "# Clinical manual\n\n",
        _MADE,
        "## Scoring\n\nEach row runs through Python and through the warehouse in the tests. ",
    ]
    parts.append("`-` missing, `r` refused, `n` not applicable, `.` not asked.\n\n")
    rows: list[list[object]] = []
    for line in test_scoring.CASES.strip().splitlines()[1:]:
        instrument, answers = line.split()[:2]
        states = {"r": AnswerState.REFUSED, "n": AnswerState.NOT_APPLICABLE, ".": AnswerState.NOT_ASKED, "-": None}
        found = score(instrument, [states[part] if part in states else int(part) for part in answers.split(",")])
        rows.append(
            [
                instrument,
                f"`{answers}`",
                found.total_complete_case,
                found.total_prorated,
                found.severity_band,
                found.risk_item_status,
            ]
        )
    parts.append(_table(["instrument", "answers", "complete-case total", "prorated total", "band", "item 9"], rows))
    parts.append("\n## Bands\n\n")
    names = ["instrument_code", "band", "lower_bound_inclusive", "upper_bound_exclusive", "source"]
    parts.append(_table(names, [[row[name] for name in names] for row in definitions("severity_bands")]))
    parts.append("\n## Completeness\n\n")
    names = ["policy_code", "instrument_code", "minimum_items_answered", "method", "source"]
    parts.append(_table(names, [[row[name] for name in names] for row in definitions("completeness_policies")]))
    parts.append(
        "\n## Diagnostic algorithm\n\nPHQ-9: a symptom is an item at 2 or more, item 9 at 1 or more. Five "
        "symptoms with item 1 or 2 among them are `major`, two to four `other`. An "
        "answer that is not there makes it `not_assessable`.\n\n"
    )
    parts.append(_drawn(test_instrument_rows.ALGORITHM))
    parts.append(
        "\n## Contacts\n\n`T` a treatment, `a` attended only, `-` neither: by attendance code, planned or not, and "
        "appointment type.\n\n"
    )
    parts.append(_drawn(test_pathway_contacts.CONTACTS))
    parts.append(
        "\n## Scores that count\n\nContacts as day:type, scores as day=total; `@` at the follow-up contact, `-` of a "
        "form in progress, `~` without a stated referral; discharge on day 60.\n\n"
    )
    parts.append(_drawn(test_pathway_contacts.COURSES))
    parts.append(
        "\n## The adult pathway\n\nDays to first treatment, treatment contacts, first>last scores (x: none), "
        "and what follows.\n\n"
    )
    parts.append(_drawn(test_pathway.CASES))
    return "".join(parts)


PAGES = {
    "settings.md": settings_page,
    "data_dictionary.md": dictionary_page,
    "measures.md": measures_page,
    "manual.md": manual_page,
}


def main() -> int:
    """Write the pages, or say which are out of date."""
    stale = []
    for name, make in PAGES.items():
        path, text = FOLDER / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print("out of date: " + ", ".join(stale) + "; run ./dev docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
