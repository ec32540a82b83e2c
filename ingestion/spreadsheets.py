"""XLSX sheets as text: stored values only, nothing guessed; one named sheet as frames, or all sheets row by row.

A formula counts as its stored value, a date becomes ISO text, a whole number has no ``.0``. A cell that holds an error
or a duration is listed, not read. Workbooks with macros, merged cells or a hidden sheet are refused.
"""

from __future__ import annotations

import datetime as dt
import io
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import openpyxl
import polars as pl

from ingestion.files import WHOLE_DOCUMENT_LIMIT_BYTES, SourceFile, check_directory_size, check_members, open_bytes
from ingestion.problems import RefusedFile
from ingestion.reading import ROW_NUMBER, check_header

Errors = list[tuple[int, str]]  # row number, column
_BATCH_ROWS = 50_000
_MACROS = (b"macroEnabled", b"vbaProject")
_FIX = "save the sheet again as .xlsx, or as CSV"


def read_xlsx(
    file: SourceFile, *, sheet: str | None, limit_bytes: int, known: Sequence[str] = ()
) -> Iterator[tuple[pl.DataFrame, Errors]]:
    """Frames of a sheet whose first row names its columns, and the cells that could not be read.

    Rows count from 1 below the header as the sheet shows them; a row without any value is not a row. Raises
    ``RefusedFile`` for what is not a plain workbook.
    """
    with _plain_workbook():
        yield from _frames(_content(file, limit_bytes), sheet, known)


class StoredNumber(str):
    """The text of a cell that holds a number: zeros it began with and digits beyond the fifteenth are lost."""

    __slots__ = ()


def read_sheets(file: SourceFile, *, limit_bytes: int) -> Iterator[tuple[int, int, list[str | None]]]:
    """Every row that has a value, of every sheet: which sheet and which row of it, both counted from 1, and its texts.

    For workbooks whose table stands below rows that speak of it. Raises ``RefusedFile`` as ``read_xlsx`` does, and for
    a cell that holds an error; merged cells count as one cell and empty ones.
    """
    with _plain_workbook():
        for place, table in enumerate(_opened(_content(file, limit_bytes)).worksheets, start=1):
            _check_visible(table)
            table.reset_dimensions()
            for number, cells in enumerate(table.iter_rows(), start=1):
                texts = _trimmed(cells)
                if any(text is _UNREADABLE for text in texts):
                    message = f"a cell of sheet {place} holds an error or a duration"
                    raise RefusedFile("error_cell", message, remedy="put a value in the cell", row=number)
                if texts:
                    yield place, number, texts


@contextmanager
def _plain_workbook() -> Iterator[None]:
    """What goes wrong in a workbook refuses its file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except RefusedFile:
        raise
    except MemoryError:
        raise
    except Exception as error:  # a damaged workbook fails in many ways; none of them may show what it holds
        raise RefusedFile("xlsx", "the file is not a readable workbook", remedy=_FIX) from error


def _content(file: SourceFile, limit_bytes: int) -> io.BytesIO:
    limit = min(limit_bytes, WHOLE_DOCUMENT_LIMIT_BYTES)
    if not openpyxl.DEFUSEDXML:
        raise RefusedFile("xlsx", "XML is not read safely here", remedy="install defusedxml, unset OPENPYXL_DEFUSEDXML")
    with open_bytes(file, limit_bytes=limit) as stream:
        content = io.BytesIO(stream.read())
    try:
        check_directory_size(content)
        with zipfile.ZipFile(content) as archive:
            check_members(archive.infolist(), limit)
            types = archive.read("[Content_Types].xml")
            if any(mark in types for mark in _MACROS) or any("vbaProject" in name for name in archive.namelist()):
                raise RefusedFile("macros", "the workbook holds macros", remedy="save it as .xlsx without macros")
    except (zipfile.BadZipFile, KeyError, OSError, NotImplementedError, RuntimeError) as error:
        raise RefusedFile("xlsx", "the file is not a workbook, or has a password", remedy=_FIX) from error
    return content


def _frames(content: io.BytesIO, sheet: str | None, known: Sequence[str]) -> Iterator[tuple[pl.DataFrame, Errors]]:
    table = _sheet(_opened(content), sheet)
    with zipfile.ZipFile(content) as archive, archive.open(table._worksheet_path) as part:
        if b"<mergeCell " in part.read() or b":mergeCell " in part.read():
            raise RefusedFile("merged_cells", "the sheet has merged cells", remedy="unmerge them, one value a cell")
    table.reset_dimensions()
    header: list[str] | None = None
    rows: list[list[str | None]] = []
    numbers: list[int] = []
    errors: Errors = []
    for number, cells in enumerate(table.iter_rows()):
        texts = _trimmed(cells)
        if header is None:
            header = _header(texts, known)
            continue
        if not texts:
            continue
        if len(texts) > len(header):
            message = f"the row has {len(texts)} cells, the header {len(header)}"
            raise RefusedFile("ragged_row", message, remedy=_FIX, row=number)
        errors += [(number, header[place]) for place, text in enumerate(texts) if text is _UNREADABLE]
        rows.append([None if text is _UNREADABLE else text for text in texts] + [None] * (len(header) - len(texts)))
        numbers.append(number)
        if len(rows) >= _BATCH_ROWS:
            yield _frame(rows, numbers, header), errors
            rows, numbers, errors = [], [], []
    if header is None:
        raise RefusedFile("empty", "the sheet is empty", remedy="send a sheet with at least its header row")
    yield _frame(rows, numbers, header), errors


def _opened(content: io.BytesIO) -> Any:
    return openpyxl.load_workbook(content, read_only=True, data_only=True, keep_links=False)


def _sheet(book: Any, name: str | None) -> Any:
    if name is None and len(book.sheetnames) != 1:
        raise RefusedFile("sheet", "the workbook has several sheets", remedy="name one by `sheet:` in source.yml")
    found = [table for table in book.worksheets if name is None or table.title == name]
    if not found:
        raise RefusedFile("sheet", "the declared sheet is not there", remedy="check `sheet:` in source.yml")
    _check_visible(found[0])
    return found[0]


def _check_visible(table: Any) -> None:
    if table.sheet_state != "visible":
        raise RefusedFile("hidden_sheet", "the sheet is hidden", remedy="show it, if it is meant to be read")


def _header(texts: list[str | None], known: Sequence[str]) -> list[str]:
    names = ["" if text is None or text is _UNREADABLE else text for text in texts]
    if not names:
        raise RefusedFile("header", "the first row of the sheet is empty", remedy="name the columns in the first row")
    check_header(names, known)
    return names


def _frame(rows: list[list[str | None]], numbers: list[int], header: list[str]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row")
    return frame.with_columns(pl.Series(ROW_NUMBER, numbers, dtype=pl.Int64))


class _Unreadable(str):
    __slots__ = ()


_UNREADABLE = _Unreadable("unreadable")


def _trimmed(cells: Sequence[Any]) -> list[str | None]:
    """The texts of a row up to its last value."""
    texts = [_text(cell) for cell in cells]
    while texts and texts[-1] is None:
        texts.pop()
    return texts


def _text(cell: Any) -> str | None:
    value = cell.value
    if value is None or value == "":
        return None
    if cell.data_type == "e" or isinstance(value, dt.timedelta):
        return _UNREADABLE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.datetime):
        nearest = (value + dt.timedelta(microseconds=500_000)).replace(microsecond=0)
        if nearest.time() == dt.time() and "h" not in str(cell.number_format).lower():
            return nearest.date().isoformat()
        return nearest.isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, float):
        return StoredNumber(format(Decimal(int(value)) if value.is_integer() else Decimal(repr(value)), "f"))
    return StoredNumber(value) if isinstance(value, int) else str(value)
