"""Clinical significance against published counts, a textbook, and the edges each rule has."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from efficacy.change_classes import change_classes
from efficacy.clinical_significance import (
    CLASSES,
    NotComputableError,
    PairStatistics,
    Parameters,
    anchor_change,
    anchor_group_change,
    class_shares,
    combined_change,
    count_pairs,
    cutoff,
    direction,
    methods,
    percentage_change,
    reliable_change,
    standard_error_of_measurement,
    statistical_change,
)
from efficacy.proportions import wilson
from screening.definitions import definitions

HAMD = Parameters("worse", 0.8, 0.5, 8, 8)
BDI = Parameters("worse", 0.801, None, 7.69, 7.52)

# claus_2020, 40 complete pairs of 43: recovered, improved, unchanged, deteriorated, harmed (measures.md 6).
PUBLISHED = """
scale method counts
hamd  JT     26/3/10/1/0
hamd  GLN    26/3/10/1/0
hamd  EN     26/6/5/3/0
hamd  HLL    12/0/16/11/1
hamd  HLN    12/0/16/11/1
hamd  NK     26/2/11/1/0
hamd  HA     23/9/7/1/-
bdi   JT     10/8/22/0/0
"""


def _rows() -> list[list[str]]:
    return [line.split() for line in PUBLISHED.strip().splitlines()[1:]]


def pairs_of(*scores: tuple[float | None, float | None]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "subject_id": range(len(scores)),
            "pre": pd.Series([pre for pre, _ in scores], dtype="float64"),
            "post": pd.Series([post for _, post in scores], dtype="float64"),
        }
    )


@pytest.fixture(scope="module")
def claus(shared_data: Path) -> pd.DataFrame:
    return pd.read_csv(shared_data / "trials" / "claus_2020" / "claus_2020.csv")


def first_and_last(claus: pd.DataFrame, scale: str) -> pd.DataFrame:
    wide = claus.pivot(index="id", columns="time", values=scale)
    return pd.DataFrame({"subject_id": wide.index, "pre": wide[1.0].to_numpy(), "post": wide[4.0].to_numpy()})


@pytest.mark.parametrize(("scale", "method", "counts"), _rows())
def test_published_counts(claus: pd.DataFrame, scale: str, method: str, counts: str) -> None:
    pairs = first_and_last(claus, scale)
    judged = combined_change(pairs, method=method, parameters=HAMD if scale == "hamd" else BDI)
    shares = class_shares(judged, method=method)
    assert list(shares["class_name"]) == list(CLASSES)
    assert "/".join("-" if pd.isna(count) else str(count) for count in shares["class_count"]) == counts
    assert (shares["pairs_count"] == 40).all() and (shares["missing_post_count"] == 3).all()
    assert shares["class_status"].iloc[-1] == ("not_applicable" if method == "HA" else "counted")


@pytest.mark.parametrize(
    ("scale", "parameters", "mean_pre", "sd_pre", "mean_post", "sd_post", "limit"),
    [
        ("hamd", HAMD, 24.85, 3.3401, 14.975, 7.7111, 19.887),
        ("bdi", BDI, 35.475, 8.1586, 25.700, 13.3497, 21.02),
    ],
)
def test_published_statistics(
    claus: pd.DataFrame,
    scale: str,
    parameters: Parameters,
    mean_pre: float,
    sd_pre: float,
    mean_post: float,
    sd_post: float,
    limit: float,
) -> None:
    sample = PairStatistics.of(first_and_last(claus, scale))
    assert (float(sample.mean_pre), float(sample.mean_post)) == pytest.approx((mean_pre, mean_post), abs=5e-4)
    assert float(sample.variance_pre) ** 0.5 == pytest.approx(sd_pre, abs=5e-5)
    assert float(sample.variance_post) ** 0.5 == pytest.approx(sd_post, abs=5e-5)
    assert cutoff("c", sample, parameters) == pytest.approx(limit, abs=5e-3 if scale == "bdi" else 5e-4)


def test_published_error_and_cutoff_of_hageman_arrindell(claus: pd.DataFrame) -> None:
    sample = PairStatistics.of(first_and_last(claus, "hamd"))
    assert standard_error_of_measurement(sample, HAMD) == pytest.approx(1.4937, abs=1e-4)
    assert cutoff("ha", sample, HAMD) == pytest.approx(20.2091, abs=5e-5)


@pytest.mark.parametrize(
    ("scale", "parameters", "least"), [("hamd", HAMD, 4.14), ("bdi", BDI, 10.09)], ids=["hamd", "bdi"]
)
def test_the_smallest_reliable_drop(claus: pd.DataFrame, scale: str, parameters: Parameters, least: float) -> None:
    sample = PairStatistics.of(first_and_last(claus, scale))
    steps = pairs_of((40, 40 - least + 0.01), (40, 40 - least - 0.01))
    found = reliable_change(steps, method="JT", parameters=parameters, sample=sample)
    assert list(found["change_direction"]) == ["unchanged", "improved"]


def test_the_textbook_example() -> None:
    """Jacobson and Truax (1991): SD 7.5, r .80, from 32.5 to 47.5 where higher is better."""
    sample = PairStatistics.given(mean_pre=40, sd_pre=7.5)
    parameters = Parameters("better", 0.8, None, 60, 7.5)
    assert standard_error_of_measurement(sample, parameters) == pytest.approx(3.354, abs=5e-4)
    found = combined_change(pairs_of((32.5, 47.5)), method="JT", parameters=parameters, sample=sample)
    assert found["index_value"][0] == pytest.approx(3.16, abs=5e-3)
    # Cut-off c is 50: reliably better, and not yet beyond it.
    assert found["change_class"][0] == "improved"
    limits = [cutoff(name, sample, parameters) for name in ("a", "b_package", "b_jacobson_truax_1991", "c")]
    assert limits == [55, 45, 45, 50]


def test_the_two_readings_of_cutoff_b_differ_by_whose_spread_they_take() -> None:
    sample, parameters = PairStatistics.given(mean_pre=24, sd_pre=3), Parameters("worse", 0.8, None, 8, 5)
    assert cutoff("b_package", sample, parameters) == 8 + 2 * 3
    assert cutoff("b_jacobson_truax_1991", sample, parameters) == 8 + 2 * 5
    assert cutoff("a", sample, parameters) == 24 - 2 * 3


def test_the_direction_is_that_of_the_instrument() -> None:
    assert direction("PHQ-9") == "worse"
    with pytest.raises(KeyError):
        direction("no such scale")


# SD 10 and r .5: sqrt(2 SEM^2) = 10, so that the index is a tenth of the change, and 1.96 is a change of 19.6.
TENTHS = PairStatistics.given(mean_pre=50, sd_pre=10)


@pytest.mark.parametrize(("change", "expected"), [(19.5, "unchanged"), (19.6, "unchanged"), (19.7, "reliable")])
@pytest.mark.parametrize("higher_is", ["worse", "better"])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_index_of_exactly_the_critical_value_is_no_reliable_change(
    change: float, expected: str, higher_is: str, sign: int
) -> None:
    pairs = pairs_of((50, 50 + sign * change))
    found = reliable_change(pairs, method="JT", parameters=Parameters(higher_is, 0.5), sample=TENTHS)
    better = (sign > 0) == (higher_is == "better")
    name = {"unchanged": "unchanged", "reliable": "improved" if better else "deteriorated"}[expected]
    assert found["change_direction"][0] == name
    assert found["index_value"][0] == pytest.approx(sign * change / 10)


@pytest.mark.parametrize(
    ("pre", "post", "expected"),
    [
        (50, 19, "recovered"),
        (50, 20, "improved"),  # exactly on the cut-off after
        (20, -5, "improved"),  # exactly on the cut-off before
        (19, -5, "improved"),
        (19, 50, "harmed"),
        (20, 50, "deteriorated"),
        (-5, 20, "deteriorated"),
        (25, 19, "unchanged"),
    ],
)
@pytest.mark.parametrize("higher_is", ["worse", "better"])
def test_a_score_on_the_cutoff_is_on_neither_side(pre: float, post: float, expected: str, higher_is: str) -> None:
    """Cut-off c between 50 (SD 10) and -10 (SD 10) is 20; the other direction is the mirror image."""
    mirror = 1 if higher_is == "worse" else -1
    sample = PairStatistics.given(mean_pre=mirror * 50, sd_pre=10)
    parameters = Parameters(higher_is, 0.5, None, mirror * -10, 10)
    assert cutoff("c", sample, parameters) == mirror * 20
    found = combined_change(pairs_of((mirror * pre, mirror * post)), method="JT", parameters=parameters, sample=sample)
    assert found["change_class"][0] == expected


def test_a_cutoff_between_unequal_spreads_is_met_exactly() -> None:
    """(3 * 8 + 5 * 24) / 8 = 18: roots on both sides, and 18 is on it."""
    parameters = Parameters("worse", 0.8, None, 8, 5)
    sample = PairStatistics.given(mean_pre=24, sd_pre=3)
    found = statistical_change(pairs_of((24, 18), (24, 17), (18, 8)), parameters=parameters, sample=sample)
    assert list(found["is_functional_after"]) == [False, True, True]
    assert list(found["is_clinical_before"]) == [True, True, False]
    assert list(found["change_direction"]) == ["unchanged", "improved", "unchanged"]


@pytest.mark.parametrize("method", ["JT", "EN", "GLN"])
def test_without_error_of_measurement_every_change_is_reliable(method: str) -> None:
    pairs = pairs_of((10, 9), (12, 12), (14, 15))
    found = reliable_change(pairs, method=method, parameters=Parameters("worse", 1))
    assert list(found["change_direction"]) == ["improved", "unchanged", "deteriorated"]
    assert list(found["index_value"]) == [-math.inf, 0, math.inf]


@pytest.mark.parametrize("method", ["JT", "GLN", "HLL", "EN", "NK", "HA"])
def test_one_pair_and_no_variation_are_not_computable(method: str) -> None:
    parameters = Parameters("worse", 0.8, 0.8, 8, 8)
    for pairs in (pairs_of(), pairs_of((20, 10)), pairs_of((20, 10), (20, 5))):
        with pytest.raises(NotComputableError):
            reliable_change(pairs, method=method, parameters=parameters)


def test_a_parameter_without_a_source_is_not_made_up() -> None:
    pairs = pairs_of((20, 10), (22, 20))
    with pytest.raises(NotComputableError, match="reliability"):
        reliable_change(pairs, method="JT", parameters=Parameters("worse"))
    with pytest.raises(NotComputableError, match="reliability after"):
        reliable_change(pairs, method="NK", parameters=Parameters("worse", 0.8))
    with pytest.raises(NotComputableError, match="functional"):
        combined_change(pairs, method="JT", parameters=Parameters("worse", 0.8))
    for reliability in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            Parameters("worse", reliability)


def test_everybody_changing_alike_has_no_reliability_of_change() -> None:
    with pytest.raises(NotComputableError, match="by the same"):
        reliable_change(pairs_of((20, 10), (25, 15)), method="HA", parameters=Parameters("worse", 0.8))


def test_missing_scores_are_counted_and_not_classed() -> None:
    pairs = pairs_of((20, 10), (25, 20), (22, None), (None, 4), (None, None), (None, 3))
    assert count_pairs(pairs) == {
        "pairs_count": 2,
        "missing_pre_count": 2,
        "missing_post_count": 1,
        "missing_both_count": 1,
    }
    judged = reliable_change(pairs, method="JT", parameters=Parameters("worse", 0.8))
    assert judged["change_direction"].isna().tolist() == [False, False, True, True, True, True]
    # The statistics are those of complete pairs alone.
    assert (
        judged["index_value"][0]
        == reliable_change(pairs[:2], method="JT", parameters=Parameters("worse", 0.8))["index_value"][0]
    )


def test_nobody_in_a_class_is_a_row_and_no_pairs_is_another_thing() -> None:
    judged = reliable_change(pairs_of((20, 10), (25, 10)), method="JT", parameters=Parameters("worse", 0.8))
    shares = class_shares(judged, column="change_direction").set_index("class_name")
    assert shares.loc["deteriorated", "class_count"] == 0 and shares.loc["deteriorated", "share"] == 0
    empty = class_shares(
        percentage_change(pairs_of((20, None)), higher_is="worse", share=0.5), column="change_direction"
    )
    assert set(empty["class_status"]) == {"no_pairs"} and empty["class_count"].isna().all()


@pytest.mark.parametrize(
    ("pre", "post", "expected"), [(20, 10, "improved"), (20, 11, "unchanged"), (20, 30, "deteriorated")]
)
def test_a_percentage_counts_when_it_is_reached(pre: float, post: float, expected: str) -> None:
    assert percentage_change(pairs_of((pre, post)), higher_is="worse", share=0.5)["change_direction"][0] == expected


def test_nothing_has_no_percentage() -> None:
    found = percentage_change(pairs_of((0, 0), (0, 5)), higher_is="worse", share=0.5)
    assert list(found["pair_status"]) == ["undefined", "undefined"]
    assert class_shares(found, column="change_direction")["undefined_count"][0] == 2


def test_a_percentage_of_tenths_is_not_lost_to_binary_fractions() -> None:
    """27 % of 100 is 27, though 0.27 * 100 is more in binary."""
    found = percentage_change(pairs_of((100, 73)), higher_is="worse", share=0.27)
    assert found["change_direction"][0] == "improved"


@pytest.mark.parametrize(("change", "expected"), [(5, "improved"), (4, "unchanged"), (-5, "deteriorated")])
@pytest.mark.parametrize("higher_is", ["worse", "better"])
def test_the_important_difference_counts_when_it_is_reached(change: float, expected: str, higher_is: str) -> None:
    post = 20 - change if higher_is == "worse" else 20 + change
    assert anchor_change(pairs_of((20, post)), higher_is=higher_is, points=5)["change_direction"][0] == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ((8, 9, 10, 9), "beyond"),
        ((1, 9, 10, 2), "reached"),
        ((1, 8, 9, 0), "not_reached"),
        ((0, 1, 1, 0), "below"),
        ((5, 5, 5, 5), "beyond"),
        ((5,), "not_computable"),
    ],
)
def test_a_group_against_the_important_difference(changes: tuple[float, ...], expected: str) -> None:
    found = anchor_group_change(pairs_of(*((20, 20 - change) for change in changes)), higher_is="worse", points=5)
    assert found["group_class"][0] == expected
    assert found["mean_improvement"][0] == pytest.approx(sum(changes) / len(changes))


def test_indices_are_those_of_the_formulas_in_floats() -> None:
    """The exact indices against the formulas of measures.md 6 written in floating point."""
    drawn = np.random.default_rng(3)
    pre = drawn.integers(5, 27, 60).astype(float)
    post = np.clip(pre + drawn.integers(-12, 5, 60), 0, 27).astype(float)
    r, r_post = 0.83, 0.7
    m1, m2, s1, s2 = pre.mean(), post.mean(), pre.std(ddof=1), post.std(ddof=1)
    sem, d = s1 * math.sqrt(1 - r), post - pre
    correlation = np.corrcoef(pre, post)[0, 1]
    r1, r2 = ((s**2 - sem**2) / s**2 for s in (s1, s2))
    r_dd = (s1**2 * r1 + s2**2 * r2 - 2 * s1 * s2 * correlation) / (s1**2 + s2**2 - 2 * s1 * s2 * correlation)
    residual = post - (r * (pre - m1) + m1)
    expected = {
        "JT": d / math.sqrt(2 * sem**2),
        "GLN": ((post - m1) - r * (pre - m1)) / (s1 * math.sqrt(1 - r**2)),
        "HLL": ((post - m2) - r * (pre - m1)) / (s1 * math.sqrt(1 - r**2)),
        "EN": residual / sem,
        "NK": residual / math.sqrt(r**2 * s1**2 * (1 - r) + s1**2 * (1 - r_post)),
        "HA": (d * r_dd + (m2 - m1) * (1 - r_dd)) / (math.sqrt(r_dd) * math.sqrt(2 * sem**2)),
    }
    pairs = pd.DataFrame({"subject_id": range(60), "pre": pre, "post": post})
    parameters = Parameters("worse", r, r_post)
    for method, values in expected.items():
        found = reliable_change(pairs, method=method, parameters=parameters)["index_value"]
        assert found.to_numpy() == pytest.approx(values, abs=1e-10), method


def test_every_method_has_a_row_and_every_row_a_cutoff() -> None:
    cutoffs = {row["cutoff_id"] for row in definitions("clinical_significance_cutoffs")}
    assert {row["cutoff_id"] for row in methods().values()} <= cutoffs
    assert methods()["HLN"] is methods()["HLL"]
    assert {row["method_id"]: row["critical_value"] for row in methods().values()} == {
        "JT": "1.96",
        "GLN": "1.96",
        "HLL": "1.96",
        "EN": "1.96",
        "NK": "1.96",
        "HA": "1.65",
    }


# 5 of 10 and 0 of 10 at 95 %: z 1.959964, z^2 3.841459. (0.5 + 0.192073) / 1.384146 = 0.5 in the middle.
@pytest.mark.parametrize(
    ("count", "total", "low", "high"), [(5, 10, 0.236593, 0.763407), (0, 10, 0, 0.277533), (10, 10, 0.722467, 1)]
)
def test_wilson_interval(count: int, total: int, low: float, high: float) -> None:
    assert wilson(count, total, confidence=0.95) == pytest.approx((low, high), abs=1e-6)
    assert all(map(math.isnan, wilson(0, 0, confidence=0.95)))


def test_a_statistic_is_exact() -> None:
    sample = PairStatistics.of(pairs_of((1, 0), (2, 1), (4, 0)))
    assert (sample.mean_pre, sample.variance_pre) == (Fraction(7, 3), Fraction(7, 3))


def test_every_rule_of_an_instrument_is_reported_with_and_without_prorated_pairs() -> None:
    courses = pairs_of((20, 10), (12, 11), (20, 15), (15, None)).assign(
        instrument_code="PHQ-9", is_pair_complete=[True, True, False, None]
    )
    found = change_classes(courses, parameters={"PHQ-9": Parameters("worse", 0.8, 0.8, 5, 4)})
    asked = found[found["method_id"] == "phq9_mcid"].set_index(["completeness_policy", "class_name"])
    assert asked.loc[("prorate_2", "improved"), ["class_count", "pairs_count", "missing_post_count"]].tolist() == [
        2,
        3,
        1,
    ]
    assert asked.loc[("complete_case", "improved"), ["class_count", "pairs_count"]].tolist() == [1, 2]
    assert asked.loc[("prorate_2", "improved"), "prorated_pairs_share"] == pytest.approx(1 / 3)
    combined = found[(found["approach"] == "combined") & (found["class_status"] == "counted")]
    assert {"JT", "EN", "HLL"} <= set(combined["method_id"])
    nothing = change_classes(courses.iloc[:0])
    assert list(nothing.columns) == list(found.columns) and nothing.empty


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_why_an_index_is_not_computable_does_not_hang_on_the_order_of_courses(order: tuple[int, ...]) -> None:
    pairs = pairs_of((20, 10), (20, 4), (20, 15), (12, 11))
    courses = pairs.assign(instrument_code="PHQ-9", is_pair_complete=True).iloc[list(order)].reset_index(drop=True)
    found = change_classes(courses)
    assert set(found.loc[found["approach"] == "combined", "reason"]) == {"the reliability is not known"}
    alike = change_classes(courses.assign(pre=20))
    assert set(alike.loc[alike["approach"] == "combined", "reason"]) == {
        "the scores before do not vary",
        "the reliability is not known",  # of the methods that ask for it first
    }
