"""DuckDB as Great Expectations can use it: each result is buffered before its connection closes.

Great Expectations 1.24 reads results after it has closed their connection, which DuckDB does not allow.
"""

from __future__ import annotations

from typing import Any

from duckdb_sqlalchemy import Dialect, DuckDBExecutionContext
from sqlalchemy.dialects import registry
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy

_OPEN: list[Any] = []


class BufferedContext(DuckDBExecutionContext):  # type: ignore[misc]
    """Fetches every row as soon as a statement has run."""

    def post_exec(self) -> None:
        """Keep the rows; the cursor may then go."""
        super().post_exec()
        description = getattr(self.cursor, "description", None)
        if description:
            rows = self.cursor.fetchall()
            self.cursor_fetch_strategy = FullyBufferedCursorFetchStrategy(self.cursor, description, rows)


class BufferedDialect(Dialect):  # type: ignore[misc]
    """The DuckDB dialect with buffered results."""

    execution_ctx_cls = BufferedContext
    supports_statement_cache = False

    def connect(self, *arguments: Any, **options: Any) -> Any:
        """A connection that ``close_all`` knows."""
        connection = super().connect(*arguments, **options)
        _OPEN.append(connection)
        return connection


def register() -> None:
    """Make ``duckdb://`` mean the buffered dialect in this process."""
    registry.register("duckdb", __name__, "BufferedDialect")


def close_all() -> None:
    """Close every connection the dialect made: pools keep theirs, and an open reader blocks the next configuration."""
    while _OPEN:
        _OPEN.pop().close()
