"""How well one number per signal separates neutrons from gammas: everything about it in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.evaluation.errors import EvaluationError
from psdbatch.evaluation.roc import Efficiency, efficiency, roc, thinned
from psdbatch.monitor.figure_of_merit import FigureOfMeritError, figure_of_merit

Array = NDArray[Any]

POINTS = 80
"""Of a ROC curve kept for plots and files, on either scale."""

REJECTIONS = (0.9, 0.99, 0.999)
"""Gamma rejections at which the neutron efficiency is given."""


@dataclass(frozen=True)
class Merit:
    """Figure of merit of a parameter, or the reason why it has none."""

    value: float | None
    uncertainty: float | None
    reason: str = ""


@dataclass(frozen=True)
class Separation:
    """Figures of one parameter on one group of signals.

    Attributes
    ----------
    area, area_sigma
        Area under the ROC curve; None with a ``reason`` where a class is missing.
    efficiencies
        Neutron efficiency at each of the gamma rejections.
    merit
        Figure of merit from a double-Gaussian fit, which knows no truth.
    unanswered
        Signals for which the parameter is NaN; they count as not called neutrons.
    false_rate, true_rate
        Points of the ROC curve.
    """

    area: float | None
    area_sigma: float | None
    efficiencies: tuple[Efficiency, ...]
    merit: Merit
    unanswered: int
    false_rate: Array
    true_rate: Array
    reason: str = ""


def separation(parameter: Array, neutron: Array, rejections: Sequence[float] = REJECTIONS) -> Separation:
    """Figures of ``parameter``, larger for neutrons, ``(n,)``, NaN where there is none; ``neutron`` bool ``(n,)``."""
    merit, none = _merit(parameter), np.zeros(0)
    missing = int(np.isnan(parameter).sum())
    try:
        curve = roc(parameter, neutron)
    except EvaluationError as error:
        return Separation(None, None, (), merit, missing, none, none, str(error))
    found = tuple(efficiency(curve, rejection) for rejection in rejections)
    return Separation(curve.area, curve.area_sigma, found, merit, missing, *thinned(curve, POINTS))


def _merit(parameter: Array) -> Merit:
    try:
        found = figure_of_merit(parameter)
    except FigureOfMeritError as error:
        return Merit(None, None, str(error))
    except np.linalg.LinAlgError:
        return Merit(None, None, "the fit of two peaks does not converge")
    return Merit(found.value, found.uncertainty)
