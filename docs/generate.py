"""``python -m docs.generate [--check]``: the pages made from rows.

``--check`` fails when one is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from caseness.dbt_runner import project_folder
from caseness.settings import Settings
from docs.manual_pages import manual_pages
from docs.measure_pages import measure_pages
from docs.tables import MADE, table
from ingestion.contracts import contracts
from screening.definitions import definitions

FOLDER = Path(__file__).parent


def settings_page() -> str:
    """Every setting with its default and environment variable."""
    rows: list[list[object]] = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True) if name != "threads" else "cores of the machine"
        rows.append(
            [f"`{name}`", f"`CASENESS_{name.upper()}`", str(getattr(default, "value", default)), field.description]
        )
    text = "Read from `caseness.toml` in the home and from the environment, which wins; arguments win over both.\n\n"
    return "# Settings\n\n" + MADE + text + table(["setting", "environment", "default", "what it does"], rows)


def dictionary_page() -> str:
    """What may be delivered, and what the marts hold."""
    parts = ["# Data dictionary\n\n", MADE, "## What may be delivered\n\n"]
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
        parts.append(table(["column", "type", "required", "values", "what it is"], rows) + "\n")
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
            parts.append(table(["column", "type"], rows) + "\n")
    return parts


def pages() -> dict[str, str]:
    """Every page that is made, by its place in this folder."""
    return {
        "settings.md": settings_page(),
        "data_dictionary.md": dictionary_page(),
        **measure_pages(),
        **manual_pages(),
    }


def main() -> int:
    """Write the pages, or say which are out of date; a page that is made no more goes."""
    made, is_check = pages(), "--check" in sys.argv
    stale = [
        name
        for name, text in made.items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]
    gone = [
        path.relative_to(FOLDER).as_posix()
        for folder in ("measures", "manual")
        for path in (FOLDER / folder).glob("*.md")
        if path.relative_to(FOLDER).as_posix() not in made
    ]
    if is_check and (stale or gone):
        print("out of date: " + ", ".join([*stale, *gone]) + "; run ./dev docs", file=sys.stderr)
        return 1
    for name in stale:
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(made[name], encoding="utf-8")
    for name in gone:
        (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
