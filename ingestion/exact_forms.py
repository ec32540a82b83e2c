"""Cheap exact tests for whole columns of text, where a regular expression would say the same more slowly.

Two ways: texts of one fixed form are judged byte by byte at once, and a column of few distinct texts is judged text by
text and not row by row. Both give what the slow way gives; the tests hold the two against each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

Bytes = Any
_LARGEST_PLAIN = 999_999_999


def has_form(values: pl.Series, form: str) -> pl.Series:
    """Whether each text is exactly ``form``, where ``0`` stands for any ASCII digit; false where it is missing."""
    sized, found = _of_length(values, len(form))
    return _spread(sized, _fits(found, form))


def split_times(values: pl.Series, form: str) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Texts of ``form`` (a time to the second, perhaps fractions, perhaps ``Z`` or ``+00:00``) as clock and offset.

    Returns, row by row: whether it could be read this way, the time on its clock without fractions, and its offset in
    minutes (``None`` where the form has none). ``+`` in the form stands for either sign. A column with a date or an
    offset that does not exist is not read at all here.
    """
    sized, found = _of_length(values, len(form))
    fits = _fits(found, form.replace("+", "\0"))
    minutes = None
    if "+" in form:
        at = form.index("+")
        signs = found[:, at]
        fits &= (signs == ord("+")) | (signs == ord("-"))
        digits = (found[:, [at + 1, at + 2, at + 4, at + 5]] - np.uint8(48)).astype(np.int32)
        minutes = digits @ np.array([600, 60, 10, 1], dtype=np.int32)
        minutes = np.where(signs == ord("-"), -minutes, minutes)
    if not fits.all():
        found, minutes = found[fits], None if minutes is None else minutes[fits]
    zone = "UTC" if form[-1] == "Z" or "+" in form else None
    try:
        cast = pc.cast(_texts(found), pa.timestamp("us", tz=zone))
    except pa.ArrowInvalid:
        return pl.Series(np.zeros(len(values), dtype=bool)), nulls(values, pl.Datetime("us")), nulls(values, pl.Int32)
    times = pl.Series(cast.cast(pa.timestamp("us")))
    offsets = None
    if minutes is not None:
        offsets = pl.Series(minutes)
        times = times + (offsets.cast(pl.Int64) * 60_000_000).cast(pl.Duration("us"))
    elif zone:
        offsets = pl.Series(np.zeros(len(times), dtype=np.int32))
    if "." in form:
        times = times.dt.truncate("1s")
    mask = _spread(sized, fits)
    if len(times) < len(values):
        rows = mask.arg_true()
        times = nulls(values, pl.Datetime("us")).scatter(rows, times)
        offsets = None if offsets is None else nulls(values, pl.Int32).scatter(rows, offsets)
    return mask, times, nulls(values, pl.Int32) if offsets is None else offsets


def plain_numbers(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Which texts are whole numbers from 0 to 999999999 written as short as can be, and the numbers (null elsewhere).

    Whatever the conversion accepts beside that (a sign, zeros in front) makes a text longer than its number needs.
    """
    typed = values.cast(pl.Int32, strict=False)
    numbers = typed.fill_null(-1).to_numpy()
    width = np.ones(len(numbers), dtype=np.uint8)
    most = int(numbers.max(initial=0))
    for power in (10**place for place in range(1, 9)):
        if power > most:
            break
        width += numbers >= power
    plain = (values.str.len_bytes() == pl.Series(width)).fill_null(False) & (typed >= 0).fill_null(False)
    if most > _LARGEST_PLAIN:
        plain &= (typed <= _LARGEST_PLAIN).fill_null(False)
    return plain, typed if plain.all() else typed.set(~plain, None)


def nulls(values: pl.Series, kind: pl.DataType | type[pl.DataType]) -> pl.Series:
    """As many missing values as there are rows."""
    return pl.Series(values.name, dtype=kind).clear(len(values))


def distinct(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The distinct texts of a column, and for each row the place of its text among them (null where missing)."""
    coded = values.cast(pl.Categorical(pl.Categories.random()))
    found = coded.unique().drop_nulls()
    order = np.argsort(found.to_physical().to_numpy())
    return found.cast(pl.String).gather(order), coded.to_physical()


def _of_length(values: pl.Series, length: int) -> tuple[pl.Series | None, Bytes]:
    """The texts of one length as a matrix of bytes, and which rows they are of (``None``: every row)."""
    sized: pl.Series | None = (values.str.len_bytes() == length).fill_null(False)
    if sized is not None and sized.all():
        sized = None
    texts = values if sized is None else values.filter(sized)
    array = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    if not len(array):
        return sized, np.zeros((0, length), dtype=np.uint8)
    data = np.frombuffer(array.buffers()[2], dtype=np.uint8)
    first = array.offset
    start = int(np.frombuffer(array.buffers()[1], dtype=np.int64)[first])
    return sized, data[start : start + len(array) * length].reshape(len(array), length)


def _fits(found: Bytes, form: str) -> Bytes:
    """Which rows of a matrix of bytes are of a form: ``0`` any digit, NUL anything, all else itself."""
    pattern = np.frombuffer(form.encode(), dtype=np.uint8)
    most = np.where(pattern == ord("0"), 9, np.where(pattern == 0, 255, 0)).astype(np.uint8)
    # one long row is judged far faster than many short ones
    wrong = ((found.reshape(-1) ^ np.tile(pattern, len(found))) > np.tile(most, len(found))).reshape(found.shape)
    return ~wrong.any(axis=1) if wrong.any() else np.ones(len(found), dtype=bool)


def _spread(rows: pl.Series | None, judged: Bytes) -> pl.Series:
    if rows is None:
        return pl.Series(judged)
    spread = np.zeros(len(rows), dtype=bool)
    spread[np.flatnonzero(rows.to_numpy())] = judged
    return pl.Series(spread)


def _texts(matrix: Bytes) -> pa.Array:
    count, length = matrix.shape
    ends = np.arange(count + 1, dtype=np.int64) * length
    return pa.LargeStringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(matrix))
