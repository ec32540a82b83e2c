"""After the key is rotated: nobody counts twice, and who was forgotten stays out."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import ingestion
from caseness import journal
from caseness.commands.build import run_build
from caseness.commands.doctor import run_doctor
from caseness.commands.rotate_key import run_rotate_key
from caseness.commands.withdraw import run_withdraw
from caseness.errors import CasenessError, NotReadyError, UsageError
from caseness.settings import Settings
from ingestion import keys, pseudonyms
from tests.fixtures.life import caseness, holds
from tests.fixtures.small_service import (
    Course,
    fetch,
    home_settings,
    marts_content,
    state_delivery,
    write_delivery,
    write_rows,
)


def _settings(folder: Path, **changes: Any) -> Settings:
    """A home that keeps its key in itself, as ``rotate-key`` needs it."""
    return Settings(home=folder / "home", threads=2, memory_limit_megabytes=1024, **changes)


def _ingest(settings: Settings, *paths: Path, **stated: Any) -> dict[str, Any]:
    report = ingestion.ingest(paths, settings=settings, **stated).as_dict()
    assert report["rows_in"] == report["rows_admitted"] + report["rows_quarantined"]
    assert report["problems"] == []
    return report


def _events(settings: Settings, event: str) -> list[dict[str, Any]]:
    return [receipt for receipt in journal.read(settings.paths.journal) if receipt["event"] == event]


def _key_findings(settings: Settings, state: str = "problem") -> list[str]:
    found = run_doctor(settings=settings)
    return [one.says for one in found if (one.topic, one.state) == ("key", state)]


def _loaded_versions(settings: Settings) -> list[int]:
    entries = ingestion.manifest_entries(settings)
    return [entry["key_version"] for entry in entries if entry["load_status"] == "loaded"]


# ---- the command


def test_a_rotation_says_what_has_to_come_again_and_nobody_is_lost_or_doubled(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    delivery = write_delivery(tmp_path / "in", [Course("1"), Course("2")])
    _ingest(settings, delivery)
    expected = run_build(settings=settings)
    before = marts_content(settings)["measure_results"]
    first = settings.paths.keys.joinpath("pseudonym.key").read_bytes()

    answer = caseness(settings.home, "rotate-key")
    assert (answer["key_version"], answer["loads_under_earlier_keys"]) == (2, {"small_service": 4})
    assert ["deliver the same files again" in step for step in answer["next_steps"]] == [True, False, False]
    assert [receipt["key_version"] for receipt in _events(settings, "key_rotated")] == [2]
    assert sorted(json.loads(settings.paths.home_file.read_text())["keys"]) == ["1", "2"]
    second = settings.paths.keys.joinpath("pseudonym.2.key").read_bytes()
    assert settings.paths.keys.joinpath("pseudonym.key").read_bytes() == first != second
    stored = settings.paths.journal.read_bytes() + settings.paths.home_file.read_bytes()
    for key in (first.strip(), second.strip()):
        assert (
            key not in stored and base64.b64decode(key) not in stored and base64.b64decode(key).hex() not in str(stored)
        )

    run_build(settings=settings)  # one key still: nothing has come under the new one
    assert _ingest(settings, delivery)["files_loaded"] == 4
    assert _loaded_versions(settings) == [2] * 4
    built = run_build(settings=settings)
    assert built.rows == expected.rows and built.content_hash != expected.content_hash
    assert marts_content(settings)["measure_results"] == before
    assert holds(settings.paths.parts, "p1_") == []
    assert _ingest(settings, delivery)["files_already_loaded"] == 4
    assert run_rotate_key(settings=settings).as_dict()["key_version"] == 3


def test_the_answer_in_words_and_of_a_home_without_loads(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match="no home"):
        run_rotate_key(settings=_settings(tmp_path))
    assert not (tmp_path / "home").exists()
    caseness(tmp_path / "home", "init")
    assert caseness(tmp_path / "home", "rotate-key") == {
        "key_version": 2,
        "loads_under_earlier_keys": {},
        "next_steps": [],
    }
    configured = home_settings(tmp_path / "other" / "home")
    _ingest(configured, write_delivery(tmp_path / "in", [Course("1")]))
    with pytest.raises(CasenessError, match="in its home only") as refused:
        run_rotate_key(settings=configured)
    assert "rotate-key" in refused.value.remedy
    # Whoever keeps the key puts the next one beside it; the command then puts that one in force and makes none.
    (tmp_path / "other" / "pseudonym.2.key").write_bytes(b"another key of thirty-two bytes and more")
    assert run_rotate_key(settings=configured).as_dict()["loads_under_earlier_keys"] == {"small_service": 4}
    assert list(keys.known_keys(configured)) == [1, 2]
    assert [receipt["key_version"] for receipt in _events(configured, "key_rotated")] == [2]


@pytest.mark.parametrize("fault", ["key_made", "rotation_told"])
@pytest.mark.parametrize("following", ["ingest", "rotate-key"])
def test_a_rotation_stopped_anywhere_is_finished_by_whoever_writes_next(
    tmp_path: Path, fault: str, following: str
) -> None:
    settings = _settings(tmp_path)
    delivery = write_delivery(tmp_path / "in", [Course("1")])
    _ingest(settings, delivery)
    caseness(settings.home, "rotate-key", fault=fault)
    assert pseudonyms.read_key(settings).version == 2
    assert keys.is_key_new(settings)
    if following == "ingest":
        assert _ingest(settings, delivery)["files_loaded"] == 4
    else:
        assert run_rotate_key(settings=settings).as_dict()["key_version"] == 2
    assert [receipt["key_version"] for receipt in _events(settings, "key_rotated")] == [2]
    assert list(keys.known_keys(settings)) == [1, 2]
    assert _key_findings(settings) == []


def test_a_home_that_lost_its_newest_key_does_not_fall_back_to_the_one_before(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    delivery = write_delivery(tmp_path / "in", [Course("1")])
    _ingest(settings, delivery)
    run_rotate_key(settings=settings)
    second = settings.paths.keys / "pseudonym.2.key"
    kept = second.read_bytes()
    second.unlink()
    assert _ingest(settings, delivery)["files_already_loaded"] == 4  # no load needs it: the rotation is undone
    second.write_bytes(kept)
    assert _ingest(settings, delivery)["files_loaded"] == 4
    second.unlink()
    with pytest.raises(NotReadyError, match="version 2 is missing"):
        _ingest(settings, delivery)


# ---- nobody counts twice


def test_a_namespace_under_two_keys_is_not_built(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    one = write_delivery(tmp_path / "one", [Course("1"), Course("2")])
    two = write_delivery(tmp_path / "two", [Course("2"), Course("3")], delivered_at="2025-02-28T20:00:00Z")
    other = write_delivery(tmp_path / "other", [Course("1")])
    text = (other / "delivery.yml").read_text(encoding="utf-8").replace("small_service", "other_service")
    (other / "delivery.yml").write_text(text, encoding="utf-8")
    _ingest(settings, one, two, other)
    expected = run_build(settings=settings).rows
    assert fetch(settings, "select count(*) from marts.people") == [(4,)]
    assert run_rotate_key(settings=settings).as_dict()["loads_under_earlier_keys"] == {
        "other_service": 4,
        "small_service": 8,
    }
    _ingest(settings, one)
    with pytest.raises(UsageError, match="namespace small_service") as refused:
        run_build(settings=settings)
    assert "4 under version 1, 4 under version 2" in refused.value.message
    assert "other_service" not in refused.value.message
    assert "deliver the same files again" in refused.value.remedy and "withdraw" in refused.value.remedy
    assert caseness(settings.home, "build", code=2)["error"] == refused.value.message
    (problem,) = _key_findings(settings)
    assert problem.startswith(refused.value.message) and "still to come: care_contacts (sha256 " in problem
    assert any("4 loads of namespace other_service" in note for note in _key_findings(settings, "note"))
    assert caseness(settings.home, "doctor", code=1)["problems"] == 1

    _ingest(settings, two)
    assert run_build(settings=settings).rows == expected  # the other namespace stands under its one key
    assert fetch(settings, "select count(*) from marts.people") == [(4,)]
    assert _key_findings(settings) == []
    _ingest(settings, other)
    assert run_build(settings=settings).rows == expected
    assert set(_loaded_versions(settings)) == {2}


def test_what_will_not_come_again_is_withdrawn(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    one = write_delivery(tmp_path / "one", [Course("1")])
    gone = write_delivery(tmp_path / "gone", [Course("2")], delivered_at="2025-02-28T20:00:00Z")
    _ingest(settings, one, gone)
    run_rotate_key(settings=settings)
    _ingest(settings, one)
    for file in sorted(gone.glob("*.csv")):
        with pytest.raises(UsageError, match="several pseudonym keys"):
            run_build(settings=settings)
        run_withdraw(str(file), settings=settings, reason="stated_by_sender")
    run_build(settings=settings)
    assert fetch(settings, "select count(*) from marts.people") == [(1,)]


def test_a_load_without_rows_holds_nobody_back(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    good = write_delivery(tmp_path / "in", [Course("1")])
    state_delivery(tmp_path / "bad", delivered_at="2025-02-28T20:00:00Z")
    faulty = {"referral_code": "R9", "person_code": "P9", "referral_received_date": "yesterday"}
    write_rows(tmp_path / "bad" / "referrals.csv", [faulty])
    _ingest(settings, good, tmp_path / "bad")
    assert run_rotate_key(settings=settings).as_dict()["loads_under_earlier_keys"] == {"small_service": 4}
    _ingest(settings, good)
    run_build(settings=settings)
