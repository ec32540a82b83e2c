"""What a reader hands to the door: rows as text by stream, and the records that are outside the contract or faulty."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from caseness.settings import Settings
from ingestion.contracts import contracts
from ingestion.delivery import Delivery
from ingestion.files import SourceFile
from ingestion.reading import ROW_NUMBER

Row = dict[str, str | None]
SHARED_ROW = "shared_row"


@dataclass(frozen=True)
class Recognition:
    """What a source says of a file it knows: its form, its stream where the file is of one, its companions."""

    form: str  # csv, ndjson, parquet, json, xlsx
    stream: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    companions: tuple[SourceFile, ...] = ()  # files beside it that its meaning depends on, such as a vocabulary
    trailer_lines: int = 0  # lines at its end that are no rows
    is_by_name_alone: bool = False  # its columns do not bear out its name: any other source that knows it goes first


@dataclass(frozen=True)
class ReadContext:
    """What a reader may know beside the file."""

    spec: dict[str, Any]
    delivery: Delivery
    settings: Settings

    @property
    def limit_bytes(self) -> int:
        """Most bytes a file may hold, unpacked."""
        return self.settings.file_size_limit_megabytes << 20

    @property
    def value_sets(self) -> Path:
        """Value sets that the site loaded itself."""
        return self.settings.paths.value_sets


@dataclass
class Batch:
    """Part of a file. ``records`` counts what the source calls a row; every row of a stream names its record.

    ``frames`` are text columns by the contract's names plus ``source_row_number`` (whole numbers, days and booleans
    that the contract wants may stay such); ``rows`` are the same as objects, for readers that go record by record.
    ``shared`` holds columns that several rows of a frame have in common, each value once: ``shared_row`` in the frame
    is the place of a row's values there. ``faults`` are (record number, field, rule): such a record lands in no stream.
    ``lost_fields`` are (record number, stream, field, rule): the field became missing, the record is kept.
    """

    records: int = 0
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    shared: dict[str, pl.DataFrame] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    faults: list[tuple[int, str, str]] = field(default_factory=list)
    lost_fields: list[tuple[int, str, str, str]] = field(default_factory=list)
    identifier_fields: Counter[str] = field(default_factory=Counter)

    def add(self, stream: str, number: int, row: Row) -> None:
        """Append one row of a stream."""
        self.rows.setdefault(stream, []).append({**row, ROW_NUMBER: number})

    def texts(self) -> dict[str, pl.DataFrame]:
        """Text frames by stream. Rows given as objects join their frame, which is then whole and shares nothing."""
        found = dict(self.frames)
        for stream, rows in self.rows.items():
            names = {column.name: pl.String for column in contracts()[stream].columns}
            fresh = pl.DataFrame(rows, schema={**names, ROW_NUMBER: pl.Int64})
            if stream in found:
                whole = whole_text(found[stream], self.shared.get(stream))
                whole = whole.with_columns(pl.all().exclude(ROW_NUMBER).cast(pl.String))
                fresh = pl.concat([whole, fresh], how="diagonal").sort(ROW_NUMBER, maintain_order=True)
            found[stream] = fresh
        return found


def whole_text(text: pl.DataFrame, shared: pl.DataFrame | None) -> pl.DataFrame:
    """A frame with the columns its rows share written out."""
    if shared is None or SHARED_ROW not in text.columns:
        return text
    return pl.concat([text.drop(SHARED_ROW), shared[text.get_column(SHARED_ROW)]], how="horizontal")
