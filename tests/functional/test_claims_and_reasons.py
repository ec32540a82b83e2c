"""``reconcile``, ``whatif`` and ``explain --subject`` as a user calls them, over courses drawn around thresholds."""

from __future__ import annotations

from typing import Any

import pytest

from caseness.commands.explain_subject import run_explain_subject
from caseness.commands.reconcile import run_reconcile
from caseness.commands.whatif import run_whatif
from caseness.errors import UsageError
from caseness.telling import explain_subject_words, reconcile_words, whatif_words
from tests.fixtures.pathway_oracle import SWITCHES, drawn_courses, outcome, streams
from tests.fixtures.service import Service

COUNT = 500
_COUNTS = ("numerator_count", "denominator_count")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    folder = tmp_path_factory.mktemp("claims")
    made = Service(folder / "home")
    assert made.deliver(folder / "in", streams(drawn_courses(COUNT, 11)))["rows_quarantined"] == 0
    made.build()
    return made


def results(service: Service) -> dict[str, tuple[Any, ...]]:
    rows = service.ask(
        "select measure_id, numerator_count, denominator_count from marts.measure_results where period_id = 'all'"
    )
    return {name: tuple(rest) for name, *rest in rows}


def whatif_is_a_build(service: Service, switch: str, option: str) -> None:
    """The measures that ``whatif`` tells are those of a build under that option."""
    before = results(service)
    told = run_whatif([f"{switch}={option}"], settings=service.settings)
    assert not list(service.settings.paths.temporary.iterdir())
    assert results(service) == before
    other = service.settings.model_copy(update={"pathway": {switch: option}})
    changed = Service(service.settings.home)
    changed.settings = other
    changed.build()
    after = results(changed)
    service.build()
    assert results(service) == before
    moved = {row["measure_id"]: tuple(row["as_it_would_be"][name] for name in _COUNTS) for row in told["measures"]}
    assert moved == {name: after[name] for name in after if after[name] != before[name]}
    assert moved or switch == "threshold_version_date"  # no threshold of these courses has two versions


@pytest.mark.parametrize(("switch", "option"), [("scores_after_discharge", "count")])
def test_whatif_tells_what_a_build_under_the_option_gives(service: Service, switch: str, option: str) -> None:
    whatif_is_a_build(service, switch, option)


@pytest.mark.slow
@pytest.mark.parametrize(("switch", "option"), [(name, ways[1]) for name, ways in SWITCHES.items()])
def test_whatif_tells_what_a_build_under_any_option_gives(service: Service, switch: str, option: str) -> None:
    whatif_is_a_build(service, switch, option)


def test_whatif_moves_a_threshold_and_nothing_stays(service: Service) -> None:
    told = run_whatif(["gad7_nhs_caseness=10"], settings=service.settings, measures=["recovery"])
    (row,) = told["measures"]
    assert row["as_it_would_be"]["denominator_count"] < row["as_it_is"]["denominator_count"]
    assert "gad7_nhs_caseness were 10 (it is >=8)" in whatif_words(told)
    assert service.ask(
        "select threshold_value from intermediate.thresholds where threshold_id = 'gad7_nhs_caseness'"
    ) == [(8.0,)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("gad7_nhs_caseness", "a change is NAME=VALUE"),
        ("gad7_nhs_caseness=nan", "takes a number"),
        ("nosuch=1", "nothing of this name"),
        ("change_rule=adults", "no such option"),
    ],
)
def test_whatif_refuses_what_it_cannot_change(service: Service, change: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        run_whatif([change], settings=service.settings)


def test_whatif_says_that_a_measure_has_no_such_period(service: Service) -> None:
    with pytest.raises(UsageError, match="cms159 has no result in the period all"):
        run_whatif(["gad7_nhs_caseness=10"], settings=service.settings, measures=["cms159"])


def test_reconcile_starts_from_the_figure_of_the_build(service: Service) -> None:
    numerator, denominator = results(service)["nhs_tt_recovery"]
    told = run_reconcile("62%", settings=service.settings, most_departures=2)
    assert (told["official"]["numerator"], told["official"]["denominator"]) == (numerator, denominator)
    for reading in [*told["simplest_that_give_it"], *told["nearest"]]:
        parts = [one["contribution_percentage_points"] for one in reading["departures"]]
        assert sum(parts) == pytest.approx(reading["rate_percent"] - told["official"]["rate_percent"])
    words = reconcile_words(told)
    assert "claimed: 62 % (nhs_tt_recovery)" in words
    assert "not for release" in words
    exact = run_reconcile(f"{100 * numerator / denominator:.1f}%", settings=service.settings, most_departures=1)
    assert exact["simplest_that_give_it"][0]["departures"] == []


@pytest.mark.parametrize("claimed", ["162%", "lots", "-5", "0.62"])
def test_reconcile_refuses_what_is_no_rate(service: Service, claimed: str) -> None:
    with pytest.raises(UsageError, match="a rate in percent"):
        run_reconcile(claimed, settings=service.settings)


def test_explain_says_of_every_course_what_it_counts_as(service: Service) -> None:
    """Steps and flags agree, and the last line is where plain Python puts the course."""
    drawn = drawn_courses(COUNT, 11)[:25]
    tokens = service.tokens(*("p_" + course.referral_id for course in drawn))
    for course in drawn:
        told = run_explain_subject("recovery", tokens["p_" + course.referral_id], settings=service.settings)
        (subject,) = told["subjects"]
        assert not subject["steps"][-1]["rows"], "the build and the steps disagree"
        expected = outcome(course, {})
        place = {one["period_id"]: one["counts_as"] for one in subject["counts"]}.get("all")
        if not expected["has_finished_course"]:
            assert place is None
        elif expected["caseness_status"] == "not_at_caseness":
            assert place == "excluded from the denominator (is_not_at_caseness)"
        else:
            reached = "in the denominator and the numerator" if expected["has_recovered"] else None
            assert place == (reached or "in the denominator, not the numerator")
        assert f"referral {subject['subject_id']}" in explain_subject_words(told)


def test_explain_tells_how_long_a_referral_waited_at_the_ends_of_periods(service: Service) -> None:
    (subject,) = service.ask(
        "select min(subject_id) from marts.measure_members where measure_id = 'nhs_tt_waiting_over_18_weeks' "
        "and is_in_numerator"
    )[0]
    told = run_explain_subject("nhs_tt_waiting_over_18_weeks", subject, settings=service.settings)
    says = told["subjects"][0]["steps"][-1]["says"]
    assert "is_waiting_over_18_weeks at the end of" in says
    assert "yes" in says
    assert "not assessable" not in says


def test_explain_knows_nobody_of_another_id(service: Service) -> None:
    with pytest.raises(UsageError, match="nobody of this id"):
        run_explain_subject("recovery", "p1_nobody", settings=service.settings)
