"""Time of flight as truth: windows of it are never pure, and how impure they are can be measured.

Accidental coincidences are spread evenly over the time of flight.  A quiet range, far from the peaks, therefore tells how
many of them lie under each peak, and what they look like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psdbatch.evaluation.errors import EvaluationError

Array = NDArray[Any]
Range = tuple[float, float]


@dataclass(frozen=True)
class Contamination:
    """Accidental coincidences in a window of time of flight.

    Attributes
    ----------
    signals
        Signals in the window.
    accidental
        How many of them are accidental, as the quiet range tells.
    share, share_sigma
        ``accidental / signals``, and its standard deviation.
    """

    signals: int
    accidental: float
    share: float
    share_sigma: float


@dataclass(frozen=True)
class TaggedSeparation:
    """Area under the ROC of a parameter with time of flight as truth.

    Attributes
    ----------
    area
        As it is found, accidental coincidences and all: a lower limit of what the detector does.
    area_sigma
        Its standard deviation, by bootstrap.
    subtracted, subtracted_sigma
        After subtraction of the accidental coincidences' distribution from both windows, and its standard deviation.
    neutrons, gammas
        Contamination of the two windows.
    """

    area: float
    area_sigma: float
    subtracted: float
    subtracted_sigma: float
    neutrons: Contamination
    gammas: Contamination


def contamination(time: ArrayLike, window: Range, quiet: Range) -> Contamination:
    """How much of ``window`` is accidental.

    Parameters
    ----------
    time
        Time of flight of every signal, any unit, ``(n,)``.
    window, quiet
        From, to: of a peak, and of a range without any.

    Raises
    ------
    EvaluationError
        A range is empty, or the two overlap.
    """
    times = np.asarray(time, np.float64)
    if max(window[0], quiet[0]) < min(window[1], quiet[1]):
        raise EvaluationError(f"the quiet range {quiet} overlaps with the window {window}")
    inside, outside = int(_within(times, window).sum()), int(_within(times, quiet).sum())
    if not inside or not outside:
        raise EvaluationError(f"there is no signal in {window if not inside else quiet}")
    scale = (window[1] - window[0]) / (quiet[1] - quiet[0])
    share = scale * outside / inside
    return Contamination(inside, scale * outside, share, share * float(np.sqrt(1 / inside + 1 / outside)))


def tagged_separation(
    parameter: ArrayLike,
    time: ArrayLike,
    neutrons: Range,
    gammas: Range,
    quiet: Range,
    *,
    repetitions: int = 100,
    seed: int = 1,
) -> TaggedSeparation:
    """Area under the ROC of ``parameter`` (larger for neutrons) between two windows of time of flight.

    Parameters
    ----------
    parameter, time
        Of every signal, ``(n,)``.
    neutrons, gammas, quiet
        Windows of time of flight; the quiet one holds accidental coincidences alone.
    repetitions, seed
        Of the bootstrap that gives the standard deviations.

    Raises
    ------
    EvaluationError
        As :func:`contamination`.
    """
    values, times = np.asarray(parameter, np.float64), np.asarray(time, np.float64)
    found = contamination(times, neutrons, quiet), contamination(times, gammas, quiet)
    groups = [values[_within(times, part)] for part in (neutrons, gammas, quiet)]
    scales = [(part[1] - part[0]) / (quiet[1] - quiet[0]) for part in (neutrons, gammas)]
    plain, subtracted = _areas(groups, scales)
    random = np.random.default_rng(seed)
    repeated = [
        _areas([group[random.integers(0, len(group), len(group))] for group in groups], scales)
        for _ in range(repetitions)
    ]
    sigmas = np.std(repeated, axis=0)
    return TaggedSeparation(plain, float(sigmas[0]), subtracted, float(sigmas[1]), *found)


def _within(times: Array, window: Range) -> Array:
    return np.asarray((times >= window[0]) & (times < window[1]))


def _areas(groups: Sequence[Array], scales: Sequence[float]) -> tuple[float, float]:
    """Areas as found and with accidental coincidences subtracted: signals of the quiet range count negatively."""
    neutrons, gammas, quiet = groups
    nothing = np.zeros(0)
    plain = _weighted_area((neutrons, nothing, 0.0), (gammas, nothing, 0.0))
    return plain, _weighted_area((neutrons, quiet, scales[0]), (gammas, quiet, scales[1]))


def _weighted_area(first: tuple[Array, Array, float], second: tuple[Array, Array, float]) -> float:
    """Probability that a value of the first distribution is larger than one of the second, ties by half."""
    values = np.concatenate([first[0], first[1], second[0], second[1]])
    levels, place = np.unique(values, return_inverse=True)
    ends = np.cumsum([len(part) for part in (first[0], first[1], second[0], second[1])])
    weights = [np.ones(len(first[0])), np.full(len(first[1]), -first[2])]
    weights += [np.ones(len(second[0])), np.full(len(second[1]), -second[2])]
    upper = np.bincount(place[: ends[1]], np.concatenate(weights[:2]), len(levels))
    lower = np.bincount(place[ends[1] :], np.concatenate(weights[2:]), len(levels))
    below = np.cumsum(lower) - lower / 2
    return float((upper @ below) / (upper.sum() * lower.sum()))
