"""The classical method beside the network: a cut in the charge ratio, its place learnt on other signals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psdbatch.evaluation.errors import EvaluationError

Array = NDArray[Any]


@dataclass(frozen=True)
class WindowCuts:
    """A cut for each window; signals outside the windows follow the nearest one.

    ``edges`` ascending ``(k + 1,)``; ``cuts`` ``(k,)``, a signal with a charge ratio of at least this is a neutron.
    """

    edges: Array
    cuts: Array

    def neutrons(self, ratio: ArrayLike, place: ArrayLike) -> Array:
        """Whether each signal is called a neutron, bool ``(n,)``; NaN ratios are not."""
        window = np.clip(np.searchsorted(self.edges, np.asarray(place), side="right") - 1, 0, len(self.cuts) - 1)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.asarray(ratio) >= self.cuts[window])


def best_cut(ratio: ArrayLike, neutron: ArrayLike) -> float:
    """The cut that decides most signals right.

    Between two neighbouring values it lies in their middle; of several equally good ones the middle one is taken.

    Raises
    ------
    EvaluationError
        There is no signal with a charge ratio.
    """
    values, truth = np.asarray(ratio, np.float64), np.asarray(neutron).astype(bool)
    good = np.isfinite(values)
    values, truth = values[good], truth[good]
    if not len(values):
        raise EvaluationError("no signal has a charge ratio to cut in")
    order = np.argsort(values)
    values, truth = values[order], truth[order]
    # right[i]: gammas below place i and neutrons from it on
    right = np.append(0, np.cumsum(~truth)) + np.append(np.cumsum(truth[::-1])[::-1], 0)
    possible = np.concatenate([[True], values[1:] > values[:-1], [True]])
    places = np.flatnonzero(possible & (right == right[possible].max()))
    place = int(places[len(places) // 2])
    if place == 0:
        return float(np.nextafter(values[0], -math.inf))
    if place == len(values):
        return float(np.nextafter(values[-1], math.inf))
    return float((values[place - 1] + values[place]) / 2)


def learn_cuts(ratio: ArrayLike, neutron: ArrayLike, place: ArrayLike, edges: ArrayLike) -> WindowCuts:
    """The best cut in each window of amplitude or energy; one without both classes takes that of all signals.

    Parameters
    ----------
    ratio, neutron, place
        Charge ratio, truth, and amplitude or energy of the signals to learn from, ``(n,)``.
    edges
        Edges of the windows, ascending.
    """
    ratios, truth, where = np.asarray(ratio), np.asarray(neutron).astype(bool), np.asarray(place)
    limits = np.asarray(edges, np.float64)
    whole = best_cut(ratios, truth)
    cuts = []
    for low, high in pairwise(limits):
        inside = (where >= low) & (where < high) & np.isfinite(ratios)
        both = truth[inside].any() and not truth[inside].all()
        cuts.append(best_cut(ratios[inside], truth[inside]) if both else whole)
    return WindowCuts(limits, np.array(cuts))
