"""Population means by week of treatment: of those still answering, and of all starters under missing at random.

The model is a multivariate normal over visits with an unstructured mean and covariance, fitted by maximum likelihood to
every score there is (EM over missingness patterns, Little and Rubin 2019, 11.2). Standard errors come from the inverse of
the whole observed information, means and covariances together, because under missing at random the two are not orthogonal
(Kenward and Molenberghs 1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from screening.definitions import definitions

Matrix = NDArray[np.float64]
METHOD = (
    "Model: maximum likelihood, multivariate normal over weeks, unstructured covariance, missing at random; standard "
    "errors from the observed information. Observed: mean of the scores of that week, t interval."
)


def analysis_rules() -> dict[str, float]:
    """``analysis_rules.csv`` as rule -> value."""
    return {row["rule_id"]: float(row["rule_value"]) for row in definitions("analysis_rules")}


@dataclass(frozen=True)
class Fit:
    """Means, standard errors (score points) and covariance of the visits; ``status`` is fitted or says why not."""

    mean: Matrix
    standard_error: Matrix
    covariance: Matrix
    iterations: int
    status: str


def fit_visits(scores: Matrix, *, tolerance: float, iterations: int) -> Fit:
    """Fit persons x visits (NaN = missing) by EM.

    Rows without any score say nothing and are left out: under missing at random they are represented by the others.
    Status is ``fitted``, ``not_converged`` or ``not_identified`` (the observed information is singular).
    """
    kept = scores[~np.isnan(scores).all(axis=1)]
    width = kept.shape[1]
    observed = ~np.isnan(kept)
    patterns, member = np.unique(observed, axis=0, return_inverse=True)
    member = member.reshape(-1)
    filled = np.where(observed, kept, 0.0)
    mask = patterns.astype(float)
    count = np.bincount(member, minlength=len(patterns)).astype(float)
    sums = np.zeros((len(patterns), width))
    np.add.at(sums, member, filled)
    products = np.zeros((len(patterns), width, width))
    order = np.argsort(member, kind="stable")
    edges = np.concatenate([[0], np.cumsum(count).astype(int)])
    for number in range(len(patterns)):
        rows = filled[order[edges[number] : edges[number + 1]]]
        products[number] = rows.T @ rows
    mean = np.nanmean(kept, axis=0)
    spread = np.nanvar(kept, axis=0) + 1e-6
    covariance = np.sqrt(np.outer(spread, spread)) * (0.5 + 0.5 * np.eye(width))
    total = count.sum()
    for iteration in range(1, iterations + 1):
        inverse, first, second = _by_pattern(mean, covariance, mask, count, sums, products)
        regression = covariance[None] @ inverse
        step = np.einsum("pij,pj->i", regression, first) / total
        spread_sum = np.einsum("pij,pjk,plk->il", regression, second, regression, optimize=True)
        spread_sum += total * covariance - np.einsum("p,pij,jk->ik", count, regression, covariance, optimize=True)
        previous = covariance
        covariance = spread_sum / total - np.outer(step, step)
        covariance = (covariance + covariance.T) / 2
        mean = mean + step
        moved = np.abs(covariance - previous).max() / max(1.0, float(np.abs(covariance).max()))
        if np.abs(step).max() < tolerance and moved < tolerance:
            break
    else:
        return Fit(mean, np.full(width, np.nan), covariance, iterations, "not_converged")
    inverse, first, second = _by_pattern(mean, covariance, mask, count, sums, products)
    error = _standard_errors(inverse, first, second, count)
    return Fit(mean, error, covariance, iteration, "fitted" if np.isfinite(error).all() else "not_identified")


def _by_pattern(
    mean: Matrix, covariance: Matrix, mask: Matrix, count: Matrix, sums: Matrix, products: Matrix
) -> tuple[Matrix, Matrix, Matrix]:
    """Per pattern: inverse of the observed block (zero elsewhere), centred sums and centred products."""
    both = mask[:, :, None] * mask[:, None, :]
    gap = np.eye(mask.shape[1])[None] * (1 - mask)[:, :, None]
    inverse = np.linalg.inv(both * covariance[None] + gap) * both
    centre = mask * mean[None]
    first = sums - count[:, None] * centre
    cross = sums[:, :, None] * centre[:, None, :]
    second = products - cross - cross.transpose(0, 2, 1)
    second = second + count[:, None, None] * centre[:, :, None] * centre[:, None, :]
    return inverse, first, second


def _standard_errors(inverse: Matrix, first: Matrix, second: Matrix, count: Matrix) -> Matrix:
    """Roots of the diagonal of the inverse observed information's block of the means; NaN where it is singular."""
    width = inverse.shape[1]
    pairs = [(i, j) for i in range(width) for j in range(i, width)]
    duplicate = np.zeros((width * width, len(pairs)))
    for number, (i, j) in enumerate(pairs):
        duplicate[i * width + j, number] = duplicate[j * width + i, number] = 1.0
    weighted = inverse @ second @ inverse
    information_mean = np.einsum("p,pij->ij", count, inverse)
    pulled = np.einsum("pij,pj->pi", inverse, first)
    cross = np.einsum("pij,pk->ijk", inverse, pulled).reshape(width, width * width) @ duplicate
    curvature = np.einsum("pjk,pli->ijkl", inverse, weighted, optimize=True)
    curvature -= 0.5 * np.einsum("p,pjk,pli->ijkl", count, inverse, inverse, optimize=True)
    block = duplicate.T @ curvature.reshape(width * width, width * width) @ duplicate
    information = np.block([[information_mean, cross], [cross.T, (block + block.T) / 2]])
    scale = np.sqrt(np.abs(np.diag(information)))
    if not np.all(scale > 0):
        return np.full(width, np.nan)
    scaled = information / np.outer(scale, scale)
    values = np.linalg.eigvalsh(scaled)
    if values[0] <= 1e-10:
        return np.full(width, np.nan)
    variance = np.diag(np.linalg.inv(scaled))[:width] / scale[:width] ** 2
    return np.asarray(np.sqrt(variance))


def trajectory_means(
    scores: pd.DataFrame, starters: pd.DataFrame, *, rules: dict[str, float] | None = None
) -> pd.DataFrame:
    """Means by instrument, stratum and week.

    ``starters``: one row per course that began treatment (``referral_id``, ``main_modality``). ``scores``: one row per
    course, instrument and week (``referral_id``, ``instrument_code``, ``week_of_treatment``, ``total``, ``is_prorated``);
    week 0 is the baseline. Returns one row per instrument, stratum and week with counts, both means and their intervals
    (score points); a week with too few scores, or a model that did not hold, has no model mean and says why.
    """
    rules = rules or analysis_rules()
    last = int(rules["trajectory_last_week"])
    weeks = np.arange(last + 1)
    frames = []
    strata: list[tuple[str, str, pd.Series]] = [("all", "all", starters["referral_id"])]
    known = starters.dropna(subset=["main_modality"])
    strata += [("modality", str(name), group["referral_id"]) for name, group in known.groupby("main_modality")]
    for instrument, own in scores.groupby("instrument_code"):
        for dimension, value, members in strata:
            inside = own[own["referral_id"].isin(set(members)) & own["week_of_treatment"].between(0, last)]
            frame = _stratum(inside, weeks, rules)
            frame.insert(0, "instrument_code", str(instrument))
            frame.insert(1, "stratum_dimension", dimension)
            frame.insert(2, "stratum_value", value)
            frame.insert(4, "starters_count", len(members))
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _stratum(inside: pd.DataFrame, weeks: NDArray[Any], rules: dict[str, float]) -> pd.DataFrame:
    wide = inside.pivot(index="referral_id", columns="week_of_treatment", values="total").reindex(columns=weeks)
    values = wide.to_numpy(dtype=float)
    observed = (~np.isnan(values)).sum(axis=0)
    upper = 0.5 + rules["confidence_level"] / 2
    rows = pd.DataFrame({"week_of_treatment": weeks, "observed_count": observed})
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(observed > 0, np.nansum(values, axis=0) / observed, np.nan)
        deviation = np.sqrt(np.nansum((values - mean) ** 2, axis=0) / (observed - 1))
        margin = np.where(
            observed > 1, stats.t.ppf(upper, np.maximum(observed - 1, 1)) * deviation / np.sqrt(observed), np.nan
        )
    rows["observed_mean"], rows["observed_ci_low"], rows["observed_ci_high"] = mean, mean - margin, mean + margin
    share = inside.groupby("week_of_treatment")["is_prorated"].mean().reindex(weeks)
    rows["prorated_share"] = share.to_numpy(dtype=float)
    enough = observed >= rules["trajectory_minimum_observed"]
    estimate = {name: np.full(len(weeks), np.nan) for name in ("mean", "error")}
    status = np.where(enough, "not_identified", "too_few_scores").astype(object)
    if enough.any():
        fit = fit_visits(
            values[:, enough], tolerance=rules["model_tolerance"], iterations=int(rules["model_iterations"])
        )
        status[enough] = fit.status
        if fit.status == "fitted":
            estimate["mean"][enough], estimate["error"][enough] = fit.mean, fit.standard_error
    z = stats.norm.ppf(upper)
    rows["model_mean"], rows["model_standard_error"] = estimate["mean"], estimate["error"]
    rows["model_ci_low"] = estimate["mean"] - z * estimate["error"]
    rows["model_ci_high"] = estimate["mean"] + z * estimate["error"]
    rows["model_status"] = status
    rows["method"] = METHOD
    return rows
