"""Every number of an instrument on both sides of its edge, written out from the sources and not from our rows.

Source of each table: the instrument catalogue (LOINC 44261-6 text, Kroenke 2001, CamCOPS phq9.py, phq8.rst, gad7.rst,
PMC2906530, PMC8411661 table 1, NHS Talking Therapies metadata). Each row runs through Python, through the warehouse
from its items, and through the warehouse from a submitted total.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from screening.scoring import AnswerState, Score, score
from tests.fixtures.service import Service, drawn, person, sheet, shown, total

# items and highest answer
FORMS = {"PHQ-9": (9, 3), "PHQ-8": (8, 3), "PHQ-2": (2, 3), "GAD-7": (7, 3), "GAD-2": (2, 3), "WSAS": (5, 8)}
HIGHEST = {"PHQ-9": 27, "PHQ-8": 24, "PHQ-2": 6, "GAD-7": 21, "GAD-2": 6, "WSAS": 40}

# Bands; screen: PHQ-9, PHQ-8, GAD-7 from 10, PHQ-2, GAD-2 from 3; caseness: PHQ-9 from 10, GAD-7 from 8, WSAS from 10.
EDGES = """
instrument total band                       screen caseness
PHQ-9      0     minimal                    no     no
PHQ-9      4     minimal                    no     no
PHQ-9      5     mild                       no     no
PHQ-9      9     mild                       no     no
PHQ-9      10    moderate                   yes    yes
PHQ-9      14    moderate                   yes    yes
PHQ-9      15    moderately_severe          yes    yes
PHQ-9      19    moderately_severe          yes    yes
PHQ-9      20    severe                     yes    yes
PHQ-9      27    severe                     yes    yes
PHQ-8      0     minimal                    no     none
PHQ-8      4     minimal                    no     none
PHQ-8      5     mild                       no     none
PHQ-8      9     mild                       no     none
PHQ-8      10    moderate                   yes    none
PHQ-8      14    moderate                   yes    none
PHQ-8      15    moderately_severe          yes    none
PHQ-8      19    moderately_severe          yes    none
PHQ-8      20    severe                     yes    none
PHQ-8      24    severe                     yes    none
PHQ-2      0     none                       no     none
PHQ-2      2     none                       no     none
PHQ-2      3     none                       yes    none
PHQ-2      6     none                       yes    none
GAD-7      0     minimal                    no     no
GAD-7      4     minimal                    no     no
GAD-7      5     mild                       no     no
GAD-7      7     mild                       no     no
GAD-7      8     mild                       no     yes
GAD-7      9     mild                       no     yes
GAD-7      10    moderate                   yes    yes
GAD-7      14    moderate                   yes    yes
GAD-7      15    severe                     yes    yes
GAD-7      21    severe                     yes    yes
GAD-2      0     none                       no     none
GAD-2      2     none                       no     none
GAD-2      3     none                       yes    none
GAD-2      6     none                       yes    none
WSAS       0     subclinical                none   no
WSAS       9     subclinical                none   no
WSAS       10    significant                none   yes
WSAS       20    significant                none   yes
WSAS       21    moderately_severe_or_worse none   yes
WSAS       40    moderately_severe_or_worse none   yes
"""

# Every answer given is 1, the rest of the form is missing. complete_case: all items; prorate_2: at most two missing,
# none of a two-item form; WSAS: the NHS counts a total of at least 4 of 5 items, as the sum of those.
COMPLETENESS = """
instrument answered complete prorated measure
PHQ-9      9        9        9        9
PHQ-9      8        none     9        none
PHQ-9      7        none     9        none
PHQ-9      6        none     none     none
PHQ-8      8        8        8        8
PHQ-8      7        none     8        none
PHQ-8      6        none     8        none
PHQ-8      5        none     none     none
PHQ-2      2        2        2        2
PHQ-2      1        none     none     none
GAD-7      7        7        7        7
GAD-7      6        none     7        none
GAD-7      5        none     7        none
GAD-7      4        none     none     none
GAD-2      2        2        2        2
GAD-2      1        none     none     none
WSAS       5        5        5        5
WSAS       4        none     5        4
WSAS       3        none     none     none
"""

# Bands are half-open and judge the exact value sum x items / answered; only the display is rounded, half up.
PRORATED = """
instrument answered sum exact display band
PHQ-9      8        4   36/8  5       minimal
PHQ-9      7        4   36/7  5       mild
PHQ-9      8        8   72/8  9       mild
PHQ-9      7        7   63/7  9       mild
PHQ-9      7        8   72/7  10      moderate
PHQ-9      8        13  117/8 15      moderate
PHQ-9      7        15  135/7 19      moderately_severe
PHQ-9      8        17  153/8 19      moderately_severe
PHQ-9      8        18  162/8 20      severe
PHQ-9      8        0   0/8   0       minimal
PHQ-8      7        13  104/7 15      moderate
PHQ-8      6        15  120/6 20      severe
GAD-7      6        4   28/6  5       minimal
GAD-7      5        7   49/5  10      mild
GAD-7      6        8   56/6  9       mild
GAD-7      6        9   63/6  11      moderate
GAD-7      5        10  70/5  14      moderate
GAD-7      6        13  91/6  15      severe
WSAS       4        7   35/4  9       subclinical
WSAS       4        8   40/4  10      significant
WSAS       4        16  80/4  20      significant
WSAS       4        17  85/4  21      moderately_severe_or_worse
"""

# PHQ-9 diagnostic algorithm (CamCOPS phq9.py): symptoms from 2, item 9 from 1; item 1 or 2 is core; 5 or more with a
# core one: major, 2 to 4: other. The first four are the published vectors. r refused, - missing.
ALGORITHM = """
answers           total band              screen algorithm      risk
2,2,2,2,2,0,0,0,0 10    moderate          yes    major          negative
2,2,2,2,0,0,0,0,1 9     mild              no     major          positive
1,1,1,1,1,1,1,1,2 10    moderate          yes    none           positive
0,0,0,0,0,0,0,0,1 1     minimal           no     none           positive
2,0,0,0,0,0,0,0,0 2     minimal           no     none           negative
2,2,0,0,0,0,0,0,0 4     minimal           no     other          negative
0,2,0,0,0,0,0,0,1 3     minimal           no     other          positive
2,1,1,1,1,1,1,2,0 10    moderate          yes    other          negative
0,2,2,2,2,0,0,0,0 8     mild              no     other          negative
1,1,2,2,2,2,2,2,3 17    moderately_severe yes    none           positive
3,0,0,0,0,3,3,3,0 12    moderate          yes    other          negative
0,3,0,0,0,3,3,3,1 13    moderate          yes    major          positive
2,2,2,2,2,0,0,0,r none  moderate          none   not_assessable declined
2,2,2,2,2,0,0,-,0 none  moderate          none   not_assessable negative
2,2,2,2,2,0,0,4,0 none  none              none   not_assessable negative
"""
_STATES = {"r": AnswerState.REFUSED, "-": None}
Answers = list[int | AnswerState | None]


def _filled(instrument: str, items: int, wanted: int) -> Answers:
    """Answers to the first ``items`` items that add up to ``wanted``, the rest missing."""
    count, top = FORMS[instrument]
    answers: Answers = []
    for _ in range(items):
        answers.append(min(top, wanted))
        wanted -= min(top, wanted)
    assert wanted == 0
    return answers + [None] * (count - items)


def _sheets() -> dict[str, tuple[str, Answers]]:
    """Every sheet of the tables, by the code of its person."""
    made: dict[str, tuple[str, Answers]] = {}
    for row in drawn(EDGES):
        name = row["instrument"]
        made[f"edge_{name}_{row['total']}"] = (name, _filled(name, FORMS[name][0], int(row["total"])))
    for row in drawn(COMPLETENESS):
        name, answered = row["instrument"], int(row["answered"])
        made[f"complete_{name}_{answered}"] = (name, _ones(name, answered))
    for row in drawn(PRORATED):
        name, answered = row["instrument"], int(row["answered"])
        made[f"prorated_{name}_{answered}_{row['sum']}"] = (name, _filled(name, answered, int(row["sum"])))
    for row in drawn(ALGORITHM):
        answers = [_STATES[part] if part in _STATES else int(part) for part in row["answers"].split(",")]
        made[f"algorithm_{row['answers']}"] = ("PHQ-9", answers)
    for name, (count, top) in FORMS.items():
        made[f"beyond_{name}"] = (name, [top + 1, *[0] * (count - 1)])
        made[f"below_{name}"] = (name, [-1, *[0] * (count - 1)])
    return made


def _ones(instrument: str, answered: int) -> Answers:
    count = FORMS[instrument][0]
    return [1 if number < answered else None for number in range(count)]


# A total outside the range, or one that is no whole number, is no score.
OUT_OF_RANGE = [(name, value) for name, top in HIGHEST.items() for value in (-1, top + 1, 4.5)] + [("PHQ-9", 300)]


def streams() -> dict[str, list[dict[str, Any]]]:
    """The tables as a delivery: one person per sheet."""
    people, answers, totals = [], [], []
    for code, (instrument, values) in _sheets().items():
        people.append(person(code))
        words = [value.value if isinstance(value, AnswerState) else value for value in values]
        answers += sheet(code, instrument, words, "2026-01-05", owner=code)
    sent = [(row["instrument"], float(row["total"]), row["total"]) for row in drawn(EDGES)]
    sent += [(name, float(value), str(value)) for name, value in OUT_OF_RANGE]
    for name, value, text in sent:
        code = f"sent_{name}_{text}"
        people.append(person(code))
        totals.append(total(code, "", name, value, "2026-01-05", owner=code))
    # Where the key is not applied yet: no item of these forms is reverse keyed, so a place is its value.
    people.append(person("placed"))
    for row in sheet("placed", "PHQ-9", [3, 3, 3, 1, 0, 0, 0, 0, 0], "2026-01-05", owner="placed"):
        answers.append({**row, "answer_value_kind": "answer_position"})
    return {"people": people, "questionnaire_answers": answers, "questionnaire_totals": totals}


_FIELDS = (
    "total_complete_case",
    "total_prorated",
    "prorated_numerator",
    "prorated_denominator",
    "measure_total",
    "severity_band",
    "is_screen_positive",
    "is_at_caseness",
    "is_valid",
    "diagnostic_algorithm",
    "risk_item_status",
)


@pytest.fixture(scope="module")
def scored(specified: Service) -> dict[str, dict[str, object]]:
    """What the warehouse makes of each person's one form."""
    codes = {one["person_code"] for one in streams()["people"]}
    tokens = specified.tokens(*codes)
    rows = specified.of_people(f"select person_id, {', '.join(_FIELDS)} from marts.assessments")
    found = {}
    for code in codes:
        (row,) = rows[tokens[code]]
        found[code] = dict(zip(_FIELDS, row, strict=True))
    return found


WAYS = ["python", "warehouse"]


@pytest.fixture
def way(request: pytest.FixtureRequest) -> Callable[[str], dict[str, object]]:
    """How a sheet is scored; Python needs no build."""
    if request.param == "python":
        return _by_python
    found: dict[str, dict[str, object]] = request.getfixturevalue("scored")
    return found.__getitem__


def _by_python(code: str) -> dict[str, object]:
    found: Score = score(*_sheets()[code])
    return {name: getattr(found, name) for name in _FIELDS}


def _told(row: dict[str, object], *names: str) -> tuple[str, ...]:
    return tuple(shown(row[name]) for name in names)


Scored = Callable[[str], dict[str, object]]


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("case", drawn(EDGES), ids=lambda case: f"{case['instrument']} {case['total']}")
def test_a_total_on_each_side_of_an_edge(case: dict[str, str], way: Scored) -> None:
    code = f"{case['instrument']}_{case['total']}"
    expected = (case["total"], case["band"], case["screen"], case["caseness"], "yes")
    names = ("measure_total", "severity_band", "is_screen_positive", "is_at_caseness", "is_valid")
    assert _told(way(f"edge_{code}"), *names) == expected


@pytest.mark.parametrize("case", drawn(EDGES), ids=lambda case: f"{case['instrument']} {case['total']}")
def test_a_submitted_total_is_judged_as_one_of_items(
    case: dict[str, str], scored: dict[str, dict[str, object]]
) -> None:
    expected = (case["total"], case["band"], case["screen"], case["caseness"], "yes")
    names = ("measure_total", "severity_band", "is_screen_positive", "is_at_caseness", "is_valid")
    assert _told(scored[f"sent_{case['instrument']}_{case['total']}"], *names) == expected


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("case", drawn(COMPLETENESS), ids=lambda case: f"{case['instrument']} {case['answered']}")
def test_how_many_items_a_total_needs(case: dict[str, str], way: Scored) -> None:
    code = f"complete_{case['instrument']}_{case['answered']}"
    expected = (case["complete"], case["prorated"], case["measure"])
    names = ("total_complete_case", "total_prorated", "measure_total")
    assert _told(way(code), *names) == expected


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize(
    "case", drawn(PRORATED), ids=lambda case: f"{case['instrument']} {case['sum']} of {case['answered']}"
)
def test_a_prorated_total_is_banded_by_its_exact_value(case: dict[str, str], way: Scored) -> None:
    code = f"prorated_{case['instrument']}_{case['answered']}_{case['sum']}"
    expected = (*case["exact"].split("/"), case["display"], case["band"], "none")
    names = ("prorated_numerator", "prorated_denominator", "total_prorated", "severity_band", "is_screen_positive")
    told = len(names) - (case["instrument"] == "WSAS")  # which has no screen
    assert _told(way(code), *names[:told]) == expected[:told]


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("case", drawn(ALGORITHM), ids=lambda case: case["answers"])
def test_the_diagnostic_algorithm(case: dict[str, str], way: Scored) -> None:
    code = f"algorithm_{case['answers']}"
    expected = (case["total"], case["band"], case["screen"], case["algorithm"], case["risk"])
    names = (
        "total_complete_case",
        "severity_band",
        "is_screen_positive",
        "diagnostic_algorithm",
        "risk_item_status",
    )
    assert _told(way(code), *names) == expected


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("instrument", ["PHQ-8", "PHQ-2", "GAD-7", "GAD-2", "WSAS"])
def test_other_forms_have_no_algorithm(instrument: str, way: Scored) -> None:
    assert way(f"edge_{instrument}_0")["diagnostic_algorithm"] == "not_applicable"


def test_a_total_without_items_tells_no_algorithm_and_no_risk(scored: dict[str, dict[str, object]]) -> None:
    assert _told(scored["sent_PHQ-9_27"], "diagnostic_algorithm", "risk_item_status") == ("not_assessable", "missing")


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("instrument", list(FORMS))
def test_an_answer_outside_its_range_makes_the_sheet_invalid(instrument: str, way: Scored) -> None:
    names = ("is_valid", "total_complete_case", "total_prorated", "measure_total", "severity_band")
    for code in (f"beyond_{instrument}", f"below_{instrument}"):
        assert _told(way(code), *names) == ("no", "none", "none", "none", "none")


@pytest.mark.parametrize(("instrument", "value"), OUT_OF_RANGE, ids=str)
def test_a_submitted_total_outside_the_range_is_no_score(
    instrument: str, value: float, scored: dict[str, dict[str, object]]
) -> None:
    names = ("is_valid", "measure_total", "severity_band", "is_screen_positive", "is_at_caseness")
    assert _told(scored[f"sent_{instrument}_{value}"], *names) == ("no", "none", "none", "none", "none")


def test_a_place_on_the_form_is_the_value_where_no_item_is_reversed(scored: dict[str, dict[str, object]]) -> None:
    assert _told(scored["placed"], "measure_total", "severity_band") == ("10", "moderate")


# NHS reliable change (NHSDigital monthly statistics; PMC8411661 table 1) and the WSAS figure, still unverified.
def test_reliable_change_is_written_as_published(specified: Service) -> None:
    found = specified.ask(
        "select instrument_code, comparator, threshold_value from intermediate.thresholds "
        "where purpose = 'reliable_change' and authority = 'nhs_tt' and instrument_code in ('GAD-7', 'PHQ-9', 'WSAS') "
        "order by all"
    )
    assert found == [("GAD-7", ">=", 4.0), ("PHQ-9", ">=", 6.0), ("WSAS", ">=", 8.0)]
