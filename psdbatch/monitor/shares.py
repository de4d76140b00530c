"""Counted fractions with their uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass

from psdbatch.errors import PsdbatchError

ONE_SIGMA = 1.0


class ShareError(PsdbatchError, ValueError):
    """A fraction of nothing, or of less than is counted."""


@dataclass(frozen=True)
class Share:
    """``count`` of ``total`` signals, with the interval of Wilson.

    The interval of Wilson stays inside 0 to 1 and is not of zero width where all or none are counted, which is where good
    networks are; the simple ``sqrt(p (1 - p) / n)`` fails there.

    Attributes
    ----------
    value
        ``count / total``.
    low, high
        Ends of the interval.
    """

    count: int
    total: int
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} (+{self.high - self.value:.4f} -{self.value - self.low:.4f})"


def share(count: int, total: int, sigmas: float = ONE_SIGMA) -> Share:
    """Fraction ``count / total`` with the interval of Wilson (J. Am. Stat. Assoc. 22 (1927) 209).

    Parameters
    ----------
    sigmas
        Half width of the interval in standard deviations: 1 covers 68.3 %.

    Raises
    ------
    ShareError
        There is nothing to count, or more is counted than there is.
    """
    if total <= 0:
        raise ShareError("a fraction of no signals has no value")
    if not 0 <= count <= total:
        raise ShareError(f"{count} of {total} signals is not a fraction")
    value, square = count / total, sigmas**2
    middle = (count + square / 2) / (total + square)
    width = sigmas / (total + square) * math.sqrt(count * (total - count) / total + square / 4)
    # rounding must not push the value out of its own interval at 0 and 1
    return Share(count, total, value, min(value, max(0.0, middle - width)), max(value, min(1.0, middle + width)))
