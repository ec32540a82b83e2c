"""One hash over what the marts say, whichever engine run, order of deliveries or machine made them.

A mart that is a view says nothing that tables and definitions do not say, and is left out.

Every row is hashed in SQL and the hashes of a table are added up: the order of rows does not matter, a row twice does.
Load metadata stays aside and numbers count to nine digits after the point.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from caseness.warehouse import quote_identifier

SCHEMA = "marts"
_LOAD_METADATA = ("load_id", "source_name", "source_row_number", "delivered_at", "loaded_at", "build_id")
_DIGITS = 9
_LOWER_HALF = f"cast({2**64 - 1} as uhugeint)"  # the halves are added up apart: a sum of whole hashes overflows
_SEPARATOR, _MISSING = "chr(31)", "chr(30)"


@dataclass(frozen=True)
class TableSums:
    """What the rows of a table, or some of them, come to: their number, and both halves of their hashes added up."""

    columns: tuple[str, ...]
    rows: int
    low: int
    high: int

    def __add__(self, other: TableSums) -> TableSums:
        return TableSums(self.columns, self.rows + other.rows, self.low + other.low, self.high + other.high)

    def __sub__(self, other: TableSums) -> TableSums:
        return TableSums(self.columns, self.rows - other.rows, self.low - other.low, self.high - other.high)

    def as_json(self) -> list[Any]:
        """For a file of state: the sums are longer than a number of JSON may be."""
        return [list(self.columns), self.rows, str(self.low), str(self.high)]

    @classmethod
    def from_json(cls, values: list[Any]) -> TableSums:
        """What ``as_json`` gave."""
        columns, rows, low, high = values
        return cls(tuple(columns), int(rows), int(low), int(high))


def content_hash(connection: duckdb.DuckDBPyConnection) -> str:
    """The hash of every mart of the database that ``connection`` has open."""
    return hash_of(table_sums(connection))


def hash_of(sums: Mapping[str, TableSums]) -> str:
    """One hash of the sums of all tables."""
    digest = hashlib.sha256()
    for table, found in sorted(sums.items()):
        halves = (found.rows, found.low, found.high) if found.rows else (0, None, None)
        digest.update(f"{table}|{','.join(found.columns)}|{halves}\n".encode())
    return digest.hexdigest()


def table_sums(
    connection: duckdb.DuckDBPyConnection, names: Collection[str] | None = None, *, where: str = "true"
) -> dict[str, TableSums]:
    """The sums of every mart that is a table, or of those named; ``where`` is our own SQL and says of which rows.

    They are additive: what a delivery changed can be taken from them and added to them without reading the rest.
    """
    return {
        name: _sums(connection, name, columns, where)
        for name, columns in tables(connection).items()
        if names is None or name in names
    }


def tables(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, str]]]:
    """Every mart that is a table: its columns that count, each with its type."""
    columns = connection.execute(
        "select columns.table_name, columns.column_name, columns.data_type from information_schema.columns as columns "
        "inner join information_schema.tables as tables using (table_schema, table_name) "
        "where table_schema = ? and tables.table_type = 'BASE TABLE' order by all",
        [SCHEMA],
    ).fetchall()
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in columns:
        if column not in _LOAD_METADATA:
            found.setdefault(table, []).append((column, kind))
    return found


def _sums(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[tuple[str, str]], where: str
) -> TableSums:
    row = ", ".join(_text(column, kind) for column, kind in columns)
    found = connection.execute(
        f"select count(*), coalesce(sum(cast(row_hash & {_LOWER_HALF} as ubigint)), 0), "
        "coalesce(sum(cast(row_hash >> 64 as ubigint)), 0) "
        f"from (select cast(md5_number(concat_ws({_SEPARATOR}, {row})) as uhugeint) as row_hash "
        f"from {SCHEMA}.{quote_identifier(table)} where {where})"
    ).fetchone()
    rows, low, high = found or (0, 0, 0)
    return TableSums(tuple(column for column, _ in columns), int(rows), int(low), int(high))


def _text(column: str, kind: str) -> str:
    name = quote_identifier(column)
    if kind in ("DOUBLE", "FLOAT") or kind.startswith("DECIMAL"):
        # Adding zero makes a negative zero positive.
        name = f"round(cast({name} as double), {_DIGITS}) + 0.0"
    return f"coalesce(cast({name} as varchar), {_MISSING})"
