"""After the key is rotated: nobody counts twice, and who was forgotten stays out."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import ingestion
from caseness import journal
from caseness.commands.build import run_build
from caseness.commands.doctor import run_doctor
from caseness.commands.forget import run_forget
from caseness.commands.rotate_key import run_rotate_key
from caseness.commands.withdraw import run_withdraw
from caseness.errors import CasenessError, NotReadyError, UsageError
from caseness.settings import Settings
from ingestion import casting, erasure, keys, loading, pseudonyms
from tests.fixtures.life import caseness, holds
from tests.fixtures.small_service import (
    Course,
    answer_rows,
    fetch,
    home_settings,
    marts_content,
    state_delivery,
    write_delivery,
    write_rows,
)

_PEOPLE = ["P1", "P1b", "P2", "P3"]


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


def test_namespaces_that_person_links_join_come_under_the_new_key_together(tmp_path: Path) -> None:
    """A link made under the new key names nobody among the older tokens of the other namespace."""
    settings = _settings(tmp_path)
    folders = {}
    for name, course in (("here", "1"), ("there", "2"), ("elsewhere", "3")):
        folder = folders[name] = write_delivery(tmp_path / name, [Course(course)])
        text = (folder / "delivery.yml").read_text(encoding="utf-8").replace("small_service", name)
        (folder / "delivery.yml").write_text(text, encoding="utf-8")
    link = {"person_code": "P1", "linked_person_code": "P2", "linked_namespace": "there"}
    write_rows(folders["here"] / "person_links.csv", [link])
    _ingest(settings, *folders.values())
    run_build(settings=settings)
    assert fetch(settings, "select count(*) from marts.people") == [(2,)]
    run_rotate_key(settings=settings)
    _ingest(settings, folders["here"])
    with pytest.raises(UsageError, match="the linked namespaces here, there"):
        run_build(settings=settings)
    assert [says.startswith("loads of the linked namespaces here, there") for says in _key_findings(settings)] == [True]
    assert [note[:33] for note in _key_findings(settings, "note") if "stand under" in note] == [
        "4 loads of namespace elsewhere st"
    ]
    _ingest(settings, folders["there"])
    run_build(settings=settings)
    assert fetch(settings, "select count(*) from marts.people") == [(2,)]


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


def test_an_export_of_one_person_takes_the_place_of_their_older_one_and_of_nobody_elses(tmp_path: Path) -> None:
    """The same bytes of two people: the owner, known under both keys while the file is read, tells whose load it is."""
    settings = _settings(tmp_path)
    rows = [{"local_date": "2024-03-01", "device_kind": "watch", "steps": 5000}]
    state_delivery(tmp_path / "in")
    file = write_rows(tmp_path / "in" / "wearable_daily.csv", rows)
    for person in ("P1", "P2"):
        _ingest(settings, file, person=person)
    run_rotate_key(settings=settings)
    _ingest(settings, file, person="P1")
    assert sorted(_loaded_versions(settings)) == [1, 2]
    _ingest(settings, file, person="P2")
    assert _loaded_versions(settings) == [2, 2]
    old = ingestion.person_tokens("small_service", ["P1", "P2"], settings=settings, key_version=1)
    new = ingestion.person_tokens("small_service", ["P1", "P2"], settings=settings)
    for entry in ingestion.manifest_entries(settings):  # no entry joins the tokens of two keys
        assert sum(token in json.dumps(entry) for token in (*old.values(), *new.values())) == 1


def test_an_export_of_one_person_whose_older_key_is_gone_is_withdrawn_and_comes_again(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    state_delivery(tmp_path / "in")
    row = {"local_date": "2024-03-01", "device_kind": "watch", "steps": 5000}
    file = write_rows(tmp_path / "in" / "wearable_daily.csv", [row])
    _ingest(settings, file, person="P1")
    run_rotate_key(settings=settings)
    (settings.paths.keys / "pseudonym.key").unlink()
    _ingest(settings, file, person="P1")
    assert sorted(_loaded_versions(settings)) == [1, 2]
    with pytest.raises(UsageError, match="several pseudonym keys"):
        run_build(settings=settings)
    run_withdraw(str(file), settings=settings, reason="sent_in_error")
    run_withdraw(str(file), settings=settings, is_undone=True)
    _ingest(settings, file, person="P1")
    assert _loaded_versions(settings) == [2]


# ---- who was forgotten stays out


def _service(folder: Path, *, delivered_at: str = "2025-01-31T20:00:00Z") -> Path:
    """Three people; the first has a second code, and rows without an owner that hang on what is theirs."""
    delivery = write_delivery(folder, [Course("1"), Course("2"), Course("3")], delivered_at=delivered_at)
    link = {"person_code": "P1", "linked_person_code": "P1b", "linked_namespace": "small_service"}
    write_rows(delivery / "person_links.csv", [link])
    total = {
        "instrument_code": "WSAS",
        "total_value": 20,
        "answered_at": "2024-01-20T09:00:00Z",
        "response_status": "completed",
    }
    write_rows(
        delivery / "questionnaire_totals.csv",
        [
            {"response_code": f"T{number}", "person_code": person, "referral_code": referral, **total}
            for number, (person, referral) in enumerate([("P1b", ""), ("", "R1"), ("", "R2")])
        ],
    )
    deleted = [{"record_kind": kind, "record_code": code} for kind, code in (("contact", "C1.0"), ("response", "T9"))]
    write_rows(delivery / "record_deletions.csv", deleted)
    return delivery


_THEIRS = {
    "people": 1,
    "person_links": 1,
    "referrals": 1,
    "care_contacts": 3,
    "questionnaire_answers": 2 * (9 + 7),
    "questionnaire_totals": 2,
    "record_deletions": 1,
}


def _tokens(settings: Settings, version: int, codes: list[str]) -> list[str]:
    return list(ingestion.person_tokens("small_service", codes, settings=settings, key_version=version).values())


def _of_things(settings: Settings, version: int) -> list[str]:
    """Tokens of the first person's referral, contacts and forms."""
    kinds = {"referral": ["R1"], "contact": ["C1.0", "C1.1", "C1.2"], "response": ["Q1.0", "Q1.1", "T0", "T1"]}
    key = {key.version: key for key in (*keys.earlier_keys(settings, 9), pseudonyms.read_key(settings))}[version]
    made = pseudonyms.Pseudonymiser(key, settings.project)
    return [
        token for kind, codes in kinds.items() for token in made.tokens(codes, kind=kind, namespace="small_service")
    ]


def test_a_forgotten_person_stays_out_after_a_rotation_and_is_in_no_file(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    delivery = _service(tmp_path / "in")
    _ingest(settings, delivery)
    run_build(settings=settings)
    assert holds(settings.home, *_of_things(settings, 1)) == _of_things(settings, 1)  # the scan finds what is there
    run_forget(_tokens(settings, 1, ["P1"])[0], settings=settings)
    run_rotate_key(settings=settings)
    run_rotate_key(settings=settings)  # their marks are of the key before the one before

    again = _ingest(settings, delivery)
    assert again["files_loaded"] == len(_THEIRS)
    assert again["quarantined_by_rule"] == {"erased_person": sum(_THEIRS.values())}
    assert {fault["stream"]: fault["rows"] for fault in again["faults"]} == _THEIRS
    run_build(settings=settings)
    gone = [token for version in (1, 2, 3) for token in _tokens(settings, version, ["P1", "P1b"])]
    gone += [token for version in (1, 2, 3) for token in _of_things(settings, version)]
    stays = _tokens(settings, 3, ["P2", "P3"])
    assert holds(settings.home, *gone, *stays) == stays
    assert fetch(settings, "select count(*) from marts.episodes") == [(2,)]
    assert fetch(settings, "select count(*) from marts.assessments where person_id = 'unlinked'") == [(0,)]
    marked = erasure.Forgotten.read(settings)
    assert all(map(marked.holds, _tokens(settings, 3, ["P1", "P1b"])))
    assert not any(map(marked.holds, _tokens(settings, 3, ["P2", "P3"])))
    assert {marked.mark(token) for token in _of_things(settings, 3)} <= marked.things
    assert marked.unswept == ""

    # What the key in force knows by now, it knows without the earlier ones.
    for path in (settings.paths.keys / "pseudonym.key", settings.paths.keys / "pseudonym.2.key"):
        path.unlink()
    later = _service(tmp_path / "later", delivered_at="2025-03-01T00:00:00Z")
    with (later / "people.csv").open("a", encoding="utf-8") as handle:
        handle.write("P4,1980-05-17,male\n")  # other bytes
    assert _ingest(settings, later)["quarantined_by_rule"] == {"erased_person": sum(_THEIRS.values())}
    assert holds(settings.home, *gone, *stays) == stays


@pytest.mark.parametrize("form", ["ndjson", "parquet"])
def test_rows_without_an_owner_stay_out_whichever_file_comes_first(tmp_path: Path, form: str) -> None:
    settings = _settings(tmp_path)
    _ingest(settings, _service(tmp_path / "in"))
    run_forget(_tokens(settings, 1, ["P1"])[0], settings=settings)
    run_rotate_key(settings=settings)
    state_delivery(tmp_path / "forms", delivered_at="2025-03-01T00:00:00Z")
    form_of_theirs = [
        {**row, "person_code": "", "response_code": "QX"} for row in answer_rows("1", 0, "PHQ-9", [1] * 9, day=9)
    ]
    of_another = [{**row, "referral_code": "R2", "response_code": "QY"} for row in form_of_theirs]
    write_rows(tmp_path / "forms" / f"questionnaire_answers.{form}", [*form_of_theirs, *of_another])
    landed = _ingest(settings, tmp_path / "forms")
    assert (landed["rows_admitted"], landed["quarantined_by_rule"]) == (9, {"erased_person": 9})
    # The form itself is theirs from now on, under the key in force.
    state_delivery(tmp_path / "more", delivered_at="2025-04-01T00:00:00Z")
    write_rows(tmp_path / "more" / f"questionnaire_answers.{form}", [{**form_of_theirs[0], "referral_code": ""}])
    assert _ingest(settings, tmp_path / "more")["quarantined_by_rule"] == {"erased_person": 1}


def test_a_link_to_a_forgotten_person_is_held_back_and_forgets_nobody_else(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    _ingest(settings, _service(tmp_path / "in"))
    run_forget(_tokens(settings, 1, ["P1"])[0], settings=settings)
    run_rotate_key(settings=settings)
    state_delivery(tmp_path / "links", delivered_at="2025-03-01T00:00:00Z")
    rows = [
        {"person_code": one, "linked_person_code": other, "linked_namespace": "small_service"}
        for one, other in (("P2", "P1"), ("P2", "P3"))
    ]
    write_rows(tmp_path / "links" / "person_links.csv", rows)
    assert _ingest(settings, tmp_path / "links")["quarantined_by_rule"] == {"erased_person": 1}
    marked = erasure.Forgotten.read(settings)
    held = [code for code in _PEOPLE if marked.holds(_tokens(settings, 2, [code])[0])]
    assert held == ["P1"]


def test_an_export_of_a_forgotten_person_does_not_name_them(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    state_delivery(tmp_path / "in")
    file = write_rows(
        tmp_path / "in" / "wearable_daily.csv", [{"local_date": "2024-03-01", "device_kind": "watch", "steps": 5000}]
    )
    _ingest(settings, file, person="P1")
    run_forget(_tokens(settings, 1, ["P1"])[0], settings=settings)
    run_rotate_key(settings=settings)
    assert _ingest(settings, file, person="P1")["quarantined_by_rule"] == {"erased_person": 1}
    marked = erasure.Forgotten.read(settings)
    (new,) = _tokens(settings, 2, ["P1"])
    owners = {entry["load_status"]: entry["owner"] for entry in ingestion.manifest_entries(settings)}
    assert owners == {
        "superseded": f"erased:{marked.mark(_tokens(settings, 1, ['P1'])[0])}",
        "loaded": f"erased:{marked.mark(new)}",
    }
    assert holds(settings.home, new, *_tokens(settings, 1, ["P1"])) == []


def test_a_forgotten_owner_is_recognised_where_no_row_names_them(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    _ingest(settings, _service(tmp_path / "in"))
    run_forget(_tokens(settings, 1, ["P1"])[0], settings=settings)
    run_rotate_key(settings=settings)
    state_delivery(tmp_path / "export")
    row = {"person_code": "P5", "local_date": "2024-03-01", "device_kind": "watch", "steps": 5000}
    file = write_rows(tmp_path / "export" / "wearable_daily.csv", [row])
    _ingest(settings, file, person="P1")
    (new,) = _tokens(settings, 2, ["P1"])
    assert erasure.Forgotten.read(settings).holds(new)
    assert holds(settings.home, new) == []


@pytest.mark.parametrize("fault", ["change_announced", "parts_renamed", "entry_committed"])
def test_an_ingest_stopped_where_it_recognised_somebody_is_finished_by_the_next(tmp_path: Path, fault: str) -> None:
    settings = _settings(tmp_path)
    delivery = _service(tmp_path / "in")
    _ingest(settings, delivery)
    run_forget(_tokens(settings, 1, ["P1"])[0], settings=settings)
    run_rotate_key(settings=settings)
    caseness(settings.home, "ingest", delivery, fault=fault)
    _ingest(settings, delivery)
    assert set(_loaded_versions(settings)) == {2}
    everybody = _tokens(settings, 2, _PEOPLE)
    assert holds(settings.home, *everybody, *_of_things(settings, 2)) == everybody[2:]


def test_it_costs_nothing_where_nobody_is_forgotten_or_no_key_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(loading, "cast_tokens", lambda *_, **__: asked.append(1) or casting.cast_tokens(*_, **__))
    settings = _settings(tmp_path)
    folder = _service(tmp_path / "in")
    (file,) = [one for one in loading_files(folder) if one.name == "people.csv"]

    def read() -> int:
        asked.clear()
        loading.prepare(file, settings=settings, overrides=loading.Overrides())
        return len(asked)

    caseness(settings.home, "init")
    with journal.exclusive(settings.paths.lock, purpose="test"):
        erasure.keep_out(people=["p1_somebody"], settings=settings)
    assert read() == 0  # there is no earlier key
    run_rotate_key(settings=settings)
    assert read() == 1
    settings.paths.forgotten.unlink()
    assert read() == 0  # nobody is forgotten


def loading_files(folder: Path) -> list[Any]:
    from ingestion.files import files_in

    return list(files_in(folder))


def test_doctor_says_when_forgotten_people_can_no_longer_be_recognised(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    delivery = _service(tmp_path / "in")
    _ingest(settings, delivery)
    run_rotate_key(settings=settings)
    first = settings.paths.keys / "pseudonym.key"
    kept = first.read_bytes()
    first.unlink()
    assert _key_findings(settings) == []  # nobody is forgotten
    first.write_bytes(kept)
    run_forget(_tokens(settings, 1, ["P1"])[0], settings=settings)
    assert _key_findings(settings) == []
    for damaged in (b"", b"another key of thirty-two bytes and more"):
        first.write_bytes(damaged)
        (says,) = _key_findings(settings)
        assert "version 1 is missing" in says and "no longer be recognised" in says
    first.unlink()
    assert _key_findings(settings) == [says]
    assert _ingest(settings, delivery)["files_loaded"] == 7  # a lost key stops nobody else
    assert holds(settings.paths.parts, *_tokens(settings, 2, ["P1"])) != []
    assert _key_findings(settings) == [says]


def test_a_key_of_the_environment_is_put_beside_as_it_stood_in_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (base64.b64encode(bytes(range(n, n + 32))).decode() for n in (0, 100))
    monkeypatch.setenv(pseudonyms.KEY_VARIABLE, first)
    settings = _settings(tmp_path)
    delivery = _service(tmp_path / "in")
    caseness(settings.home, "ingest", delivery)
    (old,) = _tokens(settings, 1, ["P1"])
    caseness(settings.home, "forget", old)
    monkeypatch.setenv(pseudonyms.KEY_VARIABLE, second)
    monkeypatch.setenv(pseudonyms.KEY_VERSION_VARIABLE, "2")
    assert caseness(settings.home, "rotate-key")["key_version"] == 2
    assert len(_key_findings(settings)) == 1
    settings.paths.keys.joinpath("pseudonym.key").write_text(first, encoding="utf-8")
    assert _key_findings(settings) == []
    assert _tokens(settings, 1, ["P1"]) == [old]
    report = caseness(settings.home, "ingest", delivery)
    assert report["quarantined_by_rule"] == {"erased_person": sum(_THEIRS.values())}


def test_who_is_forgotten_between_two_keys_is_told_by_both_tokens(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    delivery = _service(tmp_path / "in")
    _ingest(settings, delivery)
    run_rotate_key(settings=settings)
    _ingest(settings, delivery / "people.csv")
    old, new = _tokens(settings, 1, ["P1"])[0], _tokens(settings, 2, ["P1"])[0]
    assert caseness(settings.home, "token", "--source", "small_service", "--key-version", "1", "P1") == {"P1": old}
    assert (
        "version 3"
        in caseness(settings.home, "token", "--source", "small_service", "--key-version", "3", "P1", code=2)["error"]
    )
    assert run_forget(new, settings=settings).as_dict()["other_key_versions"] == [1]
    assert holds(settings.paths.parts, old, new) == [old]
    assert run_forget(old, settings=settings).as_dict()["other_key_versions"] == [2]
    assert holds(settings.paths.parts, old, new) == []


def test_a_restored_home_still_knows_its_forgotten_people(tmp_path: Path) -> None:
    """The keys travel apart from the backup; all of them are put back."""
    from caseness.commands.backup import run_backup, run_restore

    settings = _settings(tmp_path)
    delivery = _service(tmp_path / "in")
    _ingest(settings, delivery)
    run_forget(_tokens(settings, 1, ["P1"])[0], settings=settings)
    run_rotate_key(settings=settings)
    run_backup(tmp_path / "saved", settings=settings)
    new = _settings(tmp_path / "elsewhere")
    run_restore(tmp_path / "saved", settings=new, with_build=False)
    for path in settings.paths.keys.iterdir():
        shutil.copy(path, new.paths.keys / path.name)
    assert _ingest(new, delivery)["quarantined_by_rule"] == {"erased_person": sum(_THEIRS.values())}
