"""Which columns of a file are read: those a source knows. One that nobody has judged refuses the file, or is left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import polars as pl

from caseness.settings import IdentifierPolicy
from ingestion import identifier_gate
from ingestion.batches import Batch, ReadContext
from ingestion.problems import RefusedFile
from ingestion.reading import ROW_NUMBER

_LANDED_ROWS_AT_ONCE = 200_000


def in_slices(frame: pl.DataFrame, fan_out: int) -> Iterator[pl.DataFrame]:
    """A frame in slices small enough that ``fan_out`` landed rows of each of its rows fit into memory."""
    if frame.is_empty():
        yield frame
    yield from frame.iter_slices(max(1, _LANDED_ROWS_AT_ONCE // max(1, fan_out)))


def known_columns(
    frame: pl.DataFrame,
    wanted: Collection[str],
    *,
    is_never_read: Callable[[str], bool],
    optional: Collection[str],
    known_by: str,
    batch: Batch,
    context: ReadContext,
) -> pl.DataFrame:
    """The wanted columns of a text frame; optional ones that are absent are missing.

    ``known_by`` names what says which columns there are, for the message. Raises ``RefusedFile``.
    """
    given = [name for name in frame.columns if name != ROW_NUMBER]
    if given and not set(wanted) & set(given):
        raise RefusedFile(
            "header",
            f"no column of {known_by} is there; the header line may be missing, or the delimiter another",
            remedy=f"check the file against {known_by}",
        )
    for name in given:
        if name in wanted or is_never_read(name):
            continue
        values = frame.get_column(name)
        described = identifier_gate.describe(name, values).replace("the contract", known_by)
        batch.identifier_fields[described] += values.len() - values.null_count()
        if context.settings.identifiers is IdentifierPolicy.REFUSE:
            raise RefusedFile(
                "unknown_column",
                described,
                remedy=f"leave the column out, list it in {known_by} as never read, or set identifiers = 'drop'",
                column=name if identifier_gate.is_printable_name(name) else None,
            )
    lacking = sorted(set(wanted) - set(given))
    needed = [name for name in lacking if name not in optional]
    if needed:
        raise RefusedFile(
            "missing_column",
            f"column {needed[0]!r} is needed and not in the file",
            remedy=f"send the column, or make it optional in {known_by}",
            column=needed[0],
        )
    absent = [pl.lit(None, dtype=pl.String).alias(name) for name in lacking]
    return frame.select(*(name for name in given if name in wanted), *absent, ROW_NUMBER)
