"""Sudden gains in the example data of the R package suddengains, whose source states no result: checked by hand."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from efficacy.course_events import Criterion, Score, course_events, sudden_gain_steps, trajectory_rules
from screening.definitions import definitions

PHQ9 = trajectory_rules("PHQ-9")
# Tang and DeRubeis (1999) on the BDI: 7 points; the other two criteria are the rows'.
BDI = {**PHQ9["sudden_gain"], "points": Criterion(">=", Fraction(7))}


@pytest.fixture(scope="module")
def sessions(shared_data: Path) -> pd.DataFrame:
    wide = pd.read_csv(shared_data / "trials" / "suddengains" / "sgdata.csv")
    columns = {f"bdi_s{number}": number for number in range(1, 13)}
    long = wide.melt(id_vars="id", value_vars=list(columns), var_name="session", value_name="score")
    long["session_number"] = long["session"].map(columns)
    return long.rename(columns={"id": "subject_id"})


@pytest.mark.filterwarnings("ignore:Precision loss")
def test_gains_of_the_example_data_are_those_of_a_t_test(sessions: pd.DataFrame) -> None:
    """Each step again from the criteria as the article words them, with scipy's t test."""
    found = sudden_gain_steps(sessions, higher_is="worse", criteria=BDI)
    wide = sessions.pivot(index="subject_id", columns="session_number", values="score")
    expected = {}
    for subject, row in wide.iterrows():
        for session in range(3, 10):
            window = row.loc[session - 2 : session + 3].to_numpy(dtype=float)
            if not any(map(math.isnan, window)):
                drop = window[2] - window[3]
                t = stats.ttest_ind(window[:3], window[3:]).statistic
                expected[subject, session] = drop >= 7 and drop >= 0.25 * window[2] and t > 2.776
    assessed = found[found["is_assessable"]]
    gains = {(row.subject_id, row.from_session): row.is_sudden_gain for row in assessed.itertuples()}
    assert gains == expected
    assert sum(gains.values()) == 20 and len(gains) == 204


def test_a_step_beside_a_missing_session_is_not_assessable(sessions: pd.DataFrame) -> None:
    """Person 2 has no score at sessions 2, 4 and 11: six sessions in a row are 5 to 10 alone, the step from 7 to 8."""
    found = sudden_gain_steps(sessions[sessions["subject_id"] == 2], higher_is="worse", criteria=BDI)
    assert list(found["from_session"]) == [5, 6, 7, 8, 9]
    assert list(found["is_assessable"]) == [False, False, True, False, False]
    # 27, 17, 19 against 11, 10, 3: means 21 and 8, t = 13 / sqrt((56 + 38) / 4 * 2/3) = 3.28; a drop of 8 of 19.
    step = found.iloc[2]
    assert step["t_value"] == pytest.approx(13 / math.sqrt((56 + 38) / 4 * 2 / 3))
    assert step["is_sudden_gain"]


def test_higher_is_better_mirrors() -> None:
    rows = [(1, number, 27 - score) for number, score in enumerate((18, 19, 18, 9, 8, 9), start=1)]
    frame = pd.DataFrame(rows, columns=["subject_id", "session_number", "score"])
    better = sudden_gain_steps(frame, higher_is="better", criteria=PHQ9["sudden_gain"])
    assert list(better["is_sudden_gain"]) == [False, False, True, False, False]
    worse = sudden_gain_steps(frame, higher_is="worse", criteria=PHQ9["sudden_gain"])
    assert not worse["is_sudden_gain"].any()


def test_sides_that_do_not_vary_have_an_infinite_t() -> None:
    frame = pd.DataFrame(
        [(1, number, score) for number, score in enumerate((20, 20, 20, 14, 14, 14), start=1)],
        columns=["subject_id", "session_number", "score"],
    )
    step = sudden_gain_steps(frame, higher_is="worse", criteria=PHQ9["sudden_gain"]).iloc[2]
    assert step["t_value"] == math.inf and step["is_sudden_gain"]


def test_what_is_given_twice_is_refused() -> None:
    frame = pd.DataFrame([(1, 1, 5), (1, 1, 6)], columns=["subject_id", "session_number", "score"])
    with pytest.raises(ValueError, match="twice"):
        sudden_gain_steps(frame, higher_is="worse", criteria=BDI)
    with pytest.raises(ValueError, match="twice"):
        course_events([Score(1, 5), Score(1, 6)], higher_is="worse", rules=PHQ9)


def test_an_instrument_without_rules_has_no_events() -> None:
    assert trajectory_rules("WSAS") == {}
    assert course_events([Score(0, 40, 1), Score(7, 0, 2)], higher_is="worse", rules={}) == []


def test_a_prorated_total_is_whole_on_the_scale_of_its_instrument() -> None:
    """The warehouse compares prorated totals on a scale that every number of answered items must divide."""
    items = {row["instrument_code"]: row["item_count"] for row in definitions("instruments")}
    prorated = [row for row in definitions("completeness_policies") if row["method"] == "prorate"]
    assert len({row["instrument_code"] for row in prorated}) == len(prorated)
    for row in prorated:
        for answered in range(int(row["minimum_items_answered"]), int(items[row["instrument_code"]])):
            assert int(row["score_scale"]) % answered == 0, row


def test_each_kind_of_event_has_every_criterion_it_needs() -> None:
    needed = {
        "sudden_gain": {"points", "share", "t", "sessions"},
        "sustained_remission": {"score", "days", "breaks"},
        "relapse": {"score"},
        "early_response": {"points", "sessions"},
        "mcid": {"points"},
        "noticed_change": {"share"},
    }
    rows = sorted(
        (row["instrument_code"], row["event_kind"], row["criterion"]) for row in definitions("trajectory_rules")
    )
    assert len(set(rows)) == len(rows)
    for (_, kind), group in itertools.groupby(rows, key=lambda row: row[:2]):
        assert {row[2] for row in group} == needed[kind]
