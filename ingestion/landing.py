"""Landing: immutable parts, quarantine, manifest. A load exists once its manifest entry has been renamed into place."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from caseness import journal
from caseness.errors import DamagedHomeError
from caseness.journal import fsync_folder, write_atomically
from caseness.settings import Settings
from ingestion.casting import polars_type
from ingestion.contracts import contracts
from ingestion.problems import REMEDIES

QUARANTINE_COLUMNS = {
    "load_id": "varchar",
    "source_name": "varchar",
    "stream": "varchar",
    "source_row_number": "bigint",
    "column_name": "varchar",
    "rule": "varchar",
    "remedy": "varchar",
    "is_row_quarantined": "boolean",
}
DELIVERY_COLUMNS = {
    "load_id": "varchar",
    "source_name": "varchar",
    "namespace": "varchar",
    "stream": "varchar",
    "file_label": "varchar",
    "load_status": "varchar",
    "source_file_sha256": "varchar",
    "contract_version": "integer",
    "period_start": "date",
    "period_end": "date",
    "rows_in": "bigint",
    "rows_admitted": "bigint",
    "rows_quarantined": "bigint",
    "loaded_at": "timestamp",
}


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def load_id_of(sha256: str, *, source: str, namespace: str, contract_version: str) -> str:
    """One load is one file's bytes, delivered as one source and namespace, read under one contract."""
    return hashlib.sha256(f"{sha256}|{source}|{namespace}|{contract_version}".encode()).hexdigest()[:32]


class PartWriter:
    """Writes the parts of one load under temporary names; nothing is visible until ``commit``."""

    def __init__(self, settings: Settings, *, source: str, load_id: str) -> None:
        self._paths = settings.paths
        self._source = source
        self._load_id = load_id
        self._writers: dict[str, tuple[pq.ParquetWriter, Path, Path]] = {}
        self.rows: dict[str, int] = {}

    def write(self, stream: str, frame: pl.DataFrame) -> None:
        """Append typed rows of a stream, load metadata included."""
        if frame.is_empty():
            return
        columns = contracts()[stream].landed_columns
        table = frame.select(pl.col(name).cast(polars_type(kind)) for name, kind in columns.items()).to_arrow(
            compat_level=pl.CompatLevel.oldest()
        )
        if stream not in self._writers:
            folder = self._paths.parts / stream / self._source
            folder.mkdir(parents=True, exist_ok=True)
            final = folder / f"{self._load_id}.parquet"
            temporary = folder / f".{self._load_id}.{os.getpid()}.tmp"
            self._writers[stream] = (pq.ParquetWriter(temporary, table.schema, compression="zstd"), temporary, final)
        self._writers[stream][0].write_table(table.cast(self._writers[stream][0].schema))
        self.rows[stream] = self.rows.get(stream, 0) + len(frame)

    def commit(self) -> list[str]:
        """Make the parts durable under their final names; returns them relative to the parts folder."""
        names = []
        for writer, temporary, final in self._writers.values():
            writer.close()
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, final)
            fsync_folder(final.parent)
            names.append(str(final.relative_to(self._paths.parts)))
        self._writers = {}
        return sorted(names)

    def discard(self) -> None:
        """Leave nothing behind."""
        for writer, temporary, _ in self._writers.values():
            writer.close()
            temporary.unlink(missing_ok=True)
        self._writers = {}


def write_quarantine(settings: Settings, load_id: str, rows: pl.DataFrame) -> str | None:
    """Write positions and rules (never values) of one load's faults; returns the file's name."""
    if rows.is_empty():
        return None
    path = settings.paths.quarantine / f"{load_id}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    rows.with_columns(
        pl.col("rule").replace_strict(REMEDIES, default="see the contract", return_dtype=pl.String).alias("remedy")
    ).select(list(QUARANTINE_COLUMNS)).write_parquet(temporary)
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    os.replace(temporary, path)
    fsync_folder(path.parent)
    return path.name


def commit_entry(settings: Settings, entry: dict[str, Any]) -> None:
    """Write the manifest entry (the commit) and then its receipt."""
    settings.paths.manifest.mkdir(parents=True, exist_ok=True)
    body = orjson.dumps(entry, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    write_atomically(settings.paths.manifest / f"{entry['load_id']}.json", body)
    _append_receipt(settings, entry)


def _append_receipt(settings: Settings, entry: dict[str, Any]) -> None:
    journal.append(
        settings.paths.journal,
        "load",
        load_id=entry["load_id"],
        load_status=entry["load_status"],
        source_file_sha256=entry["source_file_sha256"],
        rows_in=entry["rows_in"],
        rows_admitted=entry["rows_admitted"],
        rows_quarantined=entry["rows_quarantined"],
    )


def manifest_entries(settings: Settings) -> list[dict[str, Any]]:
    """Every entry of the manifest, refused files included, in the order they were loaded."""
    folder = settings.paths.manifest
    if not folder.is_dir():
        return []
    entries = []
    for path in folder.glob("*.json"):
        try:
            entries.append(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise DamagedHomeError(
                f"manifest entry {path.stem} is damaged", remedy="restore the landing folder from a backup"
            ) from error
    return sorted(entries, key=lambda entry: (entry["delivered_at"], entry["load_id"]))


def reconcile(settings: Settings) -> list[dict[str, Any]]:
    """Check receipts, manifest and parts against each other; returns the manifest.

    An entry without a receipt (the process stopped between the two) gets its receipt now. Any other difference raises
    ``DamagedHomeError``.
    """
    entries = manifest_entries(settings)
    known = {entry["load_id"]: entry for entry in entries}
    receipts: dict[str, dict[str, Any]] = {}
    for receipt in journal.read(settings.paths.journal):
        if receipt["event"] == "load":
            receipts[receipt["load_id"]] = receipt
    for load_id, receipt in receipts.items():
        entry = known.get(load_id)
        if entry is None or any(entry[key] != receipt[key] for key in ("rows_in", "rows_admitted", "load_status")):
            raise DamagedHomeError(
                f"the journal knows load {load_id}, the manifest does not (or differs)",
                remedy="restore the landing folder from a backup, or deliver the file again into a new home",
            )
    for load_id, entry in known.items():
        for name, rows in entry["parts"].items():
            path = settings.paths.parts / name
            if not path.is_file() or pq.ParquetFile(path).metadata.num_rows != rows:
                raise DamagedHomeError(
                    f"part {name} of load {load_id} is missing or holds another number of rows",
                    remedy="restore the landing folder from a backup",
                )
        if load_id not in receipts:
            _append_receipt(settings, entry)
    return entries


def landed_parts(settings: Settings) -> dict[str, list[Path]]:
    """Parts of each stream in the reconciled manifest, in name order."""
    found: dict[str, list[Path]] = {stream: [] for stream in contracts()}
    for entry in reconcile(settings):
        for name in entry["parts"]:
            found[name.split("/")[0]].append(settings.paths.parts / name)
    return {stream: sorted(parts) for stream, parts in found.items()}


def quarantine_parts(settings: Settings) -> list[Path]:
    """Quarantine files of the loads in the manifest."""
    names = [entry["quarantine"] for entry in manifest_entries(settings) if entry.get("quarantine")]
    return sorted(settings.paths.quarantine / name for name in names)


def deliveries_table(settings: Settings) -> pa.Table:
    """One row per load for ``raw.deliveries``."""
    entries = manifest_entries(settings)
    frame = pl.DataFrame(
        [{name: entry.get(name) for name in DELIVERY_COLUMNS} for entry in entries],
        schema=dict.fromkeys(DELIVERY_COLUMNS, pl.String) | dict.fromkeys(_NUMBERS, pl.Int64),
    )
    return frame.with_columns(
        pl.col("period_start", "period_end").str.to_date(),
        pl.col("loaded_at").str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us"),
        pl.col("contract_version").cast(pl.Int32),
    ).to_arrow()


_NUMBERS: Iterable[str] = ("rows_in", "rows_admitted", "rows_quarantined", "contract_version")
