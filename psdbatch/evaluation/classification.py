"""Confusion matrix, accuracy and calibration of class scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psdbatch.evaluation.counting import Difference, paired_difference
from psdbatch.evaluation.errors import EvaluationError
from psdbatch.monitor.shares import Share, share

Array = NDArray[Any]

SMALLEST = float(np.finfo(np.float32).tiny)
"""Scores below this count as this; a softmax in float32 gives nothing smaller but zero."""


def checked_scores(scores: ArrayLike, truth: ArrayLike, classes: int) -> tuple[Array, Array]:
    """Scores float64 ``(n, classes)`` and truth int64 ``(n,)``; a signal with any score not finite has none: NaN.

    Raises
    ------
    EvaluationError
        Shapes do not fit, there is no signal, or a truth is no class.
    """
    values, labels = np.array(scores, np.float64), np.asarray(truth).astype(np.int64)
    if values.ndim != 2 or values.shape[1] != classes or labels.shape != values.shape[:1]:
        raise EvaluationError(
            f"scores of shape {values.shape} and truths of shape {labels.shape} do not fit {classes} classes"
        )
    if not len(labels):
        raise EvaluationError("there is no signal to evaluate")
    if labels.min() < 0 or labels.max() >= classes:
        raise EvaluationError(
            f"a truth of {labels.max() if labels.max() >= classes else labels.min()} is none of the {classes} classes"
        )
    values[~np.isfinite(values).all(axis=1)] = np.nan
    return values, labels


def decisions(scores: Array) -> Array:
    """Class of the highest score, int64 ``(n,)``; -1 where there is no answer."""
    answered = ~np.isnan(scores).any(axis=1)
    chosen = np.full(len(scores), -1, np.int64)
    chosen[answered] = scores[answered].argmax(axis=1)
    return chosen


def confusion_matrix(truth: Array, decided: Array, classes: int) -> Array:
    """Signals by true class (rows) and decision (columns, the last one for no answer), int64 ``(classes, classes + 1)``."""
    columns = np.where(decided < 0, classes, decided)
    counts = np.bincount(truth * (classes + 1) + columns, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)


def accuracy(truth: Array, decided: Array) -> Share:
    """Fraction decided right; a signal without an answer is not right.

    Raises
    ------
    ShareError
        There is no signal.
    """
    return share(int((truth == decided).sum()), len(truth))


def compare(truth: Array, first: Array, second: Array) -> Difference:
    """Accuracy of ``first`` minus that of ``second``, two decisions on the same signals."""
    right, other = truth == first, truth == second
    return paired_difference(int((right & ~other).sum()), int((other & ~right).sum()), len(truth))


def evidence(scores: Array, number: int) -> Array:
    """Logarithm of the odds that a signal is of class ``number`` against all others, ``(n,)``; NaN without an answer.

    The score itself crowds at 0 and 1; its logit spreads there, so that peaks have widths and a figure of merit.
    """
    others = np.delete(scores, number, axis=1).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.log(np.maximum(scores[:, number], SMALLEST)) - np.log(np.maximum(others, SMALLEST)))


@dataclass(frozen=True)
class CalibrationBin:
    """Signals whose score lies in one range: mean score, and how many of them are of the class."""

    low: float
    high: float
    mean_score: float
    observed: Share


@dataclass(frozen=True)
class Calibration:
    """Whether a score of 0.9 means 90 %.

    Attributes
    ----------
    bins
        Ranges that hold signals.
    expected_error
        Mean distance between score and observed fraction, weighted by the signals in each range.
    largest_error
        Largest such distance in a range of at least 50 signals; None if there is none.
    expected_by_chance
        The ``expected_error`` that a perfectly calibrated score would show with so few signals.
    """

    bins: tuple[CalibrationBin, ...]
    expected_error: float
    largest_error: float | None
    expected_by_chance: float


def calibration(score: ArrayLike, is_class: ArrayLike, bins: int = 15) -> Calibration:
    """Calibration of the score of one class in ranges of equal width.

    Parameters
    ----------
    score
        Score of the class, 0 to 1, ``(n,)``; NaN are left out.
    is_class
        Whether each signal is of the class, bool ``(n,)``.

    Raises
    ------
    EvaluationError
        No signal has a score, or a score is not between 0 and 1.
    """
    values, truth = np.asarray(score, np.float64), np.asarray(is_class).astype(bool)
    answered = ~np.isnan(values)
    values, truth = values[answered], truth[answered]
    if not len(values):
        raise EvaluationError("no signal has a score to calibrate")
    if values.min() < -1e-6 or values.max() > 1 + 1e-6:
        raise EvaluationError(
            f"scores from {values.min():.3g} to {values.max():.3g} are no probabilities; set 'activation' if they are logits"
        )
    edges = np.linspace(0, 1, bins + 1)
    places = np.clip(np.digitize(values, edges) - 1, 0, bins - 1)
    found, by_chance = [], 0.0
    for k in np.unique(places):
        inside = places == k
        mean, count = float(values[inside].mean()), int(inside.sum())
        observed = share(int(truth[inside].sum()), count)
        found.append(CalibrationBin(float(edges[k]), float(edges[k + 1]), mean, observed))
        spread = float((values[inside] * (1 - values[inside])).clip(0).sum()) ** 0.5
        by_chance += spread * (2 / np.pi) ** 0.5  # mean of |x| of a normal distribution
    errors = [abs(entry.mean_score - entry.observed.value) for entry in found]
    weights = [entry.observed.total for entry in found]
    large = [error for error, weight in zip(errors, weights, strict=True) if weight >= 50]
    return Calibration(
        tuple(found), float(np.average(errors, weights=weights)), max(large, default=None), by_chance / len(values)
    )
