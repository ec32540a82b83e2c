"""One published figure: found by what it counts, and followed back to the files it came from.

A figure's name is ``RELEASE/TABLE/KEY/...``: the release, the published table, and the values of the table's key
columns in the order of ``publication_tables.csv``. Nothing here reads a build: what was not published is not answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import Any
from urllib.parse import quote, unquote

from caseness import release, warehouse
from caseness.dbt_runner import cohort_groups, publication_rows
from caseness.errors import DamagedHomeError, UsageError
from caseness.settings import Settings
from screening.definitions import definitions

NOT_AT_THIS_DETAIL = "not published at this detail"
# What people call the columns that groups are made by.
ALSO_CALLED = {
    "service": "service_code",
    "modality": "main_modality",
    "product": "main_product",
    "severity": "severity_band_first",
    "age": "age_band",
    "ethnicity": "ethnic_group",
    "deprivation": "imd_quintile",
    "payer": "payer_category",
}
_MOST_NEAREST = 3
_WHOLE, _GROUPS = "pub_service_overview", "pub_outcomes_by_group"
_COUNTS = ("denominator_count", "denominator_status", "numerator_count", "numerator_status")
Views = dict[tuple[tuple[str, str], ...], dict[str, tuple[str, Mapping[str, Any]]]]
_ANSWERED = (*_COUNTS, "rate_percent", "rate_status")


@cache
def key_columns() -> dict[str, tuple[str, ...]]:
    """Published table -> the columns that tell its rows apart."""
    return {row["table_name"]: tuple(row["key_columns"].split("+")) for row in publication_rows()}


def figure_name(release_id: str, table: str, row: Mapping[str, Any]) -> str:
    """The name of a row of a published table."""
    return "/".join([release_id, table, *(quote(str(row[name]), safe="") for name in key_columns()[table])])


# --- asking -------------------------------------------------------------------------------------------------------


def cohort(measure: str, where: Mapping[str, str], period: str, *, settings: Settings, scope: str) -> dict[str, Any]:
    """A measure of the people whom ``where`` (column -> value) names, in a period, as the current release has it.

    What the release does not publish is answered with the nearest views that it does: those that keep most of the
    filters, in the period asked for or else over all days. Raises ``UsageError`` for names that nothing published has.
    """
    release_id, file = release.current_file(settings, scope)
    with warehouse.reader(file, settings, missing="nothing is published yet") as connection:
        whole = warehouse.table_rows(connection, _WHOLE)
        groups = warehouse.table_rows(connection, _GROUPS)
        facts = {str(row["key"]): row["value"] for row in warehouse.table_rows(connection, "release_metadata")}
    where = _as_published(where, groups)
    _check_names(measure, where, period, whole, groups)
    views: Views = {(): {str(row["period_id"]): (_WHOLE, row) for row in whole if row["measure_id"] == measure}}
    for row in groups:
        if row["measure_id"] == measure:
            columns = str(row["group_dimension"]).split("+")
            values = [row["first_group_value"], row["second_group_value"]][: len(columns)]
            key = tuple(sorted((column, str(value)) for column, value in zip(columns, values, strict=True)))
            views.setdefault(key, {})[str(row["period_id"])] = (_GROUPS, row)
    asked = tuple(sorted(where.items()))
    told = {
        "release_id": release_id,
        "scope": scope,
        "disclosure_profile": facts["disclosure_profile"],
        "measure_id": measure,
        "where": dict(where),
        "period_id": period,
    }
    found = views.get(asked, {}).get(period)
    if found is not None:
        return {**told, "is_published": True, **_answer(release_id, *found)}
    nearest: list[dict[str, Any]] = []
    for kept, period_id in _coarser(asked, period):
        near = views.get(kept, {}).get(period_id)
        if near is not None and len(nearest) < _MOST_NEAREST:
            nearest.append({"where": dict(kept), "period_id": period_id, **_answer(release_id, *near)})
    kind = next((str(row["period_kind"]) for row in (*whole, *groups) if row["period_id"] == period), period)
    why = _why_not(measure, sorted(where), kind, settings=settings, release_id=release_id, scope=scope)
    return {**told, "is_published": False, "says": NOT_AT_THIS_DETAIL, "why": why, "nearest": nearest}


def _as_published(where: Mapping[str, str], groups: Sequence[Any]) -> dict[str, str]:
    """Filters as published: ``service`` is ``service_code``, ``Female`` is ``female``."""
    found = {}
    for name, value in where.items():
        column = ALSO_CALLED.get(name, name)
        found[column] = next(
            (known for known in _values(column, groups) if known.casefold() == value.casefold()), value
        )
    return found


def _values(column: str, groups: Sequence[Any]) -> list[str]:
    """Values of a column in any group that is published."""
    return sorted(
        {
            str(row[name])
            for row in groups
            for name, own in zip(
                ("first_group_value", "second_group_value"), str(row["group_dimension"]).split("+"), strict=False
            )
            if own == column
        }
    )


def _why_not(
    measure: str, columns: Sequence[str], kind: str, *, settings: Settings, release_id: str, scope: str
) -> str:
    """Whether a view was never offered, is in a site's file alone, or was dropped by the audit."""
    offered = [
        row
        for row in publication_rows()
        if row["slice_column"] == "group_dimension"
        and sorted(row["slice_value"].split("+")) == list(columns)
        and kind in row["period_kinds"].split("+")
    ]
    if not offered:
        return "these columns are never published together for such a period"
    if scope == release.SCOPE and all(row["scope"] == "site" for row in offered):
        return "a site's own file has it, if the audit left it there: ask with --scope site_<service>"
    manifest = json.loads((settings.paths.releases / release_id / "manifest.json").read_text(encoding="utf-8"))
    starts = {f"{measure} by {row['slice_value']}" for row in offered}
    if any(
        told in starts or told.startswith(tuple(f"{start} and " for start in starts))
        for told in manifest.get("dropped_by_the_audit", [])
    ):
        return "the audit dropped it, as hidden counts could be worked out from it"
    return "this release has no such group"


def _coarser(asked: Sequence[tuple[str, str]], period: str) -> list[tuple[tuple[tuple[str, str], ...], str]]:
    """Views with fewer filters or over all days, the nearest first."""
    periods = [period] if period == "all" else [period, "all"]
    return [
        (kept, period_id)
        for count in range(len(asked), -1, -1)
        for period_id in periods
        for kept in combinations(asked, count)
        if (kept, period_id) != (tuple(asked), period)
    ]


def _answer(release_id: str, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"figure": figure_name(release_id, table, row), **{name: row[name] for name in _ANSWERED}}


def _check_names(
    measure: str, where: Mapping[str, str], period: str, whole: Sequence[Any], groups: Sequence[Any]
) -> None:
    measures = sorted({row["measure_id"] for row in whole} | {row["measure_id"] for row in groups})
    if measure not in measures:
        raise UsageError(f"the release has no measure {measure!r}", remedy="known: " + ", ".join(measures))
    periods = sorted({row["period_id"] for row in whole} | {row["period_id"] for row in groups})
    if period not in periods:
        raise UsageError(f"the release has no period {period!r}", remedy="known: " + ", ".join(periods))
    columns = sorted({column for group in cohort_groups() for column in group["columns"]})
    for column, value in where.items():
        if column not in columns:
            raise UsageError(f"groups are not made by {column!r}", remedy="known: " + ", ".join(columns))
        values = _values(column, groups)
        if values and value not in values:
            raise UsageError(f"{column} has no such value", remedy="known: " + ", ".join(values))


# --- tracing ------------------------------------------------------------------------------------------------------


def trace(figure: str, *, settings: Settings) -> dict[str, Any]:
    """From a figure's name to its row, table, release, build and the files that were loaded into it.

    Raises ``UsageError`` for a name that no release has, ``DamagedHomeError`` when the release was changed.
    """
    release_id, _, rest = figure.strip().partition("/")
    table, *keys = [unquote(part) for part in rest.split("/")]
    folder = settings.paths.releases / release_id
    if not release_id or "\\" in release_id or not (folder / "manifest.json").is_file():
        known = (
            sorted(path.name for path in settings.paths.releases.glob("r_*"))
            if settings.paths.releases.is_dir()
            else []
        )
        raise UsageError("there is no such release", remedy="known: " + (", ".join(known) or "none"))
    fault = release.fault_of_release(folder)
    if fault:
        raise DamagedHomeError(
            f"releases/{release_id}{fault if fault[0] == '/' else ' ' + fault}", remedy="publish again"
        )
    columns = key_columns().get(table)
    if columns is None or len(columns) != len(keys):
        parts = ", ".join(f"{name}/{'/'.join(own).upper()}" for name, own in key_columns().items())
        raise UsageError("a figure is named RELEASE/TABLE/KEYS", remedy=f"tables and their keys: {parts}")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    found = None
    for name in manifest["files"]:
        with warehouse.reader(folder / name, settings) as connection:
            tables = {str(row["table_name"]) for row in warehouse.table_rows(connection, "information_schema.tables")}
            rows = warehouse.table_rows(connection, table) if table in tables else []
        found = next((row for row in rows if [str(row[column]) for column in columns] == keys), None)
        if found is not None:
            break
    if found is None:
        raise UsageError(
            "the release has no such figure",
            remedy=f"look at {', '.join(columns)} of {table}; what the audit dropped stands in the manifest under "
            "dropped_by_the_audit",
        )
    return {
        "figure": figure,
        "scope": name.removesuffix(".duckdb"),
        "row": found,
        "table": table,
        "made_by": f"dbt_project/models/publication/{table}.sql",
        "definition": _definition(found),
        "release": {
            key: manifest[key]
            for key in ("release_id", "code_version", "as_of_date", "deidentification", "disclosure_profile")
        },
        "disclosure_rule": manifest.get("disclosure_rule", {}),
        "definitions_hash": manifest["definitions_hash"],
        "build_id": manifest["build_id"],
        "inputs": manifest["inputs"],
    }


def _definition(row: Mapping[str, Any]) -> dict[str, str]:
    """What the figure's measure or instrument is, with version and source."""
    for table, key in (("measures", "measure_id"), ("instruments", "instrument_code")):
        for one in definitions(table) if row.get(key) else ():
            if one[key] == row[key]:
                return {name: one[name] for name in (key, "name", "definition_version", "source") if name in one}
    return {}
