"""Whatever is cut, changed or removed in a home is found, and the message says which file and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import ingestion
from caseness import journal
from caseness.commands import doctor
from caseness.commands.build import run_build
from caseness.commands.check import run_check
from caseness.commands.evaluate import run_evaluate
from caseness.commands.forget import run_forget
from caseness.commands.publish import run_publish
from caseness.commands.sql import run_sql
from caseness.commands.withdraw import run_withdraw
from caseness.errors import CasenessError, DamagedHomeError
from caseness.settings import Settings
from tests.fixtures.small_service import Course, home_settings, write_delivery, write_rows

Damage = Callable[[Path], None]


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(content[: len(content) * 2 // 3])


def _cut_last_byte(path: Path) -> None:
    content = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(content[:-1])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(content))


def _remove(path: Path) -> None:
    path.unlink()


_WAYS = [_cut, _cut_last_byte, _flip, _remove]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with a release, quarantined rows, a forgotten person, a withdrawn file and a measurement period."""
    folder = tmp_path_factory.mktemp("whole")
    settings = home_settings(folder / "home")
    delivery = write_delivery(folder / "in", [Course(str(number)) for number in range(12)])
    write_rows(delivery / "people.ndjson", [{"person_code": "P77", "sex": "nonsense"}, {"person_code": "P78"}])
    write_rows(delivery / "referrals.ndjson", [{"referral_code": "R1", "person_code": "P1", "discharge_date": "never"}])
    ingestion.ingest([delivery], settings=settings)
    run_withdraw("0" * 64, settings=settings, reason="sent_in_error")
    run_forget("p1_" + "a" * 26, settings=settings)
    run_build(settings=settings, measurement_periods=["2024-01-01/2024-12-31"])
    run_check(settings=settings)
    run_evaluate(settings=settings)
    run_publish(settings=settings)
    assert list(settings.paths.quarantine.iterdir())
    return settings


@pytest.fixture
def copy(whole: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(whole.home, tmp_path / "home")
    return whole.with_changes(home=tmp_path / "home")


def _problems(settings: Settings) -> list[doctor.Finding]:
    return [finding for finding in doctor.run_doctor(settings=settings) if finding.state == "problem"]


def _journal_middle(settings: Settings, damage: Damage) -> None:
    path = settings.paths.journal
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))


def _journal_tail(settings: Settings, damage: Damage) -> None:
    path = settings.paths.journal
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))


def _first(folder: Path, pattern: str) -> Path:
    return sorted(path for path in folder.rglob(pattern) if path.is_file())[0]


_PLACES: dict[str, Callable[[Settings], Path]] = {
    "part": lambda settings: _first(settings.paths.parts, "*.parquet"),
    "manifest entry": lambda settings: _first(settings.paths.manifest, "*.json"),
    "journal": lambda settings: settings.paths.journal,
    "head.json": lambda settings: settings.paths.journal.with_name("head.json"),
    "quarantine": lambda settings: _first(settings.paths.quarantine, "*.parquet"),
    "forgotten.json": lambda settings: settings.paths.forgotten,
    "withdrawn": lambda settings: _first(settings.paths.withdrawn, "*.json"),
    "measurement_periods.csv": lambda settings: settings.paths.periods,
}


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("place", _PLACES)
def test_damage_of_what_cannot_be_built_again_is_found_by_all_who_write(
    copy: Settings, place: str, way: Damage
) -> None:
    assert _problems(copy) == [], "the copy is whole"
    way(_PLACES[place](copy))
    found = [finding for finding in _problems(copy) if finding.topic == "journal"]
    assert found, "doctor finds it"
    assert place in found[0].says
    assert "restore" in found[0].remedy
    with pytest.raises(DamagedHomeError):
        run_build(settings=copy)
    # A cheap look at sizes is enough for ingest, except that it does not read every part through.
    if way is not _flip or place not in ("part", "quarantine"):
        with pytest.raises(DamagedHomeError):
            ingestion.ingest([copy.home / "caseness.toml"] if copy.paths.settings_file.exists() else [], settings=copy)


@pytest.mark.parametrize("damage", [_journal_middle, _journal_tail])
def test_a_journal_that_lost_whole_lines_is_found(copy: Settings, damage: Callable[[Settings, Damage], None]) -> None:
    damage(copy, _cut)
    assert any("journal" in finding.says for finding in _problems(copy))


def test_a_home_without_journal_and_head_is_found(copy: Settings) -> None:
    shutil.rmtree(copy.paths.journal.parent)
    assert any("head.json" in finding.says for finding in _problems(copy))


@pytest.mark.parametrize("way", _WAYS)
def test_damage_of_the_current_build_is_found_and_the_build_can_be_made_anew(copy: Settings, way: Damage) -> None:
    way(copy.paths.current)
    assert any("current.duckdb" in finding.says for finding in _problems(copy))
    for read in (run_check, run_evaluate, run_publish):
        with pytest.raises(DamagedHomeError, match=r"current\.duckdb") as caught:
            read(settings=copy)
        assert "--full-refresh" in caught.value.remedy
    if way is not _flip:  # sql looks at the size; a flipped block it does not read is doctor's to find
        with pytest.raises(DamagedHomeError, match=r"current\.duckdb"):
            run_sql("select 1", settings=copy)
    ingestion.ingest([write_delivery(copy.home.parent / "more", [Course("40")])], settings=copy)
    with pytest.raises(DamagedHomeError, match=r"current\.duckdb"):
        run_build(settings=copy)


def test_a_damaged_build_is_made_anew(copy: Settings) -> None:
    before = run_sql("select count(*) as n from marts.episodes", settings=copy)
    _flip(copy.paths.current)
    run_build(settings=copy, full_refresh=True)
    assert run_sql("select count(*) as n from marts.episodes", settings=copy) == before
    assert _problems(copy) == []


@pytest.mark.parametrize("way", [_cut, _flip, _remove])
@pytest.mark.parametrize("name", ["public.duckdb", "manifest.json", "current.json"])
def test_damage_of_a_release_is_found(copy: Settings, name: str, way: Damage) -> None:
    path = _first(copy.paths.releases, name)
    path.parent.chmod(0o700)
    way(path)
    found = [finding for finding in _problems(copy) if finding.topic == "release"]
    assert found and name in found[0].says
    assert "publish" in found[0].remedy


def test_a_release_that_is_missing_whole_is_found(copy: Settings) -> None:
    shutil.rmtree(_first(copy.paths.releases, "public.duckdb").parent)
    assert any(finding.topic == "release" for finding in _problems(copy))


def test_a_receipt_torn_by_a_power_cut_is_dropped_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "journal" / "receipts.jsonl"
    for number in range(3):
        journal.append(path, "event", number=number)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "event", "num')
    assert [receipt["number"] for receipt in journal.read(path)] == [0, 1, 2]
    journal.append(path, "event", number=3)
    assert path.read_bytes().startswith(whole)
    assert [receipt["number"] for receipt in journal.read(path)] == [0, 1, 2, 3]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CasenessError, match="cut short"):
        list(journal.read(path))
    with pytest.raises(CasenessError, match="last line"):
        journal.append(path, "event", number=4)
