"""The likelihood model against complete data, against direct maximisation, and against what it must refuse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from efficacy.trajectories import analysis_rules, fit_visits, trajectory_means


def _scores(people: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    covariance = 9 * 0.8 ** np.abs(np.subtract.outer(range(3), range(3))) + 4
    return rng.multivariate_normal([14, 11, 8], covariance, size=people)


def _leaving(scores: np.ndarray, seed: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    missing = scores.copy()
    for week in (1, 2):
        gone = np.isnan(missing[:, week - 1]) | (
            rng.random(len(scores)) < 1 / (1 + np.exp(2 - 0.25 * (missing[:, week - 1] - 10)))
        )
        missing[gone, week:] = np.nan
    missing[rng.random(len(scores)) < 0.1, 1] = np.nan
    return missing


def test_complete_data_give_the_sample_means() -> None:
    scores = _scores(200)
    fit = fit_visits(scores, tolerance=1e-9, iterations=500)
    assert fit.mean == pytest.approx(scores.mean(axis=0), abs=1e-9)
    assert fit.covariance == pytest.approx(np.cov(scores.T, bias=True), abs=1e-6)
    assert fit.standard_error == pytest.approx(scores.std(axis=0) / np.sqrt(200), abs=1e-9)


def test_agrees_with_direct_maximisation_and_its_numerical_information() -> None:
    scores = _leaving(_scores(150))
    fit = fit_visits(scores, tolerance=1e-9, iterations=2000)
    assert fit.status == "fitted"
    lower = np.tril_indices(3)
    rows = [row for row in scores if not np.isnan(row).all()]

    def loss(parameters: np.ndarray) -> float:
        covariance = np.zeros((3, 3))
        covariance[lower] = parameters[3:]
        covariance = covariance + covariance.T - np.diag(np.diag(covariance))
        value = 0.0
        for row in rows:
            seen = ~np.isnan(row)
            block = covariance[np.ix_(seen, seen)]
            gap = row[seen] - parameters[:3][seen]
            sign, determinant = np.linalg.slogdet(block)
            if sign <= 0:
                return 1e9
            value += 0.5 * (determinant + gap @ np.linalg.solve(block, gap))
        return value

    start = np.concatenate([np.nanmean(scores, axis=0), np.cov(_scores(150).T)[lower]])
    best = optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-6, "maxiter": 500}).x
    assert fit.mean == pytest.approx(best[:3], abs=1e-3)
    step, size = 1e-3, len(best)
    information = np.empty((size, size))
    unit = np.eye(size) * step
    for i in range(size):
        for j in range(size):
            information[i, j] = (
                loss(best + unit[i] + unit[j])
                - loss(best + unit[i] - unit[j])
                - loss(best - unit[i] + unit[j])
                + loss(best - unit[i] - unit[j])
            ) / (4 * step * step)
    errors = np.sqrt(np.diag(np.linalg.inv(information)))[:3]
    assert fit.standard_error == pytest.approx(errors, rel=2e-3)


def test_recovers_the_mean_of_those_who_left() -> None:
    truth, seen, model = [], [], []
    for seed in range(8):
        complete = _scores(800, seed)
        left = _leaving(complete, seed + 100)
        truth.append(complete.mean(axis=0)[2])
        seen.append(np.nanmean(left, axis=0)[2])
        model.append(fit_visits(left, tolerance=1e-7, iterations=2000).mean[2])
    assert abs(np.mean(model) - np.mean(truth)) < 0.15
    assert np.mean(truth) - np.mean(seen) > 0.5


def test_weeks_with_too_few_scores_have_no_model_mean() -> None:
    rules = {**analysis_rules(), "trajectory_minimum_observed": 30.0}
    rng = np.random.default_rng(4)
    rows = [
        {
            "referral_id": f"r{person}",
            "instrument_code": "PHQ-9",
            "week_of_treatment": week,
            "total": float(value),
            "is_prorated": False,
        }
        for person in range(60)
        for week, value in enumerate(rng.integers(2, 20, 3))
        if week < 2 or person < 29
    ]
    starters = pd.DataFrame({"referral_id": [f"r{person}" for person in range(70)], "main_modality": ["video"] * 70})
    frame = trajectory_means(pd.DataFrame(rows), starters, rules=rules)
    whole = frame[frame["stratum_dimension"] == "all"].set_index("week_of_treatment")
    assert list(whole["observed_count"][:3]) == [60, 60, 29]
    assert whole["model_status"][2] == "too_few_scores"
    assert np.isnan(whole["model_mean"][2])
    assert whole["model_status"][1] == "fitted"
    assert set(whole["starters_count"]) == {70}
