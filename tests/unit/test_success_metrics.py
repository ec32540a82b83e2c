"""Four metrics of the same people, and how much change matters."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from efficacy.clinical_significance import NotComputableError
from efficacy.success_metrics import CASE_MIX_NOTE, Reference, noticed_change, success_metrics
from tests.unit.test_clinical_significance import pairs_of

# Variance 25 (SD 5), nobody expected to change: both effect sizes are a fifth of the change.
FLAT = Reference("drawn", 100, Fraction(25), Fraction(0), Fraction(0))

# pre>post of PHQ-9 with the reference above; 0.8 SD are 4 points.
PEOPLE = """
scores response remission effect_size
20>10  yes      no        yes
21>11  no       no        yes
9>4    yes      yes       yes
5>4    no       yes       no
20>16  no       no        yes
20>17  no       no        no
10>5   yes      no        yes
10>15  no       no        no
"""


def _people() -> list[list[str]]:
    return [line.split() for line in PEOPLE.strip().splitlines()[1:]]


@pytest.mark.parametrize(("scores", "response", "remission", "size"), _people())
def test_each_metric_of_one_person(scores: str, response: str, remission: str, size: str) -> None:
    pre, post = map(float, scores.split(">"))
    people = success_metrics(pairs_of((pre, post)), instrument_code="PHQ-9", reference=FLAT).people
    found = ["yes" if people[f"is_{name}"][0] else "no" for name in ("response", "remission", "effect_size")]
    assert found == [response, remission, size]
    assert people["effect_size"][0] == pytest.approx((pre - post) / 5)
    assert people["is_severity_adjusted_effect_size"][0] == people["is_effect_size"][0]


def test_all_four_share_one_denominator_and_who_is_left_out_is_counted() -> None:
    pairs = pairs_of((20, 10), (12, 12), (None, 3), (None, None), (15, None), (0, 0), (9, 2), (10, 2))
    found = success_metrics(pairs, instrument_code="PHQ-9", reference=FLAT, minimum_severity=10)
    assert set(found.metrics["denominator_count"]) == {3}
    assert list(found.metrics["numerator_count"]) == [2, 1, 2, 2]
    assert found.exclusions.values.tolist() == [
        ["missing_pre", 2],
        ["missing_post", 1],
        ["pre_is_zero", 1],
        ["below_severity", 1],
    ]
    assert int(found.exclusions["people_count"].sum()) + 3 == len(pairs)
    assert set(found.metrics["reference_population"]) == {"drawn"} and set(found.metrics["note"]) == {CASE_MIX_NOTE}
    assert found.people["is_response"].isna().sum() == 5


def test_an_instrument_without_a_threshold_says_so() -> None:
    found = success_metrics(pairs_of((20, 10)), instrument_code="GAD-7", reference=FLAT).metrics.set_index("metric_id")
    assert found.loc["remission", "metric_status"] == "no_rule" and pd.isna(found.loc["remission", "numerator_count"])
    assert found.loc["response", "metric_status"] == "computed"


def test_nobody_left_is_no_rate() -> None:
    found = success_metrics(pairs_of((20, None)), instrument_code="PHQ-9", reference=FLAT).metrics
    assert set(found["metric_status"]) == {"no_denominator"} and found["share"].isna().all()


def test_the_reference_is_a_regression_on_severity() -> None:
    drawn = np.random.default_rng(5)
    pre = drawn.integers(8, 27, 80).astype(float)
    post = np.clip(np.round(0.4 * pre + drawn.normal(2, 3, 80)), 0, 27)
    pairs = pd.DataFrame({"subject_id": range(80), "pre": pre, "post": post})
    reference = Reference.of(pairs, name="own", higher_is="worse")
    slope, intercept = np.polyfit(pre, pre - post, 1)
    assert (float(reference.slope), float(reference.intercept)) == pytest.approx((slope, intercept))
    people = success_metrics(pairs[pairs["pre"] > 0], instrument_code="PHQ-9", reference=reference).people
    expected = (pre - post - (intercept + slope * pre)) / pre.std(ddof=1)
    assert people["severity_adjusted_effect_size"].to_numpy() == pytest.approx(expected)
    # Over its own reference population what is beyond expectation is nothing on average.
    assert people["severity_adjusted_effect_size"].mean() == pytest.approx(0, abs=1e-12)
    better = Reference.of(pairs, name="own", higher_is="better")
    assert float(better.slope) == pytest.approx(-slope)


def test_a_reference_needs_people_who_differ() -> None:
    for pairs in (pairs_of(), pairs_of((20, 10)), pairs_of((20, 10), (20, 5))):
        with pytest.raises(NotComputableError):
            Reference.of(pairs, name="none", higher_is="worse")


def test_points_and_percentages_part_at_low_and_high_scores() -> None:
    # 25>20: 5 points, 20 %. 12>8: 4 points, 33 %. 10>5: both. 0>0 has no percentage. 19>15: 4 points, 21.05 %.
    pairs = pairs_of((25, 20), (12, 8), (10, 5), (0, 0), (19, 15), (14, None))
    found = noticed_change(pairs, instrument_code="PHQ-9").set_index("severity_band")
    assert list(found.index) == ["all", "minimal", "mild", "moderate", "moderately_severe", "severe"]
    assert tuple(found.loc["all", ["pairs_count", "mcid_count", "noticed_count", "disagreeing_count"]]) == (4, 2, 3, 3)
    assert found.loc["moderate", "pairs_count"] == 2 and found.loc["minimal", "mcid_status"] == "no_pairs"
    assert found.loc["severe", ["mcid_count", "noticed_count"]].tolist() == [1, 0]
    gad = noticed_change(pairs_of((11, 8), (15, 11)), instrument_code="GAD-7").iloc[0]
    # 3 of 11 is 27.3 %, 4 of 15 is 26.7 %: 26.8 % lies between.
    assert (gad["mcid_status"], gad["noticed_count"]) == ("no_rule", 1)
    assert math.isnan(gad["mcid_share"])
