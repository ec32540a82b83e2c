"""``caseness sql``: one read-only question to the current build, logged by its hash."""

from __future__ import annotations

import datetime as dt
import decimal
import difflib
import hashlib
import re
from dataclasses import dataclass
from typing import Any

import duckdb
from rich.table import Table

from caseness import build_state, journal, warehouse
from caseness.console import fits, records, simple_table
from caseness.errors import NotReadyError, UsageError
from caseness.settings import Settings

_QUESTIONS = ("SELECT",)  # EXPLAIN ANALYZE would run a COPY
_SCHEMAS = ("marts", "intermediate", "staging", "raw")
_LIST_TABLES = "caseness sql --tables lists the tables with their columns"


@dataclass(frozen=True)
class Answer:
    """Rows by column name; ``is_cut`` when there were more."""

    columns: list[str]
    rows: list[dict[str, Any]]
    is_cut: bool = False
    is_list_of_tables: bool = False

    def text(self, width: int) -> str | Table:
        """A table where it fits the screen, else one block a row: no column is ever left out."""
        if not self.rows:
            return "no rows"
        if self.is_list_of_tables:
            return "\n".join(f"{row['schema']}.{row['table']}: {row['columns']}" for row in self.rows)
        cells = [["" if value is None else str(value) for value in row.values()] for row in self.rows]
        return (
            simple_table("", self.columns, cells) if fits(self.columns, cells, width) else records(self.columns, cells)
        )


def run_sql(statement: str, *, settings: Settings, limit: int | None = None) -> Answer:
    """Answer ``statement``. Anything but one SELECT is refused: the connection can reach the parts."""
    build_state.ready(settings)
    with warehouse.reader(settings.paths.current, settings, with_deliveries=True, search_path=_SCHEMAS) as connection:
        try:
            statements = connection.extract_statements(statement)
        except duckdb.Error as error:
            raise UsageError(f"the statement cannot be read: {_first_line(error)}") from error
        if len(statements) != 1 or statements[0].type.name not in _QUESTIONS:
            raise UsageError("sql answers exactly one SELECT", remedy=f"the build is read-only; {_LIST_TABLES}")
        journal.append(settings.paths.journal, "sql", statement_sha256=hashlib.sha256(statement.encode()).hexdigest())
        try:
            cursor = connection.execute(statement)
            names = _distinct([column[0] for column in cursor.description or []])
            rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit + 1)
        except duckdb.Error as error:
            if warehouse.is_damage(error):
                raise warehouse.damaged(settings.paths.current) from error
            if isinstance(error, duckdb.IOException) and "No files found" in str(error):
                raise NotReadyError(
                    "what was delivered has changed since this build: a part it reads was taken out or replaced",
                    remedy="run `caseness build`; marts can be asked meanwhile",
                ) from error
            raise UsageError(
                f"the warehouse could not answer: {_first_line(error)}", remedy=_remedy(error, connection)
            ) from error
    is_cut = limit is not None and len(rows) > limit
    told = [{name: _plain(value) for name, value in zip(names, row, strict=True)} for row in rows[:limit]]
    return Answer(names, told, is_cut)


def run_tables(*, settings: Settings) -> Answer:
    """Every table of the build with its columns, marts first."""
    build_state.ready(settings)
    with warehouse.reader(settings.paths.current, settings) as connection:
        found = connection.execute(
            "select table_schema, table_name, string_agg(column_name, ', ' order by ordinal_position) "
            "from information_schema.columns where list_contains(?, table_schema) "
            "group by table_schema, table_name order by list_position(?, table_schema), table_name",
            [list(_SCHEMAS), list(_SCHEMAS)],
        ).fetchall()
    names = ["schema", "table", "columns"]
    return Answer(names, [dict(zip(names, row, strict=True)) for row in found], is_list_of_tables=True)


def _remedy(error: duckdb.Error, connection: duckdb.DuckDBPyConnection) -> str:
    """The names nearest to one that is not there."""
    text = str(error)
    if missing := re.search(r"Table with name (\S+) does not exist", text):
        rows = connection.execute(
            "select table_schema || '.' || table_name, table_name from information_schema.tables"
        ).fetchall()
        wanted = missing.group(1).lower()
        names = difflib.get_close_matches(wanted.rpartition(".")[2], sorted({name for _, name in rows}), 3)
        near = [full for full, name in rows if name in names][:5]
        marts = ", ".join(sorted(name for full, name in rows if full == f"{_SCHEMAS[0]}.{name}"))
        return (f"did you mean {' or '.join(near)}? " if near else "") + f"marts holds {marts}; {_LIST_TABLES}"
    if candidates := re.search(r"Candidate bindings: (.+)", text):
        return f"did you mean {candidates.group(1)}? {_LIST_TABLES}"
    return f"{_LIST_TABLES}; docs/data_dictionary.md says what they hold"


def _distinct(names: list[str]) -> list[str]:
    """Column names as keys of an object: a name that comes again gets a number."""
    seen: set[str] = set()
    for at, name in enumerate(names):
        number, given = 1, name
        while name in seen:
            number += 1
            name = f"{given}_{number}"
        seen.add(name)
        names[at] = name
    return names


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, bytes | dt.timedelta):
        return str(value)
    return value
