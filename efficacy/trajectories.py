"""Population means by week of treatment: of those still answering, and of all starters under missing at random.

The model is a multivariate normal over visits with an unstructured mean and covariance, fitted by maximum likelihood
to every score there is (EM over missingness patterns, Little and Rubin 2019, 11.2; then Newton steps). Standard errors
come from the inverse of the whole observed information, means and covariances together, because under missing at
random the two are not orthogonal (Kenward and Molenberghs 1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
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


_EM_ROUNDS = 25
_NEWTON_ROUNDS = 12
_SMALLEST_SHARE = 1 / 64
_SINGULAR = 1e-10
_FEWEST_WEEKS = 2


@dataclass(frozen=True)
class Fit:
    """Means, standard errors (score points) and covariance of the visits; ``status`` is fitted or says why not."""

    mean: Matrix
    standard_error: Matrix
    covariance: Matrix
    iterations: int
    status: str


def fit_visits(scores: Matrix, *, tolerance: float, iterations: int) -> Fit:
    """Fit persons x visits (NaN = missing): EM to come near, then Newton steps with the observed information.

    Rows without any score say nothing and are left out: under missing at random they are represented by the others.
    Status is ``fitted``, ``not_converged`` or ``not_identified`` (the observed information is singular).
    """
    kept = scores[~np.isnan(scores).all(axis=1)]
    sample = _Sample.of(kept)
    width = kept.shape[1]
    mean = np.nanmean(kept, axis=0)
    spread = np.nanvar(kept, axis=0) + 1e-6
    covariance = np.sqrt(np.outer(spread, spread)) * (0.5 + 0.5 * np.eye(width))
    done = 0
    unknown = np.full(width, np.nan)
    while done < iterations:
        for _ in range(_EM_ROUNDS):
            mean, covariance = sample.em_step(mean, covariance)
        done += _EM_ROUNDS
        for _ in range(_NEWTON_ROUNDS):
            done += 1
            before = sample.likelihood(mean, covariance)
            step = sample.newton_step(mean, covariance)
            if step is None:
                break
            share = 1.0
            while share > _SMALLEST_SHARE:
                tried = mean + share * step[0], covariance + share * step[1]
                if sample.likelihood(*tried) >= before - 1e-9 * abs(before):
                    break
                share /= 2
            else:
                break
            mean, covariance = tried
            scale = np.abs(np.diag(covariance)).max()
            if share == 1.0 and np.abs(step[0]).max() < tolerance and np.abs(step[1]).max() < tolerance * scale:
                error = sample.standard_errors(mean, covariance)
                return Fit(mean, error, covariance, done, "fitted" if np.isfinite(error).all() else "not_identified")
    singular = sample.newton_step(mean, covariance) is None
    return Fit(mean, unknown, covariance, done, "not_identified" if singular else "not_converged")


@dataclass(frozen=True)
class _Sample:
    """Sufficient statistics by missingness pattern: which visits, how many rows, their sums and products."""

    mask: Matrix
    count: Matrix
    sums: Matrix
    products: Matrix

    @classmethod
    def of(cls, kept: Matrix) -> _Sample:
        observed = ~np.isnan(kept)
        patterns, member = np.unique(observed, axis=0, return_inverse=True)
        member = member.reshape(-1)
        filled = np.where(observed, kept, 0.0)
        count = np.bincount(member, minlength=len(patterns)).astype(float)
        order = np.argsort(member, kind="stable")
        edges = np.concatenate([[0], np.cumsum(count).astype(int)])
        groups = [filled[order[first:last]] for first, last in pairwise(edges)]
        sums = np.array([group.sum(axis=0) for group in groups])
        products = np.array([group.T @ group for group in groups])
        return cls(patterns.astype(float), count, sums, products)

    def _parts(self, mean: Matrix, covariance: Matrix) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """Per pattern: inverse of the observed block (zero elsewhere), log determinant, centred sums and products."""
        both = self.mask[:, :, None] * self.mask[:, None, :]
        padded = both * covariance[None] + np.eye(len(mean))[None] * (1 - self.mask)[:, :, None]
        sign, determinant = np.linalg.slogdet(padded)
        inverse = np.linalg.inv(padded) * both
        centre = self.mask * mean[None]
        first = self.sums - self.count[:, None] * centre
        cross = self.sums[:, :, None] * centre[:, None, :]
        second = self.products - cross - cross.transpose(0, 2, 1)
        second = second + self.count[:, None, None] * centre[:, :, None] * centre[:, None, :]
        return inverse, np.where(sign > 0, determinant, np.inf), first, second

    def likelihood(self, mean: Matrix, covariance: Matrix) -> float:
        """Log-likelihood up to a constant; minus infinity where the covariance is not positive definite."""
        if np.linalg.eigvalsh(covariance)[0] <= 0:
            return -np.inf
        inverse, determinant, _, second = self._parts(mean, covariance)
        return float(-0.5 * (self.count @ determinant + np.sum(inverse * second)))

    def em_step(self, mean: Matrix, covariance: Matrix) -> tuple[Matrix, Matrix]:
        """One round of expectation and maximisation."""
        inverse, _, first, second = self._parts(mean, covariance)
        total = self.count.sum()
        regression = covariance[None] @ inverse
        step = (regression @ first[:, :, None]).sum(axis=0)[:, 0] / total
        explained = (regression @ second @ regression.transpose(0, 2, 1)).sum(axis=0)
        left = total * covariance - np.tensordot(self.count, regression, axes=1) @ covariance
        updated = (explained + left) / total - np.outer(step, step)
        return mean + step, (updated + updated.T) / 2

    def _information(self, mean: Matrix, covariance: Matrix) -> tuple[Matrix, Matrix, Matrix]:
        """Score and observed information of the means and the distinct covariances, and the duplication matrix."""
        inverse, _, first, second = self._parts(mean, covariance)
        width = len(mean)
        pairs = [(i, j) for i in range(width) for j in range(i, width)]
        duplicate = np.zeros((width * width, len(pairs)))
        for number, (i, j) in enumerate(pairs):
            duplicate[i * width + j, number] = duplicate[j * width + i, number] = 1.0
        weighted = inverse @ second @ inverse
        counted = self.count[:, None, None] * inverse
        pulled = (inverse @ first[:, :, None])[:, :, 0]
        gradient = 0.5 * (weighted.sum(axis=0) - counted.sum(axis=0))
        score = np.concatenate([pulled.sum(axis=0), duplicate.T @ gradient.reshape(-1)])
        flat = inverse.reshape(len(inverse), -1)
        cross = (flat.T @ pulled).reshape(width, width * width) @ duplicate
        both = flat.T @ (weighted - 0.5 * counted).reshape(len(inverse), -1)
        curvature = both.reshape(width, width, width, width).transpose(3, 0, 1, 2)
        block = duplicate.T @ curvature.reshape(width * width, width * width) @ duplicate
        information = np.block([[counted.sum(axis=0), cross], [cross.T, (block + block.T) / 2]])
        return score, information, duplicate

    def newton_step(self, mean: Matrix, covariance: Matrix) -> tuple[Matrix, Matrix] | None:
        """The step to the quadratic's top; ``None`` where the information is not positive definite."""
        score, information, duplicate = self._information(mean, covariance)
        inverse = _scaled_inverse(information)
        if inverse is None:
            return None
        step = inverse @ score
        width = len(mean)
        return step[:width], (duplicate @ step[width:]).reshape(width, width)

    def standard_errors(self, mean: Matrix, covariance: Matrix) -> Matrix:
        """Roots of the inverse observed information's diagonal for the means; NaN where it is singular."""
        _, information, _ = self._information(mean, covariance)
        inverse = _scaled_inverse(information)
        if inverse is None:
            return np.full(len(mean), np.nan)
        return np.asarray(np.sqrt(np.diag(inverse)[: len(mean)]))


def _scaled_inverse(information: Matrix) -> Matrix | None:
    """Inverse of a positive definite matrix, scaled first so that units do not decide; ``None`` for any other."""
    diagonal = np.diag(information)
    if not np.all(diagonal > 0):
        return None
    scale = np.sqrt(diagonal)
    scaled = information / np.outer(scale, scale)
    if np.linalg.eigvalsh(scaled)[0] <= _SINGULAR:
        return None
    return np.asarray(np.linalg.inv(scaled) / np.outer(scale, scale))


def trajectory_means(
    scores: pd.DataFrame, starters: pd.DataFrame, *, rules: dict[str, float] | None = None
) -> pd.DataFrame:
    """Means by instrument, stratum and week.

    ``starters``: one row per course that began treatment (``referral_id``, ``main_modality``). ``scores``: one row per
    course, instrument and week (``referral_id``, ``instrument_code``, ``week_of_treatment``, ``total``,
    ``is_prorated``); week 0 is the baseline. Returns one row per instrument, stratum and week with counts, both means
    and their intervals (score points); a week with too few scores, or a model that did not hold, has no model mean
    and says why.
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
    while enough.sum() >= _FEWEST_WEEKS:
        fit = fit_visits(
            values[:, enough], tolerance=rules["model_tolerance"], iterations=int(rules["model_iterations"])
        )
        if fit.status == "fitted":
            status[enough] = fit.status
            estimate["mean"][enough], estimate["error"][enough] = fit.mean, fit.standard_error
            break
        # Too few courses answered in this week and in the others too: the week with the fewest goes, the rest is tried.
        weakest = np.flatnonzero(enough)[np.argmin(observed[enough])]
        enough[weakest], status[weakest] = False, fit.status
    z = stats.norm.ppf(upper)
    rows["model_mean"], rows["model_standard_error"] = estimate["mean"], estimate["error"]
    rows["model_ci_low"] = estimate["mean"] - z * estimate["error"]
    rows["model_ci_high"] = estimate["mean"] + z * estimate["error"]
    rows["model_status"] = status
    rows["method"] = METHOD
    return rows
