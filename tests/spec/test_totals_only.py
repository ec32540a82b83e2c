"""Measures of one anxiety disorder: totals as a service sends them, each edge on both sides, some with decimals.

Source of the table: problem descriptors and measures of NHS Talking Therapies (monthly metadata M204 and M205). No
source text was found for its numbers, and every row says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from screening.definitions import definitions
from screening.scoring import judge_total, score
from tests.fixtures.service import Service, drawn, person, sheet, shown, total

# caseness: the last total that is not at caseness and the first that is; change: the drop that counts. The Mobility
# Inventory is a mean of its items: strictly above 2.3, and the sums of two and three decimals that floats get wrong.
MEASURES = """
instrument below at   comparator caseness change
MI-ALONE   2.3   2.31 >          2.3      0.73
SPIN       18    19   >=         19       10
PDSS-SR    7     8    >=         8        5
OCI        39    40   >=         40       32
IES-R      32    33   >=         33       9
PCL-5      31    32   >=         32       10
HAI        17    18   >=         18       4
BIQ        39    40   >=         40       10
IBS-SSS    74    75   >=         75       50
CFQ        18    19   >=         19       5
PHQ-15     9     10   >=         10       6
PSWQ       44    45   >=         45       10
"""

# What may be sent: whole points everywhere, hundredths of the Mobility Inventory, and bounds only where one is stated.
SENT = """
instrument total   valid whole hundredths caseness
MI-ALONE   0       yes   none  0          no
MI-ALONE   2       yes   none  200        no
MI-ALONE   2.29    yes   none  229        no
MI-ALONE   2.3     yes   none  230        no
MI-ALONE   2.31    yes   none  231        yes
MI-ALONE   4.35    yes   none  435        yes
MI-ALONE   2.315   no    none  none       none
MI-ALONE   2.3001  no    none  none       none
OCI        40      yes   40    4000       yes
OCI        39.5    no    none  none       none
OCI        9999    yes   9999  999900     yes
IBS-SSS    500     yes   500   50000      yes
SPIN       68      yes   68    6800       yes
SPIN       69      no    none  none       none
PCL-5      80      yes   80    8000       yes
PCL-5      81      no    none  none       none
PCL-5      -1      no    none  none       none
"""
_NAMES = ("is_valid", "measure_total", "measure_total_hundredths", "is_at_caseness")


def _all_sent() -> list[tuple[str, str]]:
    edges = [(row["instrument"], row[side]) for row in drawn(MEASURES) for side in ("below", "at")]
    return list(dict.fromkeys([*edges, *((row["instrument"], row["total"]) for row in drawn(SENT)), *_at_random()]))


def _at_random() -> list[tuple[str, str]]:
    chosen, names = random.Random(7), [row["instrument"] for row in drawn(MEASURES)]
    return [("MI-ALONE", f"{chosen.randrange(0, 500) / 100:g}") for _ in range(200)] + [
        (chosen.choice(names), str(chosen.randrange(-5, 120))) for _ in range(300)
    ]


def _code(instrument: str, value: str) -> str:
    return f"alone_{instrument}_{value}"


def streams() -> dict[str, list[dict[str, Any]]]:
    """Each total as a response of a person of its own."""
    people, totals = [], []
    for instrument, value in _all_sent():
        code = _code(instrument, value)
        people.append(person(code))
        totals.append(total(code, "", instrument, float(value), "2026-01-05", owner=code))
    return {"people": people, "questionnaire_totals": totals}


@pytest.fixture(scope="module")
def judged(specified: Service) -> dict[str, tuple[Any, ...]]:
    """What the warehouse makes of each total."""
    codes = {_code(*sent) for sent in _all_sent()}
    tokens = specified.tokens(*codes)
    names = (*_NAMES, "severity_band", "is_screen_positive", "items_expected", "measure_total_basis")
    rows = specified.of_people(f"select person_id, {', '.join(names)} from marts.assessments")
    return {code: rows[tokens[code]][0] for code in codes}


@pytest.fixture(params=["python", "warehouse"])
def way(request: pytest.FixtureRequest) -> Callable[[str, str], tuple[Any, ...]]:
    """How a total is judged; Python needs no build."""
    if request.param == "python":
        return lambda instrument, value: tuple(getattr(judge_total(instrument, value), name) for name in _NAMES)
    found: dict[str, tuple[Any, ...]] = request.getfixturevalue("judged")
    return lambda instrument, value: found[_code(instrument, value)][: len(_NAMES)]


Judged = Callable[[str, str], tuple[Any, ...]]


@pytest.mark.parametrize("case", drawn(MEASURES), ids=lambda case: case["instrument"])
def test_caseness_begins_where_the_row_says(case: dict[str, str], way: Judged) -> None:
    assert [way(case["instrument"], case[side])[3] for side in ("below", "at")] == [False, True]


@pytest.mark.parametrize("case", drawn(SENT), ids=lambda case: f"{case['instrument']} {case['total']}")
def test_what_a_total_may_be(case: dict[str, str], way: Judged) -> None:
    expected = (case["valid"], case["whole"], case["hundredths"], case["caseness"])
    assert tuple(map(shown, way(case["instrument"], case["total"]))) == expected


@pytest.mark.parametrize("case", drawn(MEASURES), ids=lambda case: case["instrument"])
def test_rows_of_thresholds_are_as_in_the_table(case: dict[str, str]) -> None:
    found = {
        row["purpose"]: (row["comparator"], row["threshold_value"])
        for row in definitions("thresholds")
        if row["instrument_code"] == case["instrument"] and row["authority"] == "nhs_tt"
    }
    assert found == {"caseness": (case["comparator"], case["caseness"]), "reliable_change": (">=", case["change"])}


def test_python_and_the_warehouse_judge_every_total_alike(judged: dict[str, tuple[Any, ...]]) -> None:
    for instrument, value in _all_sent():
        found = judge_total(instrument, value)
        expected = (*(getattr(found, name) for name in _NAMES), found.severity_band, found.is_screen_positive)
        assert judged[_code(instrument, value)][:6] == expected, (instrument, value)


def test_a_form_of_unknown_items_expects_none(judged: dict[str, tuple[Any, ...]]) -> None:
    assert judged[_code("OCI", "40")][6:] == (None, "submitted")


@pytest.mark.parametrize("case", drawn(MEASURES), ids=lambda case: case["instrument"])
def test_thresholds_are_written_as_in_the_table(case: dict[str, str], specified: Service) -> None:
    found = specified.ask(
        "select purpose, comparator, threshold_value, verification, is_default from intermediate.thresholds "
        f"where instrument_code = '{case['instrument']}' and authority = 'nhs_tt' order by purpose"
    )
    assert found == [
        ("caseness", case["comparator"], float(case["caseness"]), "unverified", True),
        ("reliable_change", ">=", float(case["change"]), "unverified", True),
    ]


def test_a_change_in_hundredths_is_exact(specified: Service) -> None:
    """1.13 - 0.4 is 0.73 on paper and a little less in binary fractions."""
    assert 1.13 - 0.4 < 0.73
    ((change,),) = specified.ask(
        "select cast(round(threshold_value * 100.0) as integer) from intermediate.thresholds "
        "where threshold_id = 'mi_alone_nhs_reliable_change'"
    )
    first, last = (judge_total("MI-ALONE", value).measure_total_hundredths for value in ("1.13", "0.4"))
    assert first is not None and last is not None
    assert first - last == change == Fraction("0.73") * 100


def test_answers_of_a_form_without_items_are_held_back(tmp_path: Path) -> None:
    service = Service(tmp_path / "home")
    rows = sheet("r1", "PHQ-15", [1, 2], "2026-01-05") + sheet("r2", "PHQ-9", [0] * 9, "2026-01-05")
    report = service.deliver(tmp_path / "in", {"questionnaire_answers": rows})
    assert report["quarantined_by_rule"] == {"items_not_defined": 2}
    assert report["rows_admitted"] == 9


@pytest.mark.parametrize("instrument", ["DASS-21", "C-SSRS-SCREEN"])
def test_a_total_of_a_form_that_has_none_is_held_back(instrument: str, tmp_path: Path) -> None:
    service = Service(tmp_path / "home")
    rows = [total("r1", "", instrument, 20, "2026-01-05"), total("r2", "", "PHQ-9", 20, "2026-01-05")]
    report = service.deliver(tmp_path / "in", {"questionnaire_totals": rows})
    assert report["quarantined_by_rule"] == {"total_not_defined": 1}
    assert judge_total(instrument, 20).is_valid is False


def test_python_refuses_answers_of_a_form_without_items() -> None:
    without = [row["instrument_code"] for row in definitions("instruments") if not row["item_count"]]
    assert len(without) == 10
    for instrument in without:
        with pytest.raises(ValueError, match="items of"):
            score(instrument, [1, 2])
