"""Whole blocks of flat JSON lines at once, where every line is plain; anything else is left to the careful reader.

A block is read here only when each line is one object, with contracted keys only, each once, no value nested, numbers
that no conversion can change, and every required column filled somewhere. What comes out is then what the careful
reader would have said. ``None`` means: ask the careful reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.json as pj

from ingestion.contracts import Contract

_CHUNK_BYTES = 1 << 20
_LOOK_BYTES = 64 << 10
_LARGEST_EXACT = 2.0**53
_KEPT = {"integer": pl.Int64, "boolean": pl.Boolean}
_OPEN, _CLOSE, _LINE_END = 123, 125, 10


def read_block(block: bytes, contract: Contract) -> pl.DataFrame | None:
    """The block's rows as text columns (whole numbers and booleans of the contract as such), or ``None``."""
    block = _without_returns(block)
    ends = line_ends(block)
    if ends is None:
        return None
    kinds = _kinds(block, contract)
    if kinds is None:
        return None
    try:
        table = pj.read_json(
            pa.BufferReader(block),
            read_options=pj.ReadOptions(block_size=_CHUNK_BYTES),
            parse_options=pj.ParseOptions(explicit_schema=pa.schema(kinds), unexpected_field_behavior="error"),
        )
    except pa.ArrowInvalid:
        return None
    required = [column.name for column in contract.columns if column.is_required]
    if len(table) != len(ends) or any(table.column(name).null_count == len(table) for name in required):
        return None
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):
        return None
    kept = {column.name: column.kind for column in contract.columns}
    columns = [_column(frame.get_column(name), kept.get(name)) for name, _ in kinds]
    return None if any(column is None for column in columns) else pl.DataFrame(columns)


def line_ends(block: bytes) -> Any:
    """Where the lines of a block end, if each is one JSON object, whole and in UTF-8; else ``None``.

    A line that begins with ``{`` and ends with ``}`` may hold two objects, or a piece of one: then a parser finds
    another number of objects than there are lines, or a fault.
    """
    has_escape = b"\\" in block and b"\\u" in block  # one letter is found far faster than two
    if b"\r" in block or b"\0" in block or has_escape or not block.endswith(b"\n"):
        return None
    if not block.isascii() and not _is_utf8(block):
        return None
    bytes_ = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(bytes_ == _LINE_END)
    is_object = bytes_[0] == _OPEN and (bytes_[ends - 1] == _CLOSE).all() and (bytes_[ends[:-1] + 1] == _OPEN).all()
    return ends if is_object else None


def _without_returns(block: bytes) -> bytes:
    return block.replace(b"\r\n", b"\n") if b"\r" in block and block.count(b"\r\n") == block.count(b"\r") else block


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _kinds(block: bytes, contract: Contract) -> list[tuple[str, Any]] | None:
    """How each contracted column is written, as the first lines show; a line that differs is found while reading."""
    head = block[:_LOOK_BYTES]
    lines: Sequence[bytes] = head[: head.rfind(b"\n") + 1].splitlines()
    seen: dict[str, set[type]] = {}
    try:
        for line in lines:
            for name, value in orjson.loads(line).items():
                seen.setdefault(name, set()).add(type(value))
    except orjson.JSONDecodeError:
        return None
    kinds: list[tuple[str, Any]] = []
    for column in contract.columns:
        types = seen.get(column.name, set()) - {type(None)}
        if types <= {str}:
            is_number = not types and column.kind in ("integer", "decimal")
            kinds.append((column.name, pa.int64() if is_number else pa.string()))
        elif types == {int} and column.kind != "decimal":
            kinds.append((column.name, pa.int64()))
        elif types <= {int, float} and column.kind == "decimal":
            kinds.append((column.name, pa.float64()))
        elif types == {bool}:
            kinds.append((column.name, pa.bool_()))
        else:
            return None
    return kinds


def _column(values: pl.Series, kind: str | None) -> pl.Series | None:
    """A column as the contract wants it, or as the careful reader writes it; ``None`` where that may be otherwise."""
    is_kept = values.dtype == _KEPT.get(kind or "")
    return values if is_kept else _as_text(values)


def _as_text(values: pl.Series) -> pl.Series | None:
    """A column as the careful reader writes it, or ``None`` for a number that it may write otherwise."""
    if values.dtype == pl.String:
        return values.set(values == "", None) if (values == "").any() else values
    if values.dtype == pl.Int64:
        return values.cast(pl.String)
    if values.dtype == pl.Boolean:
        return (
            pl.select(pl.when(values).then(pl.lit("true")).when(~values).then(pl.lit("false")))
            .to_series()
            .alias(values.name)
        )
    numbers = values.drop_nulls().to_numpy()
    if not (np.isfinite(numbers).all() and (np.abs(numbers) < _LARGEST_EXACT).all()):
        return None
    if (np.signbit(numbers) & (numbers == 0)).any():
        return None
    different, places = np.unique(numbers, return_inverse=True)
    texts = pl.Series([str(int(one)) if one.is_integer() else str(one) for one in different.tolist()], dtype=pl.String)
    return (
        pl.Series(values.name, dtype=pl.String)
        .clear(len(values))
        .scatter(values.is_not_null().arg_true(), texts.gather(places))
    )
