"""Four ways to count a success, always with one denominator; and how much change matters.

Response, remission, effect size and severity-adjusted effect size rank providers differently, and each depends on the
severity at the start: all four are given together, of the same people, with everybody who is left out counted under
the reason. Comparing providers needs an adjustment for case mix besides. Sources: Coley et al. (2020); Kounali et al.
(2022, PMC9340848) for the change people notice; measures.md 7 and instruments.md 2.2. Comparisons are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from efficacy.clinical_significance import NotComputableError, PairStatistics, direction
from efficacy.course_events import Criterion, trajectory_rules
from efficacy.exact_numbers import Number, decimal, exact, meets, ratio, root
from efficacy.proportions import wilson
from efficacy.trajectories import analysis_rules
from screening.definitions import default_rows, definitions

CASE_MIX_NOTE = (
    "Not adjusted for case mix: each metric depends on severity at the start in its own way, so two services with "
    "other people cannot be ranked by it. Without a control group the change holds regression to the mean."
)
NOTICED_NOTE = (
    "Points and percentages disagree at low and at high scores: 5 points are half of 10 and a fifth of 25. The share "
    "that people notice was found at moderate severity and depends on the baseline; both are shown."
)
_FEWEST_PAIRS = 2


@dataclass(frozen=True)
class Reference:
    """The population whose spread and whose regression of change on severity the effect sizes use.

    ``name`` is printed with every result. ``variance_pre`` in points squared; expected improvement is ``intercept +
    slope * pre`` (points, positive is better).
    """

    name: str
    pairs: int
    variance_pre: Fraction
    intercept: Fraction
    slope: Fraction

    @classmethod
    def of(cls, pairs: pd.DataFrame, *, name: str, higher_is: str) -> Reference:
        """From complete pairs (``pre``, ``post``) by least squares.

        Raises ``NotComputableError`` for fewer than two pairs or scores before that do not vary.
        """
        sample = PairStatistics.of(pairs)
        if sample.variance_pre is None or sample.covariance is None or sample.pairs < _FEWEST_PAIRS:
            raise NotComputableError("a reference population needs two complete pairs")
        if sample.mean_pre is None or sample.mean_post is None or sample.variance_pre == 0:
            raise NotComputableError("the scores before do not vary")
        sign = _sign(higher_is)
        slope = sign * (sample.covariance / sample.variance_pre - 1)
        intercept = sign * (sample.mean_post - sample.mean_pre) - slope * sample.mean_pre
        return cls(name, sample.pairs, sample.variance_pre, intercept, slope)


@dataclass(frozen=True)
class SuccessMetrics:
    """``people``: a row per subject; ``metrics``: a row per metric; ``exclusions``: a row per reason."""

    people: pd.DataFrame
    metrics: pd.DataFrame
    exclusions: pd.DataFrame


def success_metrics(
    pairs: pd.DataFrame,
    *,
    instrument_code: str,
    reference: Reference,
    minimum_severity: Number | None = None,
    confidence: float | None = None,
) -> SuccessMetrics:
    """All four metrics of the same people.

    ``pairs``: one row per subject (``subject_id``, ``pre``, ``post``; either may be missing). Left out, by the first
    reason that holds: ``missing_pre``, ``missing_post``, ``pre_is_zero`` (response is undefined), ``below_severity``
    (pre not at least ``minimum_severity``, in the direction of the instrument). ``metrics`` has ``metric_status``
    (computed, no_rule, no_denominator), ``denominator_count``, ``numerator_count``, ``share`` with its Wilson interval,
    ``reference_population`` and ``note``. ``people`` has ``exclusion_reason``, ``effect_size``,
    ``severity_adjusted_effect_size`` (both in SDs before of the reference population) and one boolean per metric.
    """
    level = analysis_rules()["confidence_level"] if confidence is None else confidence
    higher_is = direction(instrument_code)
    rules = {row["metric_id"]: _metric_rule(row, instrument_code) for row in definitions("success_metrics")}
    people = pairs[["subject_id", "pre", "post"]].copy()
    people["exclusion_reason"] = _reasons(people, higher_is, minimum_severity)
    included = people["exclusion_reason"].isna().to_numpy()
    judged = [
        _judge(exact(pre), exact(post), _sign(higher_is), reference, rules) if is_in else {}
        for pre, post, is_in in zip(people["pre"], people["post"], included, strict=True)
    ]
    for name in ("effect_size", "severity_adjusted_effect_size"):
        people[name] = [row.get(name, math.nan) for row in judged]
    for metric in rules:
        met: list[Any] = [row.get("is_" + metric) for row in judged]
        people["is_" + metric] = pd.Series(met, index=people.index, dtype="boolean")
    rows = []
    total = int(included.sum())
    for metric, rule in rules.items():
        count = int(people["is_" + metric].sum()) if rule else 0
        status = "no_rule" if rule is None else "computed" if total else "no_denominator"
        low, high = wilson(count, total, confidence=level) if status == "computed" else (math.nan, math.nan)
        rows.append(
            {
                "metric_id": metric,
                "metric_status": status,
                "denominator_count": total,
                "numerator_count": count if status == "computed" else pd.NA,
                "share": count / total if status == "computed" else math.nan,
                "share_ci_low": low,
                "share_ci_high": high,
                "reference_population": reference.name,
                "note": CASE_MIX_NOTE,
            }
        )
    reasons = ["missing_pre", "missing_post", "pre_is_zero", "below_severity"]
    exclusions = pd.DataFrame(
        {
            "exclusion_reason": reasons,
            "people_count": [int((people["exclusion_reason"] == reason).sum()) for reason in reasons],
        }
    )
    return SuccessMetrics(people, pd.DataFrame(rows).astype({"numerator_count": "Int64"}), exclusions)


def noticed_change(pairs: pd.DataFrame, *, instrument_code: str, confidence: float | None = None) -> pd.DataFrame:
    """Change that matters by points (MCID) and change that people notice by percent, by band of severity before.

    Returns a row for all and one for each band (``severity_band``), those with nobody included: ``pairs_count``, and
    for ``mcid`` and ``noticed`` a ``_status`` (computed, no_rule, no_pairs), ``_count``, ``_share`` and its Wilson
    interval; ``disagreeing_count`` (one rule met, the other not) and ``note``. The band shows how the two rules part:
    read no share without it. A score before of 0 has no percentage and is left out of both.
    """
    level = analysis_rules()["confidence_level"] if confidence is None else confidence
    rules = trajectory_rules(instrument_code)
    sign = _sign(direction(instrument_code))
    points = rules.get("mcid", {}).get("points")
    share = rules.get("noticed_change", {}).get("share")
    there = pairs[pairs["pre"].notna() & pairs["post"].notna() & (pairs["pre"] != 0)]
    rows = []
    bands = default_rows("severity_bands", instrument_code)
    for row in [None, *bands]:
        found = [
            (sign * (exact(post) - exact(pre)), exact(pre))
            for pre, post in zip(there["pre"], there["post"], strict=True)
            if row is None or exact(row["lower_bound_inclusive"]) <= exact(pre) < exact(row["upper_bound_exclusive"])
        ]
        by_points = [points is not None and points.holds(gain) for gain, _ in found]
        by_share = [share is not None and share.holds(gain, pre) for gain, pre in found]
        is_told = points is not None and share is not None
        rows.append(
            {
                "severity_band": "all" if row is None else row["band"],
                "pairs_count": len(found),
                **_shares("mcid", points, by_points, level),
                **_shares("noticed", share, by_share, level),
                "disagreeing_count": int(np.sum(np.array(by_points) != np.array(by_share))) if is_told else pd.NA,
                "note": NOTICED_NOTE,
            }
        )
    whole = {"mcid_count": "Int64", "noticed_count": "Int64", "disagreeing_count": "Int64"}
    return pd.DataFrame(rows).astype(whole)


def _shares(name: str, rule: Criterion | None, met: list[bool], level: float) -> dict[str, Any]:
    status = "no_rule" if rule is None else "computed" if met else "no_pairs"
    is_computed = status == "computed"
    low, high = wilson(sum(met), len(met), confidence=level) if is_computed else (math.nan, math.nan)
    return {
        f"{name}_status": status,
        f"{name}_count": sum(met) if is_computed else pd.NA,
        f"{name}_share": sum(met) / len(met) if is_computed else math.nan,
        f"{name}_ci_low": low,
        f"{name}_ci_high": high,
    }


def _sign(higher_is: str) -> int:
    if higher_is not in ("worse", "better"):
        raise ValueError("higher_is must be worse or better")
    return -1 if higher_is == "worse" else 1


def _reasons(people: pd.DataFrame, higher_is: str, minimum_severity: Number | None) -> pd.Series:
    pre, post = people["pre"], people["post"]
    if minimum_severity is None:
        is_mild = pd.Series(False, index=people.index)
    else:
        limit = float(exact(minimum_severity))
        is_mild = pre < limit if higher_is == "worse" else pre > limit
    words = np.select(
        [pre.isna(), post.isna(), pre == 0, is_mild],
        ["missing_pre", "missing_post", "pre_is_zero", "below_severity"],
        default="",
    )
    return pd.Series(words, index=people.index, dtype=object).where(words != "", None)


_Rule = Callable[[Fraction, Fraction, Fraction, dict[str, Decimal]], bool]


def _metric_rule(row: dict[str, str], instrument_code: str) -> _Rule | None:
    """How a metric judges (pre, post, improvement, effect sizes); ``None`` where the instrument has no threshold."""
    metric = row["metric_id"]
    if not row["threshold_purpose"]:
        limit = decimal(Fraction(int(row["threshold_numerator"]), int(row["threshold_denominator"])))
        return lambda pre, post, gain, sizes: meets(sizes[metric], row["comparator"], limit)
    found = [
        threshold
        for threshold in default_rows("thresholds", instrument_code)
        if threshold["purpose"] == row["threshold_purpose"] and not threshold["valid_to"]
    ]
    if not found:
        return None
    comparator, value = found[0]["comparator"], exact(found[0]["threshold_value"])
    if metric == "remission":
        return lambda pre, post, gain, sizes: meets(post, comparator, value)
    return lambda pre, post, gain, sizes: meets(gain, comparator, value * pre)


def _judge(
    pre: Fraction, post: Fraction, sign: int, reference: Reference, rules: dict[str, _Rule | None]
) -> dict[str, Any]:
    gain = sign * (post - pre)
    deviation = root(reference.variance_pre)
    expected = reference.intercept + reference.slope * pre
    sizes = {
        "effect_size": ratio(decimal(gain), deviation),
        "severity_adjusted_effect_size": ratio(decimal(gain - expected), deviation),
    }
    result: dict[str, Any] = {name: float(value) for name, value in sizes.items()}
    for metric, rule in rules.items():
        result["is_" + metric] = None if rule is None else rule(pre, post, gain, sizes)
    return result
