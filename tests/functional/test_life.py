"""The life of a warehouse: migrated, backed up and restored, people forgotten, files withdrawn."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

import ingestion
from caseness import home as layout
from caseness import journal
from caseness.commands.backup import run_backup, run_restore
from caseness.commands.build import run_build
from caseness.commands.check import run_check
from caseness.commands.forget import run_forget
from caseness.commands.migrate import run_migrate
from caseness.commands.sql import run_sql
from caseness.commands.withdraw import run_withdraw
from caseness.content import content_hash
from caseness.errors import DamagedHomeError, NotReadyError, UsageError
from caseness.settings import Settings
from tests.fixtures.life import caseness, first_release, holds
from tests.fixtures.small_service import (
    Course,
    answer_rows,
    delivery_tables,
    fetch,
    home_settings,
    marts_content,
    state_delivery,
    write_delivery,
    write_rows,
)

# ---- migrate


def _tables(settings: Settings) -> dict[str, int]:
    return {
        stream: sum(duckdb.sql(f"select * from read_parquet('{part}')").shape[0] for part in parts)
        for stream, parts in ingestion.landed_parts(settings).items()
    }


def test_an_older_home_says_migrate_and_a_newer_one_is_left_alone(tmp_path: Path) -> None:
    old, exports = first_release(tmp_path)
    for words in (["build"], ["ingest", exports], ["sql", "select 1"], ["backup", tmp_path / "b"], ["init"]):
        answer = caseness(old.home, *words, code=5)
        assert "run `caseness migrate`" in answer["remedy"]
    (old.home / "home.json").write_text('{"home_version": 99}', encoding="utf-8")
    assert "newer caseness" in caseness(old.home, "sql", "select 1", code=5)["error"]
    assert "newer caseness" in caseness(old.home, "migrate", code=5)["error"]
    (old.home / "home.json").write_text("{", encoding="utf-8")
    assert caseness(old.home, "sql", "select 1", code=7)["error"] == "home.json is damaged"


def test_the_first_releases_home_is_migrated_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    old, exports = first_release(tmp_path)
    report = run_migrate(settings=old)
    assert (report["from_version"], report["to_version"], report["entries_migrated"]) == (1, layout.HOME_VERSION, 22)
    saved = old.home / report["saved_as"]
    assert len(list((saved / "manifest").iterdir())) == 22
    assert run_migrate(settings=old)["entries_migrated"] == 0
    landed = _tables(old)
    again = ingestion.ingest([exports], settings=old).as_dict()
    # Files of streams whose contract has a new version since are read anew and take the place of their older load.
    assert again["files_loaded"] + again["files_already_loaded"] == 22
    assert again["files_refused"] == 0
    assert sum(entry["load_status"] == "loaded" for entry in ingestion.manifest_entries(old)) == 22
    assert _tables(old) == landed

    new = Settings(home=tmp_path / "new", key_file=old.home / "keys" / "pseudonym.key", threads=2)
    ingestion.ingest([exports], settings=new)
    assert _tables(new) == landed
    migrated, fresh = run_build(settings=old), run_build(settings=new)
    assert migrated.content_hash == fresh.content_hash
    assert marts_content(old) == marts_content(new)


@pytest.mark.parametrize(
    "fault",
    ["migration_saved", "change_announced:3", "entry_committed:5", "entry_migrated:22", "migration_journalled"],
)
def test_a_migration_stopped_anywhere_is_finished_by_the_next(tmp_path: Path, fault: str) -> None:
    old, _ = first_release(tmp_path)
    counted = {entry["load_id"]: entry["rows_admitted"] for entry in ingestion.manifest_entries(old)}
    caseness(old.home, "migrate", fault=fault)
    assert caseness(old.home, "migrate")["to_version"] == layout.HOME_VERSION
    entries = ingestion.reconcile(old, is_deep=True)
    assert {entry["load_id"]: entry["rows_admitted"] for entry in entries} == counted
    assert all(entry["manifest_version"] == 2 and entry["key_version"] == 1 for entry in entries)
    assert json.loads((old.home / "home.json").read_text())["home_version"] == layout.HOME_VERSION
    saved = [json.loads(path.read_text()) for path in (old.home / "backups" / "version_1" / "manifest").iterdir()]
    assert len(saved) == 22 and not any("manifest_version" in entry for entry in saved)


# ---- one content hash


def _hash_of(*rows: str) -> str:
    with duckdb.connect() as connection:
        connection.execute("create schema marts")
        connection.execute("create table marts.t (a integer, b double, c varchar, load_id varchar)")
        for row in rows:
            connection.execute(f"insert into marts.t values {row}")
        return content_hash(connection)


def test_the_content_hash_counts_rows_and_not_their_order() -> None:
    one, two = "(1, 0.5, 'x', 'l1')", "(2, null, null, 'l1')"
    assert _hash_of(one, two) == _hash_of(two, one)
    assert _hash_of(one, two) == _hash_of("(1, 0.5000000000001, 'x', 'l2')", two)
    assert _hash_of("(1, 0.0, '', 'l')") == _hash_of("(1, -0.0, '', 'l')")
    different = [(one, two), (one,), (one, one), (one, one, one), ("(1, 0.500001, 'x', 'l')",), ("(1, null, '', 'l')",)]
    different.append(("(1, null, null, 'l')",))
    assert len({_hash_of(*rows) for rows in different}) == len(different)


def _restated(folder: Path, source: Path, delivered_at: str) -> Path:
    """The same bytes, delivered again under another statement of time."""
    shutil.copytree(source, folder)
    state_delivery(folder, delivered_at=delivered_at)
    return folder


def test_the_same_files_in_any_order_are_the_same_content(tmp_path: Path) -> None:
    """Overlapping deliveries, one corrected, one late, one delivered twice under two statements of its time."""
    first = write_delivery(tmp_path / "in" / "first", [Course("1"), Course("2", phq9=(20, 15))])
    second = write_delivery(
        tmp_path / "in" / "second", [Course("2", phq9=(20, 3)), Course("3")], delivered_at="2025-02-28T20:00:00Z"
    )
    again = _restated(tmp_path / "in" / "again", first, "2025-03-31T20:00:00Z")
    sorted_once = home_settings(tmp_path / "once" / "home")
    ingestion.ingest([tmp_path / "in"], settings=sorted_once)
    expected = run_build(settings=sorted_once).content_hash
    # The first delivery was stated again later, so its rows count for course 2.
    assert fetch(sorted_once, "select max(phq9_last) from marts.episodes") == [(15,)]
    stepwise = home_settings(tmp_path / "steps" / "home")
    for step in (again, second, first):
        ingestion.ingest([step], settings=stepwise)
        found = run_build(settings=stepwise).content_hash
    assert found == expected
    loaded = [entry for entry in ingestion.manifest_entries(stepwise) if entry["load_status"] == "loaded"]
    assert len(loaded) == 8
    assert {entry["load_id"] for entry in loaded} == {
        entry["load_id"] for entry in ingestion.manifest_entries(sorted_once) if entry["load_status"] == "loaded"
    }
    assert run_build(settings=stepwise, full_refresh=True).content_hash == expected


# ---- backup and restore


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home that is built, with a withdrawn file, a value set and a measurement period of its own."""
    folder = tmp_path_factory.mktemp("filled")
    settings = home_settings(folder / "home")
    ingestion.ingest([write_delivery(folder / "in", [Course("1"), Course("2"), Course("3")])], settings=settings)
    run_withdraw("0" * 64, settings=settings, reason="sent_in_error")
    expansion = folder / "set.csv"
    expansion.write_text(
        "value_set,oid,code_system,code,version\nDepression,2.16.1,icd_10,F32,2026\n", encoding="utf-8"
    )
    caseness(settings.home, "valuesets", "load", expansion)
    run_build(settings=settings, measurement_periods=["2024-01-01/2024-12-31"])
    return settings


@pytest.mark.parametrize("name", ["saved", "saved.tar"])
def test_restore_drill(filled: Settings, tmp_path: Path, name: str) -> None:
    """Without a database: rebuilt from parts and journal, the content hash is the one of before."""
    saved = run_backup(tmp_path / name, settings=filled)
    assert saved.content_hash == json.loads((filled.home / "build" / "current.json").read_text())["content_hash"]
    new = home_settings(tmp_path / "new")
    report = run_restore(tmp_path / name, settings=new)
    assert report.is_same and report.content_hash == saved.content_hash
    assert not (new.home / "keys" / "pseudonym.key").exists()
    assert run_sql("select count(*) as n from marts.measure_results where period_id like 'custom%'", settings=new).rows[
        0
    ]["n"]
    assert run_sql("select code from raw.value_set_members where oid = '2.16.1'", settings=new).rows == [
        {"code": "F32"}
    ]
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_damaged_or_cut_backup_is_refused_whole(filled: Settings, tmp_path: Path) -> None:
    run_backup(tmp_path / "good.tar", settings=filled)
    run_backup(tmp_path / "good", settings=filled)
    content = (tmp_path / "good.tar").read_bytes()
    bad = tmp_path / "bad.tar"
    part = next((tmp_path / "good" / "landing" / "parts").rglob("*.parquet")).read_bytes()
    place = content.index(part) + len(part) // 2
    for damaged in (
        content[: len(content) // 2],
        content[:-12_000],
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
        b"",
    ):
        bad.write_bytes(damaged)
        with pytest.raises(DamagedHomeError, match="backup"):
            run_restore(bad, settings=home_settings(tmp_path / "new"))
        assert not (tmp_path / "new").exists()
    for name in ("backup.json", "journal/head.json", next(iter((tmp_path / "good" / "quarantine").glob("*")), None)):
        if name is None:
            continue
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "good", copy)
        (copy / name).unlink()
        with pytest.raises(DamagedHomeError, match="backup"):
            run_restore(copy, settings=home_settings(tmp_path / "new"))
        shutil.rmtree(copy)
    (tmp_path / "good" / "landing" / "more.txt").write_text("x", encoding="utf-8")
    with pytest.raises(DamagedHomeError, match="does not name"):
        run_restore(tmp_path / "good", settings=home_settings(tmp_path / "new"))
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".*.tmp"))


def test_the_key_is_saved_only_when_asked_for_and_missed_where_it_is_needed(tmp_path: Path) -> None:
    delivery = write_delivery(tmp_path / "in", [Course("1")])
    home = tmp_path / "home"
    caseness(home, "ingest", delivery)
    key = (home / "keys" / "pseudonym.key").read_bytes()
    assert not caseness(home, "backup", tmp_path / "without")["has_key"]
    assert caseness(home, "backup", tmp_path / "with", "--with-key")["has_key"]
    assert not any(key.strip() in path.read_bytes() for path in (tmp_path / "without").rglob("*") if path.is_file())
    assert (tmp_path / "with" / "keys" / "pseudonym.key").read_bytes() == key
    new = Settings(home=tmp_path / "new", threads=2)
    run_restore(tmp_path / "without", settings=new, with_build=False)
    with pytest.raises(NotReadyError, match="key of this home is missing"):
        ingestion.ingest([delivery], settings=new)
    (new.home / "keys" / "pseudonym.key").write_bytes(b"another key, and long enough to be one.\n")
    with pytest.raises(NotReadyError, match="not the one this home was filled with"):
        ingestion.ingest([delivery], settings=new)
    (new.home / "keys" / "pseudonym.key").write_bytes(key)
    assert ingestion.ingest([delivery], settings=new).as_dict()["files_already_loaded"] == 4


def test_a_restore_overwrites_nothing_and_a_backup_neither(filled: Settings, tmp_path: Path) -> None:
    run_backup(tmp_path / "saved", settings=filled)
    with pytest.raises(UsageError, match="exists already"):
        run_backup(tmp_path / "saved", settings=filled)
    with pytest.raises(UsageError, match="inside the home"):
        run_backup(filled.home / "saved", settings=filled)
    with pytest.raises(UsageError, match="not empty"):
        run_restore(tmp_path / "saved", settings=filled)


# ---- forget


def _service_to_forget(folder: Path) -> Path:
    """Three people; the first has a second code, and a form without an owner that hangs on their referral."""
    delivery = write_delivery(folder, [Course("1"), Course("2"), Course("3")])
    link = {"person_code": "P1", "linked_person_code": "P1b", "linked_namespace": "small_service"}
    write_rows(delivery / "person_links.csv", [link])
    write_rows(
        delivery / "questionnaire_totals.csv",
        [
            {
                "response_code": f"T{number}",
                "person_code": person,
                "referral_code": referral,
                "instrument_code": "WSAS",
                "total_value": 20,
                "answered_at": "2024-01-20T09:00:00Z",
                "response_status": "completed",
            }
            for number, (person, referral) in enumerate([("P1b", ""), ("", "R1"), ("", "R2")])
        ],
    )
    return delivery


@pytest.fixture
def with_people(tmp_path: Path) -> tuple[Settings, Path, dict[str, str]]:
    settings = home_settings(tmp_path / "home")
    delivery = _service_to_forget(tmp_path / "in")
    ingestion.ingest([delivery], settings=settings)
    tokens = ingestion.person_tokens("small_service", ["P1", "P1b", "P2", "P3"], settings=settings)
    return settings, delivery, tokens


def _balanced(report: dict[str, Any]) -> bool:
    return bool(report["rows_in"] == report["rows_admitted"] + report["rows_quarantined"])


def test_a_forgotten_person_is_in_no_file_and_stays_out(with_people: Any, tmp_path: Path) -> None:
    settings, delivery, tokens = with_people
    run_build(settings=settings)
    gone, stays = [tokens["P1"], tokens["P1b"]], [tokens["P2"], tokens["P3"]]
    assert holds(settings.home, *gone, *stays) == [*gone, *stays]
    referrals = dict(fetch(settings, "select person_id, referral_id from marts.episodes"))
    before = sum(entry["rows_admitted"] for entry in ingestion.manifest_entries(settings))
    (settings.paths.temporary / "working.duckdb").write_text(tokens["P1"], encoding="utf-8")

    report = run_forget(tokens["P1b"], settings=settings, reason="consent_withdrawn").as_dict()
    assert report["people_marked"] == 2 and report["was_built_anew"]
    # One person, one link, one referral, three contacts, two forms of 16 items, their total and the one without owner.
    assert report["rows_by_stream"] == {
        "people": 1,
        "person_links": 1,
        "referrals": 1,
        "care_contacts": 3,
        "questionnaire_answers": 2 * (9 + 7),
        "questionnaire_totals": 2,
    }
    assert holds(settings.home, *gone, *stays, min(referrals[token] for token in gone if token in referrals)) == stays
    assert fetch(settings, "select count(*) from marts.episodes") == [(2,)]
    # A form without an owner belongs to whoever its referral belongs to, and that was another person's.
    assert fetch(settings, "select count(*) from marts.assessments where person_id = 'unlinked'") == [(0,)]
    receipts = [receipt for receipt in journal.read(settings.paths.journal) if receipt["event"] == "part_erased"]
    assert sum(receipt["rows_removed"] for receipt in receipts) == report["rows_removed"]
    assert all(receipt["before"] != receipt["after"] for receipt in receipts)
    assert any(r.get("reason") == "consent_withdrawn" for r in journal.read(settings.paths.journal))
    # What was loaded was loaded: the removal is counted apart.
    entries = ingestion.manifest_entries(settings)
    assert sum(entry["rows_admitted"] for entry in entries) == before
    assert sum(entry.get("rows_erased", 0) for entry in entries) == report["rows_removed"]

    again = ingestion.ingest([delivery], settings=settings).as_dict()
    assert (again["files_loaded"], again["files_already_loaded"]) == (0, 6)
    later = write_delivery(tmp_path / "later", [Course("1"), Course("4")], delivered_at="2025-03-01T00:00:00Z")
    ownerless = [
        {**row, "person_code": "", "response_code": "QX"} for row in answer_rows("1", 0, "PHQ-9", [1] * 9, day=9)
    ]
    write_rows(later / "questionnaire_answers.ndjson", ownerless)
    (later / "questionnaire_answers.csv").unlink()
    landed = ingestion.ingest([later], settings=settings).as_dict()
    assert _balanced(landed)
    assert landed["quarantined_by_rule"] == {"erased_person": 1 + 1 + 3 + 9}
    run_build(settings=settings)
    assert holds(settings.home, *gone) == []
    assert fetch(settings, "select count(*) from marts.episodes") == [(3,)]


def test_what_a_later_delivery_says_is_theirs_goes_too(with_people: Any, tmp_path: Path) -> None:
    """A form without an owner comes before the new referral it hangs on; the referral names the forgotten person."""
    settings, _, tokens = with_people
    run_forget(tokens["P1"], settings=settings, reason="opt_out")
    state_delivery(tmp_path / "forms", delivered_at="2025-03-01T00:00:00Z")
    form = [
        {**row, "person_code": "", "referral_code": "R1new"} for row in answer_rows("9", 0, "PHQ-9", [1] * 9, day=9)
    ]
    write_rows(tmp_path / "forms" / "questionnaire_answers.csv", form)
    state_delivery(tmp_path / "referrals", delivered_at="2025-03-01T00:00:00Z")
    row = {**delivery_tables([Course("1")])["referrals"][0], "referral_code": "R1new"}
    write_rows(tmp_path / "referrals" / "referrals.csv", [row])
    assert ingestion.ingest([tmp_path / "forms"], settings=settings).as_dict()["rows_admitted"] == 9
    before = _tables(settings)["questionnaire_answers"]
    assert ingestion.ingest([tmp_path / "referrals"], settings=settings).as_dict()["rows_quarantined"] == 1
    assert _tables(settings)["questionnaire_answers"] == before - 9


def _deletions(settings: Settings) -> dict[tuple[str, int], str]:
    """Every landed deletion: kind of record and row of its delivery -> token of the record."""
    rows = [
        row
        for part in ingestion.landed_parts(settings)["record_deletions"]
        for row in duckdb.sql(
            f"select record_kind, source_row_number, record_id from read_parquet('{part}')"
        ).fetchall()
    ]
    return {(kind, number): token for kind, number, token in rows}


def test_deletions_of_their_records_go_with_a_forgotten_person(with_people: Any, tmp_path: Path) -> None:
    """A deletion names no person, but the token of a record that was theirs."""
    settings, _, tokens = with_people
    state_delivery(tmp_path / "back", delivered_at="2025-03-01T00:00:00Z")
    deleted = [("contact", "C1.0"), ("contact", "C2.0"), ("response", "T0"), ("response", "T1"), ("response", "T2")]
    rows = [{"record_kind": kind, "record_code": code, "recorded_at": "2025-02-01T00:00:00Z"} for kind, code in deleted]
    ingestion.ingest([write_rows(tmp_path / "back" / "record_deletions.csv", rows)], settings=settings)
    before = _deletions(settings)
    theirs = [before["contact", 1], before["response", 3], before["response", 4]]
    others = [before["contact", 2], before["response", 5]]
    assert holds(settings.home, *theirs, *others) == [*theirs, *others]
    report = run_forget(tokens["P1"], settings=settings).as_dict()
    assert report["rows_by_stream"]["record_deletions"] == 3
    assert sorted(_deletions(settings).values()) == sorted(others)
    assert holds(settings.home, *theirs, *others) == others
    state_delivery(tmp_path / "later", delivered_at="2025-03-02T00:00:00Z")
    later = ingestion.ingest([write_rows(tmp_path / "later" / "record_deletions.csv", rows[:2])], settings=settings)
    assert later.as_dict()["quarantined_by_rule"] == {"erased_person": 1}
    assert holds(settings.home, *theirs, *others) == others


def _observation(own_id: str, person: str, code: str, **value: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": own_id,
        "status": "final",
        "subject": {"reference": f"Patient/{person}"},
        "effectiveDateTime": "2024-03-01T10:00:00Z",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        **value,
    }


def _bundle(path: Path, *entries: dict[str, Any] | str) -> Path:
    """Resources as they are, and deletions by what they name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = [
        {"request": {"method": "DELETE", "url": entry}}
        if isinstance(entry, str)
        else {"resource": entry, "request": {"method": "PUT", "url": f"{entry['resourceType']}/{entry['id']}"}}
        for entry in entries
    ]
    body = {"resourceType": "Bundle", "type": "transaction", "timestamp": "2024-05-01T00:00:00Z", "entry": rows}
    path.write_text(json.dumps(body), encoding="utf-8")
    return path


_TOTAL, _SCREEN = "44261-6", "73831-0"
_NEGATIVE = {"valueCodeableConcept": {"coding": [{"system": "http://snomed.info/sct", "code": "428171000124102"}]}}


@pytest.mark.parametrize("fault", ["", "person_marked", "part_rewritten:1", "part_rewritten:2", "entry_erased:1"])
def test_a_deletion_goes_under_every_code_the_record_may_have_had(tmp_path: Path, fault: str) -> None:
    """FHIR deletes an observation under two codes, of which it landed with one; a total without its value states a
    deletion of itself as a total. The one record of a delivery that named them is all that ties them to the person."""
    settings = home_settings(tmp_path / "home")
    people = [{"resourceType": "Patient", "id": person, "gender": "female"} for person in ("P1", "P2")]
    totals = [_observation(f"T{n}", f"P{n}", _TOTAL, valueInteger=12) for n in (1, 2)]
    void = [_observation(f"N{n}", f"P{n}", _TOTAL) for n in (1, 2)]
    screens = [_observation(f"S{n}", f"P{n}", _SCREEN, **_NEGATIVE) for n in (1, 2)]
    _bundle(tmp_path / "in" / "a.json", *people, *totals, *void, *screens)
    _bundle(tmp_path / "in" / "b.json", *(f"Observation/{record}" for record in ("T1", "S1", "T2", "S2")))
    report = ingestion.ingest([tmp_path / "in"], settings=settings).as_dict()
    assert (report["rows_quarantined"], report["problems"]) == (0, [])
    before = _deletions(settings)
    assert len(before) == 2 * 4 + 2
    their_rows = {("observation", 1), ("observation", 2), ("response", 1), ("response", 2), ("response", 5)}
    theirs = [token for place, token in before.items() if place in their_rows]
    others = [token for place, token in before.items() if place not in their_rows]
    (person,) = ingestion.person_tokens("fhir", ["P1"], settings=settings).values()
    if fault:
        caseness(settings.home, "forget", person, fault=fault, CASENESS_KEY_FILE=str(settings.key_file))
        with journal.exclusive(settings.paths.lock, purpose="test"):
            ingestion.settle(settings, is_deep=True)
    else:
        assert run_forget(person, settings=settings).as_dict()["rows_by_stream"]["record_deletions"] == 5
    assert sorted(_deletions(settings).values()) == sorted(others)
    assert holds(settings.home, person, *theirs) == []


def test_a_deletion_that_came_before_the_record_goes_once_the_record_says_whose_it_is(tmp_path: Path) -> None:
    settings = home_settings(tmp_path / "home")
    (person,) = ingestion.person_tokens("fhir", ["P1"], settings=settings).values()
    run_forget(person, settings=settings, reason="opt_out")
    deletions = _bundle(tmp_path / "b.json", "Observation/S1", "Observation/S2")
    ingestion.ingest([deletions], settings=settings)
    # Until the record comes, nothing in the home says whose it is.
    before = _deletions(settings)
    assert sorted(before) == [("observation", 1), ("observation", 2), ("response", 1), ("response", 2)]
    screens = [_observation(f"S{n}", f"P{n}", _SCREEN, **_NEGATIVE) for n in (1, 2)]
    report = ingestion.ingest([_bundle(tmp_path / "a.json", *screens)], settings=settings).as_dict()
    assert report["quarantined_by_rule"] == {"erased_person": 1}
    assert sorted(_deletions(settings)) == [("observation", 2), ("response", 2)]
    assert holds(settings.home, before["observation", 1], before["response", 1]) == []
    again = _bundle(tmp_path / "c.json", "Observation/S2", "Observation/S1")
    assert ingestion.ingest([again], settings=settings).as_dict()["quarantined_by_rule"] == {"erased_person": 1}
    assert holds(settings.home, before["observation", 1], before["response", 1]) == []


def test_whoever_opts_out_first_never_comes_in(tmp_path: Path) -> None:
    settings = home_settings(tmp_path / "home")
    ingestion.ingest([write_delivery(tmp_path / "other", [Course("9")])], settings=settings)
    tokens = ingestion.person_tokens("small_service", ["P1", "P2"], settings=settings)
    assert run_forget(tokens["P1"], settings=settings, reason="opt_out").as_dict()["rows_removed"] == 0
    delivery = write_delivery(tmp_path / "in", [Course("1"), Course("2")], delivered_at="2025-03-01T00:00:00Z")
    landed = ingestion.ingest([delivery], settings=settings).as_dict()
    assert _balanced(landed) and landed["rows_quarantined"] == 1 + 1 + 3 + 32
    assert holds(settings.home, tokens["P1"], tokens["P2"]) == [tokens["P2"]]


@pytest.mark.parametrize(
    "fault", ["person_marked", "part_rewritten:2", "entry_erased:3", "parts_erased", "change_announced:3"]
)
def test_a_removal_stopped_anywhere_is_finished_by_whoever_writes_next(with_people: Any, fault: str) -> None:
    settings, _, tokens = with_people
    environment = {"CASENESS_KEY_FILE": str(settings.key_file)}
    caseness(settings.home, "forget", tokens["P1"], fault=fault, **environment)
    with journal.exclusive(settings.paths.lock, purpose="test"):
        ingestion.settle(settings, is_deep=True)
    assert holds(settings.home, tokens["P1"], tokens["P1b"]) == []
    assert sum(entry.get("rows_erased", 0) for entry in ingestion.manifest_entries(settings)) == 1 + 1 + 1 + 3 + 32 + 2


def test_a_stale_build_that_holds_the_person_answers_nobody(with_people: Any) -> None:
    settings, _, tokens = with_people
    run_build(settings=settings)
    caseness(settings.home, "forget", tokens["P1"], fault="builds_removed", CASENESS_KEY_FILE=str(settings.key_file))
    with pytest.raises(NotReadyError, match="still holds a person"):
        run_sql("select 1", settings=settings)
    assert run_forget(tokens["P1"], settings=settings).as_dict()["was_built_anew"]
    assert holds(settings.home, tokens["P1"], tokens["P1b"]) == []


def test_forget_refuses_what_is_no_token_and_unknown_reasons(tmp_path: Path) -> None:
    settings = home_settings(tmp_path / "home")
    with pytest.raises(UsageError, match="not a token"):
        run_forget("a b", settings=settings)
    with pytest.raises(UsageError, match="reason"):
        run_forget("p1_" + "a" * 26, settings=settings, reason="because")
    for code in ("X101", "p1_zzz", "9434765919"):  # a sender's code would be marked, and its person stay
        with pytest.raises(UsageError, match="not a token"):
            run_forget(code, settings=settings)


# ---- withdraw


def _loaded(settings: Settings) -> int:
    return sum(entry["load_status"] == "loaded" for entry in ingestion.manifest_entries(settings))


def test_a_file_is_withdrawn_and_comes_again_only_when_that_is_undone(tmp_path: Path) -> None:
    settings = home_settings(tmp_path / "home")
    delivery = write_delivery(tmp_path / "in", [Course("1")])
    ingestion.ingest([delivery], settings=settings)
    wrong = delivery / "referrals.csv"
    assert run_withdraw(str(wrong), settings=settings, reason="wrong_people")["loads_withdrawn"] == 1
    assert _tables(settings)["referrals"] == 0
    assert run_withdraw(str(wrong), settings=settings, reason="wrong_people")["loads_withdrawn"] == 0
    report = ingestion.ingest([delivery], settings=settings).as_dict()
    assert (report["files_withdrawn"], report["files_already_loaded"], report["files_loaded"]) == (1, 3, 0)
    assert run_withdraw(str(wrong), settings=settings, is_undone=True)["was_withdrawn"]
    assert not run_withdraw(str(wrong), settings=settings, is_undone=True)["was_withdrawn"]
    assert ingestion.ingest([delivery], settings=settings).as_dict()["files_loaded"] == 1
    assert _tables(settings)["referrals"] == 1
    with pytest.raises(UsageError, match="codes"):
        run_withdraw(str(wrong), settings=settings, reason="I was wrong")
    with pytest.raises(UsageError, match="neither a file nor a sha256"):
        run_withdraw("nothing.csv", settings=settings, reason="wrong_people")


@pytest.mark.parametrize("order", [("in", "back"), ("back", "in"), ("together",)])
def test_a_sender_withdraws_a_file_before_or_after_it_comes(tmp_path: Path, order: tuple[str, ...]) -> None:
    import hashlib

    root = tmp_path / "together"
    wrong = write_delivery(root / "in", [Course("1")]) / "referrals.csv"
    (root / "back").mkdir()
    sha256 = hashlib.sha256(wrong.read_bytes()).hexdigest()
    (root / "back" / "delivery.yml").write_text(f"source: small_service\nwithdraws: [{sha256}]\n", encoding="utf-8")
    settings = home_settings(tmp_path / "homes" / "home")
    for name in order:
        ingestion.ingest([root if name == "together" else root / name], settings=settings)
    assert _tables(settings)["referrals"] == 0
    assert _loaded(settings) == 3
    assert [entry["load_status"] for entry in ingestion.manifest_entries(settings)].count("withdrawn") == 1


@pytest.mark.parametrize("fault", ["change_announced", "withdrawal_marked", "entry_retired"])
def test_a_withdrawal_stopped_anywhere_is_finished_or_had_not_begun(tmp_path: Path, fault: str) -> None:
    settings = home_settings(tmp_path / "home")
    delivery = write_delivery(tmp_path / "in", [Course("1")])
    ingestion.ingest([delivery], settings=settings)
    wrong = delivery / "referrals.csv"
    caseness(settings.home, "withdraw", wrong, "--reason", "wrong_people", fault=fault)
    ingestion.ingest([delivery], settings=settings)
    assert _tables(settings)["referrals"] == (1 if fault == "change_announced" else 0)
    run_withdraw(str(wrong), settings=settings, reason="wrong_people")
    assert _tables(settings)["referrals"] == 0


# ---- statements that nothing orders


def test_statements_that_differ_and_nothing_orders_are_found(tmp_path: Path) -> None:
    settings = home_settings(tmp_path / "home")
    for name, discharged in (("one", "2024-05-01"), ("two", "2024-06-01")):
        delivery = write_delivery(tmp_path / name, [Course("1"), Course("2")])
        rows = delivery_tables([Course("1"), Course("2")])["referrals"]
        write_rows(delivery / "referrals.csv", [{**rows[0], "discharge_date": discharged}, rows[1]])
    ingestion.ingest([tmp_path / "one", tmp_path / "two"], settings=settings)
    run_build(settings=settings)
    findings = {finding.rule_id: finding for finding in run_check(settings=settings).findings}
    found = findings["referrals_ordered"]
    assert (found.status, found.rows_checked, found.rows_failed) == ("failed", 2, 1)
    # The other files are the same bytes twice: loaded once, so no key has several statements.
    assert findings["contacts_ordered"].status == "not_applicable"
