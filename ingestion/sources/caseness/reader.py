"""The project's own contract: one file a stream, whose columns are the contract's and no others."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from functools import cache

import polars as pl

from caseness.settings import IdentifierPolicy
from ingestion import identifier_gate, reading
from ingestion.batches import Batch, ReadContext, Recognition
from ingestion.contracts import Contract, contracts
from ingestion.deidentification import contract_for
from ingestion.files import SourceFile
from ingestion.problems import RefusedFile
from ingestion.reading import ROW_NUMBER

_NAMES_TOLD = 12


@cache
def _file_names(pattern: str) -> re.Pattern[str]:
    longest_first = sorted(contracts(), key=lambda stream: (-len(stream), stream))
    return re.compile(pattern.format(streams="|".join(longest_first)))


def recognises(file: SourceFile, context: ReadContext) -> Recognition | None:
    """By name: ``<stream>.csv``, ``<stream>_2026-03.ndjson.gz`` and so on, and by the required columns.

    Other systems also name a file ``procedures``. One that lacks a required column is left to whoever knows it; where
    nobody does, reading it says which column is missing.
    """
    match = _file_names(str(context.spec["file_names"])).match(file.name)
    if not match or (match["form"] == "parquet" and match["gz"]):
        return None
    contract = contract_for(contracts()[match["stream"]], context.settings)
    given = reading.read_column_names(file, match["form"], limit_bytes=context.limit_bytes)
    return Recognition(match["form"], match["stream"], is_by_name_alone=bool(_lacking(given, contract, context)))


def read(file: SourceFile, recognition: Recognition, context: ReadContext) -> Iterator[Batch]:
    """Frames of the stream; a column outside the contract refuses the file, or is never read."""
    contract = contract_for(contracts()[recognition.stream or ""], context.settings)
    for frame, broken in _frames(file, recognition.form, contract, context):
        batch = Batch(records=len(frame) + len(broken))
        batch.faults = [(number, "", "invalid_record") for number in broken]
        known = check_columns(frame, contract, batch, context)
        batch.frames[contract.stream] = frame.select(*known, ROW_NUMBER)
        _check_required(frame, contract, recognition.form, context)
        yield batch


def _frames(
    file: SourceFile, form: str, contract: Contract, context: ReadContext
) -> Iterator[tuple[pl.DataFrame, list[int]]]:
    names = {column.name for column in contract.columns}
    limit = context.limit_bytes
    if form == "csv":
        yield from ((frame, []) for frame in reading.read_csv(file, limit_bytes=limit, known=names))
    elif form == "parquet":
        frames = reading.read_parquet(file, limit_bytes=limit, known=names, contract=contract)
        yield from ((frame, []) for frame in frames)
    else:
        yield from reading.read_ndjson(file, limit_bytes=limit, contract=contract)


def check_columns(text: pl.DataFrame, contract: Contract, batch: Batch, context: ReadContext) -> list[str]:
    """The contracted columns of a frame; those outside are counted in ``batch`` or refuse the file."""
    known = {column.name for column in contract.columns}
    given = [name for name in text.columns if name != ROW_NUMBER]
    if given and not set(given) & known:
        raise RefusedFile(
            "header",
            "no column of the contract is there; the header line may be missing, or not comma separated",
            remedy=f"the columns of {contract.stream} are in the data dictionary; "
            "another system's file needs a mapping (docs/sources.md)",
        )
    for name in given:
        if name in known:
            continue
        values = text.get_column(name)
        described = identifier_gate.describe(name, values)
        batch.identifier_fields[described] += values.len() - values.null_count()
        if context.settings.identifiers is IdentifierPolicy.REFUSE:
            if lacking := _lacking(given, contract, context):
                raise _missing(lacking[0], given, contract, also=f"; {described}")
            near = _nearest(name, known - set(given))
            raise RefusedFile(
                "unknown_column",
                described,
                remedy="leave the column out, or set identifiers = 'drop' so that it is never read"
                + (f"; if it is {near!r}, rename it" if near else "")
                + _not_there(given, contract),
                column=name if identifier_gate.is_printable_name(name) else None,
            )
    return [name for name in given if name in known]


def _not_there(given: Collection[str], contract: Contract) -> str:
    """Contracted columns that a file lacks: one of them may stand in it under another name."""
    lacking = [column.name for column in contract.columns if column.name not in given]
    if not lacking:
        return ""
    more = ", ..." if len(lacking) > _NAMES_TOLD else ""
    return f"; columns of {contract.stream} that are not there: {', '.join(lacking[:_NAMES_TOLD])}{more}"


def _nearest(name: str, names: Collection[str]) -> str | None:
    found = difflib.get_close_matches(name.lower(), sorted(names), n=1)
    return found[0] if found else None


def _lacking(given: Collection[str], contract: Contract, context: ReadContext) -> list[str]:
    return [
        column.name
        for column in contract.columns
        if column.is_required
        and column.name not in given
        and not (column.name == "person_code" and context.delivery.person)
    ]


def _missing(name: str, given: Collection[str], contract: Contract, *, also: str = "") -> RefusedFile:
    """A required column that is not there, with the column that may be it under another name."""
    others = set(given) - {column.name for column in contract.columns}
    near = _nearest(name, [other for other in others if identifier_gate.is_printable_name(other)])
    remedy = f"rename column {near!r} to {name!r}" if near else f"add it: {contract.stream} is in the data dictionary"
    return RefusedFile("missing_column", f"column {name!r} is required and not there{also}", remedy=remedy, column=name)


def _check_required(text: pl.DataFrame, contract: Contract, form: str, context: ReadContext) -> None:
    lacking = _lacking(text.columns, contract, context)
    if lacking and (len(text) or form == "csv"):
        raise _missing(lacking[0], [name for name in text.columns if name != ROW_NUMBER], contract)
