"""Stream contracts: which columns a stream has, what they may hold, and how they land."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from screening.definitions import definitions

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LOAD_METADATA = {
    "load_id": "varchar",
    "source_name": "varchar",
    "source_row_number": "bigint",
    "delivered_at": "timestamp",
}
_LANDED_TYPES = {
    "token": "varchar",
    "enumeration": "varchar",
    "pattern": "varchar",
    "clinical_code": "varchar",
    "time_zone": "varchar",
    "integer": "integer",
    "decimal": "double",
    "date": "date",
    "timestamp": "timestamp",
    "boolean": "boolean",
}


@dataclass(frozen=True)
class Column:
    """One column of a contract. ``landed_name`` is ``None`` for a column that is read but not kept."""

    name: str
    landed_name: str | None
    kind: str
    description: str
    is_required: bool = False
    values: tuple[str, ...] = ()
    minimum: str | None = None
    maximum: str | None = None
    pattern: str | None = None
    unit: str | None = None
    system_column: str | None = None
    token_kind: str | None = None
    namespace_column: str | None = None
    kind_column: str | None = None
    local_date_as: str | None = None
    landed_type: str = "varchar"
    is_service_date: bool = True


@dataclass(frozen=True)
class Contract:
    """The closed list of columns of one stream."""

    stream: str
    version: int
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    keeps_row_with_bad_value: bool
    without_code: str | None = None  # row_is_left_out, row_is_left_out_beside_another; else the record is quarantined

    @property
    def landed_columns(self) -> dict[str, str]:
        """Landed column -> DuckDB type, load metadata last."""
        landed: dict[str, str] = {}
        for column in self.columns:
            if column.landed_name is not None:
                landed[column.landed_name] = column.landed_type
            if column.local_date_as:
                landed[column.local_date_as] = "date"
        return {**landed, **LOAD_METADATA}


def _column(row: dict[str, Any]) -> Column:
    kind = row["type"]
    values = tuple(str(value) for value in row.get("values", ()))
    if "values_from" in row:
        name, column = row["values_from"].split(".")
        values = tuple(dict.fromkeys(entry[column] for entry in definitions(name)))
    return Column(
        name=row["name"],
        landed_name=row.get("lands_as", row["name"]),
        kind=kind,
        description=row["description"],
        is_required=row.get("required", False),
        values=values,
        minimum=None if row.get("min") is None else str(row["min"]),
        maximum=None if row.get("max") is None else str(row["max"]),
        pattern=row.get("pattern"),
        unit=row.get("unit"),
        system_column=row.get("system_column"),
        token_kind=row.get("kind"),
        namespace_column=row.get("namespace_column"),
        kind_column=row.get("kind_column"),
        local_date_as=row.get("local_date_as"),
        landed_type=row.get("lands_as_type") or _LANDED_TYPES[kind],
        is_service_date=row.get("is_service_date", True),
    )


@cache
def contracts() -> dict[str, Contract]:
    """Every contract by stream name, in name order."""
    found: dict[str, Contract] = {}
    for entry in sorted(files(__package__).iterdir(), key=lambda item: item.name):
        if not entry.name.endswith(".yml"):
            continue
        body = yaml.load(entry.read_text(encoding="utf-8"), _LOADER)  # noqa: S506 - safe, and ten times as fast
        found[body["stream"]] = Contract(
            stream=body["stream"],
            version=body["version"],
            description=body["description"],
            key=tuple(body["key"]),
            columns=tuple(_column(row) for row in body["columns"]),
            keeps_row_with_bad_value=body.get("bad_value") == "field_becomes_missing",
            without_code=body.get("without_code"),
        )
    return found
