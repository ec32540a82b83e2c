"""The adult pathway, as a specification: values on each side of every rule, and rules that matter when they move."""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.service import Service, contact, person, referral, total, write_csv

# wait: days to first treatment; n: treatment contacts; scores: first>last of PHQ-9 and GAD-7 (x: none).
CASES = """
case            wait n phq9   gad7   finished caseness        recovered change                  six eighteen
recovers        42   2 10>9   8>7    yes      at_caseness     yes       no_reliable_change      yes yes
late_by_a_day   43   2 10>4   8>4    yes      at_caseness     yes       reliable_improvement    no  yes
eighteen_weeks  126  2 20>14  12>12  yes      at_caseness     no        reliable_improvement    no  yes
beyond_eighteen 127  2 20>15  12>9   yes      at_caseness     no        no_reliable_change      no  no
not_a_case      10   2 9>3    7>3    yes      not_at_caseness no        reliable_improvement    yes yes
depression_only 10   2 10>9   7>7    yes      at_caseness     yes       no_reliable_change      yes yes
anxiety_only    10   2 9>9    8>7    yes      at_caseness     yes       no_reliable_change      yes yes
one_still_above 10   2 15>9   15>8   yes      at_caseness     no        reliable_improvement    yes yes
opposite_ways   10   2 16>10  8>12   yes      at_caseness     no        no_reliable_change      yes yes
worse           10   2 10>16  8>8    yes      at_caseness     no        reliable_deterioration  yes yes
one_treatment   10   1 20>4   15>4   no       at_caseness     no        reliable_improvement    yes yes
no_last_anxiety 10   2 20>4   15>x   yes      at_caseness     no        not_assessable          yes yes
no_scores       10   2 x>x    x>x    yes      not_assessable  no        not_assessable          yes yes
"""
RECEIVED = dt.date(2025, 1, 6)


def cases() -> list[dict[str, str]]:
    """Rows of the table."""
    lines = [line.split() for line in CASES.strip().splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def streams() -> dict[str, list[dict[str, Any]]]:
    """The table as a delivery."""
    made: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("people", "referrals", "care_contacts", "questionnaire_totals")
    }
    for case in cases():
        name, first = case["case"], RECEIVED + dt.timedelta(days=int(case["wait"]))
        made["people"].append(person("p_" + name))
        made["referrals"].append(referral(name, RECEIVED.isoformat(), (first + dt.timedelta(days=60)).isoformat()))
        for number in range(int(case["n"])):
            day = (first + dt.timedelta(days=7 * number)).isoformat()
            made["care_contacts"].append(contact(f"{name}{number}", name, day))
        for instrument, scores in (("PHQ-9", case["phq9"]), ("GAD-7", case["gad7"])):
            for number, value in enumerate(scores.split(">")):
                if value != "x":
                    day = (first + dt.timedelta(days=7 * number)).isoformat()
                    made["questionnaire_totals"].append(
                        total(f"{name}{instrument}{number}", name, instrument, int(value), day)
                    )
    return made


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    folder = tmp_path_factory.mktemp("pathway")
    made = Service(folder / "home")
    assert made.deliver(folder / "in", streams())["rows_quarantined"] == 0
    made.build()
    return made


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["case"])
def test_each_course_is_classed_as_specified(service: Service, case: dict[str, str]) -> None:
    token = service.tokens("p_" + case["case"])["p_" + case["case"]]
    (row,) = service.ask(
        "select has_finished_course, caseness_status, has_recovered, change_class, is_first_treatment_within_6_weeks, "
        f"is_first_treatment_within_18_weeks from marts.episodes where person_id = '{token}'"
    )
    shown = tuple({True: "yes", False: "no"}.get(value, value) for value in row)
    assert shown == (
        case["finished"],
        case["caseness"],
        case["recovered"],
        case["change"],
        case["six"],
        case["eighteen"],
    )


def test_measures_count_the_table(service: Service) -> None:
    found = {
        row[0]: row[1:]
        for row in service.ask(
            "select measure_id, denominator_count, numerator_count from marts.measure_results where period_id = 'all'"
        )
    }
    courses = cases()
    finished = [case for case in courses if case["finished"] == "yes"]
    below = sum(case["caseness"] == "not_at_caseness" for case in finished)
    assert found["nhs_tt_recovery"] == (len(finished) - below, sum(case["recovered"] == "yes" for case in finished))
    improved = sum(case["change"] == "reliable_improvement" for case in finished)
    assert found["nhs_tt_reliable_improvement"] == (len(finished), improved)
    assert found["nhs_tt_first_treatment_6_weeks"] == (len(finished), sum(case["six"] == "yes" for case in finished))


def test_change_classes_partition_finished_courses(service: Service) -> None:
    (row,) = service.ask(
        "select count(*), count(*) filter (where change_class in ('reliable_improvement', 'reliable_deterioration', "
        "'no_reliable_change', 'not_assessable')) from marts.episodes where has_finished_course"
    )
    assert row[0] == row[1] == sum(case["finished"] == "yes" for case in cases())


MUTATIONS = [
    ("thresholds.csv", "threshold_id", "phq9_nhs_caseness", "threshold_value", "11"),
    ("thresholds.csv", "threshold_id", "gad7_nhs_caseness", "comparator", ">"),
    ("thresholds.csv", "threshold_id", "phq9_nhs_reliable_change", "comparator", ">"),
    ("thresholds.csv", "threshold_id", "gad7_nhs_reliable_change", "threshold_value", "3"),
    ("pathway_rules.csv", "rule_id", "first_treatment_6_weeks", "threshold_value", "43"),
    ("pathway_rules.csv", "rule_id", "first_treatment_18_weeks", "comparator", "<"),
    ("pathway_rules.csv", "rule_id", "finished_course_minimum_treatments", "threshold_value", "1"),
    ("measures.csv", "measure_id", "nhs_tt_recovery", "denominator_exclusion_flag", ""),
]
_QUESTION = (
    "select measure_id, denominator_count, numerator_count from marts.measure_results "
    "where period_id = 'all' order by 1"
)


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation[2]} {mutation[3]} {mutation[4]}")
def test_every_rule_matters(service: Service, tmp_path: Path, mutation: tuple[str, ...]) -> None:
    """A rule that moves changes a number of the table above: the same deliveries, a copy with one row changed."""
    name, key, wanted, column, value = mutation
    root = Path(__file__).parents[2]
    for room in ("caseness", "ingestion", "screening", "dbt_project", "efficacy", "expectations"):
        shutil.copytree(root / room, tmp_path / "code" / room)
    path = tmp_path / "code" / "screening" / "definitions" / name
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert sum(row[key] == wanted for row in rows) == 1
    write_csv(path, [{**row, column: value} if row[key] == wanted else row for row in rows])
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "delivery.yml").write_text("source: small\ntime_zone: Europe/London\n", encoding="utf-8")
    for stream, made in streams().items():
        write_csv(folder / f"{stream}.csv", made)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "code"), "CASENESS_AS_OF_DATE": "2026-06-30"}
    home = ["--home", str(tmp_path / "home"), "--quiet", "--json"]

    def caseness(*words: str) -> Any:
        command = [sys.executable, "-m", "caseness.cli", *home, *words]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    caseness("ingest", str(folder))
    caseness("build")
    mutated = [tuple(row.values()) for row in caseness("sql", _QUESTION)]
    assert mutated != service.ask(_QUESTION)
