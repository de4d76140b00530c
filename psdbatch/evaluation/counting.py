"""Two methods on the same signals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from psdbatch.evaluation.errors import EvaluationError


@dataclass(frozen=True)
class Difference:
    """Difference of two fractions of the same signals, and its standard deviation.

    ``only_first`` signals are right with the first method alone, ``only_second`` with the second alone; what both know or
    neither does cancels, so that a small difference is seen earlier than by comparing two error bars.
    """

    value: float
    sigma: float
    only_first: int
    only_second: int


def paired_difference(only_first: int, only_second: int, total: int) -> Difference:
    """Fraction of the first method minus that of the second, on the same ``total`` signals.

    Raises
    ------
    EvaluationError
        There are no signals.
    """
    if total <= 0:
        raise EvaluationError("methods cannot be compared on no signals")
    difference = only_first - only_second
    variance = max(only_first + only_second - difference**2 / total, 1.0)  # none differs: as if one did
    return Difference(difference / total, math.sqrt(variance) / total, only_first, only_second)
