"""The build before the current one: deliveries are added to it instead of a copy, and it is never trusted in doubt."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import duckdb
import pytest

import ingestion
from caseness import build_state
from caseness.commands.build import BuildReport, run_build
from caseness.commands.doctor import run_doctor
from caseness.commands.forget import run_forget
from caseness.commands.withdraw import run_withdraw
from caseness.settings import Settings
from tests.fixtures.life import caseness
from tests.fixtures.small_service import Course, everything_stored, fetch, home_settings, write_delivery

# So many that the deliveries that follow are a small part of all.
_MANY = 60


def _delivered(settings: Settings, folder: Path, number: int) -> BuildReport:
    ingestion.ingest([write_delivery(folder / f"in_{number}", [Course(str(number))])], settings=settings)
    return run_build(settings=settings)


@pytest.fixture
def grown(tmp_path: Path) -> Settings:
    """A home of two builds: the first is kept beside the second."""
    settings = home_settings(tmp_path / "home")
    ingestion.ingest([write_delivery(tmp_path / "many", [Course(f"M{n}") for n in range(_MANY)])], settings=settings)
    assert _delivered(settings, tmp_path, 1).is_full_build
    assert not settings.paths.previous.exists()
    assert not _delivered(settings, tmp_path, 2).is_full_build
    return settings


def _as_one_build(settings: Settings, report: BuildReport, courses: int) -> None:
    assert not report.is_full_build
    assert fetch(settings, "select count(*) from marts.episodes") == [(_MANY + courses,)]
    assert report.content_hash == run_build(settings=settings, full_refresh=True).content_hash


def _never_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(*_: object) -> None:
        raise AssertionError("the current build was copied")

    monkeypatch.setattr(build_state, "copied", copied)


def test_a_delivery_is_added_to_the_build_before_the_current_one(
    grown: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert grown.paths.previous.stat().st_nlink == 1
    with monkeypatch.context() as patched:
        _never_copied(patched)
        third, fourth = (_delivered(grown, tmp_path, number) for number in (3, 4))
    assert third.content_hash != fourth.content_hash
    _as_one_build(grown, fourth, 4)


@pytest.mark.parametrize(
    "way",
    [
        pytest.param("flipped", marks=pytest.mark.slow),
        pytest.param("cut", marks=pytest.mark.slow),
        pytest.param("without a state", marks=pytest.mark.slow),
        "another name of the current one",
    ],
)
def test_a_build_that_is_not_as_it_was_left_is_not_added_to(grown: Settings, tmp_path: Path, way: str) -> None:
    paths = grown.paths
    if way == "flipped":
        with paths.previous.open("r+b") as handle:
            handle.seek(paths.previous.stat().st_size // 2)
            byte = handle.read(1)
            handle.seek(-1, os.SEEK_CUR)
            handle.write(bytes([byte[0] ^ 0xFF]))
    elif way == "cut":
        os.truncate(paths.previous, paths.previous.stat().st_size // 2)
    elif way == "without a state":
        paths.previous_state.unlink()
    else:
        paths.previous.unlink()
        os.link(paths.current, paths.previous)
        paths.previous_state.write_bytes(paths.build_state.read_bytes())
    snapshot = tmp_path / "snapshot.duckdb"
    os.link(paths.current, snapshot)
    before = hashlib.sha256(snapshot.read_bytes()).hexdigest()
    _as_one_build(grown, _delivered(grown, tmp_path, 3), 3)
    assert hashlib.sha256(snapshot.read_bytes()).hexdigest() == before


@pytest.mark.slow
def test_a_build_that_a_reader_keeps_open_is_not_added_to(grown: Settings, tmp_path: Path) -> None:
    with duckdb.connect(str(grown.paths.previous), read_only=True) as reader:
        # The lock is one of processes, so that the delivery has to come from another one.
        ingestion.ingest([write_delivery(tmp_path / "in_3", [Course("3")])], settings=grown)
        caseness(grown.home, "build", CASENESS_KEY_FILE=str(grown.key_file), CASENESS_THREADS="2")
        assert reader.execute("select count(*) from marts.episodes").fetchall() == [(_MANY + 1,)]
    assert fetch(grown, "select count(*) from marts.episodes") == [(_MANY + 3,)]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("build_finished", marks=pytest.mark.slow),
        "previous_linked",
        pytest.param("build_in_place", marks=pytest.mark.slow),
        pytest.param("previous_stated", marks=pytest.mark.slow),
    ],
)
def test_a_build_killed_at_its_end_is_followed_by_a_right_one(grown: Settings, tmp_path: Path, fault: str) -> None:
    ingestion.ingest([write_delivery(tmp_path / "in_3", [Course("3")])], settings=grown)
    caseness(grown.home, "build", fault=fault, CASENESS_KEY_FILE=str(grown.key_file), CASENESS_THREADS="2")
    is_in_place = fault in ("build_in_place", "previous_stated")
    assert fetch(grown, "select count(*) from marts.episodes") == [(_MANY + (3 if is_in_place else 2),)]
    _as_one_build(grown, _delivered(grown, tmp_path, 4), 4)


@pytest.mark.slow
def test_a_build_of_other_rules_is_not_kept(grown: Settings, tmp_path: Path) -> None:
    switched = grown.with_changes(pathway={"item_policy": "prorate_2"})
    assert run_build(settings=switched).is_full_build
    assert not grown.paths.previous.exists()
    assert not grown.paths.previous_state.exists()
    _as_one_build(switched, _delivered(switched, tmp_path, 3), 3)


@pytest.mark.slow
def test_a_build_that_misses_much_is_not_added_to(
    grown: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingestion.ingest([write_delivery(tmp_path / "more", [Course(f"N{n}") for n in range(10)])], settings=grown)
    assert not run_build(settings=grown).is_full_build
    with monkeypatch.context() as patched:
        _never_copied(patched)
        with pytest.raises(AssertionError, match="was copied"):
            _delivered(grown, tmp_path, 3)
    assert not run_build(settings=grown).is_full_build
    assert fetch(grown, "select count(*) from marts.episodes") == [(_MANY + 13,)]


@pytest.mark.parametrize(
    ("changed", "is_followed"),
    [
        ({}, True),
        ({"load_ids": ["a", "b", "c"]}, True),
        ({"load_ids": ["b", "c"]}, False),
        ({"erasures": 1}, False),
        ({"deidentification": "safe_harbor"}, False),
        *(({"rules": {name: "another"}}, False) for name in build_state.RULES_OF_EVERYONE),
        ({"rules": {"as_of_date": "another"}}, True),
    ],
)
def test_deliveries_are_added_to_a_build_of_the_same_rules_alone(changed: dict[str, Any], is_followed: bool) -> None:
    rules = dict.fromkeys((*build_state.RULES_OF_EVERYONE, "as_of_date"), "one")
    earlier = {"load_ids": ["a", "b"], "erasures": 0, "deidentification": "limited_data_set", "rules": rules}
    later = {**earlier, **changed, "rules": {**rules, **changed.get("rules", {})}}
    assert build_state.is_followed_by(earlier, later) == is_followed


def test_a_full_build_keeps_nothing_of_what_it_mends(grown: Settings, tmp_path: Path) -> None:
    assert run_build(settings=grown, full_refresh=True).is_full_build
    assert not grown.paths.previous.exists()
    assert not grown.paths.previous_state.exists()
    _as_one_build(grown, _delivered(grown, tmp_path, 3), 3)


def test_doctor_reads_the_content_anew(grown: Settings) -> None:
    state = json.loads(grown.paths.build_state.read_text(encoding="utf-8"))
    assert {one.state for one in run_doctor(settings=grown) if one.topic == "build"} == {"good"}
    grown.paths.build_state.write_text(json.dumps({**state, "content_hash": "0" * 64}), encoding="utf-8")
    (build,) = [one for one in run_doctor(settings=grown) if one.topic == "build"]
    assert (build.state, build.says) == ("problem", "the content hash that the build states is not that of its rows")


@pytest.mark.slow
def test_a_file_system_without_second_names_keeps_none(
    grown: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError("no hard links here")

    with monkeypatch.context() as patched:
        patched.setattr(build_state.os, "link", refused)
        report = _delivered(grown, tmp_path, 3)
    assert not grown.paths.previous_state.exists()
    _as_one_build(grown, report, 3)


@pytest.mark.slow
def test_whoever_wants_the_space_keeps_none(grown: Settings, tmp_path: Path) -> None:
    spare = grown.with_changes(keep_previous_build=False)
    report = _delivered(spare, tmp_path, 3)
    assert not grown.paths.previous.exists()
    _as_one_build(spare, report, 3)


def test_a_person_who_is_forgotten_is_in_no_earlier_build(grown: Settings) -> None:
    token = ingestion.person_tokens("small_service", ["P1"], settings=grown)["P1"]
    assert fetch(grown.with_changes(), f"select count(*) from marts.episodes where person_id = '{token}'") == [(1,)]
    run_forget(token, settings=grown)
    assert not grown.paths.previous.exists()
    assert token not in everything_stored(grown.paths.build)


def test_a_person_whose_deliveries_were_withdrawn_is_forgotten_in_the_build_too(tmp_path: Path) -> None:
    """No part holds the person any more, so nothing is erased there; the build still does, until it is made anew."""
    settings = home_settings(tmp_path / "home")
    ingestion.ingest([write_delivery(tmp_path / "in_1", [Course("1")])], settings=settings)
    _delivered(settings, tmp_path, 2)
    for file in sorted((tmp_path / "in_1").glob("*.csv")):
        run_withdraw(str(file), settings=settings, reason="sent_in_error")
    token = ingestion.person_tokens("small_service", ["P1"], settings=settings)["P1"]
    assert token in everything_stored(settings.paths.build)
    run_forget(token, settings=settings)
    assert token not in everything_stored(settings.paths.build)
    assert fetch(settings, "select count(*) from marts.episodes") == [(1,)]
