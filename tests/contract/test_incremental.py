"""Deliveries in several ingests and builds, in whatever order, end in the marts of one build of everything."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

import ingestion
from benchmarks.synthetic_service import generate
from caseness.commands.build import run_build
from caseness.settings import Settings
from tests.fixtures.small_service import (
    Course,
    answer_rows,
    delivery_tables,
    fetch,
    home_settings,
    items_of,
    marts_content,
    state_delivery,
    write_delivery,
    write_rows,
)

_MAIN, _UPDATE = "talking_service/main", "talking_service/monthly_update"
_REST = ("remote_clinic", "mood_app", "wearables", "health_record")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five vendors' exports of 300 people, with links, corrections, voided rows, duplicates and ownerless rows."""
    folder = tmp_path_factory.mktemp("service")
    generate(target=folder, people=300, years=2)
    return folder / "exports"


@pytest.fixture(scope="module")
def at_once(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The marts of one full build."""
    settings = home_settings(tmp_path_factory.mktemp("full") / "home")
    ingestion.ingest([exports], settings=settings)
    assert run_build(settings=settings).is_full_build
    content = marts_content(settings)
    assert set(content) >= {"people", "assessments", "episodes", "trajectories", "measure_members", "measure_results"}
    # This service sends no scale of several, no cut of another authority and no therapy by its code.
    assert {name for name, rows in content.items() if not rows} <= {"assessment_judgements", "assessment_scales"}
    return content


def _in_steps(steps: Sequence[Sequence[Path]], home: Path) -> Settings:
    settings = home_settings(home)
    for number, step in enumerate(steps):
        ingestion.ingest(list(step), settings=settings)
        assert run_build(settings=settings).is_full_build == (number == 0)
    return settings


def _assert_same(content: dict[str, list[str]], expected: dict[str, list[str]]) -> None:
    assert content.keys() == expected.keys()
    for table, rows in expected.items():
        assert content[table] == rows, f"marts.{table} differs"


@pytest.mark.parametrize(
    "order",
    [
        pytest.param([[_MAIN], [_UPDATE, *_REST]], id="the-update-later"),
        pytest.param(
            [["health_record", "wearables"], ["mood_app", _UPDATE], [_MAIN, "remote_clinic"]], id="links-first"
        ),
    ],
)
def test_deliveries_in_steps_end_in_the_same_marts(
    exports: Path, at_once: dict[str, list[str]], tmp_path: Path, order: list[list[str]]
) -> None:
    settings = _in_steps([[exports / name for name in step] for step in order], tmp_path / "home")
    _assert_same(marts_content(settings), at_once)


@pytest.mark.slow
@pytest.mark.parametrize("is_reversed", [False, True])
def test_vendor_by_vendor_ends_in_the_same_marts(
    exports: Path, at_once: dict[str, list[str]], tmp_path: Path, is_reversed: bool
) -> None:
    names = [_MAIN, _UPDATE, *_REST]
    steps = [[exports / name] for name in (reversed(names) if is_reversed else names)]
    _assert_same(marts_content(_in_steps(steps, tmp_path / "home")), at_once)


@pytest.mark.slow
def test_file_by_file_ends_in_the_same_marts(exports: Path, at_once: dict[str, list[str]], tmp_path: Path) -> None:
    files = sorted((path for path in exports.rglob("*") if path.is_file() and path.suffix != ".yml"), reverse=True)
    _assert_same(marts_content(_in_steps([[file] for file in files], tmp_path / "home")), at_once)


def test_a_second_build_of_the_same_loads_changes_nothing(exports: Path, tmp_path: Path) -> None:
    settings = home_settings(tmp_path / "home")
    ingestion.ingest([exports / "remote_clinic"], settings=settings)
    first = run_build(settings=settings)
    before = marts_content(settings)
    ingestion.ingest([exports / "remote_clinic"], settings=settings)
    second = run_build(settings=settings)
    assert (second.build_id, second.is_full_build) == (first.build_id, False)
    _assert_same(marts_content(settings), before)


def test_a_row_corrected_onto_another_person_moves_and_stays_moved(tmp_path: Path) -> None:
    """A referral, its contacts and forms were booked on the wrong person; then the wrong person is delivered again.

    Rewriting the former owner must not bring back what another person's later statement took over.
    """
    first = write_delivery(tmp_path / "first", [Course("1"), Course("2"), Course("3")])
    second, third = tmp_path / "second", tmp_path / "third"
    state_delivery(second, delivered_at="2025-02-28T20:00:00Z")
    for stream, rows in delivery_tables([Course("1")]).items():
        if stream != "people":
            write_rows(second / f"{stream}.csv", [{**row, "person_code": "P9"} for row in rows])
    state_delivery(third, delivered_at="2025-03-31T20:00:00Z")
    write_rows(third / "people.csv", [{"person_code": "P1", "sex": "male"}])
    stepwise = _in_steps([[first], [second], [third]], tmp_path / "stepwise")
    whole = _in_steps([[first, second, third]], tmp_path / "whole")
    _assert_same(marts_content(stepwise), marts_content(whole))
    token = ingestion.person_tokens("small_service", ["P1", "P9"], settings=stepwise)
    owners = {row[0] for row in fetch(stepwise, "select person_id from marts.episodes")}
    assert token["P9"] in owners
    assert token["P1"] not in owners
    assert fetch(stepwise, "select count(*) from marts.episodes") == [(3,)]
    assert fetch(stepwise, "select count(*) from marts.assessments") == [(12,)]


def test_a_later_link_answer_and_voided_contact_change_the_outcome(tmp_path: Path) -> None:
    two = (10, 24)
    courses = [Course("1", treatment_days=two), Course("2", treatment_days=two), Course("3"), Course("4")]
    first = write_delivery(tmp_path / "first", courses)
    second = tmp_path / "second"
    state_delivery(second, delivered_at="2025-02-28T20:00:00Z")
    link = {"person_code": "P4", "linked_person_code": "P3", "linked_namespace": "small_service"}
    write_rows(second / "person_links.csv", [link])
    worse = [
        {**row, "response_status": "amended"} for row in answer_rows("1", 1, "PHQ-9", items_of("PHQ-9", 11), day=8)
    ]
    write_rows(second / "questionnaire_answers.csv", worse)
    contact = delivery_tables([courses[1]])["care_contacts"][:1]
    write_rows(second / "care_contacts.csv", [{**row, "record_status": "entered_in_error"} for row in contact])
    stepwise = _in_steps([[first]], tmp_path / "stepwise")
    facts = (
        "select count(*), sum(cast(has_finished_course as int)), sum(cast(has_recovered as int)), max(phq9_last), "
        "count(distinct person_id) from marts.episodes"
    )
    assert fetch(stepwise, facts) == [(4, 4, 4, 4, 4)]
    ingestion.ingest([second], settings=stepwise)
    assert not run_build(settings=stepwise).is_full_build
    assert fetch(stepwise, facts) == [(4, 3, 2, 11, 3)]
    whole = _in_steps([[first, second]], tmp_path / "whole")
    _assert_same(marts_content(stepwise), marts_content(whole))


def test_late_rows_that_name_nobody_or_another_person_end_as_in_one_build(tmp_path: Path) -> None:
    """Ownerless forms belong to the person of the referral they state; contacts of another person never count.

    Course 1 gets its last forms without an owner, course 2 a contact under person 3's code. Then the owners come again.
    """
    only_first = [Course("1", phq9=(18,), gad7=(12,)), Course("2", treatment_days=(10, 24)), Course("3")]
    first = write_delivery(tmp_path / "first", only_first)
    second, third = tmp_path / "second", tmp_path / "third"
    state_delivery(second, delivered_at="2025-02-28T20:00:00Z")
    late = [*answer_rows("1", 1, "PHQ-9", items_of("PHQ-9", 4), day=60), *answer_rows("1", 1, "GAD-7", [0] * 7, day=60)]
    write_rows(second / "questionnaire_answers.csv", [{**row, "person_code": ""} for row in late])
    foreign = delivery_tables([Course("2", treatment_days=(10, 24, 38))])["care_contacts"][2:]
    write_rows(second / "care_contacts.csv", [{**row, "person_code": "P3"} for row in foreign])
    state_delivery(third, delivered_at="2025-03-31T20:00:00Z")
    write_rows(third / "people.csv", [{"person_code": "P2", "sex": "male"}, {"person_code": "P3", "sex": "male"}])
    whole = _in_steps([[first, second, third]], tmp_path / "whole")
    facts = "select phq9_first, phq9_last, has_recovered, treatment_contacts from marts.episodes order by all"
    assert fetch(whole, facts) == [(15, 4, True, 2), (15, 4, True, 3), (18, 4, True, 3)]
    for name, steps in {
        "stepwise": [[first], [second], [third]],
        "forms-first": [[second], [first], [third]],
    }.items():
        _assert_same(marts_content(_in_steps(steps, tmp_path / name)), marts_content(whole))


def test_a_deleted_contact_and_form_are_gone_however_they_arrive(tmp_path: Path) -> None:
    """A deletion names a record and nobody; the person whose record it was is rebuilt all the same."""
    courses = [Course("1", treatment_days=(10, 24)), Course("2")]
    first, second = write_delivery(tmp_path / "first", courses), tmp_path / "second"
    tables = delivery_tables(courses[:1])
    contact = tables["care_contacts"][0]["contact_code"]
    response = tables["questionnaire_answers"][-1]["response_code"]
    forms = {row["instrument_code"] for row in tables["questionnaire_answers"] if row["response_code"] == response}
    state_delivery(second, delivered_at="2025-02-28T20:00:00Z")
    write_rows(
        second / "record_deletions.csv",
        [
            {"record_kind": "contact", "record_code": contact, "recorded_at": "2025-02-28T10:00:00Z"},
            {"record_kind": "response", "record_code": response, "recorded_at": "2025-02-28T10:00:00Z"},
        ],
    )
    stepwise = _in_steps([[first]], tmp_path / "stepwise")
    counts = (
        "select (select count(*) from intermediate.int_contacts_current), (select count(*) from marts.assessments), "
        "(select count(*) from marts.episodes where has_finished_course)"
    )
    ((contacts, assessments, finished),) = fetch(stepwise, counts)
    ingestion.ingest([second], settings=stepwise)
    assert not run_build(settings=stepwise).is_full_build
    assert fetch(stepwise, counts) == [(contacts - 1, assessments - len(forms), finished - 1)]
    whole = _in_steps([[first, second]], tmp_path / "whole")
    _assert_same(marts_content(stepwise), marts_content(whole))


def test_forms_that_name_nobody_are_moved_deleted_and_matched_late(tmp_path: Path) -> None:
    """Forms without a person are somebody's by their referral, or by what the other stream says of the same form.

    One is deleted, one is stated again under another referral, one under no referral at all; of a fourth the answers
    name a person and the total does not. Then a delivery comes that touches none of them.
    """
    first = write_delivery(tmp_path / "first", [Course("1"), Course("2"), Course("3")])
    forms = {
        name: [
            {**row, "response_code": name, "person_code": ""}
            for row in answer_rows("1", 1, "PHQ-9", items_of("PHQ-9", total), day=day)
        ]
        for name, total, day in (("deleted", 20, 60), ("moved", 21, 61), ("left", 22, 62))
    }
    write_rows(first / "more" / "questionnaire_answers.csv", [row for rows in forms.values() for row in rows])
    state_delivery(first / "more", delivered_at="2025-01-31T21:00:00Z")
    second, third, fourth = (tmp_path / name for name in ("second", "third", "fourth"))
    state_delivery(second, delivered_at="2025-02-28T20:00:00Z")
    gone = {"record_kind": "response", "record_code": "deleted", "recorded_at": "2025-02-28T10:00:00Z"}
    write_rows(second / "record_deletions.csv", [gone])
    later = [{**row, "referral_code": "R2"} for row in forms["moved"]]
    later += [{**row, "referral_code": ""} for row in forms["left"]]
    write_rows(second / "questionnaire_answers.csv", later)
    state_delivery(third, delivered_at="2025-03-31T20:00:00Z")
    known = delivery_tables([Course("3")])["questionnaire_answers"][0]
    total = {name: known[name] for name in ("response_code", "instrument_code", "answered_at", "response_status")}
    write_rows(third / "questionnaire_totals.csv", [{**total, "total_value": 15}])
    state_delivery(fourth, delivered_at="2025-04-30T20:00:00Z")
    write_rows(fourth / "people.csv", [{"person_code": "P9", "sex": "male"}])
    stepwise = _in_steps([[first], [second], [third], [fourth]], tmp_path / "stepwise")
    whole = _in_steps([[first, second, third, fourth]], tmp_path / "whole")
    _assert_same(marts_content(stepwise), marts_content(whole))
    owners = "select referral_id is null, count(*) from marts.assessments group by all order by all"
    assert fetch(stepwise, owners) == [(False, 13), (True, 1)]


def test_a_failed_step_leaves_the_earlier_build_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build works on a copy; what readers see changes only when every model and test has passed."""
    from caseness import dbt_runner

    first = write_delivery(tmp_path / "first", [Course("1")])
    settings = _in_steps([[first]], tmp_path / "home")
    before = marts_content(settings)
    project = tmp_path / "code" / "dbt_project"
    ignore = shutil.ignore_patterns("target", "logs", "__pycache__")
    shutil.copytree(dbt_runner.project_folder(), project, ignore=ignore)
    shutil.copytree(dbt_runner.project_folder().parent / "screening", project.parent / "screening")
    (project / "tests" / "singular" / "never.sql").write_text("select 1 as x\n", encoding="utf-8")
    monkeypatch.setattr(dbt_runner, "project_folder", lambda: project)
    ingestion.ingest([write_delivery(tmp_path / "second", [Course("2")])], settings=settings)
    with pytest.raises(dbt_runner.TransformError, match="never"):
        run_build(settings=settings)
    assert marts_content(settings) == before
    monkeypatch.undo()
    run_build(settings=settings)
    assert fetch(settings, "select count(*) from marts.episodes") == [(2,)]


def test_measures_of_people_in_steps_end_as_in_one_build(tmp_path: Path) -> None:
    """Visit, diagnosis and scores come one by one; then one diagnosis moves to another person and one is deleted."""
    from tests.fixtures.service import AS_OF, Service
    from tests.fixtures.us_care import Record, member, together

    def record(case: str, *, with_visit: bool = True) -> Record:
        made = Record(case)
        made.person()
        if with_visit:
            made.visit("2025-03-10T10:00:00Z", "2025-03-10T11:00:00Z", "Contact or Office Visit")
        return made

    def diagnosis(code: str, person: str, recorded: str) -> dict[str, str]:
        return {
            "diagnosis_code_id": code,
            "person_code": person,
            "verification_status": "confirmed",
            "clinical_status": "active",
            "onset_date": "2025-01-01",
            "recorded_at": recorded,
            **member("Dysthymia"),
        }

    people = [record(case) for case in ("kept", "moved", "taker", "deleted")]
    scored = [Record(one.case) for one in people]
    for one in scored:
        one.total("2025-03-10T10:30:00Z", 15)
        one.total("2026-03-10T10:30:00Z", 4)
    earlier, later = "2026-04-01T08:00:00Z", "2026-04-02T08:00:00Z"
    first = {"diagnoses": [diagnosis(f"d_{name}", f"p_{name}", earlier) for name in ("kept", "moved", "deleted")]}
    second = {
        "diagnoses": [diagnosis("d_moved", "p_taker", later)],
        "record_deletions": [{"record_kind": "diagnosis", "record_code": "d_deleted", "recorded_at": later}],
    }
    steps = [together(people), first, together(scored), second]
    whole, stepwise = Service(tmp_path / "whole"), Service(tmp_path / "stepwise")
    for service in (whole, stepwise):
        service.settings = home_settings(service.settings.home, as_of_date=AS_OF)
    question = "select person_id, is_in_numerator from marts.measure_members where measure_id = 'cms159'"
    for number, streams in enumerate(steps):
        whole.deliver(tmp_path / f"whole_{number}", streams)
        stepwise.deliver(tmp_path / f"step_{number}", streams)
        stepwise.build()
        if number == 2:
            assert len(stepwise.ask(question)) == 3
    whole.build()
    tokens = whole.tokens("p_kept", "p_taker")
    assert sorted(whole.ask(question)) == sorted((token, True) for token in tokens.values())
    _assert_same(marts_content(stepwise.settings), marts_content(whole.settings))
