"""Shares with their intervals."""

from __future__ import annotations

import math

from scipy import stats


def wilson(count: int, total: int, *, confidence: float) -> tuple[float, float]:
    """Wilson score interval of ``count / total`` (shares 0 to 1); NaN on both sides where ``total`` is 0.

    ``confidence`` is the level (0.95). Source: Wilson (1927), JASA 22, 209-212; no correction for continuity.
    """
    if total == 0:
        return math.nan, math.nan
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    share, spread = count / total, z * z / total
    centre = (share + spread / 2) / (1 + spread)
    margin = z / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    low = 0.0 if count == 0 else centre - margin
    high = 1.0 if count == total else centre + margin
    return low, high
