"""A full disk: one plain sentence, an exit code of its own, nothing half loaded, and the next run works."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import ingestion
from caseness.commands.build import run_build
from caseness.errors import DiskFullError
from caseness.settings import Settings
from tests.fixtures.life import caseness
from tests.fixtures.small_service import Course, home_settings, write_delivery


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB. Needs to be root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=False)


def _grow(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def _people(folder: Path, count: int) -> Path:
    rows = "".join(f"P{n}{n * 7919 % 104729},1980-05-17,female\n" for n in range(count))
    folder.mkdir()
    (folder / "people.csv").write_text("person_code,birth_date,sex\n" + rows, encoding="utf-8")
    (folder / "delivery.yml").write_text("source: small_service\n", encoding="utf-8")
    return folder


def test_ingest_on_a_full_disk_stops_in_one_sentence_and_works_once_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    """The reader's process meets the full disk; its file is not refused for it."""
    home = small_disk / "home"
    caseness(home, "ingest", write_delivery(tmp_path / "first", [Course("1")]))
    many = _people(tmp_path / "many", 400_000)
    answer = caseness(home, "ingest", many, code=9)
    assert answer["error"] == "the disk is full; what was being written is as if it had not begun"
    assert "free space" in answer["remedy"]
    settings = Settings(home=home, threads=2)
    assert len(ingestion.reconcile(settings, is_deep=True)) == 4
    assert not list(settings.paths.parts.rglob(".*"))
    assert caseness(home, "build", code=9)["exit_code"] == 9
    assert not list(settings.paths.temporary.glob("*.duckdb"))
    _grow(small_disk, "64m")
    report = caseness(home, "ingest", many)
    assert (report["files_loaded"], report["rows_admitted"]) == (1, 400_000)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_at_the_commit_leaves_the_manifest_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    from ingestion import landing

    settings = home_settings(tmp_path / "home")
    delivery = write_delivery(tmp_path / "in", [Course("1")])
    write, calls = landing.write_atomically, [0]

    def full(path: Path, content: bytes) -> None:
        calls[0] += 1
        if calls[0] > 2:
            raise OSError(number, os.strerror(number))
        write(path, content)

    monkeypatch.setattr(landing, "write_atomically", full)
    with pytest.raises(DiskFullError):
        ingestion.ingest([delivery], settings=settings)
    monkeypatch.undo()
    assert len(ingestion.reconcile(settings, is_deep=True)) == 2
    report = ingestion.ingest([delivery], settings=settings).as_dict()
    assert (report["files_loaded"], report["files_already_loaded"]) == (2, 2)


def test_a_full_disk_while_building_keeps_the_current_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from caseness import build_state
    from tests.fixtures.small_service import fetch

    settings = home_settings(tmp_path / "home")
    ingestion.ingest([write_delivery(tmp_path / "in", [Course("1")])], settings=settings)
    run_build(settings=settings)
    ingestion.ingest([write_delivery(tmp_path / "more", [Course("2")])], settings=settings)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(build_state, "copied", full)
    with pytest.raises(DiskFullError):
        run_build(settings=settings)
    monkeypatch.undo()
    assert fetch(settings, "select count(*) from marts.episodes") == [(1,)]
    run_build(settings=settings)
    assert fetch(settings, "select count(*) from marts.episodes") == [(2,)]
    assert all(pq.ParquetFile(part).metadata.num_rows for part in settings.paths.parts.rglob("*.parquet"))
