"""Population means by week of treatment: of those still answering, and of all starters under missing at random.

The model is a multivariate normal over visits with an unstructured mean and covariance, fitted by maximum likelihood
to every score there is (EM over missingness patterns, Little and Rubin 2019, 11.2; then Newton steps). Standard errors
come from the inverse of the whole observed information, means and covariances together, because under missing at
random the two are not orthogonal (Kenward and Molenberghs 1998).

The mean of all courses is the mean of the modalities, weighted by their starters: how long people stay differs by
modality, so that scores are missing at random given the modality rather than without it.
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
    "Model: mean of all who started treatment, by maximum likelihood; multivariate normal over weeks, unstructured "
    "covariance, scores missing at random given the scores there are; standard errors from the observed information, "
    "normal interval. Weeks after discharge count as missing, and starters without any score are represented by the "
    "others. Week 0 is the last score at or before the first treatment; later scores of the first seven days are not "
    "used. Observed: mean of the scores of that week, still answering only, t interval."
)
METHOD_ALL = METHOD + (
    " All: the modalities are fitted apart and weighted by their starters; those too small for it are fitted together."
)
_COLUMNS = {
    "instrument_code": "string",
    "stratum_dimension": "string",
    "stratum_value": "string",
    "week_of_treatment": "int64",
    "starters_count": "int64",
    "starters_people_count": "int64",
    "observed_count": "int64",
    "observed_people_count": "int64",
    "model_mean": "float64",
    "model_standard_error": "float64",
    "model_ci_low": "float64",
    "model_ci_high": "float64",
    "observed_mean": "float64",
    "observed_ci_low": "float64",
    "observed_ci_high": "float64",
    "prorated_share": "float64",
    "model_status": "string",
    "method": "string",
}


def analysis_rules() -> dict[str, float]:
    """``analysis_rules.csv`` as rule -> value."""
    return {row["rule_id"]: float(row["rule_value"]) for row in definitions("analysis_rules")}


_EM_ROUNDS = 25
_NEWTON_ROUNDS = 12
_SMALLEST_SHARE = 1 / 64
_SINGULAR = 1e-10
_FLAT = 1e-4
_FEWEST_WEEKS = 2
_FEWEST_SCORES = 2


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
    Status is ``fitted``, ``not_converged`` or ``not_identified`` (a visit that does not vary or is a sum of others, two
    visits never answered by the same person, or too few people: the observed information is singular). Only ``fitted``
    has means and standard errors. Source: Little and Rubin (2019), Statistical Analysis with Missing Data, 11.2.
    """
    if np.isinf(scores).any():
        raise ValueError("a score is infinite")
    width = scores.shape[1]
    kept = scores[~np.isnan(scores).all(axis=1)]
    there = (~np.isnan(kept)).astype(float)
    if width == 0 or (there.T @ there < _FEWEST_SCORES).any():  # some two visits, or one, hardly ever answered
        return _unfitted(width, 0, "not_identified")
    mean, spread = np.nanmean(kept, axis=0), np.nanvar(kept, axis=0)
    if (spread <= 0).any():
        return _unfitted(width, 0, "not_identified")
    try:
        return _climb(_Sample.of(kept), mean, spread, tolerance=tolerance, iterations=iterations)
    except np.linalg.LinAlgError:  # on the way the covariance became singular to the last digit
        return _unfitted(width, 0, "not_identified")


def _unfitted(width: int, iterations: int, status: str) -> Fit:
    nothing = np.full(width, np.nan)
    return Fit(nothing, nothing, np.full((width, width), np.nan), iterations, status)


def _climb(sample: _Sample, mean: Matrix, spread: Matrix, *, tolerance: float, iterations: int) -> Fit:
    width = len(mean)
    covariance = np.sqrt(np.outer(spread, spread)) * (0.5 + 0.5 * np.eye(width))
    done = 0
    while done < iterations:
        for _ in range(_EM_ROUNDS):
            mean, covariance = sample.em_step(mean, covariance)
        done += _EM_ROUNDS
        if _flatness(covariance) < _FLAT:
            return _unfitted(width, done, "not_identified")
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
                if np.isfinite(error).all() and _flatness(covariance) >= _FLAT:
                    return Fit(mean, error, covariance, done, "fitted")
                return _unfitted(width, done, "not_identified")
    singular = sample.newton_step(mean, covariance) is None
    return _unfitted(width, done, "not_identified" if singular else "not_converged")


def _flatness(covariance: Matrix) -> float:
    """Smallest eigenvalue of the correlation matrix: near zero, one visit is a sum of the others."""
    root = np.sqrt(np.diag(covariance))
    if not np.all(root > 0):
        return 0.0
    return float(np.linalg.eigvalsh(covariance / np.outer(root, root))[0])


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


@dataclass(frozen=True)
class _Estimate:
    """Model means by week with their standard errors (NaN where there is none) and the reason, week by week."""

    mean: Matrix
    error: Matrix
    status: NDArray[Any]

    @property
    def is_fitted(self) -> NDArray[np.bool_]:
        return np.asarray(self.status == "fitted")


def trajectory_means(
    scores: pd.DataFrame, starters: pd.DataFrame, *, rules: dict[str, float] | None = None
) -> pd.DataFrame:
    """Means by instrument, stratum and week, observed and for all starters under missing at random.

    ``starters``: one row per course that began treatment (``referral_id``, ``main_modality``, and ``person_id`` where
    a person may have several), with or without scores.
    ``scores``: one row per course, instrument and week (``referral_id``, ``instrument_code``, ``week_of_treatment``,
    ``total``, ``is_prorated``); week 0 is the baseline. ``rules``: ``analysis_rules.csv`` unless given. Returns one
    row per instrument, stratum and week with counts, both means and their intervals (score points). A week with too
    few scores (``too_few_scores``), or that the model could not hold (``not_identified``, ``not_converged``), has no
    model mean and says why in ``model_status``; it is then no part of the model of the other weeks.
    Sources: evaluation.md 3 and measures.md 14; Little and Rubin (2019) 11.2 (EM); Kenward and Molenberghs (1998,
    Statistical Science 13) for the observed information.
    """
    rules = rules or analysis_rules()
    weeks = np.arange(int(rules["trajectory_last_week"]) + 1)
    courses = pd.Index(starters["referral_id"])
    modality = starters["main_modality"].to_numpy(dtype=object)
    owners = pd.factorize(starters["person_id" if "person_id" in starters else "referral_id"])[0]
    names = sorted({str(name) for name in modality if not pd.isna(name)})
    members = {name: np.asarray(modality == name) for name in names}
    if (unknown := np.asarray(pd.isna(modality))).any():
        members[""] = unknown
    frames = []
    for instrument, own in scores.groupby("instrument_code"):
        inside = own[own["referral_id"].isin(courses) & own["week_of_treatment"].between(0, weeks[-1])]
        values = _wide(inside, "total", courses, weeks)
        prorated = _wide(inside, "is_prorated", courses, weeks)
        fits = {name: _model(values[rows], rules) for name, rows in members.items()}
        everyone = np.ones(len(courses), dtype=bool)
        strata = [("all", "all", everyone, _combined(values, members, fits, rules), METHOD_ALL)]
        strata += [("modality", name, members[name], fits[name], METHOD) for name in names]
        for dimension, value, rows, estimate, method in strata:
            frame = _observed(values[rows], prorated[rows], weeks, rules)
            margin = stats.norm.ppf(_upper(rules)) * estimate.error
            frame["model_mean"], frame["model_standard_error"] = estimate.mean, estimate.error
            frame["model_ci_low"], frame["model_ci_high"] = estimate.mean - margin, estimate.mean + margin
            frame["model_status"], frame["method"] = estimate.status, method
            frame["starters_count"] = int(rows.sum())
            frame["starters_people_count"] = len(np.unique(owners[rows]))
            there = ~np.isnan(values[rows])
            frame["observed_people_count"] = [len(np.unique(owners[rows][column])) for column in there.T]
            frame["instrument_code"] = str(instrument)
            frame["stratum_dimension"], frame["stratum_value"] = dimension, value
            frames.append(frame[list(_COLUMNS)])
    means = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(_COLUMNS))
    return means.astype(_COLUMNS)


def _upper(rules: dict[str, float]) -> float:
    return 0.5 + rules["confidence_level"] / 2


def _wide(inside: pd.DataFrame, column: str, courses: pd.Index, weeks: NDArray[Any]) -> Matrix:
    """Courses x weeks, NaN where there is no score. A course, instrument and week given twice is a ``ValueError``."""
    wide = inside.pivot(index="referral_id", columns="week_of_treatment", values=column)
    return np.asarray(wide.reindex(index=courses, columns=weeks).to_numpy(dtype=float))


def _observed(values: Matrix, prorated: Matrix, weeks: NDArray[Any], rules: dict[str, float]) -> pd.DataFrame:
    """Mean of those still answering with its t interval; the interval is missing below two scores."""
    count = (~np.isnan(values)).sum(axis=0)
    rows = pd.DataFrame({"week_of_treatment": weeks, "observed_count": count})
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(values, axis=0) / count
        deviation = np.sqrt(np.nansum((values - mean) ** 2, axis=0) / (count - 1))
        margin = stats.t.ppf(_upper(rules), np.maximum(count - 1, 1)) * deviation / np.sqrt(count)
        margin = np.where(count >= _FEWEST_SCORES, margin, np.nan)
        rows["prorated_share"] = np.nansum(prorated, axis=0) / count
    rows["observed_mean"], rows["observed_ci_low"], rows["observed_ci_high"] = mean, mean - margin, mean + margin
    return rows


def _enough(values: Matrix, rules: dict[str, float]) -> NDArray[np.bool_]:
    count = (~np.isnan(values)).sum(axis=0)
    return np.asarray(count >= max(rules["trajectory_minimum_observed"], _FEWEST_SCORES))


def _model(values: Matrix, rules: dict[str, float]) -> _Estimate:
    """Fit the weeks with enough scores; where that fails, the week with the fewest goes and the rest is tried."""
    count = (~np.isnan(values)).sum(axis=0)
    enough = _enough(values, rules)
    mean, error = np.full(len(count), np.nan), np.full(len(count), np.nan)
    status = np.where(enough, "not_identified", "too_few_scores").astype(object)
    while enough.sum() >= _FEWEST_WEEKS:
        fit = fit_visits(
            values[:, enough], tolerance=rules["model_tolerance"], iterations=int(rules["model_iterations"])
        )
        if fit.status == "fitted":
            mean[enough], error[enough], status[enough] = fit.mean, fit.standard_error, "fitted"
            break
        weakest = np.flatnonzero(enough)[np.argmin(count[enough])]
        enough[weakest], status[weakest] = False, fit.status
    return _Estimate(mean, error, status)


def _combined(
    values: Matrix, members: dict[str, NDArray[np.bool_]], fits: dict[str, _Estimate], rules: dict[str, float]
) -> _Estimate:
    """All courses: the modalities weighted by their starters (post-stratification, Little 1993, JASA 88).

    Modalities without an estimate for each week that has enough scores are fitted together; when they still have none,
    the smallest of the others joins them. The last resort is one model of all. Variance of the mean: the modalities'
    own, weighted, plus that of their shares; with complete data this is the variance of the sample mean.
    """
    wanted = _enough(values, rules)
    apart = sorted(
        (name for name, fit in fits.items() if name and wanted.any() and fit.is_fitted[wanted].all()),
        key=lambda name: int(members[name].sum()),
    )
    rest = np.ones(len(values), dtype=bool)
    for name in apart:
        rest &= ~members[name]
    while rest.any() or not apart:
        together = _model(values[rest], rules)
        if not apart:
            return together
        if together.is_fitted[wanted].all():
            break
        rest |= members[apart.pop(0)]
    groups = [(int(members[name].sum()), fits[name]) for name in apart]
    if rest.any():
        groups.append((int(rest.sum()), together))
    share = np.array([count for count, _ in groups])[:, None] / len(values)
    means = np.array([fit.mean for _, fit in groups])
    errors = np.array([fit.error for _, fit in groups])
    mean = np.where(wanted, (share * means).sum(axis=0), np.nan)
    between = (share * (means - mean) ** 2).sum(axis=0) / len(values)
    error = np.where(wanted, np.sqrt((share**2 * errors**2).sum(axis=0) + between), np.nan)
    return _Estimate(mean, error, np.where(wanted, "fitted", "too_few_scores").astype(object))
