"""Forgetting a person: marks that keep them out, and the removal of their rows from the parts.

What is written down of a forgotten person are salted one-way marks of their tokens and of the codes of their
referrals, contacts and forms (``landing/forgotten.json``). The marks come first; then every part that holds a marked
row is replaced. A process that stops in between leaves marks that are not swept, and whoever writes next sweeps them.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
import pyarrow.parquet as pq

from caseness import journal, warehouse
from caseness.errors import DamagedHomeError
from caseness.faults import fault_point
from caseness.journal import fsync_folder
from caseness.settings import Settings
from ingestion import sealed
from ingestion.contracts import contracts
from ingestion.landing import Manifest, landed_parts, seal_of

if TYPE_CHECKING:
    import duckdb

PERSON_COLUMNS = ("person_token", "linked_person_token")
_PERSON = "person"
_DELETIONS = "record_deletions"  # name no person and hang on no other row; they go with the record they are of
_MARK_CHARACTERS = 32
_ALL_ROWS, _OWNERLESS_ROWS = "all rows", "ownerless rows"
_IN_MEMORY = Path(":memory:")
_ERASED_OWNER = "erased:"


class ErasureReason(StrEnum):
    """Why a person is forgotten. A code: the journal holds no free text."""

    ERASURE = "erasure"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    OPT_OUT = "opt_out"


def hanging_columns() -> frozenset[str]:
    """Columns that name a thing of a person's: a token that is the key of some stream, such as ``referral_id``."""
    return frozenset(
        column.landed_name
        for contract in contracts().values()
        for column in contract.columns
        if column.landed_name in contract.key and column.kind == "token" and column.token_kind != _PERSON
    )


@dataclass(frozen=True)
class Forgotten:
    """Marks of forgotten people and of what was theirs.

    ``erasures`` counts removals a build may not know yet; ``unswept`` says which rows the parts may still hold.
    """

    salt: str = ""
    people: frozenset[str] = frozenset()
    things: frozenset[str] = frozenset()
    erasures: int = 0
    unswept: str = ""

    @classmethod
    def read(cls, settings: Settings) -> Forgotten:
        """The marks of a home; none in one that has forgotten nobody."""
        path = settings.paths.forgotten
        if not path.exists():
            return cls()
        try:
            body = json.loads(path.read_bytes())
            people, things = frozenset(body["people"]), frozenset(body["things"])
            return cls(body["salt"], people, things, int(body["erasures"]), str(body["unswept"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedHomeError(
                "landing/forgotten.json was cut or changed",
                remedy="restore the home from a backup (`caseness restore`)",
            ) from error

    def mark(self, token: str) -> str:
        """The one-way mark of a token."""
        return hashlib.sha256(f"{self.salt}{token}".encode()).hexdigest()[:_MARK_CHARACTERS]

    def holds(self, token: str) -> bool:
        """Whether a token is a forgotten person's."""
        return bool(self.people) and self.mark(token) in self.people

    def with_marks(self, people: Iterable[str] = (), things: Iterable[str] = ()) -> Forgotten:
        """The same with more tokens marked; the parts have to be swept then, of ownerless rows or of all."""
        people = set(people)
        salted = replace(self, salt=self.salt or secrets.token_hex(16))
        return replace(
            salted,
            people=salted.people | {salted.mark(token) for token in people},
            things=salted.things | {salted.mark(token) for token in things},
            unswept=_ALL_ROWS if people or self.unswept == _ALL_ROWS else _OWNERLESS_ROWS,
        )

    def write(self, settings: Settings, *, event: str, **facts: Any) -> None:
        """Keep the marks; a change of them that nobody made is found."""
        body = {**vars(self), "people": sorted(self.people), "things": sorted(self.things)}
        sealed.write(settings, settings.paths.forgotten, orjson.dumps(body), event=event, **facts)

    def erased_rows(self, frame: pl.DataFrame, number: str) -> pl.Series:
        """Numbers of the rows that are a forgotten person's, or nobody's but hang on what was theirs."""
        is_erased = pl.lit(False)
        for name in PERSON_COLUMNS:
            if name in frame.columns:
                is_erased |= pl.col(name).is_in(self._marked(frame, name, self.people))
        ownerless = pl.col("person_token").is_null() if "person_token" in frame.columns else pl.lit(True)
        for name in hanging_columns() & set(frame.columns):
            is_erased |= ownerless & pl.col(name).is_in(self._marked(frame, name, self.things))
        return frame.filter(is_erased.fill_null(False)).get_column(number).unique()

    def people_told_by(self, earlier: pl.DataFrame, frame: pl.DataFrame) -> set[str]:
        """Tokens of forgotten people in ``frame`` whom ``earlier``, the same rows under an earlier key, tells."""
        found: set[str] = set()
        for name in PERSON_COLUMNS:
            if name in frame.columns:
                is_marked = earlier.get_column(name).is_in(self._marked(earlier, name, self.people))
                found |= set(frame.get_column(name).filter(is_marked.fill_null(False)).drop_nulls().to_list())
        return found

    def _marked(self, frame: pl.DataFrame, column: str, marks: frozenset[str]) -> list[str]:
        values = frame.get_column(column).unique().drop_nulls().to_list() if marks else []
        return [value for value in values if self.mark(value) in marks]


@dataclass
class Erased:
    """What a removal took out. Counts and hashes only."""

    people_marked: int = 0
    things_marked: int = 0
    rows_removed: int = 0
    rows_by_stream: dict[str, int] = field(default_factory=dict)
    parts_rewritten: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The removal as JSON-ready facts."""
        return dict(vars(self))


def erasures(settings: Settings) -> int:
    """How often rows were removed from this home; a build that knows of fewer still holds some of them."""
    return Forgotten.read(settings).erasures


def settle(settings: Settings, *, is_deep: bool = False) -> Manifest:
    """The manifest, put right, with every removal finished. Hold the home's lock."""
    manifest = Manifest.opened(settings, is_deep=is_deep)
    sweep(settings, manifest)
    return manifest


def forget(token: str, *, settings: Settings, manifest: Manifest, reason: ErasureReason) -> Erased:
    """Mark a person and all that is linked to them, then take their rows out of the parts."""
    with warehouse.writer(_IN_MEMORY, settings) as connection:
        people, things = _belongings(connection, token, settings)
    before = Forgotten.read(settings)
    marked = before.with_marks(people, things)
    report = Erased(len(marked.people - before.people), len(marked.things - before.things))
    if report.people_marked or report.things_marked:
        marked.write(
            settings,
            event="forget",
            reason=reason.value,
            people_marked=report.people_marked,
            things_marked=report.things_marked,
        )
    fault_point("person_marked")
    return sweep(settings, manifest, report)


def keep_out(*, settings: Settings, people: Iterable[str] = (), things: Iterable[str] = ()) -> None:
    """Mark what newly delivered rows of forgotten people say is theirs, so that rows which hang on it go too.

    ``people`` are tokens under the key in force of those whom an earlier key told: the next delivery of theirs is
    recognised without it.
    """
    before = Forgotten.read(settings)
    fresh = [token for token in people if before.mark(token) not in before.people]
    marked = before.with_marks(fresh, things)
    people_marked, things_marked = len(marked.people - before.people), len(marked.things - before.things)
    if people_marked or things_marked:
        marked.write(settings, event="forget", people_marked=people_marked, things_marked=things_marked)


def sweep(settings: Settings, manifest: Manifest, report: Erased | None = None) -> Erased:
    """Replace every part that holds a marked row by one without it. Nothing to do when all marks have been swept."""
    report = report or Erased()
    forgotten = Forgotten.read(settings)
    if not forgotten.unswept:
        return report
    with warehouse.writer(_IN_MEMORY, settings) as connection:
        for name, marks in (("people", forgotten.people), ("things", forgotten.things)):
            connection.execute(f"create table {name} (mark varchar)")
            _insert(connection, name, marks)
        found = _affected(connection, settings, forgotten)
        owned = [entry for entry in manifest.entries() if _names_erased(entry, forgotten)]
        if found or owned:
            # Builds made before now hold what goes; the number is raised first, so that none is taken for clean.
            forgotten = replace(forgotten, erasures=forgotten.erasures + 1)
            forgotten.write(settings, event="forget", parts=len(found))
        for entry in manifest.entries():
            names = [name for name in entry["parts"] if name in found]
            if names or entry in owned:
                _rewrite(connection, settings, manifest, entry["load_id"], names, forgotten, report)
    replace(forgotten, unswept="").write(settings, event="forget", rows_removed=report.rows_removed)
    fault_point("parts_erased")
    return report


def _insert(connection: duckdb.DuckDBPyConnection, table: str, values: Iterable[str]) -> None:
    frame = pl.DataFrame({"value": sorted(values)}, schema={"value": pl.String}).to_arrow()
    connection.register("given", frame)
    connection.execute(f"insert into {table} select value from given")
    connection.unregister("given")


def _views(connection: duckdb.DuckDBPyConnection, settings: Settings) -> dict[str, list[str]]:
    """A view of every stream that has parts; returns its columns."""
    columns = {}
    for stream, parts in landed_parts(settings).items():
        if parts:
            columns[stream] = list(contracts()[stream].landed_columns)
            warehouse.create_raw_view(connection, stream, contracts()[stream].landed_columns, parts)
    return columns


def _belongings(connection: duckdb.DuckDBPyConnection, token: str, settings: Settings) -> tuple[list[str], list[str]]:
    """Every token linked to ``token``, and the codes of what is theirs, ownerless rows that hang on it included."""
    streams = _views(connection, settings)
    connection.execute("create table people (value varchar)")
    connection.execute("insert into people values (?)", [token])
    if "person_links" in streams:
        _grow(
            connection,
            "people",
            [
                f"select {one} from raw.person_links where {other} in (select value from people)"
                for one, other in (PERSON_COLUMNS, reversed(PERSON_COLUMNS))
            ],
        )
    connection.execute("create table things (value varchar)")
    queries = []
    for stream, columns in streams.items():
        hanging = sorted(hanging_columns() & set(columns))
        is_theirs = "person_token in (select value from people)" if "person_token" in columns else "false"
        is_ownerless = "person_token is null" if "person_token" in columns else "true"
        hangs = " or ".join(f"{name} in (select value from things)" for name in hanging)
        queries += [
            f"select {name} from raw.{stream} where ({is_theirs}) or ({is_ownerless} and ({hangs}))" for name in hanging
        ]
    if queries:
        _grow(connection, "things", queries)
    return (
        [row[0] for row in connection.execute("select value from people").fetchall()],
        [row[0] for row in connection.execute("select value from things").fetchall()],
    )


def _grow(connection: duckdb.DuckDBPyConnection, table: str, queries: list[str]) -> None:
    """Add what the queries find until they find nothing new."""
    union = " union ".join(queries)
    while True:
        row = connection.execute(
            f"insert into {table} select * from ({union}) as found(value) "
            f"where value is not null and value not in (select value from {table})"
        ).fetchone()
        if not row or not row[0]:
            return


def _is_erased(stream: str, columns: Iterable[str], forgotten: Forgotten) -> str:
    """The condition of a marked row, in SQL. Of ownerless rows few are asked: Parquet tells which blocks have any."""

    def is_marked(name: str, table: str) -> str:
        mark = f"substr(sha256({warehouse.quote_literal(forgotten.salt)} || {name}), 1, {_MARK_CHARACTERS})"
        return f"coalesce({mark} in (select mark from {table}), false)"

    names = set(columns)
    owned = PERSON_COLUMNS if forgotten.unswept == _ALL_ROWS else ()
    conditions = [is_marked(name, "people") for name in owned if name in names]
    hangs = [is_marked(name, "things") for name in sorted(hanging_columns() & names)]
    if hangs:
        ownerless = "person_token is null and " if "person_token" in names else ""
        conditions.append(f"({ownerless}({' or '.join(hangs)}))")
    if stream == _DELETIONS:
        conditions.append("(load_id, source_row_number) in (select load_id, source_row_number from erased_records)")
    return " or ".join(conditions) or "false"


def _affected(connection: duckdb.DuckDBPyConnection, settings: Settings, forgotten: Forgotten) -> set[str]:
    """Names of the parts that hold a marked row.

    A record may be deleted under several codes, of which it landed with one, and may state that another of its codes is
    void: all that one record of a delivery says of deletions goes with what else of it goes.
    """
    found = set()
    landed = landed_parts(settings)
    with_deletions = {_load_of(part) for part in landed[_DELETIONS]}
    connection.execute("create table erased_records (load_id varchar, source_row_number bigint)")
    for stream in sorted(landed, key=lambda name: name == _DELETIONS):
        # Parts of one stream may be of several contract versions, so each is asked for the columns it has.
        for part in landed[stream]:
            source = f"read_parquet({warehouse.quote_literal(str(part))})"
            condition = _is_erased(stream, pq.read_schema(part).names, forgotten)
            if not connection.execute(f"select 1 from {source} where {condition} limit 1").fetchone():
                continue
            found.add(str(part.relative_to(settings.paths.parts)))
            if _load_of(part) in with_deletions:
                connection.execute(
                    f"insert into erased_records select distinct load_id, source_row_number from {source} "
                    f"where {condition}"
                )
    return found


def _load_of(part: Path) -> str:
    return part.name.partition(".")[0]


def _names_erased(entry: dict[str, Any], forgotten: Forgotten) -> bool:
    return any(entry.get(key) and forgotten.holds(entry[key]) for key in ("owner", "possible_owner"))


def owner_mark(owner: str, forgotten: Forgotten) -> str:
    """An owner as a manifest entry may name it: a forgotten one by the mark alone."""
    return _ERASED_OWNER + forgotten.mark(owner) if forgotten.holds(owner) else owner


def _rewrite(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    manifest: Manifest,
    load_id: str,
    names: list[str],
    forgotten: Forgotten,
    report: Erased,
) -> None:
    """Write a load's parts anew under new names, then its entry, then remove the old ones."""
    entry = manifest.entry(load_id)
    parts, removed = dict(entry["parts"]), 0
    for name in names:
        old = settings.paths.parts / name
        stream = name.split("/")[0]
        facts = parts.pop(name)
        target = old.with_name(f"{load_id}.{forgotten.erasures}.parquet")
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        source = f"read_parquet({warehouse.quote_literal(str(old))})"
        condition = _is_erased(stream, pq.read_schema(old).names, forgotten)
        connection.execute(
            f"copy (select * from {source} where not ({condition})) "
            f"to {warehouse.quote_literal(str(temporary))} (format parquet, compression zstd)"
        )
        rows = pq.ParquetFile(temporary).metadata.num_rows
        after = None
        if rows:
            fresh = {"rows": rows, **seal_of(temporary)}
            os.replace(temporary, target)
            fsync_folder(target.parent)
            parts[str(target.relative_to(settings.paths.parts))] = fresh
            after = fresh["sha256"]
        else:
            temporary.unlink()
        removed += facts["rows"] - rows
        report.rows_by_stream[stream] = report.rows_by_stream.get(stream, 0) + facts["rows"] - rows
        journal.append(
            settings.paths.journal,
            "part_erased",
            load_id=load_id,
            stream=stream,
            before=facts["sha256"],
            after=after,
            rows_removed=facts["rows"] - rows,
        )
    fault_point("part_rewritten")
    owner = entry.get("owner") and owner_mark(entry["owner"], forgotten)
    changes = {"parts": parts, "owner": owner, "rows_erased": entry.get("rows_erased", 0) + removed}
    manifest.replace_parts(load_id, changes)
    fault_point("entry_erased")
    for name in names:
        (settings.paths.parts / name).unlink(missing_ok=True)
    report.rows_removed += removed
    report.parts_rewritten += len(names)
