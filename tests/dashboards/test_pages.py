"""Each page on a real release, and with nothing published."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from caseness.commands.run import run_all
from caseness.console import Voice
from caseness.settings import Settings
from dashboards import charts, words
from tests.conftest import Synthetic

PAGES = sorted((Path(__file__).parents[2] / "dashboards" / "questions").glob("p*.py"))


def _run(page: Path) -> AppTest:
    return AppTest.from_file(str(page), default_timeout=60).run()


def _text(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.title, *app.subheader]
    return "\n".join(str(part.value) for part in parts)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_shows_its_release(synthetic: Synthetic, monkeypatch: pytest.MonkeyPatch, page: Path) -> None:
    monkeypatch.setenv("CASENESS_HOME", str(synthetic.home))
    app = _run(page)
    assert not app.exception
    said = _text(app)
    assert synthetic.report["publish"]["release_id"] in said
    assert "opensafely" in said
    assert "limited data set" in said
    if page.stem != "p5_about":
        assert "**n**" in said
        assert "**Period**" in said
        assert "**Suppressed**" in said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_says_what_to_do_without_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: Path
) -> None:
    monkeypatch.setenv("CASENESS_HOME", str(tmp_path))
    app = _run(page)
    assert not app.exception
    assert [title.value for title in app.title] == ["Nothing is published yet"]
    assert "caseness run" in app.code[0].value


@pytest.fixture(scope="module")
def without_courses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release made of nothing but FHIR questionnaires: people and forms, no referral."""
    folder = tmp_path_factory.mktemp("without_courses")
    (folder / "in").mkdir()
    patients = [{"resourceType": "Patient", "id": f"p{number}", "gender": "female"} for number in range(12)]
    totals = [
        {
            "resourceType": "Observation",
            "id": f"o{number}",
            "status": "final",
            "subject": {"reference": f"Patient/p{number}"},
            "code": {"coding": [{"system": "http://loinc.org", "code": "44261-6"}]},
            "effectiveDateTime": "2024-03-01T10:00:00Z",
            "valueInteger": number,
        }
        for number in range(12)
    ]
    text = "".join(json.dumps(resource) + "\n" for resource in [*patients, *totals])
    (folder / "in" / "all.ndjson").write_text(text, encoding="utf-8")
    voice = Voice(quiet=True, as_json=False)
    run_all([folder / "in"], settings=Settings(home=folder / "home"), working=voice.working)
    return folder / "home"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_explains_a_release_without_courses(
    without_courses: Path, monkeypatch: pytest.MonkeyPatch, page: Path
) -> None:
    monkeypatch.setenv("CASENESS_HOME", str(without_courses))
    app = _run(page)
    assert not app.exception
    said = _text(app)
    if page.stem.startswith(("p1", "p3")):
        assert "This release has no finished courses" in said
        assert "audit" not in said
    if page.stem.startswith("p2"):
        assert "This release has no trajectories" in said


def test_what_would_mislead_stands_beside_the_figure(synthetic: Synthetic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASENESS_HOME", str(synthetic.home))
    for page, caution in (
        ("p1", words.OVERVIEW_CAUTION),
        ("p2", words.TRAJECTORY_CAUTION),
        ("p2", words.FLOW_CAUTION),
        ("p3", words.GROUP_CAUTION),
    ):
        app = _run(next(path for path in PAGES if path.stem.startswith(page)))
        assert any(caution in str(part.value) for part in app.markdown), caution


def test_every_rule_stands_on_the_page_with_its_whole_text(
    synthetic: Synthetic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASENESS_HOME", str(synthetic.home))
    app = _run(next(path for path in PAGES if path.stem.startswith("p4")))
    (table,) = app.table
    told = "\n".join(table.value.iloc[:, 0])
    findings = synthetic.report["check"]["findings"]
    assert len(table.value) == len(findings)
    assert all(words.escaped(finding["remedy"]) in told for finding in findings)


def test_a_sum_says_what_it_lacks() -> None:
    counts = pd.Series([10, None, 25], dtype="Int64")
    statuses = pd.Series(["shown", "suppressed", "shown"])
    assert words.sum_words(counts, statuses, "courses") == (
        "35 courses (sum of rounded counts; 1 suppressed count is not in it)"
    )
    assert words.sum_words(counts[1:2], statuses[1:2], "courses") == "courses: suppressed"
    assert words.sum_words(counts[:1], statuses[:1], "courses") == "10 courses (sum of rounded counts)"
    assert words.sum_words(counts[:0], statuses[:0], "courses") == "courses: not in this release"


def test_what_the_audit_dropped_is_neither_none_nor_suppressed() -> None:
    kinds = {
        "all": (20, "shown"),
        "complete": (15, "shown"),
        "prorated": (None, "suppressed"),
        "total_only": (0, "zero"),
    }
    assert "15 are complete, a suppressed number lack items" in words.completeness_words(kinds)
    assert (
        words.completeness_words({"all": (20, "shown")}) == "Forms: 20; how complete they are is not in this release."
    )
    assert words.completeness_words({}) == "How complete the forms are is not in this release."
    assert words.absent_words({0, 2}, range(4), "weeks") == " Not in this release, dropped by the audit: weeks 1, 3."
    assert words.absent_words({0, 1}, range(2), "weeks") == ""
    weeks = pd.DataFrame(
        {
            "week_of_treatment": [0, 2, 3],
            **{f"model_{name}": [10.0, 8.0, None] for name in ("mean", "ci_low", "ci_high")},
            **{f"observed_{name}": [10.0, 8.0, None] for name in ("mean", "ci_low", "ci_high")},
            "model_status": ["shown", "shown", "suppressed"],
            "observed_mean_status": ["shown", "shown", "suppressed"],
        }
    )
    line = next(trace for trace in charts.trajectory(weeks, "PHQ-9", "all").data if "model)" in str(trace.name))
    assert [None if pd.isna(value) else value for value in line.y[:4]] == [10.0, None, 8.0, None]


def test_groups_stand_in_the_order_of_their_definition() -> None:
    def ordered(dimension: str, *values: str) -> list[str]:
        return list(words.in_order(pd.DataFrame({"group_value": values}), dimension)["group_value"])

    assert ordered("age_band", "18 to 25", "75 and over", "not recorded", "under 18") == [
        "under 18",
        "18 to 25",
        "75 and over",
        "not recorded",
    ]
    assert ordered("severity_band_first", "mild", "severe", "minimal") == ["minimal", "mild", "severe"]
    assert ordered("sex", "not recorded", "male", "female") == ["female", "male", "not recorded"]


def test_filters_change_the_figures(synthetic: Synthetic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASENESS_HOME", str(synthetic.home))
    page = next(page for page in PAGES if page.stem.startswith("p3"))
    app = _run(page)
    for group in app.selectbox[0].options:
        app.selectbox[0].select(group)
    app.selectbox[0].select("ethnic_group").run()
    assert not app.exception
    overview = _run(PAGES[0])
    overview.selectbox[0].select(overview.selectbox[0].options and "fy_2025").run()
    assert not overview.exception
    assert re.search(r"2025-26", _text(overview))


def test_a_measure_whose_quarters_the_audit_dropped_is_told(
    synthetic: Synthetic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was withheld is not missing without a word, neither in its quarters nor over time."""
    shutil.copytree(synthetic.home / "releases", tmp_path / "releases")
    pointer = json.loads((tmp_path / "releases" / "current.json").read_text(encoding="utf-8"))
    file = tmp_path / "releases" / pointer["files"]["public"]
    file.chmod(0o644)
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "delete from pub_service_overview where measure_id = 'nhs_tt_recovery' and period_kind = 'quarter'"
        )
        (quarter,) = connection.execute(
            "select min(period_id) from pub_service_overview where period_kind = 'quarter'"
        ).fetchone()
    monkeypatch.setenv("CASENESS_HOME", str(tmp_path))
    app = _run(PAGES[0])
    assert not app.exception
    assert f"By quarter: {words.NOT_AT_THIS_DETAIL}" in _text(app)
    assert not any("Recovery" in str(info.value) for info in app.info)
    app.selectbox[0].select(quarter).run()
    assert not app.exception
    assert any(
        "Recovery" in re.split(", |: ", str(info.value)) and words.NOT_AT_THIS_DETAIL in str(info.value)
        for info in app.info
    )


def test_hidden_numbers_are_words() -> None:
    assert words.count_words(None, "suppressed") == "suppressed"
    assert words.count_words(None, "not_applicable") == "not applicable"
    assert words.count_words(0, "zero") == "none"
    assert words.count_words(1250, "shown") == "1,250"
    assert words.rate_words(None, "suppressed") == "suppressed"
    assert words.rate_words(float("nan"), "not_applicable") == "not applicable"


def test_wilson_interval_as_published() -> None:
    """Newcombe 1998, table I: 81 of 263 and 15 of 148."""
    assert charts.wilson(81, 263) == pytest.approx((25.53, 36.62), abs=0.01)
    assert charts.wilson(15, 148) == pytest.approx((6.24, 16.05), abs=0.01)
