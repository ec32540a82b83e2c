"""Each page on a real release, and with nothing published."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboards import charts, words
from tests.conftest import Synthetic

PAGES = sorted((Path(__file__).parents[2] / "dashboards" / "pages").glob("p*.py"))


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
