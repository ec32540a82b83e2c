"""Each open point of the pathway, both ways: NHS Talking Therapies leaves them open, so each is a named switch.

One delivery is built twice in one home: with every switch at its default, then with every switch turned. Each row is a
referral received on 2025-01-06 and discharged 60 days later, drawn so that its own switch alone decides it.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import yaml

from caseness.commands.build import run_build
from caseness.dbt_runner import project_folder
from caseness.errors import UsageError
from caseness.pathway_switches import chosen_switches, stated, switch_options
from caseness.settings import Settings
from tests.fixtures.service import Service, drawn, referral, sheet, shown
from tests.spec.test_pathway_contacts import Delivery, _day

# contacts: day:type. phq9, gad7: day=total, @ at the follow-up contact. asked: the column of the course; then its value
# by default and with the switch turned.
CASES = """
case         contacts          phq9              gad7        asked                   default        turned
exactly_6    10:02,17:02       10=20,17=14       10=12,17=12 change_class            better         same
exactly_4    10:02,17:02       10=20,17=20       10=12,17=8  change_class            better         same
over_6       10:02,17:02       10=20,17=13       10=12,17=12 change_class            better         better
first_alone  10:02,17:02       10=16,17=8        x           caseness_status         at_caseness    not_assessable
first_both   10:02,17:02       10=16,17=8        10=5,17=4   caseness_status         at_caseness    at_caseness
last_alone   10:02,17:02       10=16,17=8        10=9        recovery_status         not_recovered  not_assessable
last_none    10:02,17:02       10=16             10=9        recovery_status         not_recovered  not_assessable
last_both    10:02,17:02       10=16,17=12       10=9,17=4   recovery_status         not_recovered  not_recovered
three_better 10:02,17:02       10=20,17=10       10=9        change_class            not_assessable better
three_same   10:02,17:02       10=20,17=19       10=9        change_class            not_assessable same
two_firsts   10:02,17:02       10=20             10=9        change_class            not_assessable not_assessable
afterwards   10:02,17:02       10=16,17=12,61=2  10=9,17=4   phq9_last               12             2
at_follow_up 10:02,17:02,50:06 10=16,17=12,50=2@ 10=9,17=4   phq9_last               12             2
late_first   10:02,17:02       11=16,17=8        10=9,17=4   phq9_first              16             none
early_first  10:02,17:02       5=18,9=16,17=8    10=9,17=4   phq9_first              18             18
first_day    10:02,17:02       10=16,17=8        10=9,17=4   phq9_first              16             16
both_ways    10:02,17:02       10=20,17=13       10=8,17=13  change_class            same           worse
one_way      10:02,17:02       10=20,17=13       10=8,17=8   change_class            better         better
own_measure  10:02,17:02       10=20,17=20       10=12,17=12 anxiety_instrument_code SPIN           GAD-7
"""
_WORDS = {"better": "reliable_improvement", "worse": "reliable_deterioration", "same": "no_reliable_change"}
_OWN_MEASURES = {"own_measure": ("F401", "SPIN", "10=30,17=18")}
# PHQ-9 sheets on days 10 and 17, - a missing item; first>last under either policy (9 items of 4 / 8: 4.5, so 5). With
# every switch turned the sheet of day 17 alone is no first score: it came after the first treatment.
SHEETS = """
case        first             last              complete prorated
two_missing 2,2,2,2,2,2,2,-,- 1,1,1,1,1,1,1,1,1 9>x      18>9
three_gone  2,2,2,2,2,2,-,-,- 1,1,1,1,1,1,1,1,1 9>x      x>x
half_up     1,1,1,1,0,0,0,0,- 1,1,1,1,1,1,1,1,1 9>x      5>9
all_there   2,2,2,2,2,2,2,2,2 1,1,1,1,1,1,1,1,1 18>9     18>9
"""
# The day whose versions hold: irritable bowel syndrome has a measure of its own from 2022-04-01, PCL-5 takes the place
# of IES-R on 2020-09-01.
DATED = """
case        problem received   discharged default turned
across      K58     2022-03-20 2022-05-10 none    IBS-SSS
before      K58     2022-01-20 2022-03-31 none    none
after       K58     2022-04-01 2022-05-10 IBS-SSS IBS-SSS
still_open  K58     2022-03-20 none       none    none
trauma_old  F431    2020-05-31 2020-08-31 IES-R   IES-R
trauma_both F431    2020-08-31 2020-12-01 IES-R   PCL-5
trauma_new  F431    2020-09-01 2020-12-01 PCL-5   PCL-5
"""
TURNED = {switch: options[1] for switch, options in switch_options().items()}


def streams() -> dict[str, list[dict[str, Any]]]:
    """The tables as a delivery."""
    made = Delivery()
    for case in drawn(CASES):
        made.course(case["case"], case["contacts"])
        made.scores(case["case"], "PHQ-9", case["phq9"])
        made.scores(case["case"], "GAD-7", case["gad7"])
        if case["case"] in _OWN_MEASURES:
            problem, instrument, given = _OWN_MEASURES[case["case"]]
            made.streams["referrals"][-1]["problem_code"] = problem
            made.scores(case["case"], instrument, given)
    for case in drawn(SHEETS):
        made.course(case["case"], "10:02,17:02")
        made.scores(case["case"], "GAD-7", "10=9,17=4")
        for day, form in ((10, case["first"]), (17, case["last"])):
            answers = [None if part == "-" else int(part) for part in form.split(",")]
            for item in sheet(f"{case['case']}{day}", "PHQ-9", answers, _day(day), owner="p_" + case["case"]):
                made.add("questionnaire_answers", item, referral_code=case["case"])
    for case in drawn(DATED):
        code = "dated_" + case["case"]
        made.add("people", {"person_code": "p_" + code, "birth_date": "1990-05-05", "sex": "female"})
        end = None if case["discharged"] == "none" else case["discharged"]
        made.add("referrals", referral(code, case["received"], end), problem_code=case["problem"])
    return made.streams


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What both builds say: courses by case, results, switches; and whether the second was a full build."""
    folder = tmp_path_factory.mktemp("switches")
    service = Service(folder / "home")
    assert service.deliver(folder / "in", streams())["rows_quarantined"] == 0
    found: dict[str, Any] = {}
    for name, pathway in (("default", {}), ("turned", TURNED)):
        settings = Settings(home=folder / "home", as_of_date=dt.date(2026, 6, 30), pathway=pathway)
        report = run_build(settings=settings)
        names = [row["person_code"] for row in streams()["people"]]
        cases = {token: code.removeprefix("p_") for code, token in service.tokens(*names).items()}
        columns = [row[0] for row in service.ask("describe marts.episodes")]
        rows = service.ask(
            "select episodes.*, paired.adsm_instrument_code from marts.episodes "
            "left join intermediate.int_episodes_paired as paired using (referral_id)"
        )
        found[name] = {
            "full": report.is_full_build,
            "build_id": report.build_id,
            "courses": {
                cases[row[columns.index("person_id")]]: dict(zip([*columns, "adsm"], row, strict=True)) for row in rows
            },
            "stated": service.ask(
                "select distinct pathway_switches from marts.measure_results where pathway_switches <> 'not_applicable'"
            ),
            "switches": service.ask(
                "select switch_id, chosen_option, default_option, is_default, about <> '', source <> '' "
                "from marts.pathway_switches"
            ),
            "scores": service.ask(
                "select response_id, is_after_discharge, is_follow_up, is_by_first_treatment, is_valid, "
                "measure_total_complete_case, measure_total_prorated from intermediate.int_episode_scores order by all"
            ),
            "recovery": service.ask(
                "select denominator_count, numerator_count from marts.measure_results "
                "where measure_id = 'nhs_tt_recovery' and period_id = 'all'"
            ),
        }
    return found


@pytest.mark.parametrize("way", ["default", "turned"])
@pytest.mark.parametrize("case", drawn(CASES), ids=lambda case: case["case"])
def test_each_switch_both_ways(case: dict[str, str], way: str, built: dict[str, Any]) -> None:
    assert shown(built[way]["courses"][case["case"]][case["asked"]]) == _WORDS.get(case[way], case[way])


@pytest.mark.parametrize("way", ["default", "turned"])
@pytest.mark.parametrize("case", drawn(SHEETS), ids=lambda case: case["case"])
def test_items_alone_under_either_policy(case: dict[str, str], way: str, built: dict[str, Any]) -> None:
    course = built[way]["courses"][case["case"]]
    pair = ">".join("x" if course[end] is None else str(course[end]) for end in ("phq9_first", "phq9_last"))
    assert pair == case["complete" if way == "default" else "prorated"]


@pytest.mark.parametrize("way", ["default", "turned"])
@pytest.mark.parametrize("case", drawn(DATED), ids=lambda case: case["case"])
def test_versions_by_the_day_that_the_switch_names(case: dict[str, str], way: str, built: dict[str, Any]) -> None:
    assert shown(built[way]["courses"]["dated_" + case["case"]]["adsm"]) == case[way]


def test_every_switch_is_drawn_where_it_decides() -> None:
    decides = {case["case"] for case in (*drawn(CASES), *drawn(DATED)) if case["default"] != case["turned"]}
    decides |= {case["case"] for case in drawn(SHEETS) if case["complete"] != case["prorated"]}
    asked = {
        "reliable_change_comparator": "exactly_6",
        "one_first_score_missing": "first_alone",
        "one_last_score_missing": "last_alone",
        "change_with_fewer_scores": "three_better",
        "scores_after_discharge": "afterwards",
        "threshold_version_date": "across",
        "first_score": "late_first",
        "change_rule": "both_ways",
        "item_policy": "two_missing",
        "anxiety_measure": "own_measure",
    }
    assert asked.keys() == switch_options().keys()
    assert set(asked.values()) <= decides
    assert all(len(options) == 2 for options in switch_options().values())


def test_the_scores_table_does_not_depend_on_the_switches(built: dict[str, Any]) -> None:
    """What could count under any switch, so that another reader of the same scores can follow each of them."""
    assert built["default"]["scores"] == built["turned"]["scores"]
    assert any(row[1] for row in built["default"]["scores"])
    assert any(row[2] for row in built["default"]["scores"])


def test_the_denominator_keeps_who_cannot_be_assessed(built: dict[str, Any]) -> None:
    """A recovery that is not assessable takes nobody out; what takes out is not_at_caseness alone."""
    for way in ("default", "turned"):
        courses = built[way]["courses"].values()
        finished = [course for course in courses if course["has_finished_course"]]
        below = [course for course in finished if course["caseness_status"] == "not_at_caseness"]
        recovered = [course for course in finished if course["recovery_status"] == "recovered"]
        assert built[way]["recovery"] == [(len(finished) - len(below), len(recovered))]
    assert any(course["recovery_status"] == "not_assessable" for course in built["turned"]["courses"].values())


def test_a_turned_switch_makes_a_full_build_and_is_stated(built: dict[str, Any]) -> None:
    assert built["turned"]["full"]
    assert built["default"]["build_id"] != built["turned"]["build_id"]
    assert built["default"]["stated"] == [("default",)]
    text = ", ".join(f"{switch}={option}" for switch, option in TURNED.items())
    assert built["turned"]["stated"] == [(text,)]


@pytest.mark.parametrize("way", ["default", "turned"])
def test_the_switches_are_a_table_of_the_build(way: str, built: dict[str, Any]) -> None:
    options = switch_options()
    chosen = {switch: known[0] for switch, known in options.items()} | (TURNED if way == "turned" else {})
    expected = {(switch, chosen[switch], known[0], way == "default", True, True) for switch, known in options.items()}
    assert set(built[way]["switches"]) == expected
    assert len(built[way]["switches"]) == len(options)


def test_the_project_file_repeats_the_default_rows() -> None:
    """For a compilation without settings, such as the linter's."""
    variables = yaml.safe_load((project_folder() / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    assert variables["pathway_switches"] == {switch: options[0] for switch, options in switch_options().items()}
    assert variables["pathway_switches_stated"] == "default"


def test_switches_from_the_file_and_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "caseness.toml").write_text('[pathway]\nchange_rule = "children"\n', encoding="utf-8")
    settings = Settings(home=tmp_path)
    assert chosen_switches(settings)["change_rule"] == "children"
    assert stated(chosen_switches(settings)) == "change_rule=children"
    monkeypatch.setenv("CASENESS_PATHWAY__ANXIETY_MEASURE", "gad7")
    assert stated(chosen_switches(Settings(home=tmp_path))) == "change_rule=children, anxiety_measure=gad7"


@pytest.mark.parametrize(
    ("pathway", "says"),
    [
        ({"chnage_rule": "adult"}, "unknown: chnage_rule"),
        ({"change_rule": "adolescent"}, "change_rule has no option adolescent"),
    ],
)
def test_an_unknown_switch_or_option_stops_the_build(pathway: dict[str, str], says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        run_build(settings=Settings(home=tmp_path / "home", pathway=pathway))
    assert caught.value.remedy
