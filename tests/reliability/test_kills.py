"""A process that is killed anywhere: nothing acknowledged is lost, nothing is doubled, nothing is half there."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

import ingestion
from caseness import journal
from caseness.faults import FAULT_POINTS
from caseness.settings import Settings
from tests.fixtures.depth import times
from tests.fixtures.small_service import Course, home_settings, write_delivery

_COMMANDS = ("ingest", "build", "check", "evaluate", "publish")


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve deliveries of four files each."""
    folder = tmp_path_factory.mktemp("deliveries")
    for number in range(12):
        courses = [Course(str(40 * number + n)) for n in range(1, 21)]
        write_delivery(folder / f"d{number:02d}", courses, delivered_at=f"2025-01-{1 + number:02d}T20:00:00Z")
    return folder


def _environment(settings: Settings, **more: str) -> dict[str, str]:
    own = {"CASENESS_HOME": str(settings.home), "CASENESS_KEY_FILE": str(settings.key_file), "CASENESS_THREADS": "2"}
    root = str(Path(ingestion.__file__).parents[1])
    return {**os.environ, **own, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1", **more}


def _start(command: str, settings: Settings, deliveries: Path, **more: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "caseness.cli", "--quiet", command]
    return subprocess.Popen(
        words + ([str(deliveries)] if command == "ingest" else []),
        env=_environment(settings, **more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _acknowledged(settings: Settings) -> set[str]:
    """Loads whose receipt is on disk."""
    if not settings.paths.journal.exists():
        return set()
    lines = settings.paths.journal.read_bytes().split(b"\n")[:-1]
    receipts = [json.loads(line) for line in lines]
    return {receipt["load_id"] for receipt in receipts if receipt["event"] == "load"}


def _loads(settings: Settings) -> dict[str, Any]:
    entries = ingestion.reconcile(settings, is_deep=True)
    return {entry["load_id"]: {name: part["sha256"] for name, part in entry["parts"].items()} for entry in entries}


def _is_whole(settings: Settings) -> None:
    """Whatever the kill left, a reader opens a whole build and a whole release, or none."""
    if settings.paths.current.exists():
        with duckdb.connect(str(settings.paths.current), read_only=True) as connection:
            found = connection.execute("select count(*), count(distinct referral_id) from marts.episodes").fetchone()
            assert found is not None and found[0] == found[1] > 0
    if settings.paths.current_release.exists():
        pointer = json.loads(settings.paths.current_release.read_text(encoding="utf-8"))
        folder = settings.paths.releases / pointer["release_id"]
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        with duckdb.connect(str(folder / "public.duckdb"), read_only=True) as connection:
            for table, rows in manifest["tables"].items():
                assert connection.execute(f'select count(*) from "{table}"').fetchone() == (rows,)


@pytest.fixture(scope="module")
def reference(deliveries: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The loads of an ingest nobody disturbed."""
    settings = home_settings(tmp_path_factory.mktemp("reference") / "home")
    ingestion.ingest([deliveries], settings=settings)
    return _loads(settings)


@pytest.mark.parametrize("seed", range(times(2, deep=120)))
def test_an_ingest_killed_at_any_moment_and_run_again_ends_whole(
    seed: int, deliveries: Path, reference: dict[str, Any], tmp_path: Path
) -> None:
    chance = random.Random(seed)
    settings = home_settings(tmp_path / "home")
    for _ in range(2):
        process = _start("ingest", settings, deliveries)
        time.sleep(chance.uniform(0.5, 3.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = _acknowledged(settings)
        kept = {entry["load_id"] for entry in ingestion.reconcile(settings)}
        assert before <= kept
    assert _start("ingest", settings, deliveries).wait() == 0
    assert _loads(settings) == reference
    hidden = [path for path in settings.paths.landing.rglob(".*") if path.is_file()]
    assert hidden == []


@pytest.mark.parametrize("point", ["parts_renamed", "entry_committed", "receipt_written"])
@pytest.mark.parametrize("passing", range(1, 1 + times(1, deep=3)))
def test_an_ingest_that_ends_at_a_named_place_loses_and_doubles_nothing(
    point: str, passing: int, deliveries: Path, reference: dict[str, Any], tmp_path: Path
) -> None:
    settings = home_settings(tmp_path / "home")
    process = _start("ingest", settings, deliveries, CASENESS_FAULT_AT=f"{point}:{7 * passing}")
    assert process.wait() == -signal.SIGKILL
    before = _acknowledged(settings)
    assert len(before) in (7 * passing - 1, 7 * passing)
    assert _start("ingest", settings, deliveries).wait() == 0
    assert before <= set(_loads(settings))
    assert _loads(settings) == reference
    receipts = [receipt["load_id"] for receipt in journal.read(settings.paths.journal) if receipt["event"] == "load"]
    assert len(receipts) == len(set(receipts)), "no load is acknowledged twice"


def test_a_withdrawal_that_ends_between_entry_and_parts_is_finished_by_the_next_run(
    deliveries: Path, tmp_path: Path
) -> None:
    settings = home_settings(tmp_path / "home")
    ingestion.ingest([deliveries], settings=settings)
    gone = hashlib.sha256((deliveries / "d03" / "referrals.csv").read_bytes()).hexdigest()
    statement = tmp_path / "statement"
    statement.mkdir()
    (statement / "delivery.yml").write_text(f"withdraws: [{gone}]\n", encoding="utf-8")
    process = _start("ingest", settings, statement, CASENESS_FAULT_AT="entry_retired")
    assert process.wait() == -signal.SIGKILL
    assert _start("ingest", settings, statement).wait() == 0
    assert _start("ingest", settings, deliveries).wait() == 0
    status = {e["source_file_sha256"]: e["load_status"] for e in ingestion.reconcile(settings, is_deep=True)}
    assert [sha for sha, state in status.items() if state != "loaded"] == [gone]
    parts = {path.name for path in settings.paths.parts.rglob("*.parquet")}
    named = {Path(name).name for e in ingestion.manifest_entries(settings) for name in e["parts"]}
    assert parts == named


@pytest.fixture(scope="module")
def published(deliveries: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with a first build and release, and deliveries that are landed but not built."""
    settings = home_settings(tmp_path_factory.mktemp("published") / "home")
    ingestion.ingest(sorted(deliveries.iterdir())[:6], settings=settings)
    for command in _COMMANDS[1:]:
        assert _start(command, settings, deliveries).wait() == 0, command
    ingestion.ingest([deliveries], settings=settings)
    return settings


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(40))
def test_a_build_or_a_publication_killed_at_any_moment_leaves_the_one_before(
    seed: int, published: Settings, deliveries: Path, tmp_path: Path
) -> None:
    chance = random.Random(1000 + seed)
    settings = home_settings(tmp_path / "home")
    shutil.copytree(published.home, settings.home)
    shutil.copy(published.key_file or "", settings.key_file or "")
    for command in ("build", "publish") if seed % 2 else ("build",):
        if command == "publish":
            for earlier in ("build", "check", "evaluate"):
                assert _start(earlier, settings, deliveries).wait() == 0
        process = _start(command, settings, deliveries)
        time.sleep(chance.uniform(0.5, 14.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        _is_whole(settings)
    for command in _COMMANDS[1:]:
        assert _start(command, settings, deliveries).wait() == 0, command
    _is_whole(settings)
    with duckdb.connect(str(settings.paths.current), read_only=True) as connection:
        assert connection.execute("select count(*) from marts.episodes").fetchone() == (240,)


@pytest.mark.deep
@pytest.mark.parametrize("point", ["build_finished", "build_in_place", "release_written", "release_in_place"])
def test_a_build_or_a_publication_that_ends_at_a_named_place_is_whole(
    point: str, published: Settings, deliveries: Path, tmp_path: Path
) -> None:
    settings = home_settings(tmp_path / "home")
    shutil.copytree(published.home, settings.home)
    shutil.copy(published.key_file or "", settings.key_file or "")
    ends = []
    for command in _COMMANDS[1:]:
        ends.append(_start(command, settings, deliveries, CASENESS_FAULT_AT=point).wait())
        _is_whole(settings)
        if ends[-1] == -signal.SIGKILL:
            break
    assert ends[-1] == -signal.SIGKILL
    for command in _COMMANDS[1:]:
        assert _start(command, settings, deliveries).wait() == 0, command
    _is_whole(settings)


def test_every_fault_point_is_passed_by_some_test() -> None:
    """A place nobody ends at proves nothing."""
    words = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert [point for point in FAULT_POINTS if point not in words] == []
