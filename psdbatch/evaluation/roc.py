"""Receiver operating characteristic of one number per signal: exact, ties included."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psdbatch.evaluation.errors import EvaluationError
from psdbatch.monitor.shares import share

Array = NDArray[Any]

FEW = 10
"""Fewer gammas than this beyond a threshold say little about the rejection there."""


@dataclass(frozen=True)
class Roc:
    """All operating points of a score that is larger for neutrons.

    Attributes
    ----------
    threshold
        Descending, shape ``(p,)``; a signal is called a neutron if its score is at least this.  The first is infinite:
        nothing is.
    false_positives, true_positives
        Gammas and neutrons called neutrons at each threshold, int64 ``(p,)``, ascending.
    area, area_sigma
        Area under the curve: the probability that a neutron scores higher than a gamma, ties counted by half; and its
        standard deviation by DeLong's method.
    unanswered
        Signals without a score (NaN): never called neutrons.
    """

    threshold: Array
    false_positives: Array
    true_positives: Array
    gammas: int
    neutrons: int
    area: float
    area_sigma: float
    unanswered: int

    @property
    def false_rate(self) -> Array:
        """Fraction of the gammas called neutrons, ``(p,)``."""
        return self.false_positives / self.gammas

    @property
    def true_rate(self) -> Array:
        """Fraction of the neutrons called neutrons, ``(p,)``."""
        return self.true_positives / self.neutrons


@dataclass(frozen=True)
class Efficiency:
    """Neutron efficiency where at least ``rejection`` of the gammas are rejected.

    Attributes
    ----------
    rejected
        Fraction of the gammas that really are rejected there.
    value, low, high
        Neutron efficiency and its interval of one standard deviation: the counting of the neutrons and the place of the
        threshold, which the gammas beyond it decide, added in squares.
    gammas_beyond
        Gammas beyond the threshold.
    threshold
        Score from which on a signal is called a neutron.
    few
        Fewer than ten gammas lie beyond the threshold, or would at exactly this rejection: an order of magnitude only.
    """

    rejection: float
    rejected: float
    value: float
    low: float
    high: float
    gammas_beyond: int
    threshold: float
    few: bool


def roc(score: ArrayLike, neutron: ArrayLike) -> Roc:
    """Operating points of ``score``.

    Parameters
    ----------
    score
        One number per signal, larger for neutrons, shape ``(n,)``; NaN where there is no answer.
    neutron
        Truth, bool ``(n,)``.

    Raises
    ------
    EvaluationError
        Neutrons or gammas are missing, or the arrays are not of one length.
    """
    values, truth = np.array(score, np.float64), np.asarray(neutron).astype(bool)
    if values.shape != truth.shape or values.ndim != 1:
        raise EvaluationError(
            f"scores of shape {values.shape} and truths of shape {truth.shape} do not belong together"
        )
    neutrons, gammas = int(truth.sum()), int(len(truth) - truth.sum())
    if not neutrons or not gammas:
        present = "neutrons" if neutrons else "gammas" if gammas else "no signals"
        raise EvaluationError(
            f"a separation needs both classes; there are only {present} here ({len(truth):,} signals)"
        )
    missing = np.isnan(values)
    values[missing] = -math.inf
    order = np.argsort(-values, kind="stable")
    sorted_values, sorted_truth = values[order], truth[order]
    last = np.append(sorted_values[1:] != sorted_values[:-1], True)  # of each group of ties
    last &= sorted_values > -math.inf
    true_positives = np.append(0, np.cumsum(sorted_truth)[last])
    false_positives = np.append(0, np.cumsum(~sorted_truth)[last])
    threshold = np.append(math.inf, sorted_values[last])
    area, sigma = _area(values, truth)
    return Roc(threshold, false_positives, true_positives, gammas, neutrons, area, sigma, int(missing.sum()))


def efficiency(curve: Roc, rejection: float) -> Efficiency:
    """Largest neutron efficiency with at least ``rejection`` of the gammas rejected.

    Raises
    ------
    EvaluationError
        ``rejection`` is not between 0 and 1.
    """
    if not 0 < rejection < 1:
        raise EvaluationError(f"a gamma rejection lies between 0 and 1, not at {rejection:g}")
    point = _operating_point(curve, 1 - rejection)
    found = share(int(curve.true_positives[point]), curve.neutrons)
    beyond = int(curve.false_positives[point])
    # As many gammas as allowed were drawn from a distribution with this spread: where could the threshold have been?
    gamma = share(round((1 - rejection) * curve.gammas), curve.gammas)
    strict, loose = (float(curve.true_rate[_operating_point(curve, rate)]) for rate in (gamma.low, gamma.high))
    low = found.value - math.hypot(found.value - found.low, found.value - min(strict, found.value))
    high = found.value + math.hypot(found.high - found.value, max(loose, found.value) - found.value)
    return Efficiency(
        rejection,
        1 - beyond / curve.gammas,
        found.value,
        max(0.0, low),
        min(1.0, high),
        beyond,
        float(curve.threshold[point]),
        (1 - rejection) * curve.gammas < FEW,
    )


def thinned(curve: Roc, points: int = 200) -> tuple[Array, Array]:
    """False and true rate at no more than about ``2 * points`` operating points, for plots and files.

    Half are evenly spread over the true rate, half over the logarithm of the false one, where the good networks live.
    """
    false, true = curve.false_rate, curve.true_rate
    rates = np.geomspace(0.5 / curve.gammas, 1, points)
    chosen = np.concatenate(
        [
            [0, len(true) - 1],
            np.searchsorted(true, np.linspace(0, true[-1], points)),
            np.searchsorted(false, rates, side="right") - 1,
        ]
    )
    kept = np.unique(np.clip(chosen, 0, len(true) - 1))
    return false[kept], true[kept]


def _operating_point(curve: Roc, rate: float) -> int:
    """The loosest operating point with a false rate of at most ``rate``."""
    allowed = math.floor(rate * curve.gammas * (1 + 1e-12))
    return int(np.searchsorted(curve.false_positives, allowed, side="right")) - 1


def _area(values: Array, truth: Array) -> tuple[float, float]:
    """Area and standard deviation after DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837, by ranks.

    The share of gammas below each neutron is its rank among all minus its rank among the neutrons; their scatter, and that
    of the gammas' counterparts, is the variance of the area.
    """
    neutrons, gammas = values[truth], values[~truth]
    ranks = _ranks(values)
    below = (ranks[truth] - _ranks(neutrons)) / len(gammas)
    above = 1 - (ranks[~truth] - _ranks(gammas)) / len(neutrons)
    variance = sum(float(part.var(ddof=1)) / len(part) if len(part) > 1 else 0.25 for part in (below, above))
    return float(below.mean()), math.sqrt(variance)


def _ranks(values: Array) -> Array:
    """Rank of each value from 1 on; equal values share the middle of their ranks."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[group])
