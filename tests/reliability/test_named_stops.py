"""A process killed at a named place: what was acknowledged is there, what was not is absent or finished by the next."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ingestion
from caseness.commands.backup import run_backup, run_restore
from caseness.commands.build import run_build
from caseness.settings import Settings
from tests.fixtures.life import caseness
from tests.fixtures.small_service import Course, fetch, home_settings, write_delivery


def _key(settings: Settings) -> dict[str, str]:
    return {"CASENESS_KEY_FILE": str(settings.key_file), "CASENESS_THREADS": "2"}


def test_a_build_killed_beside_its_rename_leaves_the_old_or_the_new_one_and_says_which(tmp_path: Path) -> None:
    settings = home_settings(tmp_path / "home")
    ingestion.ingest([write_delivery(tmp_path / "one", [Course("1")])], settings=settings)
    first = run_build(settings=settings)
    ingestion.ingest([write_delivery(tmp_path / "two", [Course("2")])], settings=settings)
    caseness(settings.home, "build", fault="build_finished", **_key(settings))
    assert caseness(settings.home, "sql", "select count(*) n from marts.episodes") == [{"n": 1}]
    caseness(settings.home, "build", fault="build_in_place", **_key(settings))
    assert caseness(settings.home, "sql", "select count(*) n from marts.episodes") == [{"n": 2}]
    last = run_build(settings=settings)
    assert not last.is_full_build
    assert last.content_hash not in (None, first.content_hash)
    assert not settings.paths.next_build_state.exists()
    assert fetch(settings, "select count(*) from marts.episodes") == [(2,)]


@pytest.mark.parametrize("name", ["saved", "saved.tar"])
def test_a_backup_or_restore_that_is_killed_is_whole_or_absent(tmp_path: Path, name: str) -> None:
    settings = home_settings(tmp_path / "home")
    ingestion.ingest([write_delivery(tmp_path / "in", [Course("1")])], settings=settings)
    target, new = tmp_path / name, tmp_path / "new"
    caseness(settings.home, "backup", target, fault="backup_written", **_key(settings))
    assert not target.exists()
    caseness(settings.home, "backup", target, **_key(settings))
    caseness(new, "restore", target, fault="backup_unpacked", **_key(settings))
    assert not new.exists()
    caseness(new, "restore", target, fault="home_restored", **_key(settings))
    restored = settings.with_changes(home=new)
    assert len(ingestion.reconcile(restored, is_deep=True)) == 4


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("parts_renamed", 0), ("entry_committed", 1), ("receipt_written:2", 2), ("entry_committed:4", 4)],
)
def test_an_ingest_that_is_killed_has_loaded_what_its_manifest_says(tmp_path: Path, fault: str, expected: int) -> None:
    settings = home_settings(tmp_path / "home")
    delivery = write_delivery(tmp_path / "in", [Course("1")])
    caseness(settings.home, "ingest", delivery, fault=fault, **_key(settings))
    report: dict[str, Any] = ingestion.ingest([delivery], settings=settings).as_dict()
    assert (report["files_already_loaded"], report["files_loaded"]) == (expected, 4 - expected)
    entries = ingestion.reconcile(settings, is_deep=True)
    assert [entry["load_status"] for entry in entries] == ["loaded"] * 4
    on_disk = {str(path.relative_to(settings.paths.parts)) for path in settings.paths.parts.rglob("*.parquet")}
    assert on_disk == {name for entry in entries for name in entry["parts"]}


def test_a_superseding_load_that_is_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    """The same bytes under a later statement: killed between the new load and the retirement of the old one."""
    settings = home_settings(tmp_path / "home")
    delivery = write_delivery(tmp_path / "in", [Course("1")])
    ingestion.ingest([delivery], settings=settings)
    write_delivery(tmp_path / "in", [Course("1")], delivered_at="2025-06-30T20:00:00Z")
    caseness(settings.home, "ingest", delivery, fault="receipt_written", **_key(settings))
    ingestion.ingest([delivery], settings=settings)
    statuses = [entry["load_status"] for entry in ingestion.manifest_entries(settings)]
    assert (statuses.count("loaded"), statuses.count("superseded")) == (4, 4)


def _ended() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Settings, Path]:
    """A home and its backup."""
    settings = home_settings(tmp_path / "home")
    ingestion.ingest([write_delivery(tmp_path / "in", [Course("1")])], settings=settings)
    run_backup(tmp_path / "saved", settings=settings)
    return settings, tmp_path / "saved"


@pytest.mark.parametrize("name", ["new", "new.(1)"])
def test_a_killed_restore_is_run_again_and_leaves_nothing(
    tmp_path: Path, saved: tuple[Settings, Path], name: str
) -> None:
    settings, backup = saved
    place = tmp_path / "place"
    caseness(place / name, "restore", backup, fault="backup_unpacked", **_key(settings))
    (left,) = place.iterdir()
    assert re.fullmatch(rf"\.{re.escape(name)}\.\d+\.tmp", left.name)
    assert run_restore(backup, settings=settings.with_changes(home=place / name), with_build=False).files
    assert [path.name for path in place.iterdir()] == [name]


def test_only_what_a_dead_process_left_of_the_same_target_is_removed(
    tmp_path: Path, saved: tuple[Settings, Path]
) -> None:
    settings, backup = saved
    place, dead = tmp_path / "place", _ended()
    alive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        stay = [f".new.{alive.pid}.tmp", f".other.{dead}.tmp", f".new.{dead}.tmp.x", f"x.new.{dead}.tmp"]
        stay += [f".new.0{dead}.tmp", ".new.0.tmp", ".new.x.tmp", ".new.tmp", f"newX{dead}.tmp", f".new.{10**30}.tmp"]
        for folder in [*stay, f".new.{dead}.tmp", f".new.{os.getpid()}.tmp", "elsewhere"]:
            (place / folder).mkdir(parents=True)
            (place / folder / "a").write_text("x", encoding="utf-8")
        (place / f".new.{_ended()}.tmp").symlink_to(place / "elsewhere")
        (place / f".new.{_ended()}.tmp").write_text("x", encoding="utf-8")
        assert run_restore(backup, settings=settings.with_changes(home=place / "new"), with_build=False).files
    finally:
        alive.communicate(b"\n")
    assert sorted(path.name for path in place.iterdir()) == sorted([*stay, "elsewhere", "new"])
    assert all((place / folder / "a").is_file() for folder in [*stay, "elsewhere"])


@pytest.mark.parametrize("name", ["again", "again.tar"])
def test_a_killed_backup_leaves_nothing_once_it_is_run_again(
    tmp_path: Path, saved: tuple[Settings, Path], name: str
) -> None:
    settings, _ = saved
    place = tmp_path / "place"
    caseness(settings.home, "backup", place / name, fault="backup_written", **_key(settings))
    assert len(list(place.iterdir())) == 1
    run_backup(place / name, settings=settings)
    assert [path.name for path in place.iterdir()] == [name]
