"""``caseness sql``: one read-only question to the current build, logged by its hash."""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
from typing import Any

import duckdb

from caseness import build_state, journal, warehouse
from caseness.errors import UsageError
from caseness.settings import Settings

_QUESTIONS = ("SELECT",)  # EXPLAIN ANALYZE would run a COPY


def run_sql(statement: str, *, settings: Settings, limit: int | None = None) -> list[dict[str, Any]]:
    """Rows of ``statement`` as objects. Anything but one SELECT is refused: the connection can reach the parts."""
    build_state.ready(settings)
    with warehouse.reader(settings.paths.current, settings, with_deliveries=True) as connection:
        try:
            statements = connection.extract_statements(statement)
        except duckdb.Error as error:
            raise UsageError(f"the statement cannot be read: {_first_line(error)}") from error
        if len(statements) != 1 or statements[0].type.name not in _QUESTIONS:
            raise UsageError("sql answers exactly one SELECT", remedy="the build is read-only; see the data dictionary")
        journal.append(settings.paths.journal, "sql", statement_sha256=hashlib.sha256(statement.encode()).hexdigest())
        try:
            cursor = connection.execute(statement)
            names = [column[0] for column in cursor.description or []]
            rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit)
        except duckdb.Error as error:
            if warehouse.is_damage(error):
                raise warehouse.damaged(settings.paths.current) from error
            raise UsageError(
                f"the warehouse could not answer: {_first_line(error)}", remedy="see docs/data_dictionary.md for names"
            ) from error
    return [{name: _plain(value) for name, value in zip(names, row, strict=True)} for row in rows]


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
