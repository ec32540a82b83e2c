"""Groups can be asked among those who have a value of another column, where that is published."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from streamlit.testing.v1 import AppTest

from caseness.settings import Settings
from dashboards import queries

# dimension, first value, second value, measure, period, how many in the denominator
ROWS = [
    ("sex", "female", None, "recovery", "all", 100),
    ("age_band+sex", "18 to 25", "female", "recovery", "all", 30),
    ("age_band+sex", "18 to 25", "male", "recovery", "all", 20),
    ("age_band+sex", "26 to 64", "female", "recovery", "all", 70),
    ("service_code+age_band", "a", "26 to 64", "recovery", "all", 40),
    ("age_band+sex", "18 to 25", "female", "waiting", "all", 99),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "public.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "create table pub_outcomes_by_group (group_dimension varchar, first_group_value varchar, "
            "second_group_value varchar, measure_id varchar, period_id varchar, denominator_count bigint, "
            "group_value varchar)"
        )
        for row in ROWS:
            connection.execute(
                "insert into pub_outcomes_by_group values (?, ?, ?, ?, ?, ?, ?)",
                [*row, " + ".join(value for value in row[1:3] if value)],
            )
    return path


def test_the_columns_and_values_that_are_published_once_more(file: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert queries.within(settings, file, "sex", "recovery", "all") == {"age_band": ["18 to 25", "26 to 64"]}
    assert queries.within(settings, file, "age_band", "recovery", "all") == {
        "service_code": ["a"],
        "sex": ["female", "male"],
    }
    assert queries.within(settings, file, "sex", "recovery", "fy_2024") == {}


@pytest.mark.parametrize(
    ("dimension", "column", "value", "expected"),
    [
        ("sex", "age_band", "18 to 25", [("female", 30), ("male", 20)]),
        ("sex", "age_band", "26 to 64", [("female", 70)]),
        ("age_band", "sex", "female", [("18 to 25", 30), ("26 to 64", 70)]),
        ("age_band", "service_code", "a", [("26 to 64", 40)]),
        ("service_code", "age_band", "18 to 25", []),
    ],
)
def test_groups_among_those_who_have_a_value(
    file: Path, tmp_path: Path, dimension: str, column: str, value: str, expected: list[tuple[str, int]]
) -> None:
    rows = queries.outcomes_within(Settings(home=tmp_path), file, dimension, column, value, "recovery", "all")
    assert list(zip(rows["group_value"], rows["denominator_count"], strict=True)) == expected


def test_a_scope_that_the_release_has_not_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path)
    settings.paths.releases.mkdir(parents=True)
    settings.paths.current_release.write_text('{"release_id": "r", "files": {"public": "r/public.duckdb"}}')
    monkeypatch.setenv("CASENESS_HOME", str(tmp_path))
    monkeypatch.setenv("CASENESS_SCOPE", "site_nowhere")
    page = next((Path(__file__).parents[2] / "dashboards" / "questions").glob("p3*.py"))
    app = AppTest.from_file(str(page), default_timeout=60).run()
    assert not app.exception
    assert [title.value for title in app.title] == ["The release has no such file"]
