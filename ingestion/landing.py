"""Landing: immutable parts, quarantine, manifest. A load exists once its manifest entry has been renamed into place."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from caseness import home, journal
from caseness.errors import DamagedHomeError
from caseness.faults import fault_point
from caseness.journal import fsync_folder, write_atomically
from caseness.settings import Settings
from ingestion import sealed
from ingestion.casting import polars_type
from ingestion.contracts import contracts
from ingestion.problems import REMEDIES
from ingestion.reading import ROW_NUMBER

MANIFEST_VERSION = 2
_TEMPORARY = ".tmp"
_RESTORE = "restore the home from a backup (`caseness restore`), or deliver the files again into a new home"
_RECEIPT_KEYS = ("load_id", "load_status", "source_file_sha256", "rows_in", "rows_admitted", "rows_quarantined")
_STATEMENT_KEYS = ("delivered_at", "period_end", "period_start")
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


class WithdrawalReason(StrEnum):
    """Why a delivered file is taken back. Codes only: the journal holds no free text."""

    STATED_BY_SENDER = "stated_by_sender"
    SENT_IN_ERROR = "sent_in_error"
    WRONG_PEOPLE = "wrong_people"
    WRONG_PERIOD = "wrong_period"
    FAULTY_CONTENT = "faulty_content"
    NO_PERMISSION = "no_permission"


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
            temporary = folder / f".{self._load_id}.{os.getpid()}{_TEMPORARY}"
            writer = pq.ParquetWriter(
                temporary,
                table.schema,
                compression="zstd",
                use_dictionary=_repeated_texts(frame, columns),
                column_encoding={ROW_NUMBER: "DELTA_BINARY_PACKED"},
            )
            self._writers[stream] = (writer, temporary, final)
        self._writers[stream][0].write_table(table.cast(self._writers[stream][0].schema))
        self.rows[stream] = self.rows.get(stream, 0) + len(frame)

    def close(self) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """Make the parts durable under their temporary names.

        Returns, by name relative to the parts folder, what the manifest says of each (rows, bytes, sha256) and the
        temporary file that holds it.
        """
        parts, temporary_names = {}, {}
        for stream, (writer, temporary, final) in self._writers.items():
            writer.close()
            name = str(final.relative_to(self._paths.parts))
            parts[name] = {"rows": self.rows[stream], **seal_of(temporary)}
            temporary_names[name] = str(temporary)
        self._writers = {}
        return dict(sorted(parts.items())), temporary_names

    def discard(self) -> None:
        """Leave nothing behind."""
        for writer, temporary, _ in self._writers.values():
            with suppress(OSError):  # on a full disk closing fails as well
                writer.close()
            temporary.unlink(missing_ok=True)
        self._writers = {}


def _repeated_texts(frame: pl.DataFrame, columns: dict[str, str]) -> list[str]:
    """Text columns that a dictionary makes smaller; for the others, and for numbers, looking for one costs time."""
    texts = [name for name, kind in columns.items() if kind == "varchar"]
    return [name for name in texts if frame.get_column(name).n_unique() <= len(frame) // 2]


def seal_of(path: Path) -> dict[str, Any]:
    """Flush a finished file to disk; its size and hash."""
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        os.fsync(handle.fileno())
    return {"bytes": path.stat().st_size, "sha256": digest}


def write_quarantine(settings: Settings, load_id: str, rows: pl.DataFrame) -> tuple[dict[str, Any], str]:
    """Write positions and rules (never values) of one load's faults under a temporary name.

    Returns what the manifest says of the file and its temporary path; both empty when there are no faults.
    """
    if rows.is_empty():
        return {}, ""
    path = settings.paths.quarantine / f"{load_id}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    rows.with_columns(
        pl.col("rule").replace_strict(REMEDIES, default="see the contract", return_dtype=pl.String).alias("remedy")
    ).select(list(QUARANTINE_COLUMNS)).write_parquet(temporary)
    return {"name": path.name, "rows": len(rows), **seal_of(temporary)}, str(temporary)


class Manifest:
    """Every load of a home, and the only way to change which loads there are. Hold the home's lock to write."""

    def __init__(self, settings: Settings, entries: Iterable[dict[str, Any]]) -> None:
        self._settings = settings
        self._entries = {entry["load_id"]: entry for entry in entries}
        self._by_file: dict[str, set[str]] = {}
        for entry in self._entries.values():
            self._by_file.setdefault(entry["source_file_sha256"], set()).add(entry["load_id"])
        self._withdrawn = withdrawn_files(settings)

    @classmethod
    def opened(cls, settings: Settings, *, is_deep: bool = False) -> Manifest:
        """The manifest, reconciled with journal and parts; what a process that stopped has left is put right."""
        home.check(settings)
        entries = reconcile(settings, is_deep=is_deep)
        remove_strays(settings, entries)
        manifest = cls(settings, entries)
        for entry in entries:
            if entry["load_status"] == "loaded" and entry["source_file_sha256"] in manifest._withdrawn:
                manifest.retire(entry["load_id"], "withdrawn")
        for entry in manifest.entries():
            for older in entry.get("supersedes", ()) if entry["load_status"] == "loaded" else ():
                if manifest.status_of(older) == "loaded":
                    manifest.retire(older, "superseded")
        return manifest

    def of_file(self, sha256: str) -> list[dict[str, Any]]:
        """Every load of one source file's bytes."""
        return [self._entries[load_id] for load_id in sorted(self._by_file.get(sha256, ()))]

    def entry(self, load_id: str) -> dict[str, Any]:
        """One load's entry."""
        return self._entries[load_id]

    def entries(self) -> list[dict[str, Any]]:
        """Every load, refused and retired ones included."""
        return list(self._entries.values())

    def status_of(self, load_id: str) -> str | None:
        """The status of a load, or ``None``."""
        return self._entries[load_id]["load_status"] if load_id in self._entries else None

    def commit(self, entry: dict[str, Any], temporary: dict[str, str], *, former_owners: Collection[str] = ()) -> str:
        """Make a prepared load visible: parts and quarantine under their names, the manifest entry, then its receipt.

        The entry is the commit. A load of the same bytes from the same sender that an older contract, mapping or key
        made is superseded by it; of the same bytes delivered twice under different statements the later statement
        counts, whichever came first. ``former_owners`` are what earlier keys made of the entry's owner; they are not
        written down. Returns the load's status: a file that was withdrawn before it came is not loaded.
        """
        paths = self._settings.paths
        owners = {entry.get("owner"), *former_owners}
        rivals = [
            other
            for other in self.of_file(entry["source_file_sha256"])
            if _is_rival(self._settings, other, entry, owners)
        ]
        if entry["load_status"] == "loaded":
            if entry["source_file_sha256"] in self._withdrawn:
                entry = {**entry, "load_status": "withdrawn", "parts": {}}
            elif any(_says_more(other, entry) for other in rivals):
                entry = {**entry, "load_status": "superseded", "parts": {}, "quarantine": None}
            elif rivals:
                entry = {**entry, "supersedes": [older["load_id"] for older in rivals]}
        for name, held in sorted(temporary.items()):
            is_quarantine = entry["quarantine"] is not None and name == entry["quarantine"]["name"]
            if not is_quarantine and name not in entry["parts"]:
                Path(held).unlink()
                continue
            final = (paths.quarantine if is_quarantine else paths.parts) / name
            os.replace(held, final)
            fsync_folder(final.parent)
        fault_point("parts_renamed")
        self._write(entry)
        fault_point("receipt_written")
        if entry["load_status"] == "loaded":
            for older in rivals:
                self.retire(older["load_id"], "superseded")
        return str(entry["load_status"])

    def retire(self, load_id: str, status: str) -> None:
        """Take a load out: its entry says why, its receipt follows, its parts go."""
        entry = self._entries[load_id]
        superseded = {"quarantine": None} if status == "superseded" else {}
        self._write({**entry, "load_status": status, "parts": {}, **superseded})
        fault_point("entry_retired")
        for name in entry["parts"]:
            (self._settings.paths.parts / name).unlink(missing_ok=True)
        for path in _quarantine_files(self._settings, [entry]) if superseded else ():
            path.unlink(missing_ok=True)

    def replace_parts(self, load_id: str, changes: dict[str, Any]) -> None:
        """Change what an entry says of its parts (erasure, migration), with a receipt of its own."""
        self._write({**self._entries[load_id], **changes})

    def withdraw(self, sha256: str, *, reason: WithdrawalReason) -> int:
        """Withdraw a source file by its hash: what was loaded from it goes and does not come back. Loads taken out."""
        if sha256 not in self._withdrawn:
            body = orjson.dumps({"source_file_sha256": sha256, "reason": reason.value})
            sealed.write(
                self._settings,
                _withdrawal(self._settings, sha256),
                body,
                event="withdrawal",
                source_file_sha256=sha256,
                reason=reason.value,
            )
            self._withdrawn.add(sha256)
        fault_point("withdrawal_marked")
        loaded = [entry["load_id"] for entry in self.of_file(sha256) if entry["load_status"] == "loaded"]
        for load_id in loaded:
            self.retire(load_id, "withdrawn")
        return len(loaded)

    def admit_again(self, sha256: str) -> bool:
        """Undo a withdrawal: the file may come again. Its rows are gone until it does. Whether it was withdrawn."""
        if sha256 not in self._withdrawn:
            return False
        path = _withdrawal(self._settings, sha256)
        sealed.remove(self._settings, path, event="withdrawal_undone", source_file_sha256=sha256)
        self._withdrawn.discard(sha256)
        return True

    def _write(self, entry: dict[str, Any]) -> None:
        """Write an entry and its receipt. A change of one that has a receipt is announced, so that damage is told."""
        self._settings.paths.manifest.mkdir(parents=True, exist_ok=True)
        if entry["load_id"] in self._entries:
            journal.append(self._settings.paths.journal, sealed.ANNOUNCED, load_id=entry["load_id"], seal=_seal(entry))
            fault_point("change_announced")
        body = orjson.dumps(entry, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
        write_atomically(self._settings.paths.manifest / f"{entry['load_id']}.json", body)
        fault_point("entry_committed")
        _append_receipt(self._settings, entry)
        self._entries[entry["load_id"]] = entry
        self._by_file.setdefault(entry["source_file_sha256"], set()).add(entry["load_id"])


def _is_rival(settings: Settings, older: dict[str, Any], entry: dict[str, Any], owners: Collection[str | None]) -> bool:
    """A load of the same bytes from the same sender and owner, of which only one may count."""
    same = ("source_name", "namespace", "stream")
    return (
        older["load_status"] == "loaded"
        and older["load_id"] != entry["load_id"]
        and all(older.get(key) == entry.get(key) for key in same)
        and (older.get("owner") in owners or _may_belong_to(settings, older, owners))
    )


def _may_belong_to(settings: Settings, older: dict[str, Any], owners: Collection[str | None]) -> bool:
    """The first release did not write down the owner: then the rows tell whether they are all this person's."""
    if None in owners or not older.get("is_owner_unknown"):
        return False
    tokens: set[str | None] = set()
    for name in older["parts"]:
        path = settings.paths.parts / name
        if "person_token" in pq.read_schema(path).names:
            tokens |= set(pq.read_table(path, columns=["person_token"]).column(0).unique().to_pylist())
    return len(tokens) == 1 and tokens <= set(owners)


def _says_more(older: dict[str, Any], entry: dict[str, Any]) -> bool:
    """The same reading of the same bytes under a statement that is as late or later."""
    return older.get("reading_id") == entry.get("reading_id") and statement_of(older) >= statement_of(entry)


def statement_of(entry: dict[str, Any]) -> tuple[str, ...]:
    """What the delivery said of time, in an order that compares."""
    return tuple(entry.get(key) or "" for key in _STATEMENT_KEYS)


def key_version_of(entry: Mapping[str, Any]) -> int:
    """Version of the key that made a load's tokens; where an entry does not say, there was one key only."""
    return int(entry.get("key_version") or 1)


def _withdrawal(settings: Settings, sha256: str) -> Path:
    return settings.paths.withdrawn / f"{sha256}.json"


def is_withdrawn(settings: Settings, sha256: str) -> bool:
    """Whether a source file was withdrawn, before or after it came."""
    return _withdrawal(settings, sha256).exists()


def withdrawn_files(settings: Settings) -> set[str]:
    """Hashes of source files that their sender has withdrawn, whether they have been seen or not."""
    folder = settings.paths.withdrawn
    return {path.stem for path in folder.glob("*.json")} if folder.is_dir() else set()


def _append_receipt(settings: Settings, entry: dict[str, Any]) -> None:
    journal.append(settings.paths.journal, "load", **{key: entry[key] for key in _RECEIPT_KEYS}, seal=_seal(entry))


def _seal(entry: dict[str, Any]) -> str:
    """Hash of a manifest entry, so that a changed entry is found."""
    return hashlib.sha256(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)).hexdigest()


def entry_of(settings: Settings, load_id: str) -> dict[str, Any] | None:
    """The manifest entry of one load, or ``None``."""
    path = settings.paths.manifest / f"{load_id}.json"
    return _read_entry(path) if path.exists() else None


def _read_entry(path: Path) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if entry["load_id"] != path.stem:
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedHomeError(f"manifest entry {path.stem} is damaged", remedy=_RESTORE) from error
    return entry


def manifest_entries(settings: Settings) -> list[dict[str, Any]]:
    """Every entry of the manifest, refused files included, in an order that does not depend on when they came."""
    folder = settings.paths.manifest
    if not folder.is_dir():
        return []
    entries = [_read_entry(path) for path in folder.glob("*.json")]
    return sorted(entries, key=lambda entry: (entry.get("delivered_at") or "", entry["load_id"]))


def reconcile(settings: Settings, *, is_deep: bool = False) -> list[dict[str, Any]]:
    """Check receipts, manifest, parts and marks against each other; returns the manifest.

    The last new entry may lack its receipt, and so may an entry whose change was announced (the process stopped
    between the two): it gets it now. Any other difference raises ``DamagedHomeError`` that says where. ``is_deep``
    also reads every part and compares its hash.
    """
    known = {entry["load_id"]: entry for entry in manifest_entries(settings)}
    receipts: dict[str, dict[str, Any]] = {}
    announced: dict[str, set[str]] = {}
    files = sealed.SealedFiles()
    if settings.paths.home_file.exists() and not journal.has_head(settings.paths.journal):
        raise DamagedHomeError("the journal's head (head.json) is missing", remedy=_RESTORE)
    for receipt in journal.read(settings.paths.journal):
        files.take(receipt)
        if receipt["event"] == "load":
            receipts[receipt["load_id"]] = receipt
            announced.pop(receipt["load_id"], None)
        elif receipt["event"] == sealed.ANNOUNCED and "load_id" in receipt:
            announced.setdefault(receipt["load_id"], set()).add(receipt["seal"])
    for load_id in receipts:
        if load_id not in known:
            raise DamagedHomeError(f"manifest entry {load_id} is missing; the journal knows it", remedy=_RESTORE)
    fresh = [entry for load_id, entry in known.items() if load_id not in receipts]
    if len(fresh) > 1:
        raise DamagedHomeError(f"{len(fresh)} manifest entries have no receipt in the journal", remedy=_RESTORE)
    unreceipted = list(fresh)
    for load_id, receipt in receipts.items():
        entry = known[load_id]
        if _agrees(entry, receipt):
            continue
        if _seal(entry) not in announced.get(load_id, ()):
            raise DamagedHomeError(f"manifest entry {load_id} was changed after it was written", remedy=_RESTORE)
        unreceipted.append(entry)
    for entry in unreceipted:
        try:
            _append_receipt(settings, entry)
        except KeyError as error:
            raise DamagedHomeError(f"manifest entry {entry['load_id']} is damaged", remedy=_RESTORE) from error
    files.check(settings)
    entries = list(known.values())
    _check_files(settings, entries, is_deep=is_deep)
    return entries


def _agrees(entry: dict[str, Any], receipt: dict[str, Any]) -> bool:
    if "seal" in receipt:
        return bool(receipt["seal"] == _seal(entry))
    # The first release's receipts hold the counts alone.
    return "manifest_version" not in entry and all(receipt.get(key) == entry.get(key) for key in _RECEIPT_KEYS)


def _check_files(settings: Settings, entries: list[dict[str, Any]], *, is_deep: bool) -> None:
    expected: list[tuple[Path, dict[str, Any], str]] = []
    for entry in entries:
        for name, facts in entry["parts"].items():
            facts = facts if isinstance(facts, dict) else {"rows": facts}
            expected.append((settings.paths.parts / name, facts, f"part {name}"))
        quarantine = entry.get("quarantine")
        if isinstance(quarantine, dict):
            name = quarantine["name"]
            expected.append((settings.paths.quarantine / name, quarantine, f"quarantine file {name}"))
    with ThreadPoolExecutor(settings.threads) as pool:
        for fault in pool.map(lambda item: _file_fault(*item, is_deep=is_deep), expected):
            if fault:
                raise DamagedHomeError(fault, remedy=_RESTORE)


def _file_fault(path: Path, facts: dict[str, Any], what: str, *, is_deep: bool) -> str:
    if not path.is_file():
        return f"{what} is missing"
    if "bytes" not in facts:
        try:
            rows = pq.ParquetFile(path).metadata.num_rows
        except (OSError, pa.ArrowException):
            return f"{what} is damaged"
        return "" if rows == facts["rows"] else f"{what} holds other rows"
    if path.stat().st_size != facts["bytes"]:
        return f"{what} has another size than the manifest says: it was cut or changed"
    if is_deep:
        with path.open("rb") as handle:
            if hashlib.file_digest(handle, "sha256").hexdigest() != facts["sha256"]:
                return f"{what} was changed after it was written"
    return ""


def remove_strays(settings: Settings, entries: Iterable[dict[str, Any]]) -> int:
    """Remove what a process that stopped has left: temporary files, and parts no manifest entry names. How many."""
    entries = list(entries)
    named = {settings.paths.parts / name for entry in entries for name in entry["parts"]}
    held = {path.name for path in _quarantine_files(settings, entries)}
    strays = [path for path in settings.paths.parts.rglob("*") if path.is_file() and path not in named]
    if settings.paths.quarantine.is_dir():
        strays += [path for path in settings.paths.quarantine.iterdir() if path.name not in held]
    for folder in (
        settings.paths.manifest,
        settings.paths.withdrawn,
        settings.paths.landing,
        settings.paths.value_sets,
    ):
        strays += folder.glob(f".*{_TEMPORARY}")
    for path in strays:
        path.unlink()
    return len(strays)


def discard(temporary: dict[str, str]) -> None:
    """Throw a prepared load away."""
    for held in temporary.values():
        Path(held).unlink(missing_ok=True)


def remove_temporary(settings: Settings, process_id: int) -> None:
    """Remove what one child process left when it was stopped."""
    for folder in (settings.paths.parts, settings.paths.quarantine):
        for path in folder.rglob(f".*.{process_id}{_TEMPORARY}"):
            path.unlink(missing_ok=True)


def _quarantine_files(settings: Settings, entries: Iterable[dict[str, Any]]) -> list[Path]:
    found = [entry["quarantine"] for entry in entries if entry.get("quarantine")]
    return sorted(settings.paths.quarantine / (item["name"] if isinstance(item, dict) else item) for item in found)


def landed_parts(settings: Settings, *, is_deep: bool = False) -> dict[str, list[Path]]:
    """Parts of each stream in the reconciled manifest, in name order."""
    found: dict[str, list[Path]] = {stream: [] for stream in contracts()}
    for entry in reconcile(settings, is_deep=is_deep):
        for name in entry["parts"]:
            found[name.split("/")[0]].append(settings.paths.parts / name)
    return {stream: sorted(parts) for stream, parts in found.items()}


def quarantine_parts(settings: Settings, entries: Iterable[dict[str, Any]] | None = None) -> list[Path]:
    """Quarantine files of the loads in the manifest, or of some of them."""
    return _quarantine_files(settings, manifest_entries(settings) if entries is None else entries)


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
