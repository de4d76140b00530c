"""Calculations in conditions: what whole numbers allow is exact, everything else is in double precision.

Sums, differences and remainders of whole columns stay whole, in 64 bits with a sign, because timestamps beyond 2**53 would lose
their last digits otherwise; whatever does not fit is refused, never wrapped around.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BEYOND = 2**63
"""Whole numbers from here on are not calculated with."""


def negative(value: Any) -> Any:
    """The number with the other sign."""
    return difference(0, value)


def total(one: Any, other: Any) -> Any:
    """``one + other``, exact for whole numbers.

    Raises
    ------
    OverflowError
        It does not fit into 64 bits.
    """
    one, other = whole(one), whole(other)
    found = one + other
    if _is_whole(found):
        _refuse((one ^ found) & (other ^ found))
    return found


def difference(one: Any, other: Any) -> Any:
    """``one - other``, as :func:`total`."""
    one, other = whole(one), whole(other)
    found = one - other
    if _is_whole(found):
        _refuse((one ^ other) & (one ^ found))
    return found


def remainder(one: Any, other: Any) -> Any:
    """``one % other``, as :func:`total`."""
    return whole(one) % whole(other)


def product(one: Any, other: Any) -> Any:
    """``one * other`` in double precision."""
    return _double(one) * _double(other)


def quotient(one: Any, other: Any) -> Any:
    """``one / other`` in double precision."""
    return _double(one) / _double(other)


def power(one: Any, other: Any) -> Any:
    """``one ** other`` in double precision."""
    return np.float_power(_double(one), _double(other))


ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: total,
    ast.Sub: difference,
    ast.Mult: product,
    ast.Div: quotient,
    ast.Mod: remainder,
    ast.Pow: power,
}

CONSTANT: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: np.float_power,  # at once, whatever the exponent
}
"""The same for numbers that are written out, exact as far as Python is."""


def whole(value: Any) -> Any:
    """Whole numbers with a sign and 64 bits, others in double precision.

    Raises
    ------
    OverflowError
        A whole number does not fit.
    """
    if not isinstance(value, np.ndarray):
        if isinstance(value, int) and not -BEYOND <= value < BEYOND:
            raise OverflowError
        return value
    if value.dtype.kind not in "iub":
        return value.astype(np.float64)
    if value.dtype == np.uint64 and value.size and value.max() >= BEYOND:
        raise OverflowError
    return value.astype(np.int64)


def _double(value: Any) -> Any:
    return value.astype(np.float64) if isinstance(value, np.ndarray) else float(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.int64


def _refuse(signs: Array) -> None:
    """Raise where the sign of any of these says that the result was wrapped around."""
    if (signs < 0).any():
        raise OverflowError
