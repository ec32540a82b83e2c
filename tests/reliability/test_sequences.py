"""Deliveries in any order, twice, renamed, packed, corrected, withdrawn: the same set ends in the same warehouse."""

from __future__ import annotations

import csv
import gzip
import io
import random
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ingestion
from caseness.commands.build import run_build
from caseness.settings import Settings
from tests.fixtures.depth import times
from tests.fixtures.small_service import Course, delivery_tables, home_settings, marts_content


@dataclass(frozen=True)
class Sent:
    """One file as its sender made it: stream, bytes, and what the delivery says of itself."""

    stream: str
    content: bytes
    delivered_at: str | None

    def put(self, folder: Path, chance: random.Random, number: int) -> Path:
        """Write it under a free name, sometimes packed, beside its delivery.yml."""
        own = folder / f"d{number}"
        own.mkdir(parents=True)
        said = "source: small_service\nnamespace: small_service\nperiod_end: 2025-01-31\n"
        said += f"delivered_at: {self.delivered_at}\n" if self.delivered_at else ""
        name = chance.choice((f"{self.stream}.csv", f"{self.stream}_{number}.csv", f"{self.stream}-again.csv"))
        if chance.random() < 0.2:
            with zipfile.ZipFile(own / f"export_{number}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"out/{name}", self.content)
                archive.writestr("out/delivery.yml", said)
        else:
            (own / name).write_bytes(self.content)
            (own / "delivery.yml").write_text(said, encoding="utf-8")
        return own


def _csv(rows: list[dict[str, object]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _sent(chance: random.Random) -> list[Sent]:
    """A first delivery, then corrections, overlaps and late rows of the same people, some without a time."""
    courses = [Course(str(n)) for n in range(1, 1 + chance.randint(1, 4))]
    files = []
    for version in range(chance.randint(1, 3)):
        day = f"2025-02-{1 + version:02d}T20:00:00Z" if chance.random() < 0.8 else None
        for stream, rows in delivery_tables(courses).items():
            kept = [row for row in rows if version == 0 or chance.random() < 0.6]
            for row in kept:
                if stream == "questionnaire_answers" and version and chance.random() < 0.3:
                    row["answer_value"] = chance.randrange(4)
                if stream == "care_contacts" and chance.random() < 0.1:
                    row["record_status"] = "entered_in_error"
            if kept:
                names = dict.fromkeys(name for row in kept for name in row)
                files.append(Sent(stream, _csv([{name: row.get(name, "") for name in names} for row in kept]), day))
    return files


def _state(settings: Settings) -> dict[str, Any]:
    """What the home holds, whatever way it came there: loads that count, the hashes of their parts, files withdrawn.

    A withdrawn file counts once here. Under two statements of time it may have left one receipt or two, by the order
    in which they came; neither has parts.
    """
    entries = ingestion.reconcile(settings, is_deep=True)
    assert all(not entry["parts"] for entry in entries if entry["load_status"] != "loaded")
    return {
        "withdrawn": {entry["source_file_sha256"] for entry in entries if entry["load_status"] == "withdrawn"},
        **{
            entry["load_id"]: {name.split("/")[0]: part["sha256"] for name, part in entry["parts"].items()}
            for entry in entries
            if entry["load_status"] == "loaded"
        },
    }


def _ingest(paths: list[Path], settings: Settings) -> None:
    report = ingestion.ingest(paths, settings=settings).as_dict()
    assert report["rows_in"] == report["rows_admitted"] + report["rows_quarantined"]
    assert report["files_refused"] == 0, report["problems"]


def _withdrawal(folder: Path, sha256: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "delivery.yml").write_text(f"source: small_service\nwithdraws: [{sha256}]\n", encoding="utf-8")
    return folder


def _played(seed: int, folder: Path) -> tuple[Settings, Settings]:
    """A random sequence of deliveries in one home, and the sorted-once load of the same files in another."""
    chance = random.Random(seed)
    files = _sent(chance)
    plan = [*files, *chance.sample(files, k=min(len(files), chance.randint(0, 3)))]
    gone = chance.sample(files, k=1) if chance.random() < 0.3 else []
    chance.shuffle(plan)
    messy, tidy = home_settings(folder / "messy"), home_settings(folder / "tidy")
    steps = [(sent.put(folder / "in", chance, number), sent) for number, sent in enumerate(plan)]
    removal_at = chance.randrange(len(steps) + 1) if gone else -1
    pending: list[Path] = []
    for number, (path, _) in enumerate(steps):
        if number == removal_at:
            _ingest([*pending, _withdrawal(folder / "withdrawal", _sha(gone[0].content))], messy)
            pending = []
        pending.append(path)
        if chance.random() < 0.6:
            _ingest(pending, messy)
            pending = []
    if pending:
        _ingest(pending, messy)
    if removal_at == len(steps):
        _ingest([_withdrawal(folder / "withdrawal", _sha(gone[0].content))], messy)
    ordered = sorted(set(files), key=lambda sent: (sent.delivered_at or "", sent.stream, sent.content))
    plain = random.Random(0)
    once = [sent.put(folder / "once", plain, number) for number, sent in enumerate(ordered)]
    if gone:
        once.append(_withdrawal(folder / "withdrawal_once", _sha(gone[0].content)))
    _ingest(once, tidy)
    return messy, tidy


def _sha(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("block", range(times(1, deep=20)))
def test_any_sequence_of_deliveries_ends_as_the_sorted_once_load(block: int, tmp_path: Path) -> None:
    for seed in range(block * 100, block * 100 + times(12, deep=100)):
        folder = tmp_path / str(seed)
        messy, tidy = _played(seed, folder)
        assert _state(messy) == _state(tidy), f"seed {seed}"
        shutil.rmtree(folder)


@pytest.mark.parametrize("seed", range(times(1, deep=8)))
def test_and_so_does_the_build(seed: int, tmp_path: Path) -> None:
    messy, tidy = _played(10_000 + seed, tmp_path)
    for settings in (messy, tidy):
        run_build(settings=settings)
    assert marts_content(messy) == marts_content(tidy)


def test_gzip_is_other_bytes_but_the_same_rows(tmp_path: Path) -> None:
    """Another packing of a file is another load; its rows collapse by key, so no one is counted twice."""
    rows = delivery_tables([Course("1")])
    settings = home_settings(tmp_path / "home")
    for number, pack in enumerate((lambda content: content, lambda content: gzip.compress(content, mtime=0))):
        folder = tmp_path / f"in{number}"
        folder.mkdir()
        for stream, of_stream in rows.items():
            name = f"{stream}.csv" + (".gz" if number else "")
            (folder / name).write_bytes(pack(_csv(of_stream)))
        (folder / "delivery.yml").write_text("source: small_service\nperiod_end: 2025-01-31\n", encoding="utf-8")
        _ingest([folder], settings)
        run_build(settings=settings)
        content = marts_content(settings)
        assert len(content["episodes"]) == 1
        assert len(content["assessments"]) == 4
