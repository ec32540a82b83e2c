"""The companion instruments on both sides of every edge, written out from the sources and not from our rows.

Source of each table: the instrument catalogue (CamCOPS core10, epds, pcl5 and wemwbs; ABS 4817.0.55.001; Morin 2011;
HL7 us-behavioral-health-profiles; the public SWEMWBS conversion table; NHSDigital thresholds). Each row runs through
Python and through the warehouse.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from screening.definitions import definitions
from screening.scoring import AnswerState, Score, judge_total, score
from tests.fixtures.service import Service, drawn, person, sheet, shown, total

# items, lowest and highest answer, lowest and highest total, direction, days asked about, may wording be shipped
CATALOGUE = """
instrument    items low high least most better days wording
PHQ-9         9     0   3    0     27   worse  14   yes
PHQ-9M        9     0   3    0     27   worse  14   yes
PHQ-8         8     0   3    0     24   worse  14   yes
PHQ-2         2     0   3    0     6    worse  14   yes
GAD-7         7     0   3    0     21   worse  14   yes
GAD-2         2     0   3    0     6    worse  14   yes
WSAS          5     0   8    0     40   worse  1    no
PCL-5         20    0   4    0     80   worse  30   no
ISI           7     0   4    0     28   worse  14   no
WHO-5         5     0   5    0     25   better 14   no
CORE-10       10    0   4    0     40   worse  7    no
K10-AU        10    1   5    10    50   worse  28   no
K10-US        10    0   4    0     40   worse  28   no
K6            6     0   4    0     24   worse  30   no
AUDIT-C       3     0   4    0     12   worse  365  no
EPDS          10    0   3    0     30   worse  7    no
C-SSRS-SCREEN 7     0   1    none  none worse  30   no
DASS-21       21    0   3    none  none worse  7    no
SPIN          17    0   4    0     68   worse  7    no
WEMWBS        14    1   5    14    70   better 14   no
SWEMWBS       7     1   5    7     35   better 14   no
"""

# A total on each side of each edge. Screen: PHQ-9M from 10, PCL-5 from 33, ISI from 10, WHO-5 below 13, K10 from 22 (or
# 12), K6 from 13, EPDS from 10, SPIN from 19, WEMWBS up to 40; caseness: PCL-5 from 32, CORE-10 from 11, SPIN from 19.
EDGES = """
instrument total band              screen caseness
PHQ-9M     0     minimal           no     none
PHQ-9M     4     minimal           no     none
PHQ-9M     5     mild              no     none
PHQ-9M     9     mild              no     none
PHQ-9M     10    moderate          yes    none
PHQ-9M     14    moderate          yes    none
PHQ-9M     15    moderately_severe yes    none
PHQ-9M     19    moderately_severe yes    none
PHQ-9M     20    severe            yes    none
PHQ-9M     27    severe            yes    none
PCL-5      0     none              no     no
PCL-5      31    none              no     no
PCL-5      32    none              no     yes
PCL-5      33    none              yes    yes
PCL-5      80    none              yes    yes
ISI        0     none              no     none
ISI        7     none              no     none
ISI        8     subthreshold      no     none
ISI        9     subthreshold      no     none
ISI        10    subthreshold      yes    none
ISI        14    subthreshold      yes    none
ISI        15    moderate          yes    none
ISI        21    moderate          yes    none
ISI        22    severe            yes    none
ISI        28    severe            yes    none
WHO-5      0     none              yes    none
WHO-5      12    none              yes    none
WHO-5      13    none              no     none
WHO-5      25    none              no     none
CORE-10    0     healthy           none   no
CORE-10    5     healthy           none   no
CORE-10    6     low               none   no
CORE-10    10    low               none   no
CORE-10    11    mild              none   yes
CORE-10    14    mild              none   yes
CORE-10    15    moderate          none   yes
CORE-10    19    moderate          none   yes
CORE-10    20    moderate_severe   none   yes
CORE-10    24    moderate_severe   none   yes
CORE-10    25    severe            none   yes
CORE-10    40    severe            none   yes
K10-AU     10    low               no     none
K10-AU     15    low               no     none
K10-AU     16    moderate          no     none
K10-AU     21    moderate          no     none
K10-AU     22    high              yes    none
K10-AU     29    high              yes    none
K10-AU     30    very_high         yes    none
K10-AU     50    very_high         yes    none
K10-US     0     low               no     none
K10-US     5     low               no     none
K10-US     6     moderate          no     none
K10-US     11    moderate          no     none
K10-US     12    high              yes    none
K10-US     19    high              yes    none
K10-US     20    very_high         yes    none
K10-US     40    very_high         yes    none
K6         0     none              no     none
K6         12    none              no     none
K6         13    none              yes    none
K6         24    none              yes    none
AUDIT-C    0     none              none   none
AUDIT-C    3     none              none   none
AUDIT-C    12    none              none   none
EPDS       0     none              no     none
EPDS       9     none              no     none
EPDS       10    none              yes    none
EPDS       30    none              yes    none
SPIN       0     none              no     no
SPIN       18    none              no     no
SPIN       19    none              yes    yes
SPIN       20    none              yes    yes
SPIN       21    mild              yes    yes
SPIN       30    mild              yes    yes
SPIN       31    moderate          yes    yes
SPIN       40    moderate          yes    yes
SPIN       41    severe            yes    yes
SPIN       50    severe            yes    yes
SPIN       51    very_severe       yes    yes
SPIN       68    very_severe       yes    yes
WEMWBS     14    none              yes    none
WEMWBS     40    none              yes    none
WEMWBS     41    none              no     none
WEMWBS     70    none              no     none
SWEMWBS    7     none              none   none
SWEMWBS    35    none              none   none
"""
# Of the bands called `none` above, these are bands of that name; elsewhere there is no band (SPIN 20 has none).
NAMED_NONE = {("ISI", 0), ("ISI", 7), ("SPIN", 0), ("SPIN", 18), ("SPIN", 19)}

# Every answer given is the lowest but one, the rest is missing: how many answers a total needs.
COMPLETENESS = """
instrument answered complete prorated
PHQ-9M     9        9        9
PHQ-9M     8        none     9
PHQ-9M     7        none     9
PHQ-9M     6        none     none
PCL-5      20       20       20
PCL-5      19       none     none
ISI        7        7        7
ISI        6        none     none
WHO-5      5        5        5
WHO-5      4        none     none
CORE-10    10       10       10
CORE-10    9        none     10
CORE-10    1        none     10
CORE-10    0        none     none
K10-AU     10       20       20
K10-AU     9        none     none
K10-US     10       10       10
K10-US     9        none     none
K6         6        6        6
K6         5        none     none
AUDIT-C    3        3        3
AUDIT-C    2        none     none
EPDS       10       10       10
EPDS       9        none     none
SPIN       17       17       17
SPIN       16       none     none
WEMWBS     14       28       28
WEMWBS     13       none     none
SWEMWBS    7        14       14
SWEMWBS    6        none     none
"""

# CORE-10 clinical score: 10 x sum / answered, banded and cut as the exact fraction. 98/9 is 10.9, shown as 11.
CLINICAL = """
answered sum exact  display band            caseness
9        5   50/9   6       healthy         no
9        6   60/9   7       low             no
8        5   50/8   6       low             no
9        9   90/9   10      low             no
8        8   80/8   10      low             no
6        6   60/6   10      low             no
4        4   40/4   10      low             no
7        7   70/7   10      low             no
3        3   30/3   10      low             no
9        10  100/9  11      mild            yes
8        9   90/8   11      mild            yes
9        13  130/9  14      mild            yes
9        14  140/9  16      moderate        yes
9        18  180/9  20      moderate_severe yes
7        13  130/7  19      moderate        yes
9        22  220/9  24      moderate_severe yes
9        23  230/9  26      severe          yes
"""

# DASS-21: the sum of a scale's seven answers is doubled before the bands (undoubled 7 would read normal).
DASS = """
scale      sum score band
depression 0   0     normal
depression 4   8     normal
depression 5   10    mild
depression 6   12    mild
depression 7   14    moderate
depression 10  20    moderate
depression 11  22    severe
depression 13  26    severe
depression 14  28    extremely_severe
depression 21  42    extremely_severe
anxiety    0   0     normal
anxiety    3   6     normal
anxiety    4   8     mild
anxiety    5   10    moderate
anxiety    7   14    moderate
anxiety    8   16    severe
anxiety    9   18    severe
anxiety    10  20    extremely_severe
anxiety    21  42    extremely_severe
stress     0   0     normal
stress     7   14    normal
stress     8   16    mild
stress     9   18    mild
stress     10  20    moderate
stress     12  24    moderate
stress     13  26    severe
stress     16  32    severe
stress     17  34    extremely_severe
stress     21  42    extremely_severe
"""
# One answer of a scale may be missing: sum x 7 / 6 x 2. With 6 answers the sum 8 is 18.67, between the printed bands.
DASS_MISSING = """
scale      answered sum exact hundredths band
depression 6        4   56/6  933        normal
depression 6        5   70/6  1167       mild
depression 6        6   84/6  1400       moderate
depression 6        9   126/6 2100       severe
depression 5        6   none  none       none
anxiety    6        3   42/6  700        normal
anxiety    6        4   56/6  933        mild
anxiety    6        6   84/6  1400       moderate
anxiety    5        6   none  none       none
stress     6        6   84/6  1400       normal
stress     6        7   98/6  1633       mild
stress     6        8   112/6 1867       mild
stress     6        9   126/6 2100       moderate
stress     5        9   none  none       none
"""
KEYS = {
    "DASS-21": {
        "depression": (3, 5, 10, 13, 16, 17, 21),
        "anxiety": (2, 4, 7, 9, 15, 19, 20),
        "stress": (1, 6, 8, 11, 12, 14, 18),
    },
    "PCL-5": {
        "intrusion": (1, 2, 3, 4, 5),
        "avoidance": (6, 7),
        "mood": (8, 9, 10, 11, 12, 13, 14),
        "arousal": (15, 16, 17, 18, 19, 20),
    },
}

# PCL-5: the answers of clusters B, C, D and E; an item counts from 2; one of B, one of C, two of D, two of E.
CLUSTERS = """
b         c   d             e           rule
2,0,0,0,0 2,0 2,2,0,0,0,0,0 2,2,0,0,0,0 dsm5_rule_met
4,4,4,4,4 4,4 4,4,4,4,4,4,4 4,4,4,4,4,4 dsm5_rule_met
0,0,0,0,2 0,2 0,0,0,0,0,2,2 0,0,0,0,2,2 dsm5_rule_met
1,1,1,1,1 2,0 2,2,0,0,0,0,0 2,2,0,0,0,0 none
2,0,0,0,0 1,1 2,2,0,0,0,0,0 2,2,0,0,0,0 none
2,0,0,0,0 2,0 2,1,1,1,1,1,1 2,2,0,0,0,0 none
2,0,0,0,0 2,0 2,2,0,0,0,0,0 4,1,1,1,1,1 none
4,4,4,4,4 0,0 4,4,4,4,4,4,4 4,4,4,4,4,4 none
2,-,0,0,0 2,0 2,2,0,0,0,0,0 2,2,0,0,0,0 not_assessable
0,0,0,0,0 0,0 0,0,0,0,0,0,0 0,0,0,0,0,r not_assessable
2,0,0,0,5 2,0 2,2,0,0,0,0,0 2,2,0,0,0,0 not_assessable
"""

# C-SSRS screener: wish, thoughts, method, intent, plan, behaviour in lifetime, in 3 months. y yes, n no, - missing,
# . not asked, r refused. A no to 2 leaves 3 to 5 out, a no to 6 leaves 7 out.
TRIAGE = """
answers       triage         risk
n,n,n,n,n,n,n none           negative
n,n,.,.,.,n,. none           not_asked
n,n,-,-,-,n,- none           missing
y,n,n,n,n,n,n low            positive
n,y,n,n,n,n,n low            positive
y,n,.,.,.,n,. low            positive
y,y,n,n,n,n,n low            positive
n,y,y,n,n,n,n moderate       positive
y,n,.,.,.,y,n moderate       positive
n,n,.,.,.,y,n moderate       positive
n,n,n,y,n,n,n high           positive
n,n,n,n,y,n,n high           positive
n,y,y,y,y,n,n high           positive
n,n,.,.,.,y,y high           positive
n,n,.,.,.,n,y high           positive
y,-,y,-,y,-,- high           positive
y,y,-,n,n,n,n not_assessable positive
y,y,y,-,n,n,n not_assessable positive
y,y,y,n,n,y,- not_assessable positive
n,n,.,.,.,-,- not_assessable missing
n,n,r,.,.,n,. not_assessable declined
n,n,.,r,.,n,. not_assessable declined
r,n,.,.,.,n,. not_assessable declined
n,-,.,.,.,n,. not_assessable missing
n,2,n,n,n,n,n not_assessable missing
n,n,2,n,n,n,n not_assessable missing
"""

# Risk items: the answer to the one item, all others 0 (as scored values).
RISK = """
instrument item answer risk
PHQ-9M     9    0      negative
PHQ-9M     9    1      positive
PHQ-9M     8    3      negative
EPDS       10   0      negative
EPDS       10   1      positive
EPDS       9    3      negative
CORE-10    6    0      negative
CORE-10    6    1      positive
CORE-10    5    4      negative
EPDS       10   r      declined
CORE-10    6    -      missing
PHQ-9M     9    .      not_asked
"""

# Rules that are not the default: what each says of a total. f and m are women and men, o is neither,
# u is not stated, k is stated as unknown.
OTHERS = """
instrument total sex rule                     says
PHQ-2      1     f   phq2_screen_sensitive    no
PHQ-2      2     f   phq2_screen_sensitive    yes
PCL-5      30    f   pcl5_screen_va           no
PCL-5      31    f   pcl5_screen_va           yes
ISI        14    f   isi_screen_clinical      no
ISI        15    f   isi_screen_clinical      yes
K10-AU     19    f   k10_au_screen_crufad     no
K10-AU     20    f   k10_au_screen_crufad     yes
K10-US     9     f   k10_us_screen_crufad     no
K10-US     10    f   k10_us_screen_crufad     yes
K10-AU     19    f   K10-AU.crufad            likely_well
K10-AU     20    f   K10-AU.crufad            mild
K10-AU     24    f   K10-AU.crufad            mild
K10-AU     25    f   K10-AU.crufad            moderate
K10-AU     29    f   K10-AU.crufad            moderate
K10-AU     30    f   K10-AU.crufad            severe
K10-US     9     f   K10-US.crufad            likely_well
K10-US     10    f   K10-US.crufad            mild
K10-US     14    f   K10-US.crufad            mild
K10-US     15    f   K10-US.crufad            moderate
K10-US     19    f   K10-US.crufad            moderate
K10-US     20    f   K10-US.crufad            severe
AUDIT-C    2     f   audit_c_screen_va_women  no
AUDIT-C    3     f   audit_c_screen_va_women  yes
AUDIT-C    3     f   audit_c_screen_va_men    absent
AUDIT-C    3     m   audit_c_screen_va_men    no
AUDIT-C    4     m   audit_c_screen_va_men    yes
AUDIT-C    4     m   audit_c_screen_va_women  absent
AUDIT-C    4     u   audit_c_screen_va_men    none
AUDIT-C    4     u   audit_c_screen_va_women  none
AUDIT-C    4     o   audit_c_screen_va_women  absent
AUDIT-C    4     k   audit_c_screen_va_women  none
AUDIT-C    4     u   audit_c_screen_uk        no
AUDIT-C    5     u   audit_c_screen_uk        yes
EPDS       12    f   epds_screen_likely       no
EPDS       13    f   epds_screen_likely       yes
WEMWBS     59    f   wemwbs_high              no
WEMWBS     60    f   wemwbs_high              yes
"""
_SEXES = {"f": "female", "m": "male", "o": "other", "u": "", "k": "unknown"}

# Changes that count: NHS children's file (CORE-10, SWEMWBS, WEMWBS, PHQ-9, GAD-7), second-hand others.
CHANGES = """
instrument scale   purpose                  authority      value verification default
CORE-10    none    reliable_change          nhs_cyp        5     read         yes
CORE-10    none    reliable_change          secondary      6     unverified   no
EPDS       none    reliable_change          secondary      4     unverified   yes
GAD-7      none    noticed_change_share     kounali_2022   0.268 read         no
GAD-7      none    reliable_change          delgadillo_2014 5    unverified   no
GAD-7      none    reliable_change          nhs_cyp        4     read         no
GAD-7      none    reliable_change          nhs_tt         4     read         yes
GAD-7      none    response_share           general        0.5   read         yes
ISI        none    moderate_improvement     general        8.4   unverified   no
PCL-5      none    reliable_change          nhs_tt         10    unverified   yes
PHQ-9      none    minimal_important_change kroenke        5     unverified   no
PHQ-9      none    noticed_change_share     kounali_2022   0.21  read         no
PHQ-9      none    reliable_change          nhs_cyp        6     read         no
PHQ-9      none    reliable_change          nhs_tt         6     read         yes
PHQ-9      none    response_share           general        0.5   read         yes
SPIN       none    reliable_change          nhs_tt         10    unverified   yes
SWEMWBS    none    reliable_change          nhs_cyp        3     read         yes
WEMWBS     none    reliable_change          nhs_cyp        9     read         yes
WHO-5      percent reliable_change          general        10    unverified   yes
WSAS       none    reliable_change          nhs_tt         8     unverified   yes
"""
_STATES = {"r": AnswerState.REFUSED, "n": AnswerState.NOT_APPLICABLE, ".": AnswerState.NOT_ASKED, "-": None}
_YES_NO = {**_STATES, "n": 0, "y": 1}
Answers = list[int | AnswerState | None]
FORMS = {row["instrument"]: (int(row["items"]), int(row["low"]), int(row["high"])) for row in drawn(CATALOGUE)}


def _filled(instrument: str, items: int, wanted: int) -> Answers:
    """Answers to the first ``items`` items that add up to ``wanted``, the rest missing."""
    count, low, high = FORMS[instrument]
    answers: Answers = [low] * items
    left = wanted - low * items
    for place in range(items):
        step = min(high - low, left)
        answers[place] = low + step
        left -= step
    assert left == 0, (instrument, items, wanted)
    return answers + [None] * (count - items)


def _in_scale(instrument: str, scale: str, answered: int, wanted: int) -> Answers:
    """A sheet of lowest answers but for one scale, whose first ``answered`` items add up to ``wanted``."""
    count, low, high = FORMS[instrument]
    answers: Answers = [low] * count
    for place, item in enumerate(KEYS[instrument][scale]):
        step = min(high, wanted) if place < answered else 0
        answers[item - 1] = step if place < answered else None
        wanted -= step
    assert wanted == 0
    return answers


def _read(text: str, words: dict[str, Any] = _STATES) -> Answers:
    return [words[part] if part in words else int(part) for part in text.split(",")]


def _sheets() -> dict[str, tuple[str, Answers, str]]:
    """Every sheet of the tables by the code of its person: instrument, answers, sex."""
    made: dict[str, tuple[str, Answers, str]] = {}

    def add(code: str, instrument: str, answers: Answers, sex: str = "female") -> None:
        made[f"c_{code}"] = (instrument, answers, sex)

    for row in drawn(EDGES):
        name = row["instrument"]
        add(f"edge_{name}_{row['total']}", name, _filled(name, FORMS[name][0], int(row["total"])))
    for row in drawn(COMPLETENESS):
        name, answered = row["instrument"], int(row["answered"])
        add(f"complete_{name}_{answered}", name, _filled(name, answered, answered * (FORMS[name][1] + 1)))
    for row in drawn(CLINICAL):
        add(
            f"clinical_{row['answered']}_{row['sum']}",
            "CORE-10",
            _filled("CORE-10", int(row["answered"]), int(row["sum"])),
        )
    for row in drawn(DASS):
        add(f"dass_{row['scale']}_{row['sum']}", "DASS-21", _in_scale("DASS-21", row["scale"], 7, int(row["sum"])))
    for row in drawn(DASS_MISSING):
        answered = int(row["answered"])
        code = f"dass_{row['scale']}_{row['sum']}_of_{answered}"
        add(code, "DASS-21", _in_scale("DASS-21", row["scale"], answered, int(row["sum"])))
    for name in KEYS:
        count, low, high = FORMS[name]
        for item in range(1, count + 1):
            add(f"key_{name}_{item}", name, [high if place == item else low for place in range(1, count + 1)])
    for row in drawn(CLUSTERS):
        text = ",".join((row["b"], row["c"], row["d"], row["e"]))
        add(f"clusters_{text}", "PCL-5", _read(text))
    for row in drawn(TRIAGE):
        add(f"triage_{row['answers']}", "C-SSRS-SCREEN", _read(row["answers"], _YES_NO))
    for row in drawn(RISK):
        count, given = FORMS[row["instrument"]][0], _read(row["answer"])
        answers: Answers = [0] * count
        answers[int(row["item"]) - 1] = given[0]
        add(f"risk_{row['instrument']}_{row['item']}_{row['answer']}", row["instrument"], answers)
    for row in drawn(OTHERS):
        name, value = row["instrument"], int(row["total"])
        add(f"other_{name}_{value}_{row['sex']}", name, _filled(name, FORMS[name][0], value), _SEXES[row["sex"]])
    for raw in range(7, 36):
        add(f"raw_SWEMWBS_{raw}", "SWEMWBS", _filled("SWEMWBS", 7, raw))
    for raw in range(26):
        add(f"raw_WHO-5_{raw}", "WHO-5", _filled("WHO-5", 5, raw))
    for name, (count, low, high) in FORMS.items():
        add(f"beyond_{name}", name, [high + 1, *[low] * (count - 1)])
        add(f"below_{name}", name, [low - 1, *[low] * (count - 1)])
    add("wsas_working", "WSAS", [8, 8, 8, 8, 8])
    add("wsas_not_working", "WSAS", [AnswerState.NOT_APPLICABLE, 8, 8, 8, 8])
    add("wsas_no_home", "WSAS", [8, AnswerState.NOT_APPLICABLE, 8, 8, 8])
    return made


# Reverse keys, from CamCOPS core10 and epds: of these items the last answer on the form is worth nothing.
REVERSED = {"CORE-10": {2, 3}, "EPDS": {3, 5, 6, 7, 8, 9, 10}, "WHO-5": set(), "K10-AU": set()}


def _placed() -> dict[str, tuple[str, list[int], list[int]]]:
    """Sheets as places on the form and what they are worth, once with each item alone at the end of its scale."""
    made = {}
    for name, turned in REVERSED.items():
        count, low, high = FORMS[name]
        for item in range(0, count + 1):
            places = [high if place == item else low for place in range(1, count + 1)]
            worth = [low + high - value if place in turned else value for place, value in enumerate(places, start=1)]
            made[f"c_placed_{name}_{item}"] = (name, places, worth)
    return made


def _random_sheets(count: int) -> list[tuple[str, Answers, str]]:
    """Sheets of every instrument with states, some answers out of range, of people of each sex."""
    chosen = random.Random(20)
    states = [None, AnswerState.REFUSED, AnswerState.NOT_ASKED, AnswerState.NOT_APPLICABLE]
    sheets: list[tuple[str, Answers, str]] = []
    for number in range(count):
        name = sorted(FORMS)[number % len(FORMS)]
        items, low, high = FORMS[name]
        level, holes = chosen.random(), chosen.choice([0.0, 0.0, 0.05, 0.15, 0.4])
        answers: Answers = []
        for _ in range(items):
            if chosen.random() < holes:
                answers.append(chosen.choice(states))
            elif chosen.random() < 0.002:
                answers.append(chosen.choice([low - 1, high + 1]))
            else:
                answers.append(low + sum(chosen.random() < level for _ in range(high - low)))
        sheets.append((name, answers, chosen.choice(["female", "male", ""])))
    return sheets


RANDOM_SHEETS = _random_sheets(5_000)


def _words(answers: Answers) -> list[int | str | None]:
    return [value.value if isinstance(value, AnswerState) else value for value in answers]


def streams() -> dict[str, list[dict[str, Any]]]:
    """The tables as a delivery: one person per sheet, and the random sheets of three people."""
    people, answers, totals = [], [], []
    for code, (instrument, values, sex) in _sheets().items():
        people.append(person(code, sex=sex))
        answers += sheet(code, instrument, _words(values), "2026-01-05", owner=code)
    for code, (instrument, places, _) in _placed().items():
        people.append(person(code))
        rows = sheet(code, instrument, list(places), "2026-01-05", owner=code)
        answers += [{**row, "answer_value_kind": "answer_position"} for row in rows]
    for row in drawn(EDGES):
        code = f"c_sent_{row['instrument']}_{row['total']}"
        people.append(person(code))
        totals.append(total(code, "", row["instrument"], float(row["total"]), "2026-01-05", owner=code))
    for code, value in (("c_sent_with_work", 33.0), ("c_sent_without_work", 32.0)):
        people.append(person(code))
        answers += sheet(code, "WSAS", ["not_applicable", 8, 8, 8, 8], "2026-01-05", owner=code)
        totals.append(total(code, "", "WSAS", value, "2026-01-05", owner=code))
    for instrument, given in (("C-SSRS-SCREEN", [0, 1, 1, 1]), ("DASS-21", [1] * 21), ("PCL-5", [4] * 20)):
        code = f"c_begun_{instrument}"
        people.append(person(code))
        rows = sheet(code, instrument, list(given), "2026-01-05", owner=code)
        answers += [{**row, "response_status": "in_progress"} for row in rows]
    people += [person(f"c_random_{sex}", sex=sex) for sex in ("female", "male", "")]
    for number, (instrument, values, sex) in enumerate(RANDOM_SHEETS):
        answers += sheet(f"c_random_{number}", instrument, _words(values), "2026-01-05", owner=f"c_random_{sex}")
    return {"people": people, "questionnaire_answers": answers, "questionnaire_totals": totals}


_FIELDS = (
    "items_answered",
    "items_missing",
    "items_refused",
    "items_not_applicable",
    "items_invalid",
    "answered_sum",
    "greatest_possible_total",
    "total_complete_case",
    "total_prorated",
    "prorated_numerator",
    "prorated_denominator",
    "measure_total",
    "is_prorated",
    "is_complete",
    "is_valid",
    "severity_band",
    "is_at_caseness",
    "is_screen_positive",
    "diagnostic_algorithm",
    "triage_level",
    "risk_item_status",
)
_SCALE_FIELDS = (
    "scale_code",
    "items_expected",
    "items_answered",
    "answered_sum",
    "score_numerator",
    "score_denominator",
    "score_hundredths",
    "is_prorated",
    "severity_band",
    "symptom_count",
    "has_enough_symptoms",
)
_RULE_FIELDS = ("rule_id", "purpose", "authority", "is_met", "severity_band")
Found = dict[str, Any]


def _of_python(one: Score) -> Found:
    found: Found = {name: getattr(one, name) for name in _FIELDS}
    found["scales"] = {row.scale_code: {name: getattr(row, name) for name in _SCALE_FIELDS} for row in one.scales}
    found["rules"] = {row.rule_id: {name: getattr(row, name) for name in _RULE_FIELDS} for row in one.judgements}
    return found


def _of_warehouse(service: Service) -> dict[str, list[tuple[str, Found]]]:
    """(instrument, what is known) of every assessment, by person."""
    made: dict[str, tuple[str, str, Found]] = {}
    for key, owner, name, *rest in service.ask(
        f"select assessment_id, person_id, instrument_code, {', '.join(_FIELDS)} from marts.assessments"
    ):
        made[key] = (owner, name, {**dict(zip(_FIELDS, rest, strict=True)), "scales": {}, "rules": {}})
    for key, *rest in service.ask(f"select assessment_id, {', '.join(_SCALE_FIELDS)} from marts.assessment_scales"):
        made[key][2]["scales"][rest[0]] = dict(zip(_SCALE_FIELDS, rest, strict=True))
    for key, *rest in service.ask(f"select assessment_id, {', '.join(_RULE_FIELDS)} from marts.assessment_judgements"):
        made[key][2]["rules"][rest[0]] = dict(zip(_RULE_FIELDS, rest, strict=True))
    found: dict[str, list[tuple[str, Found]]] = {}
    for owner, name, known in made.values():
        found.setdefault(owner, []).append((name, known))
    return found


@pytest.fixture(scope="module")
def by_person(specified: Service) -> dict[str, list[tuple[str, Found]]]:
    """What the warehouse makes of every form, by the code of its person."""
    codes = [row["person_code"] for row in streams()["people"]]
    found, tokens = _of_warehouse(specified), specified.tokens(*codes)
    return {code: found[tokens[code]] for code in codes}


WAYS = ["python", "warehouse"]
Scored = Callable[[str], Found]


@pytest.fixture
def way(request: pytest.FixtureRequest) -> Scored:
    """How a sheet is scored; Python needs no build."""
    if request.param == "python":
        return _by_python
    found: dict[str, list[tuple[str, Found]]] = request.getfixturevalue("by_person")

    def by_warehouse(code: str) -> Found:
        ((_, known),) = found[code]
        return known

    return by_warehouse


def _by_python(code: str) -> Found:
    if code in _placed():
        name, _, worth = _placed()[code]
        return _of_python(score(name, worth, sex="female"))
    name, answers, sex = _sheets()[code]
    return _of_python(score(name, answers, sex=sex or None))


def _told(row: Found, *names: str) -> tuple[str, ...]:
    return tuple(shown(row[name]) for name in names)


@pytest.mark.parametrize("case", drawn(CATALOGUE), ids=lambda case: case["instrument"])
def test_the_catalogue_is_as_written(case: dict[str, str]) -> None:
    (row,) = (row for row in definitions("instruments") if row["instrument_code"] == case["instrument"])
    names = ("item_count", "item_min", "item_max", "total_min", "total_max", "higher_is", "recall_days")
    found = [row[name] or "none" for name in names] + ["yes" if row["is_wording_shippable"] == "true" else "no"]
    assert found == list(case.values())[1:]
    items = [row for row in definitions("instrument_items") if row["instrument_code"] == case["instrument"]]
    assert [int(row["item_number"]) for row in items] == list(range(1, int(case["items"]) + 1))
    turned = {int(row["item_number"]) for row in items if row["is_reverse_keyed"] == "true"}
    assert turned == REVERSED.get(case["instrument"], set())


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("case", drawn(EDGES), ids=lambda case: f"{case['instrument']} {case['total']}")
def test_a_total_on_each_side_of_an_edge(case: dict[str, str], way: Scored) -> None:
    found = way(f"c_edge_{case['instrument']}_{case['total']}")
    expected = (case["total"], case["band"], case["screen"], case["caseness"], "yes")
    assert (
        _told(found, "measure_total", "severity_band", "is_screen_positive", "is_at_caseness", "is_valid") == expected
    )
    is_named = (case["instrument"], int(case["total"])) in NAMED_NONE
    assert (found["severity_band"] == "none") is is_named


@pytest.mark.parametrize("case", drawn(EDGES), ids=lambda case: f"{case['instrument']} {case['total']}")
def test_a_submitted_total_is_judged_as_one_of_items(
    case: dict[str, str], by_person: dict[str, list[tuple[str, Found]]]
) -> None:
    ((_, found),) = by_person[f"c_sent_{case['instrument']}_{case['total']}"]
    names = ("measure_total", "severity_band", "is_screen_positive", "is_at_caseness", "is_valid")
    assert _told(found, *names) == (case["total"], case["band"], case["screen"], case["caseness"], "yes")
    alone = judge_total(case["instrument"], case["total"])
    assert tuple(shown(getattr(alone, name)) for name in names) == _told(found, *names)


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("case", drawn(COMPLETENESS), ids=lambda case: f"{case['instrument']} {case['answered']}")
def test_how_many_items_a_total_needs(case: dict[str, str], way: Scored) -> None:
    found = way(f"c_complete_{case['instrument']}_{case['answered']}")
    assert _told(found, "total_complete_case", "total_prorated") == (case["complete"], case["prorated"])


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("case", drawn(CLINICAL), ids=lambda case: f"{case['sum']} of {case['answered']}")
def test_a_clinical_score_is_banded_and_cut_by_its_exact_value(case: dict[str, str], way: Scored) -> None:
    found = way(f"c_clinical_{case['answered']}_{case['sum']}")
    names = ("prorated_numerator", "prorated_denominator", "total_prorated", "severity_band", "is_at_caseness")
    assert _told(found, *names) == (*case["exact"].split("/"), case["display"], case["band"], case["caseness"])
    assert _told(found, "measure_total", "is_prorated", "is_screen_positive") == ("none", "yes", "none")


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("case", drawn(DASS), ids=lambda case: f"{case['scale']} {case['sum']}")
def test_a_scale_is_doubled_before_its_bands(case: dict[str, str], way: Scored) -> None:
    found = way(f"c_dass_{case['scale']}_{case['sum']}")
    scale = found["scales"][case["scale"]]
    expected = (case["sum"], case["score"], "1", case["band"], "no")
    assert (
        _told(scale, "answered_sum", "score_numerator", "score_denominator", "severity_band", "is_prorated") == expected
    )
    assert _told(found, "total_complete_case", "total_prorated", "measure_total", "severity_band") == ("none",) * 4


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize(
    "case", drawn(DASS_MISSING), ids=lambda case: f"{case['scale']} {case['sum']} of {case['answered']}"
)
def test_a_scale_may_lack_one_answer(case: dict[str, str], way: Scored) -> None:
    scales = way(f"c_dass_{case['scale']}_{case['sum']}_of_{case['answered']}")["scales"]
    exact = case["exact"].split("/") if case["exact"] != "none" else ["none", "none"]
    names = ("score_numerator", "score_denominator", "score_hundredths", "severity_band")
    assert _told(scales[case["scale"]], *names) == (*exact, case["hundredths"], case["band"])
    others = [scale for name, scale in scales.items() if name != case["scale"]]
    assert [_told(scale, "score_numerator", "severity_band") for scale in others] == [("0", "normal")] * 2


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("instrument", list(KEYS))
def test_each_item_belongs_to_its_scale_alone(instrument: str, way: Scored) -> None:
    high = FORMS[instrument][2]
    for item in range(1, FORMS[instrument][0] + 1):
        scales = way(f"c_key_{instrument}_{item}")["scales"]
        expected = {name: high if item in keys else 0 for name, keys in KEYS[instrument].items()}
        assert {name: scale["answered_sum"] for name, scale in scales.items()} == expected, item
        assert {name: scale["items_expected"] for name, scale in scales.items()} == {
            name: len(keys) for name, keys in KEYS[instrument].items()
        }


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("case", drawn(CLUSTERS), ids=lambda case: "|".join(case.values()))
def test_the_rule_of_the_clusters(case: dict[str, str], way: Scored) -> None:
    found = way(f"c_clusters_{','.join((case['b'], case['c'], case['d'], case['e']))}")
    assert found["diagnostic_algorithm"] == case["rule"]


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_a_cluster_counts_its_symptoms(way: Scored) -> None:
    scales = way("c_clusters_2,0,0,0,0,2,0,2,1,1,1,1,1,1,2,2,0,0,0,0")["scales"]
    counts = {name: (scale["symptom_count"], scale["has_enough_symptoms"]) for name, scale in scales.items()}
    assert counts == {"intrusion": (1, True), "avoidance": (1, True), "mood": (1, False), "arousal": (2, True)}
    unknown = way("c_clusters_2,-,0,0,0,2,0,2,2,0,0,0,0,0,2,2,0,0,0,0")["scales"]["intrusion"]
    assert (unknown["symptom_count"], unknown["has_enough_symptoms"], unknown["score_numerator"]) == (None, None, None)


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("case", drawn(TRIAGE), ids=lambda case: case["answers"])
def test_the_level_of_a_screener(case: dict[str, str], way: Scored) -> None:
    found = way(f"c_triage_{case['answers']}")
    assert _told(found, "triage_level", "risk_item_status") == (case["triage"], case["risk"])
    assert _told(found, "total_complete_case", "total_prorated", "measure_total", "severity_band") == ("none",) * 4


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("case", drawn(RISK), ids=lambda case: " ".join(case.values()))
def test_a_risk_item_is_told_whatever_the_total(case: dict[str, str], way: Scored) -> None:
    found = way(f"c_risk_{case['instrument']}_{case['item']}_{case['answer']}")
    assert _told(found, "risk_item_status", "triage_level") == (case["risk"], "not_applicable")


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("case", drawn(OTHERS), ids=lambda case: " ".join(case.values()))
def test_a_rule_that_is_not_the_default(case: dict[str, str], way: Scored) -> None:
    rule = way(f"c_other_{case['instrument']}_{case['total']}_{case['sex']}")["rules"].get(case["rule"])
    if case["says"] == "absent":
        assert rule is None
    else:
        assert rule is not None
        assert shown(rule["severity_band"] if rule["purpose"] == "severity" else rule["is_met"]) == case["says"]


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_every_raw_score_is_turned_to_its_own_measure(way: Scored) -> None:
    published = [
        "7.00",
        "9.51",
        "11.25",
        "12.40",
        "13.33",
        "14.08",
        "14.75",
        "15.32",
        "15.84",
        "16.36",
        "16.88",
        "17.43",
        "17.98",
        "18.59",
        "19.25",
        "19.98",
        "20.73",
        "21.54",
        "22.35",
        "23.21",
        "24.11",
        "25.03",
        "26.02",
        "27.03",
        "28.13",
        "29.31",
        "30.70",
        "32.55",
        "35.00",
    ]
    found = [way(f"c_raw_SWEMWBS_{raw}")["scales"]["metric"]["score_hundredths"] for raw in range(7, 36)]
    assert [f"{value / 100:.2f}" for value in found] == published
    percents = [way(f"c_raw_WHO-5_{raw}")["scales"]["percent"]["score_numerator"] for raw in range(26)]
    assert percents == list(range(0, 101, 4))


def test_a_raw_total_without_answers_is_turned_too(by_person: dict[str, list[tuple[str, Found]]]) -> None:
    for code, scale, expected in (
        ("c_sent_SWEMWBS_7", "metric", (700, 100)),
        ("c_sent_SWEMWBS_35", "metric", (3500, 100)),
        ("c_sent_WHO-5_13", "percent", (52, 1)),
    ):
        ((_, found),) = by_person[code]
        known = found["scales"][scale]
        assert (known["score_numerator"], known["score_denominator"]) == expected
    ((_, clusters),) = by_person["c_sent_PCL-5_80"]
    assert {scale["score_numerator"] for scale in clusters["scales"].values()} == {None}
    assert clusters["diagnostic_algorithm"] == "not_assessable"


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("instrument", list(REVERSED))
def test_a_place_is_turned_for_reversed_items_and_for_no_other(instrument: str, way: Scored) -> None:
    """The sum of places all at the low end is the low end, but for the reversed items, which are at their highest."""
    count, low, high = FORMS[instrument]
    turned = REVERSED[instrument]
    at_the_start = low * (count - len(turned)) + high * len(turned)
    for item in range(count + 1):
        step = 0 if item == 0 else low - high if item in turned else high - low
        assert way(f"c_placed_{instrument}_{item}")["total_complete_case"] == at_the_start + step, item


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_the_place_of_a_reversed_risk_item_is_turned_before_it_is_judged(way: Scored) -> None:
    assert way("c_placed_EPDS_0")["risk_item_status"] == "positive"  # first answer on the form: worth 3
    assert way("c_placed_EPDS_10")["risk_item_status"] == "negative"  # last answer on the form: worth 0


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("instrument", list(FORMS))
def test_an_answer_outside_its_range_leaves_no_score(instrument: str, way: Scored) -> None:
    for code in (f"c_beyond_{instrument}", f"c_below_{instrument}"):
        found = way(code)
        names = ("total_complete_case", "total_prorated", "measure_total", "severity_band", "is_at_caseness")
        assert _told(found, "is_valid", *names) == ("no", *["none"] * len(names))
        assert {scale["score_numerator"] for scale in found["scales"].values()} <= {None}
        assert all(rule["is_met"] is None and rule["severity_band"] is None for rule in found["rules"].values())


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_who_does_not_work_can_reach_32_of_40(way: Scored) -> None:
    found = {
        code: _told(way(f"c_wsas_{code}"), "greatest_possible_total", "measure_total")
        for code in ("working", "not_working", "no_home")
    }
    assert found == {"working": ("40", "40"), "not_working": ("32", "32"), "no_home": ("40", "32")}


def test_a_submitted_total_above_what_the_form_leaves_is_not_valid(
    by_person: dict[str, list[tuple[str, Found]]],
) -> None:
    known = [by_person[code][0][1]["is_valid"] for code in ("c_sent_with_work", "c_sent_without_work")]
    assert known == [False, True]


def test_a_form_in_progress_gives_a_level_and_no_score(by_person: dict[str, list[tuple[str, Found]]]) -> None:
    ((_, screener),) = by_person["c_begun_C-SSRS-SCREEN"]
    assert _told(screener, "triage_level", "risk_item_status") == ("high", "positive")
    for instrument, outcome in (("DASS-21", "not_applicable"), ("PCL-5", "not_assessable")):
        ((_, found),) = by_person[f"c_begun_{instrument}"]
        assert {scale["score_numerator"] for scale in found["scales"].values()} == {None}
        assert {scale["has_enough_symptoms"] for scale in found["scales"].values()} == {None}
        assert found["diagnostic_algorithm"] == outcome


def test_the_two_k10_differ_by_ten(by_person: dict[str, list[tuple[str, Found]]]) -> None:
    """US 12 is AU 22: the same places on the form, whichever number the first of them has."""
    chosen = random.Random(10)
    for _ in range(200):
        places = [chosen.randrange(5) for _ in range(10)]
        us, au = score("K10-US", places), score("K10-AU", [place + 1 for place in places])
        assert us.total_complete_case is not None and au.total_complete_case is not None
        assert au.total_complete_case - us.total_complete_case == 10
        assert (us.severity_band, us.is_screen_positive) == (au.severity_band, au.is_screen_positive)
        bands = [
            [rule.severity_band for rule in one.judgements] + [rule.is_met for rule in one.judgements]
            for one in (us, au)
        ]
        assert bands[0] == bands[1]


def test_what_is_derived_says_so() -> None:
    """Only the K10 from 0 has numbers that no source prints: those of the K10 from 1, less 10 points."""
    for name in ("severity_bands", "thresholds"):
        rows = definitions(name)
        assert {row["verification"] for row in rows} == {"read", "unverified", "derived"}
        derived = [row for row in rows if row["verification"] == "derived"]
        assert derived == [row for row in rows if row["instrument_code"] == "K10-US"]
        assert all(row["source"].startswith("derived and not printed: ") for row in derived)


def test_changes_are_written_as_published() -> None:
    codes = {row["instrument_code"] for row in definitions("instruments") if row["item_count"]}
    found = {
        (
            row["instrument_code"],
            row["scale_code"] or "none",
            row["purpose"],
            row["authority"],
            row["threshold_value"],
            row["verification"],
            "yes" if row["is_default"] == "true" else "no",
        )
        for row in definitions("thresholds")
        if row["judges"] != "total" and row["instrument_code"] in codes
    }
    assert found == {tuple(row.values()) for row in drawn(CHANGES)}
    assert {row["comparator"] for row in definitions("thresholds") if row["judges"] != "total"} == {">="}


def test_remission_is_below_and_no_cut_of_one_authority_decides_twice() -> None:
    remission = {
        row["instrument_code"]: (row["comparator"], row["threshold_value"], row["verification"])
        for row in definitions("thresholds")
        if row["purpose"] == "remission"
    }
    assert remission == {"PHQ-9": ("<", "5", "read"), "PHQ-9M": ("<", "5", "read"), "ISI": ("<", "8", "unverified")}
    default = Counter(
        (row["instrument_code"], row["scale_code"], row["purpose"])
        for row in definitions("thresholds")
        if row["is_default"] == "true"
    )
    assert set(default.values()) == {1}


def test_random_sheets_are_scored_by_the_warehouse_as_by_python(by_person: dict[str, list[tuple[str, Found]]]) -> None:
    def frozen(name: str, found: Found) -> str:
        rows = {key: sorted(found[key].items()) for key in ("scales", "rules")}
        return repr((name, [found[field] for field in _FIELDS], rows))

    assert len(RANDOM_SHEETS) == 5_000
    assert {name for name, _, _ in RANDOM_SHEETS} == set(FORMS)
    for sex in ("female", "male", ""):
        expected = Counter(
            frozen(name, _of_python(score(name, answers, sex=sex or None)))
            for name, answers, own in RANDOM_SHEETS
            if own == sex
        )
        assert Counter(frozen(name, found) for name, found in by_person[f"c_random_{sex}"]) == expected


@pytest.mark.parametrize("instrument", [name for name in FORMS if name not in ("DASS-21", "C-SSRS-SCREEN")])
def test_what_holds_of_every_total(instrument: str) -> None:
    """Items in another order give the same sum; nothing missing prorates to the sum; what is missing bounds the sum."""
    chosen, (count, low, high) = random.Random(instrument), FORMS[instrument]
    for _ in range(50):
        answers = [chosen.randint(low, high) for _ in range(count)]
        whole = score(instrument, answers)
        shuffled = chosen.sample(answers, count)
        assert score(instrument, shuffled).total_complete_case == whole.total_complete_case == sum(answers)
        assert whole.total_prorated == sum(answers)
        holes = set(chosen.sample(range(count), chosen.randint(0, count)))
        partly = score(instrument, [None if place in holes else value for place, value in enumerate(answers)])
        assert partly.answered_sum + low * len(holes) <= sum(answers) <= partly.answered_sum + high * len(holes)
