"""The rules of the trajectories as written down: 95 % intervals, weeks 0 to 12, a model from 30 scores on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from efficacy.trajectories import trajectory_means

COURSES = 40
# Three scores 8, 10, 12: mean 10, standard deviation 2. t with 2 degrees of freedom at 0.975 is 4.302653.
T_2 = 4.302653
# The normal distribution at 0.975.
Z = 1.959964


@pytest.fixture(scope="module")
def means() -> pd.DataFrame:
    drawn, rows = np.random.default_rng(1), []
    for course in range(COURSES):
        for week, everyone in ((0, 40), (1, 40), (2, 30), (3, 29)):
            if course < everyone:
                rows.append((f"r{course:02d}", week, int(drawn.integers(0, 28))))
    rows += [(f"r{course:02d}", 4, score) for course, score in enumerate((8, 10, 12))]
    rows += [("r00", 12, 5), ("r00", 13, 5)]
    scores = pd.DataFrame(rows, columns=["referral_id", "week_of_treatment", "total"])
    scores["instrument_code"], scores["is_prorated"] = "PHQ-9", False
    starters = pd.DataFrame({"referral_id": [f"r{course:02d}" for course in range(COURSES)], "main_modality": "video"})
    found = trajectory_means(scores, starters)
    return found[found["stratum_dimension"] == "modality"].set_index("week_of_treatment")


def test_weeks_zero_to_twelve_are_shown(means: pd.DataFrame) -> None:
    assert list(means.index) == list(range(13))


def test_the_observed_interval_is_a_t_interval_of_95_percent(means: pd.DataFrame) -> None:
    week = means.loc[4]
    margin = T_2 * 2 / 3**0.5
    assert (week["observed_count"], week["observed_mean"]) == (3, 10.0)
    assert (week["observed_ci_low"], week["observed_ci_high"]) == pytest.approx((10 - margin, 10 + margin), abs=1e-5)


def test_the_model_interval_is_a_normal_interval_of_95_percent(means: pd.DataFrame) -> None:
    week = means.loc[0]
    margin = Z * week["model_standard_error"]
    ends = (week["model_mean"] - margin, week["model_mean"] + margin)
    assert (week["model_ci_low"], week["model_ci_high"]) == pytest.approx(ends, abs=1e-6)


def test_a_week_enters_the_model_with_thirty_scores(means: pd.DataFrame) -> None:
    assert list(means.loc[[0, 1, 2, 3, 4, 12], "model_status"]) == ["fitted"] * 3 + ["too_few_scores"] * 3
