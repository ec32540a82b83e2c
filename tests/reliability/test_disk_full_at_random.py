"""A disk that fills up while loading: a plain sentence, nothing half loaded, and the next run works."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ingestion
from caseness.settings import Settings
from tests.fixtures.depth import times
from tests.fixtures.small_service import Course, home_settings, write_delivery


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Deliveries whose parts take some megabytes."""
    folder = tmp_path_factory.mktemp("deliveries")
    for number in range(6):
        courses = [Course(str(10_000 * number + n), treatment_days=tuple(range(10, 130, 7))) for n in range(1, 900)]
        write_delivery(folder / f"d{number}", courses)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory whose size a test sets by remounting it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs privileges")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def _resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(disk)], check=True)


def _ingest(settings: Settings, deliveries: Path) -> subprocess.CompletedProcess[str]:
    root = str(Path(ingestion.__file__).parents[1])
    environment = {
        **os.environ,
        "CASENESS_HOME": str(settings.home),
        "CASENESS_KEY_FILE": str(settings.key_file),
        "PYTHONPATH": root,
    }
    words = [sys.executable, "-m", "caseness.cli", "ingest", str(deliveries)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("seed", range(times(1, deep=50)))
def test_a_full_disk_ends_the_load_plainly_and_nothing_is_half_there(
    seed: int, small_disk: Path, deliveries: Path, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    settings = home_settings(small_disk / "home").with_changes(key_file=tmp_path / "pseudonym.key")
    (tmp_path / "pseudonym.key").write_bytes(b"0123456789abcdef0123456789abcdef-tests-only\n")
    _resize(small_disk, chance.randint(200, 2600))
    ended = _ingest(settings, deliveries)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert "disk" in ended.stderr
    _resize(small_disk, 64_000)
    acknowledged = {e["load_id"] for e in ingestion.reconcile(settings, is_deep=True) if e["load_status"] == "loaded"}
    assert _ingest(settings, deliveries).returncode == 0
    entries = ingestion.reconcile(settings, is_deep=True)
    assert acknowledged <= {entry["load_id"] for entry in entries if entry["load_status"] == "loaded"}
    assert sum(entry["rows_in"] for entry in entries) == sum(
        entry["rows_admitted"] + entry["rows_quarantined"] for entry in entries
    )
    whole = home_settings(tmp_path / "whole" / "home").with_changes(key_file=settings.key_file)
    ingestion.ingest([deliveries], settings=whole)
    assert {e["load_id"]: e["parts"] for e in entries} == {e["load_id"]: e["parts"] for e in ingestion.reconcile(whole)}
