"""One hash over what the marts say, whichever engine run, order of deliveries or machine made them.

A mart that is a view says nothing that tables and definitions do not say, and is left out.

Every row is hashed in SQL and the hashes of a table are added up: the order of rows does not matter, a row twice does.
Load metadata stays aside and numbers count to nine digits after the point.
"""

from __future__ import annotations

import hashlib

import duckdb

from caseness.warehouse import quote_identifier

SCHEMA = "marts"
_LOAD_METADATA = ("load_id", "source_name", "source_row_number", "delivered_at", "loaded_at", "build_id")
_DIGITS = 9
_LOWER_HALF = f"cast({2**64 - 1} as uhugeint)"  # the halves are added up apart: a sum of whole hashes overflows
_SEPARATOR, _MISSING = "chr(31)", "chr(30)"


def content_hash(connection: duckdb.DuckDBPyConnection) -> str:
    """The hash of every mart of the database that ``connection`` has open."""
    columns = connection.execute(
        "select columns.table_name, columns.column_name, columns.data_type from information_schema.columns as columns "
        "inner join information_schema.tables as tables using (table_schema, table_name) "
        "where table_schema = ? and tables.table_type = 'BASE TABLE' order by all",
        [SCHEMA],
    ).fetchall()
    tables: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in columns:
        if column not in _LOAD_METADATA:
            tables.setdefault(table, []).append((column, kind))
    digest = hashlib.sha256()
    for table, named in tables.items():
        row = ", ".join(_text(column, kind) for column, kind in named)
        sums = connection.execute(
            f"select count(*), sum(cast(row_hash & {_LOWER_HALF} as ubigint)), sum(cast(row_hash >> 64 as ubigint)) "
            f"from (select cast(md5_number(concat_ws({_SEPARATOR}, {row})) as uhugeint) as row_hash "
            f"from {SCHEMA}.{quote_identifier(table)})"
        ).fetchone()
        digest.update(f"{table}|{','.join(column for column, _ in named)}|{sums}\n".encode())
    return digest.hexdigest()


def _text(column: str, kind: str) -> str:
    name = quote_identifier(column)
    if kind in ("DOUBLE", "FLOAT") or kind.startswith("DECIMAL"):
        # Adding zero makes a negative zero positive.
        name = f"round(cast({name} as double), {_DIGITS}) + 0.0"
    return f"coalesce(cast({name} as varchar), {_MISSING})"
