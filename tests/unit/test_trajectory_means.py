"""The model of trajectories against independent computations: closed forms, direct maximisation, known truth."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from efficacy.trajectories import analysis_rules, fit_visits, trajectory_means

RULES = {
    "trajectory_last_week": 3.0,
    "trajectory_minimum_observed": 10.0,
    "confidence_level": 0.95,
    "model_tolerance": 1e-8,
    "model_iterations": 600.0,
}
MEAN = np.array([15.0, 12.0, 10.0, 9.0])
COVARIANCE = 16.0 * 0.8 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))


def fit(values: np.ndarray, iterations: int = 600, tolerance: float = 1e-8):
    return fit_visits(values, tolerance=tolerance, iterations=iterations)


def leaving(rng: np.random.Generator, people: int, visits: int) -> np.ndarray:
    """Scores where the low scorers leave after each visit, and one form in ten is not filled in."""
    values = rng.multivariate_normal(MEAN[:visits], COVARIANCE[:visits, :visits], people)
    seen = values.copy()
    gone = np.zeros(people, dtype=bool)
    for visit in range(1, visits):
        gone |= rng.random(people) < 1 / (1 + np.exp(0.5 * (values[:, visit - 1] - MEAN[visit - 1]) + 0.5))
        seen[gone, visit] = np.nan
    return seen


def long(values: np.ndarray, modality: list[str | None] | str = "video", instrument: str = "PHQ-9"):
    """Scores and starters as frames, as the command hands them over."""
    names = [f"r{number:05d}" for number in range(len(values))]
    starters = pd.DataFrame({"referral_id": names, "main_modality": modality})
    row, week = np.nonzero(~np.isnan(values))
    scores = pd.DataFrame(
        {
            "referral_id": np.array(names, dtype=object)[row],
            "instrument_code": instrument,
            "week_of_treatment": week,
            "total": values[row, week],
            "is_prorated": False,
        }
    )
    return scores, starters


# --- against direct maximisation: person by person, another parametrisation, derivatives by differences


def negative_likelihood(values: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    total = 0.0
    for row in values:
        there = ~np.isnan(row)
        if there.any():
            total -= stats.multivariate_normal.logpdf(
                row[there], mean[there], covariance[np.ix_(there, there)], allow_singular=False
            )
    return total


def hessian(function, at: np.ndarray, steps: np.ndarray) -> np.ndarray:
    size = len(at)
    result = np.zeros((size, size))
    shift = np.diag(steps)
    for i in range(size):
        for j in range(i, size):
            corners = [function(at + a * shift[i] + b * shift[j]) for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
            result[i, j] = result[j, i] = (corners[0] - corners[1] - corners[2] + corners[3]) / (
                4 * steps[i] * steps[j]
            )
    return result


def test_agrees_with_direct_maximisation_and_its_numerical_hessian() -> None:
    values = leaving(np.random.default_rng(3), 70, 3)
    values[5, 0] = np.nan  # not monotone
    values[6] = np.nan  # never answered
    lower = np.tril_indices(3)

    def from_cholesky(parameters: np.ndarray) -> float:
        factor = np.zeros((3, 3))
        factor[lower] = parameters[3:]
        factor[np.diag_indices(3)] = np.exp(np.diag(factor))
        return negative_likelihood(values, parameters[:3], factor @ factor.T)

    def from_covariance(parameters: np.ndarray) -> float:
        covariance = np.zeros((3, 3))
        covariance[lower] = parameters[3:]
        covariance = covariance + np.tril(covariance, -1).T
        return negative_likelihood(values, parameters[:3], covariance)

    start = np.concatenate([np.nanmean(values, axis=0), [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]])
    best = optimize.minimize(from_cholesky, start, method="BFGS", options={"gtol": 1e-6})
    factor = np.zeros((3, 3))
    factor[lower] = best.x[3:]
    factor[np.diag_indices(3)] = np.exp(np.diag(factor))
    top = np.concatenate([best.x[:3], (factor @ factor.T)[lower]])
    errors = np.sqrt(np.diag(np.linalg.inv(hessian(from_covariance, top, np.full(9, 2e-3))))[:3])

    ours = fit(values)
    assert ours.status == "fitted"
    np.testing.assert_allclose(ours.mean, top[:3], atol=1e-4)
    np.testing.assert_allclose(ours.covariance[lower], top[3:], atol=5e-3)
    np.testing.assert_allclose(ours.standard_error, errors, atol=1e-3)


def test_two_visits_have_the_closed_form_of_anderson() -> None:
    """Monotone, two visits (Anderson 1957): the mean of the second is moved along the regression on the first."""
    values = leaving(np.random.default_rng(4), 500, 2)
    both = ~np.isnan(values[:, 1])
    first, second = values[both].T
    slope = np.cov(first, second, ddof=0)[0, 1] / first.var()
    expected = second.mean() + slope * (values[:, 0].mean() - first.mean())
    ours = fit(values)
    np.testing.assert_allclose(ours.mean, [values[:, 0].mean(), expected], atol=1e-7)
    residual = second.var() - slope**2 * first.var()
    n, m = len(values), int(both.sum())
    # Little and Rubin (2019), 7.2.2, formula for the large-sample variance of the second mean.
    variance = residual * (1 / m + (values[:, 0].mean() - first.mean()) ** 2 / (m * first.var()))
    variance += slope**2 * values[:, 0].var() / n
    np.testing.assert_allclose(ours.standard_error[1], np.sqrt(variance), rtol=1e-6)


def test_complete_scores_give_the_sample_mean_and_its_standard_error() -> None:
    values = np.random.default_rng(5).multivariate_normal(MEAN, COVARIANCE, 300)
    ours = fit(values)
    np.testing.assert_allclose(ours.mean, values.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(ours.standard_error, values.std(axis=0) / np.sqrt(300), rtol=1e-8)
    frame = trajectory_means(*long(values, ["video"] * 120 + ["group"] * 180), rules=RULES)
    everyone = frame[frame["stratum_dimension"] == "all"]
    np.testing.assert_allclose(everyone["model_mean"], values.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(everyone["observed_mean"], values.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(everyone["model_standard_error"], values.std(axis=0) / np.sqrt(300), rtol=1e-8)


def test_standard_errors_are_not_those_of_complete_data() -> None:
    ours = fit(leaving(np.random.default_rng(6), 400, 4))
    assert (ours.standard_error[1:] > 1.05 * np.sqrt(np.diag(ours.covariance)[1:] / 400)).all()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(7)
    held, observed_held = [], []
    for _ in range(300):
        values = leaving(rng, 250, 4)
        ours = fit(values, tolerance=1e-6)
        assert ours.status == "fitted"
        held.append(np.abs(ours.mean - MEAN) <= 1.96 * ours.standard_error)
        count = (~np.isnan(values)).sum(axis=0)
        observed_held.append(
            np.abs(np.nanmean(values, axis=0) - MEAN) <= 1.96 * np.nanstd(values, axis=0) / np.sqrt(count)
        )
    coverage = np.mean(held, axis=0)
    assert (coverage > 0.91).all() and (coverage < 0.985).all()
    assert np.mean(observed_held, axis=0)[3] < 0.2  # those still answering are not everyone


# --- never a wrong number


@pytest.mark.parametrize("kind", ["constant", "copied", "never_together", "too_few_people", "nobody", "empty_visit"])
def test_what_cannot_be_estimated_has_no_number(kind: str) -> None:
    rng = np.random.default_rng(8)
    values = rng.multivariate_normal(MEAN, COVARIANCE, 60)
    if kind == "constant":
        values[:, 2] = 7.0
    elif kind == "copied":
        values[:, 3] = values[:, 2]
    elif kind == "never_together":
        values[:30, 2] = np.nan
        values[30:, 3] = np.nan
    elif kind == "too_few_people":
        values = values[:4]
    elif kind == "nobody":
        values = np.full((10, 4), np.nan)
    else:
        values[:, 1] = np.nan
    ours = fit(values)
    assert ours.status == "not_identified"
    assert np.isnan(ours.mean).all() and np.isnan(ours.standard_error).all()


def test_a_fit_that_does_not_converge_has_no_number() -> None:
    ours = fit(leaving(np.random.default_rng(9), 200, 4), iterations=1, tolerance=0.0)
    assert ours.status == "not_converged"
    assert np.isnan(ours.mean).all() and np.isnan(ours.standard_error).all()


def test_an_infinite_score_is_an_error() -> None:
    values = np.ones((5, 2))
    values[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        fit(values)


def test_a_week_below_the_minimum_says_so_and_leaves_the_others_alone() -> None:
    values = leaving(np.random.default_rng(10), 200, 4)
    values[9:, 3] = np.nan
    values[:9, 3] = 5.0 + np.arange(9)
    frame = trajectory_means(*long(values), rules=RULES)
    week_3 = frame[frame["week_of_treatment"] == 3]
    assert (week_3["model_status"] == "too_few_scores").all()
    assert week_3[["model_mean", "model_standard_error", "model_ci_low", "model_ci_high"]].isna().all(axis=None)
    assert (week_3["observed_count"] == 9).all() and (week_3["observed_mean"] == 9.0).all()
    others = frame[(frame["week_of_treatment"] < 3) & (frame["stratum_dimension"] == "all")]
    np.testing.assert_allclose(others["model_mean"], fit(values[:, :3]).mean, atol=1e-7)


def test_a_week_that_breaks_the_model_goes_and_the_rest_is_estimated() -> None:
    values = np.random.default_rng(11).multivariate_normal(MEAN, COVARIANCE, 100)
    values[20:, 3] = np.nan
    values[:20, 3] = 4.0
    frame = trajectory_means(*long(values), rules=RULES).query("stratum_dimension == 'all'")
    assert list(frame["model_status"]) == ["fitted"] * 3 + ["not_identified"]
    np.testing.assert_allclose(frame["model_mean"][:3], values[:, :3].mean(axis=0), atol=1e-8)
    assert frame["model_mean"].isna().to_list() == [False] * 3 + [True]


# --- the frame


def test_starters_without_a_score_count_and_change_nothing_else() -> None:
    values = leaving(np.random.default_rng(12), 150, 4)
    silent = np.vstack([values, np.full((50, 4), np.nan)])
    with_them = trajectory_means(*long(silent), rules=RULES)
    without = trajectory_means(*long(values), rules=RULES)
    assert (with_them["starters_count"] == 200).all() and (without["starters_count"] == 150).all()
    np.testing.assert_allclose(with_them["model_mean"], without["model_mean"], atol=1e-9)
    assert with_them["observed_count"].to_list() == without["observed_count"].to_list()
    assert with_them["method"].str.contains("starters without any score are represented").all()
    assert with_them["method"].str.contains("after discharge count as missing").all()


def test_all_starters_are_the_modalities_weighted_by_starters() -> None:
    """Leavers by modality: with it the mean is found, and the small modality is fitted with the unknown ones."""
    rng = np.random.default_rng(13)
    values = rng.multivariate_normal(MEAN, COVARIANCE, 1020)
    values[600:1000] += [0.0, 2.0, 4.0, 6.0]
    truth = values[:1000].mean(axis=0)
    values[600:900, 3] = np.nan  # three of four of the second modality leave before the last week
    modality = ["video"] * 600 + ["group"] * 400 + ["text"] * 15 + [None] * 5
    frame = trajectory_means(*long(values, modality), rules=RULES)
    parts = frame[frame["stratum_dimension"] == "modality"]
    assert sorted(parts["stratum_value"].unique()) == ["group", "text", "video"]
    everyone = frame[frame["stratum_dimension"] == "all"]
    assert (everyone["starters_count"] == 1020).all() and (everyone["model_status"] == "fitted").all()
    assert (np.abs(everyone["model_mean"].to_numpy() - truth) < 0.5).all()
    weighted = sum(
        share * parts.loc[parts["stratum_value"] == name, "model_mean"].to_numpy()
        for name, share in (("video", 600 / 1020), ("group", 400 / 1020))
    )
    rest = np.isin(np.array(modality, dtype=object), ["video", "group"], invert=True)
    weighted = weighted + fit(values[rest]).mean * 20 / 1020
    np.testing.assert_allclose(everyone["model_mean"], weighted, atol=1e-6)


def test_one_modality_alone_is_everyone() -> None:
    values = leaving(np.random.default_rng(14), 200, 4)
    frame = trajectory_means(*long(values), rules=RULES)
    everyone, video = (frame[frame["stratum_dimension"] == name] for name in ("all", "modality"))
    for column in ("model_mean", "model_standard_error", "observed_mean"):
        np.testing.assert_allclose(everyone[column], video[column], atol=1e-9)


def test_observed_mean_interval_share_and_weeks() -> None:
    values = leaving(np.random.default_rng(15), 100, 4)
    scores, starters = long(values)
    scores["is_prorated"] = np.arange(len(scores)) % 4 == 0
    scores = pd.concat([scores, scores.iloc[:1].assign(week_of_treatment=4), scores.iloc[:1].assign(referral_id="x")])
    frame = trajectory_means(scores, starters, rules=RULES).query("stratum_dimension == 'all'")
    assert frame["week_of_treatment"].to_list() == [0, 1, 2, 3]
    for week in range(4):
        kept = values[~np.isnan(values[:, week]), week]
        row = frame.iloc[week]
        low, high = stats.ttest_1samp(kept, 0.0).confidence_interval(0.95)
        assert row["observed_count"] == len(kept)
        np.testing.assert_allclose(
            [row["observed_mean"], row["observed_ci_low"], row["observed_ci_high"]], [kept.mean(), low, high]
        )
        own = scores[(scores["week_of_treatment"] == week) & (scores["referral_id"] != "x")]
        assert row["prorated_share"] == pytest.approx(own["is_prorated"].mean())
    np.testing.assert_allclose(
        frame["model_ci_high"] - frame["model_mean"], stats.norm.ppf(0.975) * frame["model_standard_error"]
    )


def test_order_of_rows_does_not_matter() -> None:
    scores, starters = long(leaving(np.random.default_rng(16), 120, 4), ["video"] * 60 + ["text"] * 60)
    shuffled = trajectory_means(
        scores.sample(frac=1, random_state=1), starters.sample(frac=1, random_state=2), rules=RULES
    )
    pd.testing.assert_frame_equal(shuffled, trajectory_means(scores, starters, rules=RULES), rtol=1e-7)


def test_no_scores_give_no_rows_of_the_same_columns() -> None:
    scores, starters = long(leaving(np.random.default_rng(17), 60, 4))
    full, none = (trajectory_means(rows, starters, rules=RULES) for rows in (scores, scores.iloc[:0]))
    assert len(none) == 0
    assert none.dtypes.to_dict() == full.dtypes.to_dict()


def test_a_score_given_twice_is_an_error() -> None:
    scores, starters = long(leaving(np.random.default_rng(18), 60, 4))
    with pytest.raises(ValueError, match="duplicate"):
        trajectory_means(pd.concat([scores, scores.iloc[:1]]), starters, rules=RULES)


def test_rules_are_rows_with_a_source() -> None:
    assert set(analysis_rules()) == set(RULES)


@pytest.mark.slow
def test_a_large_service_is_fitted_in_seconds() -> None:
    """15,000 starters, 13 weeks, 2 instruments, 9 strata."""
    rng = np.random.default_rng(19)
    weeks = np.arange(13)
    means = 14.0 * np.exp(-weeks / 9)
    covariance = 20.0 * 0.5 * (0.9 ** np.abs(np.subtract.outer(weeks, weeks)) + np.eye(13))
    values = rng.multivariate_normal(means, covariance, 15_000)
    values[rng.random(values.shape) < 0.25] = np.nan
    values[weeks[None, :] > rng.integers(2, 22, 15_000)[:, None]] = np.nan
    modality = [f"m{number % 8}" for number in range(15_000)]
    scores = pd.concat([long(values, modality, name)[0] for name in ("PHQ-9", "GAD-7")])
    starters = long(values, modality)[1]
    started = time.monotonic()
    frame = trajectory_means(scores, starters)
    assert time.monotonic() - started < 30  # 5 s on two free cores
    assert (frame["model_status"] == "fitted").all() and len(frame) == 2 * 9 * 13


def test_people_are_counted_beside_their_courses() -> None:
    """Disclosure control judges people: one person may have several courses."""
    values = np.array([[15.0, 12.0], [14.0, np.nan], [16.0, 11.0], [13.0, 10.0]])
    scores, starters = long(values)
    starters["person_id"] = ["a", "a", "b", "b"]
    means = trajectory_means(scores, starters, rules={**RULES, "trajectory_last_week": 1.0})
    whole = means[means["stratum_dimension"] == "all"]
    assert list(whole["starters_count"]) == [4, 4]
    assert list(whole["starters_people_count"]) == [2, 2]
    assert list(whole["observed_count"]) == [4, 3]
    assert list(whole["observed_people_count"]) == [2, 2]
