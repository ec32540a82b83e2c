"""Numbers as they are written, so that a score on a limit is on it: fractions, and roots to sixty digits.

A binary fraction turns 1.96 into something a little less or more. Fractions hold sums, means and variances exactly;
where a root is needed, two values nearer than ``TINY`` count as equal.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np

Number = int | float | str | Fraction | Decimal
TINY = Decimal("1e-40")
CONTEXT = Context(prec=60)
_INFINITY = Decimal("Infinity")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "=": operator.eq,
}


def exact(value: Number | np.generic) -> Fraction:
    """The number as it is written: 0.1 is one tenth. Raises ``ValueError`` for what is not finite."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    return Fraction(str(value))


def decimal(value: Fraction) -> Decimal:
    """A fraction to sixty digits."""
    return CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator))


def root(value: Fraction) -> Decimal:
    """The square root to sixty digits. Raises ``ValueError`` below zero."""
    if value < 0:
        raise ValueError("a root of a negative number")
    return CONTEXT.sqrt(decimal(value))


def ratio(numerator: Decimal, denominator: Decimal) -> Decimal:
    """A quotient; over zero it is infinite with the sign of the numerator, and zero over zero is zero: no change."""
    if abs(denominator) >= TINY:
        return CONTEXT.divide(numerator, denominator)
    if abs(numerator) < TINY:
        return Decimal(0)
    return _INFINITY.copy_sign(numerator)


def meets(value: Decimal | Fraction, comparator: str, limit: Decimal | Fraction) -> bool:
    """``value comparator limit``; of two decimals, those nearer than ``TINY`` are equal."""
    if isinstance(value, Decimal) and isinstance(limit, Decimal) and value.is_finite() and limit.is_finite():
        difference = CONTEXT.subtract(value, limit)
        return _COMPARE[comparator](Decimal(0) if abs(difference) < TINY else difference, 0)
    return _COMPARE[comparator](value, limit)
