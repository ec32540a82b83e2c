"""Clinical significance of a change from pre to post: is it reliable, and does it end among healthy people?

Complete pairs only; who lacks a score is counted. Reliable change indices and cut-offs compare strictly (a score on the
cut-off is on neither side, an index equal to the critical value is not reliable); points and percentages with >=.
Which way is better is the instrument's: ``higher_is`` worse or better. Critical values and multiples are rows of
``clinical_significance_methods.csv`` and ``clinical_significance_cutoffs.csv``. Comparisons are exact
(``exact_numbers``). Sources: Jacobson and Truax (1991, J Consult Clin Psychol 59); the formulas as read in the R
package clinicalsignificance (J Stat Softw 2024); measures.md 6.

An uncontrolled change from pre to post holds regression to the mean: people come at their worst.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
from scipy import stats

from efficacy.exact_numbers import CONTEXT, Number, decimal, exact, meets, ratio, root
from efficacy.proportions import wilson
from efficacy.trajectories import analysis_rules
from screening.definitions import definitions

CLASSES = ("recovered", "improved", "unchanged", "deteriorated", "harmed")
DIRECTIONS = ("improved", "unchanged", "deteriorated")
_FEWEST_PAIRS = 2


class NotComputableError(ValueError):
    """What a method needs is not there: too few pairs, no variation, or a parameter without a source."""


def methods() -> dict[str, dict[str, str]]:
    """Rows of ``clinical_significance_methods.csv`` by id and by alias."""
    found: dict[str, dict[str, str]] = {}
    for row in definitions("clinical_significance_methods"):
        for name in (row["method_id"], *row["aliases"].split()):
            found[name] = row
    return found


def direction(instrument_code: str) -> str:
    """``worse`` or ``better``: what a higher score means. Raises ``KeyError`` for an instrument without a row."""
    for row in definitions("instruments"):
        if row["instrument_code"] == instrument_code:
            return row["higher_is"]
    raise KeyError(instrument_code)


@dataclass(frozen=True)
class PairStatistics:
    """Of complete pairs: how many, means, variances (ddof 1) and covariance. ``None`` is not known."""

    pairs: int
    mean_pre: Fraction | None = None
    variance_pre: Fraction | None = None
    mean_post: Fraction | None = None
    variance_post: Fraction | None = None
    covariance: Fraction | None = None

    @classmethod
    def of(cls, pairs: pd.DataFrame) -> PairStatistics:
        """Of a frame with ``pre`` and ``post``; of one pair there are means and no variance."""
        there = _complete(pairs)
        pre = [exact(value) for value in there["pre"]]
        post = [exact(value) for value in there["post"]]
        count = len(pre)
        if count == 0:
            return cls(0)
        mean_pre, mean_post = sum(pre, Fraction(0)) / count, sum(post, Fraction(0)) / count
        if count < _FEWEST_PAIRS:
            return cls(count, mean_pre, None, mean_post)

        def spread(first: list[Fraction], a: Fraction, second: list[Fraction], b: Fraction) -> Fraction:
            return (sum((x * y for x, y in zip(first, second, strict=True)), Fraction(0)) - count * a * b) / (count - 1)

        return cls(
            count,
            mean_pre,
            spread(pre, mean_pre, pre, mean_pre),
            mean_post,
            spread(post, mean_post, post, mean_post),
            spread(pre, mean_pre, post, mean_post),
        )

    @classmethod
    def given(cls, *, mean_pre: Number | None = None, sd_pre: Number | None = None) -> PairStatistics:
        """Published values in place of the sample's own, as in a textbook example or for one person."""
        variance = None if sd_pre is None else exact(sd_pre) ** 2
        return cls(0, None if mean_pre is None else exact(mean_pre), variance)


@dataclass(frozen=True)
class Parameters:
    """What a method needs beside the scores: reliability (0 to 1), norms of healthy people, which way is better."""

    higher_is: str
    reliability: Number | None = None
    reliability_post: Number | None = None
    functional_mean: Number | None = None
    functional_sd: Number | None = None

    def __post_init__(self) -> None:
        if self.higher_is not in ("worse", "better"):
            raise ValueError("higher_is must be worse or better")
        for value in (self.reliability, self.reliability_post):
            if value is not None and not 0 <= exact(value) <= 1:
                raise ValueError("a reliability lies between 0 and 1")
        if self.functional_sd is not None and exact(self.functional_sd) < 0:
            raise ValueError("a standard deviation is not negative")


def _needed(value: Fraction | Number | None, what: str) -> Fraction:
    if value is None:
        raise NotComputableError(f"{what} is not known")
    return exact(value)


def _varies(sample: PairStatistics) -> Fraction:
    variance = _needed(sample.variance_pre, "the standard deviation of the scores before")
    if variance == 0:
        raise NotComputableError("the scores before do not vary")
    return variance


def standard_error_of_measurement(sample: PairStatistics, parameters: Parameters) -> float:
    """SEM = SD_pre * sqrt(1 - r), in score points; 0 for a reliability of 1."""
    return float(root(_error_variance(sample, parameters)))


def _error_variance(sample: PairStatistics, parameters: Parameters) -> Fraction:
    return _varies(sample) * (1 - _needed(parameters.reliability, "the reliability"))


def _jacobson_truax(sample: PairStatistics, parameters: Parameters) -> Callable[[Fraction, Fraction], Decimal]:
    error = root(2 * _error_variance(sample, parameters))
    return lambda pre, post: ratio(decimal(post - pre), error)


def _prediction(
    sample: PairStatistics, parameters: Parameters, mean_post: Fraction
) -> Callable[[Fraction, Fraction], Decimal]:
    mean = _needed(sample.mean_pre, "the mean of the scores before")
    reliability = _needed(parameters.reliability, "the reliability")
    error = root(_varies(sample) * (1 - reliability**2))
    return lambda pre, post: ratio(decimal((post - mean_post) - reliability * (pre - mean)), error)


def _gulliksen_lord_novick(sample: PairStatistics, parameters: Parameters) -> Callable[[Fraction, Fraction], Decimal]:
    return _prediction(sample, parameters, _needed(sample.mean_pre, "the mean of the scores before"))


def _hsu_linn_nord(sample: PairStatistics, parameters: Parameters) -> Callable[[Fraction, Fraction], Decimal]:
    return _prediction(sample, parameters, _needed(sample.mean_post, "the mean of the scores after"))


def _regressed(
    sample: PairStatistics, parameters: Parameters, error: Decimal
) -> Callable[[Fraction, Fraction], Decimal]:
    mean = _needed(sample.mean_pre, "the mean of the scores before")
    reliability = _needed(parameters.reliability, "the reliability")
    return lambda pre, post: ratio(decimal(post - (reliability * (pre - mean) + mean)), error)


def _edwards_nunnally(sample: PairStatistics, parameters: Parameters) -> Callable[[Fraction, Fraction], Decimal]:
    return _regressed(sample, parameters, root(_error_variance(sample, parameters)))


def _nunnally_kotsch(sample: PairStatistics, parameters: Parameters) -> Callable[[Fraction, Fraction], Decimal]:
    reliability = _needed(parameters.reliability, "the reliability")
    after = _needed(parameters.reliability_post, "the reliability after")
    return _regressed(sample, parameters, root(_varies(sample) * (reliability**2 * (1 - reliability) + (1 - after))))


def _hageman_arrindell(sample: PairStatistics, parameters: Parameters) -> Callable[[Fraction, Fraction], Decimal]:
    error = _error_variance(sample, parameters)
    before = _varies(sample)
    after = _needed(sample.variance_post, "the standard deviation of the scores after")
    twice = 2 * _needed(sample.covariance, "the covariance")
    if before + after == twice:
        raise NotComputableError("everybody changes by the same")
    of_change = (before - error + after - error - twice) / (before + after - twice)
    if of_change <= 0:
        raise NotComputableError("the reliability of the change is not above zero")
    mean_change = _needed(sample.mean_post, "the mean of the scores after") - _needed(
        sample.mean_pre, "the mean before"
    )
    scale = CONTEXT.multiply(root(of_change), root(2 * error))
    return lambda pre, post: ratio(decimal((post - pre) * of_change + mean_change * (1 - of_change)), scale)


_INDICES = {
    "JT": _jacobson_truax,
    "GLN": _gulliksen_lord_novick,
    "HLL": _hsu_linn_nord,
    "EN": _edwards_nunnally,
    "NK": _nunnally_kotsch,
    "HA": _hageman_arrindell,
}


def cutoff(cutoff_id: str, sample: PairStatistics, parameters: Parameters) -> float:
    """The cut-off between clinical and functional scores, in score points.

    ``cutoff_id``: a, b_package, b_jacobson_truax_1991, c or ha (``clinical_significance_cutoffs.csv``). The clinical
    population is the sample before. Raises ``NotComputableError`` without the norms it needs.
    """
    return float(_cutoff(cutoff_id, sample, parameters))


def _cutoff(cutoff_id: str, sample: PairStatistics, parameters: Parameters) -> Decimal:
    rows = {row["cutoff_id"]: row for row in definitions("clinical_significance_cutoffs")}
    row = rows[cutoff_id]
    toward_clinical = 1 if parameters.higher_is == "worse" else -1
    if row["sd_multiple"]:
        times = toward_clinical * exact(row["sd_multiple"])
        if row["sd_of"] == "functional":
            spread = decimal(_needed(parameters.functional_sd, "the functional standard deviation"))
        else:
            spread = root(_needed(sample.variance_pre, "the standard deviation of the scores before"))
        if cutoff_id == "a":
            centre, times = _needed(sample.mean_pre, "the mean of the scores before"), -times
        else:
            centre = _needed(parameters.functional_mean, "the functional mean")
        return CONTEXT.add(decimal(centre), CONTEXT.multiply(decimal(times), spread))
    variances = [
        _needed(sample.variance_pre, "the standard deviation of the scores before"),
        _needed(parameters.functional_sd, "the functional standard deviation") ** 2,
    ]
    if cutoff_id == "ha":
        error = _error_variance(sample, parameters)
        variances = [variance - error for variance in variances]
        if min(variances) < 0:
            raise NotComputableError("the error of measurement is larger than a standard deviation")
    clinical, functional = (root(variance) for variance in variances)
    if clinical + functional == 0:
        raise NotComputableError("neither population varies")
    weighted = CONTEXT.add(
        CONTEXT.multiply(clinical, decimal(_needed(parameters.functional_mean, "the functional mean"))),
        CONTEXT.multiply(functional, decimal(_needed(sample.mean_pre, "the mean of the scores before"))),
    )
    return CONTEXT.divide(weighted, CONTEXT.add(clinical, functional))


def reliable_change(
    pairs: pd.DataFrame, *, method: str, parameters: Parameters, sample: PairStatistics | None = None
) -> pd.DataFrame:
    """Index and direction of every pair, whatever the scores mean (the distribution-based approach).

    ``pairs``: one row per subject (``subject_id``, ``pre``, ``post``; either may be missing). ``sample``: statistics in
    place of the pairs' own. Returns a row per row of ``pairs`` in their order with ``pair_status`` (complete,
    missing_pre, missing_post, missing_both), ``improvement`` (points, positive is better), ``index_value`` (sign of
    post - pre; infinite where the scale has no error and the score moved) and ``change_direction`` (improved,
    unchanged, deteriorated; missing for an incomplete pair). Raises ``NotComputableError``, as for one pair without
    given statistics, and ``KeyError`` for an unknown method.
    """
    row = methods()[method]
    index = _INDICES[row["method_id"]](sample or PairStatistics.of(pairs), parameters)
    limit = decimal(exact(row["critical_value"]))
    sign = _sign(parameters.higher_is)

    def judge(pre: Fraction, post: Fraction) -> tuple[float, str]:
        value = index(pre, post)
        return float(value), _toward(sign * value, lambda size: meets(size, ">", limit))

    return _judged(pairs, parameters.higher_is, {"index_value": 0, "change_direction": 1}, judge)


def statistical_change(
    pairs: pd.DataFrame,
    *,
    parameters: Parameters,
    method: str = "JT",
    cutoff_id: str | None = None,
    sample: PairStatistics | None = None,
) -> pd.DataFrame:
    """Crossing of the cut-off alone, without an index: improved is clinical before and functional after.

    As ``reliable_change``, with ``is_clinical_before``, ``is_functional_before``, ``is_clinical_after``,
    ``is_functional_after`` (a score on the cut-off is neither) and ``change_direction``. ``HA`` judges the score after
    by its own test.
    """
    sides = _sides(pairs, method, cutoff_id, parameters, sample)

    def judge(pre: Fraction, post: Fraction) -> tuple[bool, bool, bool, bool, str]:
        found = sides(pre, post)
        clinical_before, functional_before, clinical_after, functional_after = found
        if clinical_before and functional_after:
            return *found, "improved"
        return *found, "deteriorated" if functional_before and clinical_after else "unchanged"

    return _judged(pairs, parameters.higher_is, {**_SIDES, "change_direction": 4}, judge)


_SIDES = {"is_clinical_before": 0, "is_functional_before": 1, "is_clinical_after": 2, "is_functional_after": 3}


def _sides(
    pairs: pd.DataFrame, method: str, cutoff_id: str | None, parameters: Parameters, sample: PairStatistics | None
) -> Callable[[Fraction, Fraction], tuple[bool, bool, bool, bool]]:
    own = sample or PairStatistics.of(pairs)
    row = methods()[method]
    limit = _cutoff(cutoff_id or row["cutoff_id"], own, parameters)
    sign = _sign(parameters.higher_is)

    def side(score: Fraction) -> tuple[bool, bool]:
        beyond = sign * CONTEXT.subtract(decimal(score), limit)
        return meets(beyond, "<", Decimal(0)), meets(beyond, ">", Decimal(0))

    functional_after = _true_score_test(own, parameters, limit, row) if row["method_id"] == "HA" else None

    def judge(pre: Fraction, post: Fraction) -> tuple[bool, bool, bool, bool]:
        clinical_after, healthy = side(post)
        return (*side(pre), clinical_after, functional_after(post) if functional_after else healthy)

    return judge


def _true_score_test(
    sample: PairStatistics, parameters: Parameters, limit: Decimal, row: dict[str, str]
) -> Callable[[Fraction], bool]:
    """Hageman-Arrindell: is the estimated true score after beyond the cut-off by more than the critical value?"""
    error = _error_variance(sample, parameters)
    after = _needed(sample.variance_post, "the standard deviation of the scores after")
    mean = _needed(sample.mean_post, "the mean of the scores after")
    if after <= error:
        raise NotComputableError("the scores after vary by no more than the error of measurement")
    reliability = (after - error) / after
    scale = CONTEXT.multiply(root(reliability), root(error))
    critical = decimal(exact(row["critical_value"]))
    sign = _sign(parameters.higher_is)

    def judge(post: Fraction) -> bool:
        true_score = decimal(mean + (post - mean) * reliability)
        return meets(sign * ratio(CONTEXT.subtract(true_score, limit), scale), ">", critical)

    return judge


def combined_change(
    pairs: pd.DataFrame,
    *,
    method: str,
    parameters: Parameters,
    cutoff_id: str | None = None,
    sample: PairStatistics | None = None,
) -> pd.DataFrame:
    """Reliable change and cut-off together: the five classes.

    As ``reliable_change`` and ``statistical_change``, with ``change_class``: recovered (reliably improved, clinical
    before, functional after), improved (reliably, without the recovered), unchanged, deteriorated (reliably, without
    the harmed), harmed (reliably deteriorated, functional before, clinical after; never under ``HA``).
    """
    own = sample or PairStatistics.of(pairs)
    changed = reliable_change(pairs, method=method, parameters=parameters, sample=own)
    crossed = statistical_change(pairs, parameters=parameters, method=method, cutoff_id=cutoff_id, sample=own)
    result = changed.assign(**{name: crossed[name] for name in _SIDES})
    better, worse = (changed["change_direction"] == name for name in ("improved", "deteriorated"))
    classes = changed["change_direction"].copy()
    classes[better & (crossed["change_direction"] == "improved")] = "recovered"
    if methods()[method]["has_harmed"] == "true":
        classes[worse & (crossed["change_direction"] == "deteriorated")] = "harmed"
    result["change_class"] = classes
    return result


def percentage_change(
    pairs: pd.DataFrame, *, higher_is: str, share: Number, share_deterioration: Number | None = None
) -> pd.DataFrame:
    """Change of at least ``share`` (0 to 1) of the score before, either way (>=).

    As ``reliable_change``; ``pair_status`` is ``undefined`` where the score before is 0: nothing has no share.
    """
    up, down = exact(share), exact(share if share_deterioration is None else share_deterioration)
    sign = _sign(higher_is)

    def judge(pre: Fraction, post: Fraction) -> tuple[float, str] | None:
        if pre == 0:
            return None
        value = sign * (post - pre) / abs(pre)
        name = "improved" if value >= up else "deteriorated" if -value >= down else "unchanged"
        return float(value), name

    return _judged(pairs, higher_is, {"improvement_share": 0, "change_direction": 1}, judge)


def anchor_change(
    pairs: pd.DataFrame, *, higher_is: str, points: Number, points_deterioration: Number | None = None
) -> pd.DataFrame:
    """Change of at least the minimal important difference (``points``), either way (>=). As ``reliable_change``."""
    up, down = exact(points), exact(points if points_deterioration is None else points_deterioration)
    sign = _sign(higher_is)

    def judge(pre: Fraction, post: Fraction) -> tuple[str]:
        value = sign * (post - pre)
        return ("improved" if value >= up else "deteriorated" if -value >= down else "unchanged",)

    return _judged(pairs, higher_is, {"change_direction": 0}, judge)


def anchor_group_change(
    pairs: pd.DataFrame, *, higher_is: str, points: Number, confidence: float | None = None
) -> pd.DataFrame:
    """Mean improvement of the group against the minimal important difference: one row.

    ``mean_improvement`` with its t interval (points, positive is better) and ``group_class``: ``beyond`` (the whole
    interval at or above ``points``), ``reached`` (the mean is), ``not_reached`` (only the interval), ``below`` (not
    even its upper end), ``not_computable`` (fewer than two pairs). The names are ours. Counts of missing as in
    ``count_pairs``.
    """
    level = analysis_rules()["confidence_level"] if confidence is None else confidence
    there = _complete(pairs)
    sign = _sign(higher_is)
    changes = [sign * (exact(post) - exact(pre)) for pre, post in zip(there["pre"], there["post"], strict=True)]
    row: dict[str, object] = dict(count_pairs(pairs))
    row |= {"mean_improvement": math.nan, "ci_low": math.nan, "ci_high": math.nan, "group_class": "not_computable"}
    if changes:
        mean = sum(changes, Fraction(0)) / len(changes)
        row["mean_improvement"] = float(mean)
    if len(changes) >= _FEWEST_PAIRS:
        deviation = float(np.std([float(change) for change in changes], ddof=1))
        margin = float(stats.t.ppf(0.5 + level / 2, len(changes) - 1)) * deviation / math.sqrt(len(changes))
        low, high, limit = float(mean) - margin, float(mean) + margin, exact(points)
        row["ci_low"], row["ci_high"] = low, high
        if margin == 0:
            row["group_class"] = "beyond" if mean >= limit else "below"
        elif mean >= limit:
            row["group_class"] = "beyond" if low >= limit else "reached"
        else:
            row["group_class"] = "not_reached" if high >= limit else "below"
    return pd.DataFrame([row])


def count_pairs(pairs: pd.DataFrame) -> dict[str, int]:
    """How many rows are complete pairs, and how many lack the score before, after, or both."""
    status = _pair_status(pairs)
    return {
        "pairs_count": int((status == "complete").sum()),
        "missing_pre_count": int((status == "missing_pre").sum()),
        "missing_post_count": int((status == "missing_post").sum()),
        "missing_both_count": int((status == "missing_both").sum()),
    }


def class_shares(
    judged: pd.DataFrame, *, column: str = "change_class", method: str | None = None, confidence: float | None = None
) -> pd.DataFrame:
    """How many of the complete pairs are in each class: one row per class, those with nobody included.

    ``judged``: a frame of this module; ``column``: ``change_class`` or ``change_direction``. Returns ``class_name``,
    ``pairs_count`` (of the class), ``share`` with its Wilson interval, ``class_status`` (counted; not_applicable for
    harmed under a method without it; no_pairs) and the counts of pairs and of missing.
    """
    level = analysis_rules()["confidence_level"] if confidence is None else confidence
    status = judged["pair_status"]
    total = int((status == "complete").sum())
    rows = []
    for name in CLASSES if column == "change_class" else DIRECTIONS:
        applies = name != "harmed" or method is None or methods()[method]["has_harmed"] == "true"
        count = int((judged[column] == name).sum())
        low, high = wilson(count, total, confidence=level)
        is_counted = applies and total > 0
        rows.append(
            {
                "class_name": name,
                "class_status": "not_applicable" if not applies else "counted" if total else "no_pairs",
                "class_count": count if is_counted else pd.NA,
                "share": count / total if is_counted else math.nan,
                "share_ci_low": low if is_counted else math.nan,
                "share_ci_high": high if is_counted else math.nan,
                "pairs_count": total,
                "undefined_count": int((status == "undefined").sum()),
                "missing_pre_count": int((status == "missing_pre").sum()),
                "missing_post_count": int((status == "missing_post").sum()),
                "missing_both_count": int((status == "missing_both").sum()),
            }
        )
    return pd.DataFrame(rows).astype({"class_count": "Int64"})


def _sign(higher_is: str) -> int:
    if higher_is not in ("worse", "better"):
        raise ValueError("higher_is must be worse or better")
    return -1 if higher_is == "worse" else 1


def _toward(value: Decimal, is_beyond: Callable[[Decimal], bool]) -> str:
    return "improved" if is_beyond(value) else "deteriorated" if is_beyond(-value) else "unchanged"


def _pair_status(pairs: pd.DataFrame) -> pd.Series:
    no_pre, no_post = pairs["pre"].isna(), pairs["post"].isna()
    words = np.select(
        [no_pre & no_post, no_pre, no_post], ["missing_both", "missing_pre", "missing_post"], default="complete"
    )
    return pd.Series(words, index=pairs.index, dtype=object)


def _complete(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs[pairs["pre"].notna() & pairs["post"].notna()]


def _judged(
    pairs: pd.DataFrame,
    higher_is: str,
    columns: dict[str, int],
    judge: Callable[[Fraction, Fraction], tuple[object, ...] | None],
) -> pd.DataFrame:
    """Judge each distinct pair of scores once, and give every row its answer."""
    sign = _sign(higher_is)
    result = pairs[["subject_id", "pre", "post"]].copy()
    result["pair_status"] = _pair_status(pairs)
    answers: dict[tuple[object, object], tuple[object, ...] | None] = {}
    found: list[tuple[object, ...] | None] = []
    moved: list[float] = []
    for pre, post, status in zip(result["pre"], result["post"], result["pair_status"], strict=True):
        if status != "complete":
            found.append(None)
            moved.append(math.nan)
            continue
        if (pre, post) not in answers:
            answers[pre, post] = judge(exact(pre), exact(post))
        found.append(answers[pre, post])
        moved.append(float(sign * (exact(post) - exact(pre))))
    unanswered = np.array([answer is None for answer in found], dtype=bool)
    result.loc[(result["pair_status"] == "complete").to_numpy() & unanswered, "pair_status"] = "undefined"
    result["improvement"] = moved
    for name, place in columns.items():
        values = [None if answer is None else answer[place] for answer in found]
        result[name] = pd.Series(values, index=result.index, dtype="float64" if _is_number(name) else object)
    return result


def _is_number(name: str) -> bool:
    return name in ("index_value", "improvement_share")
