"""Strict reading into text frames. Nothing is sniffed: form, encoding and columns are declared, or the file is refused.

Every reader yields polars frames whose columns are text (an empty field is missing; the words NULL or NA are text) plus
``source_row_number``, counted from 1 at the first data row. File names are opened as they are, never as patterns.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion import json_blocks
from ingestion.contracts import Column, Contract
from ingestion.files import SourceFile, open_bytes, open_seekable
from ingestion.problems import RefusedFile
from ingestion.trailers import TrailedReader, Trailer

ROW_NUMBER = "source_row_number"
BLOCK_BYTES = 8 << 20
_CSV_BLOCK_BYTES = 6 << 20  # narrow rows: as many of them as in a larger block of JSON
LONGEST_FIELD_BYTES = 1 << 20
LONGEST_LINE_BYTES = 128 << 20
_BATCH_ROWS = 60_000
_JSON_BATCH_ROWS = 100_000
_HEAD_LINES = 20
_BROKEN_LINE_BATCH_ROWS = 50_000
_LINE_END, _QUOTE = 10, 34
_LARGEST_EXACT = 1 << 53
_FORMS_COUNTED_BY_LINE = ("csv", "ndjson")
_BAD_QUOTE = "a quote is not closed, or stands inside a field, or a field holds a line break"
_NO_LINE_END = "the last line has no line end, so the file may be cut off"
_FIX_TRUNCATED = "send the file again; every line ends with a line end"
_FIX_HEADER = "give every column a name of its own, without blanks around it, in the first row"
_FIX_EXPORT = "export the file again as UTF-8 CSV, comma separated, one header line, every line ended"


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written. Declared by its source, never guessed."""

    delimiter: str = ","
    encoding: str = "utf-8"
    has_line_breaks_in_fields: bool = False


_OWN_FORM = CsvForm()


class _Transcoded(io.RawIOBase):
    """Bytes of another declared encoding as UTF-8; a sequence the encoding does not know refuses the file."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._ready = b""
        self._is_done = False

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with UTF-8."""
        try:
            while not self._ready and not self._is_done:
                chunk = self._stream.read(1 << 20)
                self._is_done = not chunk
                self._ready = self._decoder.decode(chunk, final=self._is_done).encode("utf-8")
        except UnicodeDecodeError as error:
            raise RefusedFile("encoding", "the file is not in the declared encoding", remedy=_FIX_EXPORT) from error
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


@contextmanager
def _open_text(
    file: SourceFile, *, limit_bytes: int, encoding: str = "utf-8", trailer: Trailer | None = None
) -> Iterator[io.BufferedReader[Any]]:
    with open_bytes(file, limit_bytes=limit_bytes) as stream:
        if codecs.lookup(encoding).name != "utf-8":
            stream = io.BufferedReader(_Transcoded(stream, encoding), buffer_size=1 << 20)
        if trailer is not None:
            stream = io.BufferedReader(TrailedReader(stream, trailer), buffer_size=1 << 20)
        yield stream


def _check_block(block: bytes, first_row: int) -> None:
    if b"\0" in block:
        row = first_row + block.count(b"\n", 0, block.index(b"\0"))
        raise RefusedFile("nul_byte", "the file holds a NUL byte", remedy=_FIX_EXPORT, row=row)
    if block.isascii():
        return
    try:
        block.decode("utf-8")
    except UnicodeDecodeError as error:
        row = first_row + block.count(b"\n", 0, error.start)
        raise RefusedFile("encoding", "the file is not UTF-8", remedy=_FIX_EXPORT, row=row) from error


def _unify_line_ends(block: bytes, *, crlf: bool, first_row: int) -> bytes:
    if not crlf and b"\r" not in block:
        return block
    returns, pairs = block.count(b"\r"), block.count(b"\r\n")
    if returns != pairs or (pairs and pairs != block.count(b"\n")) or bool(pairs) != crlf:
        odd = re.search(rb"(?<!\r)\n|\r(?!\n)" if crlf else rb"\r", block)
        row = first_row + block.count(b"\n", 0, odd.start() if odd else 0)
        raise RefusedFile("line_ends", "line ends are mixed", remedy=_FIX_EXPORT, row=row)
    return block.replace(b"\r\n", b"\n") if crlf else block


def check_header(header: Sequence[str], known: Collection[str]) -> None:
    """Refuse names that repeat or are blank. Only known names are told: in a file without a header they are values."""
    if len(set(header)) != len(header):
        twice = sorted({name for name in header if header.count(name) > 1}, key=lambda name: (name not in known, name))
        if twice[0] in known:
            message, column = f"column {twice[0]!r} stands twice", twice[0]
        else:
            message, column = "two columns have the same name, or the header line is missing", None
        raise RefusedFile("duplicate_header", message, remedy=_FIX_HEADER, column=column)
    if any(not name or name != name.strip() for name in header):
        raise RefusedFile("header", "a column has no name, or blanks around it", remedy=_FIX_HEADER)


def _lines(
    stream: io.BufferedReader[Any], *, is_end_needed: bool = True, block_bytes: int | None = None
) -> Iterator[tuple[bytes, int]]:
    """Blocks that end at a line end, each with its first line's number (a header is line 0)."""
    rest, row = b"", 0
    while chunk := stream.read(block_bytes or BLOCK_BYTES):
        end = chunk.rfind(b"\n") + 1
        if not end:
            rest += chunk
            if len(rest) > LONGEST_LINE_BYTES:
                raise RefusedFile("field_too_long", "a line has no end", remedy=_FIX_EXPORT, row=row)
            continue
        block, rest = b"".join((rest, memoryview(chunk)[:end])), chunk[end:]
        yield block, row
        row += block.count(b"\n")
    if rest and not is_end_needed:
        yield rest, row
    elif rest:
        raise RefusedFile(
            "truncated",
            _NO_LINE_END,
            remedy=_FIX_TRUNCATED,
            row=row,
        )


def read_csv(
    file: SourceFile,
    *,
    limit_bytes: int,
    known: Collection[str] = (),
    form: CsvForm = _OWN_FORM,
    trailer: Trailer | None = None,
) -> Iterator[pl.DataFrame]:
    """Frames of an RFC 4180 CSV in its declared form (a byte order mark is dropped), with one header line.

    Raises ``RefusedFile`` for anything else, with row and rule. A header without rows yields one empty frame. ``known``
    are the column names that a message may tell; a ``trailer`` is no row, and knows its count once all is read.
    """
    header: list[str] | None = None
    crlf = False
    with _open_text(file, limit_bytes=limit_bytes, encoding=form.encoding, trailer=trailer) as stream:
        if stream.peek(4)[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise RefusedFile("encoding", "the file is UTF-16, not UTF-8", remedy=_FIX_EXPORT)
        for block, first in _lines(stream, block_bytes=_CSV_BLOCK_BYTES):
            _check_block(block, first)
            if header is None:
                block = block.removeprefix(b"\xef\xbb\xbf")
                crlf = block.partition(b"\n")[0].endswith(b"\r")
            if b'"' in block and form.has_line_breaks_in_fields:
                yield from _records_with_line_breaks(block, stream, first, header, form=form, known=known)
                return
            block = _unify_line_ends(block, crlf=crlf, first_row=first)
            if header is None:
                line, _, block = block.partition(b"\n")
                header = _quoted_fields(line.decode("utf-8"), 0, form.delimiter)
                check_header(header, known)
                first = 1
            yield _block_frame(block, header, first, form.delimiter)
    if header is None:
        raise RefusedFile("empty", "the file is empty", remedy="send a file with at least its header line")


def _block_frame(block: bytes, header: list[str], first: int, delimiter: str) -> pl.DataFrame:
    """A block of whole lines: quotes and delimiters are judged for all lines at once, then split at once."""
    if not block:
        return pl.DataFrame(schema={**dict.fromkeys(header, pl.String), ROW_NUMBER: pl.Int64})
    bytes_ = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(bytes_ == _LINE_END)
    if b'"' not in block and (frame := _plain_frame(block, bytes_, ends, header, delimiter)) is not None:
        return frame.with_columns(pl.int_range(first, first + len(frame), dtype=pl.Int64).alias(ROW_NUMBER))
    separators = np.flatnonzero(bytes_ == ord(delimiter))
    is_quoted = b'"' in block
    if is_quoted:
        quotes = np.flatnonzero(bytes_ == _QUOTE)
        _check_quotes(bytes_, quotes, ends, first, delimiter)
        separators = separators[np.searchsorted(quotes, separators) % 2 == 0]
    fields = np.diff(np.concatenate(([0], np.searchsorted(separators, ends)))) + 1
    lengths = np.diff(np.concatenate(([-1], ends))) - 1
    wrong = np.flatnonzero((fields != len(header)) | (lengths == 0))
    if wrong.size:
        row = first + int(wrong[0])
        raise RefusedFile(
            "ragged_row",
            f"the row has {int(fields[wrong[0]]) if lengths[wrong[0]] else 0} fields, the header {len(header)}",
            remedy=_FIX_EXPORT,
            row=row,
        )
    if lengths.max() > LONGEST_FIELD_BYTES:
        raise RefusedFile("field_too_long", "a line is longer than 1 MB", remedy=_FIX_EXPORT, row=first)
    frame = pl.read_csv(
        block,
        has_header=False,
        new_columns=header,
        infer_schema=False,
        separator=delimiter,
        quote_char='"' if is_quoted else None,
        empty_string_is_null=True,
        raise_if_empty=False,
    )
    if is_quoted:
        frame = frame.with_columns(
            pl.when(pl.col(name) == "").then(None).otherwise(pl.col(name)).alias(name) for name in header
        )
    return frame.with_columns(pl.int_range(first, first + len(frame), dtype=pl.Int64).alias(ROW_NUMBER))


def _plain_frame(block: bytes, bytes_: Any, ends: Any, header: list[str], delimiter: str) -> pl.DataFrame | None:
    """A block without quotes whose lines all have as many fields as the header, or ``None``.

    As many delimiters as there should be, and no line with too many (polars refuses it): then no line has too few.
    """
    lengths = np.diff(ends, prepend=-1) - 1
    if lengths.min() == 0 or lengths.max() > LONGEST_FIELD_BYTES:
        return None
    if np.count_nonzero(bytes_ == ord(delimiter)) != (len(header) - 1) * len(ends):
        return None
    try:
        frame = pl.read_csv(
            block,
            has_header=False,
            schema=dict.fromkeys(header, pl.String),
            separator=delimiter,
            quote_char=None,
            empty_string_is_null=True,
            truncate_ragged_lines=False,
        )
    except pl.exceptions.PolarsError:
        return None
    return frame if len(frame) == len(ends) else None


def _check_quotes(bytes_: Any, quotes: Any, ends: Any, first: int, delimiter: str) -> None:
    """RFC 4180: a quote opens a field at its start, closes it at its end, and stands doubled inside."""
    outside = np.array([ord(delimiter), _LINE_END], dtype=np.uint8)
    padded = np.concatenate(([_LINE_END], bytes_, [_LINE_END])).astype(np.uint8)
    opening, closing = quotes[0::2], quotes[1::2]
    before, after = padded[opening], padded[closing + 2]
    bad = np.concatenate(
        (
            opening[~np.isin(before, outside) & (before != _QUOTE)],
            closing[~np.isin(after, outside) & (after != _QUOTE)],
            ends[np.searchsorted(quotes, ends) % 2 == 1],
        )
    )
    if bad.size:
        row = first + int(np.searchsorted(ends, bad.min()))
        raise RefusedFile("quoting", _BAD_QUOTE, remedy=_FIX_EXPORT, row=row)


def _quoted_fields(line: str, row: int, delimiter: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], strict=True, delimiter=delimiter))
    except (csv.Error, StopIteration) as error:
        raise RefusedFile("quoting", _BAD_QUOTE, remedy=_FIX_EXPORT, row=row) from error


def _records_with_line_breaks(
    block: bytes,
    stream: io.BufferedReader[Any],
    first: int,
    header: list[str] | None,
    *,
    form: CsvForm,
    known: Collection[str],
) -> Iterator[pl.DataFrame]:
    """The rest of a file whose fields may hold line breaks, record by record. Rows count records, not lines."""
    row = max(first, 1)
    pending: list[list[str]] = []
    text = io.TextIOWrapper(io.BufferedReader(_chain(block, stream)), encoding="utf-8", newline="")
    records = csv.reader(text, strict=True, delimiter=form.delimiter)
    try:
        for fields in records:
            if header is None:
                header = fields
                check_header(header, known)
                continue
            if len(fields) != len(header):
                raise RefusedFile(
                    "ragged_row",
                    f"the row has {len(fields)} fields, the header {len(header)}",
                    remedy=_FIX_EXPORT,
                    row=row + len(pending),
                )
            pending.append(fields)
            if len(pending) >= _BROKEN_LINE_BATCH_ROWS:
                yield _rows_frame(pending, header, row)
                row += len(pending)
                pending = []
    except csv.Error as error:
        raise RefusedFile("quoting", _BAD_QUOTE, remedy=_FIX_EXPORT, row=row + len(pending)) from error
    except UnicodeDecodeError as error:
        raise RefusedFile("encoding", "the file is not UTF-8", remedy=_FIX_EXPORT, row=row) from error
    if header is not None:
        yield _rows_frame(pending, header, row)


class _chain(io.RawIOBase):
    """A block already read, and then the rest of its stream; NUL bytes and a missing last line end are refused."""

    def __init__(self, block: bytes, stream: io.BufferedReader[Any]) -> None:
        self._block = block
        self._stream = stream
        self._last = b""

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the block, then from the stream."""
        chunk, self._block = self._block[: len(buffer)], self._block[len(buffer) :]
        chunk = chunk or self._stream.read(len(buffer))
        if b"\0" in chunk:
            raise RefusedFile("nul_byte", "the file holds a NUL byte", remedy=_FIX_EXPORT)
        if not chunk and self._last not in (b"", b"\n"):
            raise RefusedFile("truncated", _NO_LINE_END, remedy=_FIX_TRUNCATED)
        self._last = chunk[-1:]
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _rows_frame(rows: list[list[str]], header: list[str], first: int) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row")
    return frame.with_columns(
        *(pl.when(pl.col(name) == "").then(None).otherwise(pl.col(name)).alias(name) for name in header),
        pl.int_range(first, first + len(frame), dtype=pl.Int64).alias(ROW_NUMBER),
    )


def read_csv_header(file: SourceFile, *, limit_bytes: int, form: CsvForm = _OWN_FORM) -> list[str]:
    """The names in a CSV file's first line, to tell whose file it is; none where it has no such line."""
    try:
        with _open_text(file, limit_bytes=limit_bytes, encoding=form.encoding) as stream:
            line = stream.readline(LONGEST_FIELD_BYTES).removeprefix(b"\xef\xbb\xbf")
        return _quoted_fields(line.decode("utf-8").rstrip("\r\n"), 0, form.delimiter)
    except (UnicodeDecodeError, RefusedFile):
        return []


def read_column_names(file: SourceFile, form: str, *, limit_bytes: int) -> list[str]:
    """The columns of a CSV or Parquet file, or the keys of the first NDJSON lines; none where it cannot be read."""
    if form == "csv":
        return read_csv_header(file, limit_bytes=limit_bytes)
    try:
        if form == "parquet":
            with open_seekable(file, limit_bytes=limit_bytes) as handle:
                return list(pq.read_schema(handle).names)
        with _open_text(file, limit_bytes=limit_bytes) as stream:
            lines = [stream.readline(LONGEST_FIELD_BYTES).removeprefix(b"\xef\xbb\xbf") for _ in range(_HEAD_LINES)]
        records = [orjson.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError, pa.ArrowException, RefusedFile):
        return []
    return list(dict.fromkeys(name for record in records if isinstance(record, dict) for name in record))


def read_ndjson_records(
    file: SourceFile, *, limit_bytes: int, trailer: Trailer | None = None
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Each line's row number and its JSON object; ``None`` for a line that is blank or another JSON value.

    Raises ``RefusedFile`` for encodings other than UTF-8, NUL bytes, a line that is not JSON and a last line that is
    cut off (a whole object without a line end is read).
    """
    for block, first in read_ndjson_blocks(file, limit_bytes=limit_bytes, trailer=trailer):
        for number, _, record in block_records(block, first):
            yield number, record


def read_ndjson_blocks(
    file: SourceFile, *, limit_bytes: int, trailer: Trailer | None = None, block_bytes: int | None = None
) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines, each with how many lines stood before; only the last may lack its line end.

    A byte order mark is dropped. Raises ``RefusedFile`` for an empty file.
    """
    is_empty = True
    with _open_text(file, limit_bytes=limit_bytes, trailer=trailer) as stream:
        for block, first in _lines(stream, is_end_needed=False, block_bytes=block_bytes):
            is_empty = False
            yield (block if first else block.removeprefix(b"\xef\xbb\xbf")), first
    if is_empty:
        raise _no_record()


def _no_record() -> RefusedFile:
    return RefusedFile("empty", "the file is empty", remedy="send a file with at least one record")


def block_records(block: bytes, first: int) -> Iterator[tuple[int, bytes, dict[str, Any] | None]]:
    """Row number, line and object, line by line; ``first`` is how many lines stood before.

    Raises ``RefusedFile`` as ``read_ndjson_records`` does.
    """
    _check_block(block, first + 1)
    for number, line in enumerate(block.splitlines(), start=first + 1):
        try:
            record = orjson.loads(line) if line.strip() else None
        except orjson.JSONDecodeError as error:
            if not block.endswith(b"\n") and block.endswith(line):
                raise RefusedFile(
                    "truncated", "the last record is cut off", remedy="send the file again, whole", row=number
                ) from error
            raise RefusedFile(
                "invalid_json", "the line is not JSON", remedy="send one JSON object per line", row=number
            ) from error
        yield number, line, record if isinstance(record, dict) else None


_KEY = re.compile(rb'"\s*:')


def _has_key_twice(line: bytes, record: dict[str, Any]) -> bool:
    """Whether an object of the line names a key twice, of which a parser silently keeps the last."""
    if len(_KEY.findall(line)) == len(record):
        return False
    found = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len({key for key, _ in pairs}) != len(pairs)

    json.loads(line, object_pairs_hook=look)
    return found


def read_ndjson(
    file: SourceFile, *, limit_bytes: int, trailer: Trailer | None = None, contract: Contract | None = None
) -> Iterator[tuple[pl.DataFrame, list[int]]]:
    """Frames of flat JSON objects as text, and the rows that were not such objects.

    Where the objects' ``contract`` is known, plain blocks are read at once, and whole numbers and booleans stay such.
    """
    for block, first in read_ndjson_blocks(file, limit_bytes=limit_bytes, trailer=trailer):
        plain = None if contract is None else json_blocks.read_block(block, contract)
        if plain is not None:
            numbers = pl.int_range(first + 1, first + 1 + len(plain), dtype=pl.Int64)
            yield plain.with_columns(numbers.alias(ROW_NUMBER)), []
        else:
            yield from _careful_frames(block, first)


def _careful_frames(block: bytes, first: int) -> Iterator[tuple[pl.DataFrame, list[int]]]:
    rows: list[dict[str, str | int | None]] = []
    broken: list[int] = []
    for number, line, record in block_records(block, first):
        flat = None if record is None else _flat(record)
        if flat is None or record is None or _has_key_twice(line, record):
            broken.append(number)
        else:
            flat[ROW_NUMBER] = number
            rows.append(flat)
        if len(rows) >= _JSON_BATCH_ROWS:
            yield _records_frame(rows), broken
            rows, broken = [], []
    if rows or broken:
        yield _records_frame(rows), broken


def _flat(record: dict[str, Any]) -> dict[str, str | int | None] | None:
    """The record as text; ``None`` for nested values, and for numbers that reading may have changed."""
    flat: dict[str, str | int | None] = {}
    for name, value in record.items():
        if isinstance(value, bool):
            flat[name] = "true" if value else "false"
        elif value is None or value == "":
            flat[name] = None
        elif isinstance(value, float) and abs(value) >= _LARGEST_EXACT:
            return None  # a whole number too long for its type: its last digits are gone
        elif isinstance(value, str | int | float):
            flat[name] = str(value)
        else:
            return None
    return flat


def _records_frame(rows: list[dict[str, str | int | None]]) -> pl.DataFrame:
    names = list(dict.fromkeys(name for row in rows for name in row if name != ROW_NUMBER))
    return pl.DataFrame(rows, schema={**dict.fromkeys(names, pl.String), ROW_NUMBER: pl.Int64})


def read_parquet(
    file: SourceFile, *, limit_bytes: int, known: Collection[str] = (), contract: Contract | None = None
) -> Iterator[pl.DataFrame]:
    """Frames of a Parquet file with flat columns, as text: dates in ISO form, times in UTC with a Z.

    Where the rows' ``contract`` is known, columns whose type it wants keep their type (``keeps_type``).
    """
    try:
        with open_seekable(file, limit_bytes=limit_bytes) as handle:
            table = pq.ParquetFile(handle)
            check_header(table.schema_arrow.names, known)
            if sum(table.metadata.row_group(i).total_byte_size for i in range(table.num_row_groups)) > limit_bytes:
                raise RefusedFile(
                    "too_large", "the file is larger than allowed", remedy="raise file_size_limit_megabytes"
                )
            row = 1
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                frame = pl.from_arrow(batch)
                if not isinstance(frame, pl.DataFrame):
                    raise RefusedFile("parquet", "the file is not a table", remedy="send a Parquet table")
                yield _as_text(frame, contract).with_columns(
                    pl.int_range(row, row + len(frame), dtype=pl.Int64).alias(ROW_NUMBER)
                )
                row += len(frame)
            if row == 1:
                empty = pl.from_arrow(table.schema_arrow.empty_table())
                if isinstance(empty, pl.DataFrame):
                    yield _as_text(empty, contract).with_columns(pl.lit(None, dtype=pl.Int64).alias(ROW_NUMBER))
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise RefusedFile("parquet", "the file is not readable Parquet", remedy="write the file again") from error


def keeps_type(column: Column, kind: pl.DataType | type[pl.DataType]) -> bool:
    """Whether a column that a file types itself is cast as it is; any other type is read as text."""
    if column.kind == "integer":
        return kind.is_integer() and kind not in (pl.UInt64, pl.Int128)
    return (column.kind, kind) in (("date", pl.Date), ("boolean", pl.Boolean))


def _as_text(frame: pl.DataFrame, contract: Contract | None) -> pl.DataFrame:
    wanted = {} if contract is None else {column.name: column for column in contract.columns}
    expressions = []
    for name, kind in frame.schema.items():
        if name in wanted and keeps_type(wanted[name], kind):
            continue
        column = pl.col(name)
        if isinstance(kind, pl.Datetime):
            utc = column.dt.convert_time_zone("UTC") if kind.time_zone else column
            expressions.append(utc.dt.strftime("%Y-%m-%dT%H:%M:%S" + ("Z" if kind.time_zone else "")).alias(name))
        elif kind == pl.Boolean:
            expressions.append(pl.when(column).then(pl.lit("true")).when(~column).then(pl.lit("false")).alias(name))
        elif kind == pl.String or isinstance(kind, pl.Categorical | pl.Enum):
            text = column.cast(pl.String)
            expressions.append(pl.when(text == "").then(None).otherwise(text).alias(name))
        elif kind.is_numeric() or kind == pl.Date:
            expressions.append(column.cast(pl.String).alias(name))
        else:
            raise RefusedFile("parquet", f"column {name!r} is nested or binary", remedy="flatten it", column=name)
    return frame.with_columns(expressions)


def count_rows(file: SourceFile, form: str, *, limit_bytes: int) -> int:
    """How many rows a file that was refused holds, as far as its line ends or its footer tell."""
    if form not in _FORMS_COUNTED_BY_LINE and form != "parquet":
        return 1
    try:
        if form == "parquet":
            with open_seekable(file, limit_bytes=limit_bytes) as handle:
                return int(pq.ParquetFile(handle).metadata.num_rows)
        with open_bytes(file, limit_bytes=limit_bytes) as stream:
            lines, last = 0, b"\n"
            while chunk := stream.read(BLOCK_BYTES):
                lines += chunk.count(b"\n")
                last = chunk[-1:]
        lines += last != b"\n"
        return max(0, lines - 1) if form == "csv" else lines
    except (OSError, ValueError, RefusedFile):
        return 0
