"""The one module that opens DuckDB. A change of the engine's version is a change here.

DuckDB allows one writing process or many reading ones, so a build works on a file of its own, which
takes its place by rename; readers keep the snapshot they opened.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from caseness.errors import DamagedHomeError, NotReadyError
from caseness.journal import fsync_folder
from caseness.settings import Settings

if TYPE_CHECKING:
    import duckdb  # heavy: the children that read deliveries do without it

RAW_SCHEMA = "raw"
BUILT = "built"
_BLOCK_BYTES = 1 << 22
_DAMAGE_WORDS = (
    "orrupt",
    "checksum",
    "not a valid DuckDB database",
    "Could not read enough bytes",
    "could not be read",
)


def quote_identifier(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """A text as a quoted SQL string."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def writer(path: Path, settings: Settings, *, built: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-write connection within the memory and threads of the settings; checkpointed on success.

    ``built`` is another database to read as catalog ``built``.
    """
    import duckdb

    path.parent.mkdir(parents=True, exist_ok=True)
    settings.paths.temporary.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        str(path),
        config={
            "memory_limit": f"{settings.memory_limit_megabytes}MB",
            "threads": settings.threads,
            "temp_directory": str(settings.paths.temporary),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    try:
        connection.execute("set TimeZone = 'UTC'")
        if built:
            connection.execute(f"attach {quote_literal(str(built))} as {BUILT} (read_only)")
        yield connection
        connection.execute("checkpoint")
    finally:
        connection.close()


@contextmanager
def reader(
    path: Path,
    settings: Settings,
    *,
    with_deliveries: bool = False,
    search_path: Sequence[str] = (),
    missing: str = "there is no build yet",
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection that can reach no file but the database and, ``with_deliveries``, what the raw views read.

    A name without a schema is looked for in ``search_path``. Raises ``NotReadyError`` when the database does not exist.
    """
    import duckdb

    if not path.exists():
        raise NotReadyError(missing, remedy="run `caseness build` first (or `caseness run PATH...`)")
    try:
        connection = duckdb.connect(
            str(path),
            read_only=True,
            config={
                "memory_limit": f"{settings.memory_limit_megabytes}MB",
                "threads": settings.threads,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
    except duckdb.Error as error:
        if is_damage(error):
            raise damaged(path) from error
        raise
    try:
        connection.execute("set TimeZone = 'UTC'")
        if with_deliveries:
            folders = ", ".join(
                quote_literal(str(path)) for path in (settings.paths.landing, settings.paths.quarantine)
            )
            connection.execute(f"set allowed_directories = [{folders}]")
        if search_path:
            there = {row[0] for row in connection.execute("select schema_name from duckdb_schemas()").fetchall()}
            connection.execute(f"set search_path = '{','.join(name for name in search_path if name in there)}'")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        yield connection
    finally:
        connection.close()


def is_damage(error: Exception) -> bool:
    """Whether the engine says that the bytes of a database file are not what it wrote."""
    import duckdb

    if isinstance(error, duckdb.SerializationException | duckdb.InternalException | duckdb.FatalException):
        return True
    return isinstance(error, duckdb.IOException) and any(words in str(error) for words in _DAMAGE_WORDS)


def damaged(path: Path) -> DamagedHomeError:
    """What to say of a database file that is not what was written."""
    return DamagedHomeError(
        f"{path.name} was cut or changed after it was written",
        remedy="run `caseness build --full-refresh`, which makes the build anew from the parts; "
        "a release is published anew with `caseness publish`",
    )


def create_raw_view(
    connection: duckdb.DuckDBPyConnection,
    stream: str,
    columns: Mapping[str, str],
    parts: Sequence[Path],
) -> None:
    """Make ``raw.<stream>`` the union of its parts, or an empty view of the same columns.

    ``columns`` maps each name to its DuckDB type, load metadata included. A part written under an older contract that
    lacks a column reads as missing there.
    """
    connection.execute(f"create schema if not exists {RAW_SCHEMA}")
    target = f"{RAW_SCHEMA}.{quote_identifier(stream)}"
    if not parts:
        empty = ", ".join(f"cast(null as {kind}) as {quote_identifier(name)}" for name, kind in columns.items())
        connection.execute(f"create or replace view {target} as select {empty} where false")
        return
    files = ", ".join(quote_literal(str(part)) for part in parts)
    source = f"read_parquet([{files}], union_by_name = true)"
    present = {row[0] for row in connection.execute(f"describe select * from {source}").fetchall()}
    chosen = ", ".join(
        f"cast({quote_identifier(name) if name in present else 'null'} as {kind}) as {quote_identifier(name)}"
        for name, kind in columns.items()
    )
    connection.execute(f"create or replace view {target} as select {chosen} from {source}")


def create_views_of_built(connection: duckdb.DuckDBPyConnection) -> None:
    """Give an empty database every name of the attached build: its tables as views over them, its views as they are.

    Millions of rows need not be copied to be read, and what is made from them can not change them.
    """
    import duckdb

    tables = connection.execute(
        f"select schema_name, table_name from duckdb_tables() where database_name = '{BUILT}' order by all"
    ).fetchall()
    views = connection.execute(
        f"select schema_name, sql from duckdb_views() where database_name = '{BUILT}' and not internal order by all"
    ).fetchall()
    for schema in sorted({row[0] for row in (*tables, *views)}):
        connection.execute(f"create schema if not exists {quote_identifier(schema)}")
    for schema, table in tables:
        name = f"{quote_identifier(schema)}.{quote_identifier(table)}"
        connection.execute(f"create view {name} as select * from {BUILT}.{name}")
    waiting = [str(sql) for _, sql in views]
    while waiting:  # a view may read another, and nothing tells which comes first
        left: list[str] = []
        for sql in waiting:
            try:
                connection.execute(sql)
            except duckdb.CatalogException as error:
                left.append(sql)
                missing = error
        if len(left) == len(waiting):
            raise missing
        waiting = left


def create_result_view(connection: duckdb.DuckDBPyConnection, name: str, file: Path) -> None:
    """Make ``raw.<name>`` a view over one result table of check or evaluate (Parquet)."""
    connection.execute(f"create schema if not exists {RAW_SCHEMA}")
    connection.execute(
        f"create or replace view {RAW_SCHEMA}.{quote_identifier(name)} as "
        f"select * from read_parquet({quote_literal(str(file))})"
    )


def export_tables(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    tables: Sequence[str],
    target: Path,
    *,
    where: Mapping[str, str] | None = None,
) -> None:
    """Write ``schema.<table>`` of each name, rows in a stable order, into schema main of a new database file.

    ``where`` says which rows of a table; it is our own SQL, never a user's.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    connection.execute(f"attach {quote_literal(str(target))} as release_file")
    try:
        for table in tables:
            name = quote_identifier(table)
            rows = f"from {quote_identifier(schema)}.{name} where {(where or {}).get(table, 'true')}"
            connection.execute(f"create table release_file.main.{name} as select * {rows} order by all")
    finally:
        connection.execute("detach release_file")


def table_rows(connection: duckdb.DuckDBPyConnection, qualified_table: str) -> list[dict[str, object]]:
    """Every row of a small table as objects. ``qualified_table`` is our own name, never a user's."""
    cursor = connection.execute(f"select * from {qualified_table}")
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def remove_database(path: Path) -> None:
    """Remove a database and its write-ahead log."""
    for stale in (path, path.with_name(path.name + ".wal")):
        stale.unlink(missing_ok=True)


def working_copy(source: Path, target: Path) -> str:
    """Copy a database to ``target`` for the next step; returns the hash of the bytes copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_database(target)
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as write:
        while block := read.read(_BLOCK_BYTES):
            digest.update(block)
            write.write(block)
    return digest.hexdigest()


def is_free(path: Path) -> bool:
    """Whether a database can be opened for writing: no reader has kept it open since it was the current one."""
    import duckdb

    try:
        duckdb.connect(str(path)).close()
    except duckdb.Error:
        return False
    return True


def take_place(built: Path, current: Path) -> None:
    """Rename a finished database over the current one, durably. A leftover write-ahead log refuses the swap."""
    wal = built.with_name(built.name + ".wal")
    if wal.exists():
        raise RuntimeError(f"{built.name} was not checkpointed: {wal.name} is left over")
    with built.open("rb") as handle:
        os.fsync(handle.fileno())
    os.replace(built, current)
    fsync_folder(current.parent)
