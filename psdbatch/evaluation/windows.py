"""Windows of amplitude or energy in which figures are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psdbatch.evaluation.errors import EvaluationError

Array = NDArray[Any]

ENERGIES_KEV = (10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0, 2000.0, 4000.0, 10000.0)
"""Default edges in light output, keVee: finer where discrimination is hard."""


def amplitude_edges(amplitude: ArrayLike, windows: int = 8) -> tuple[float, ...]:
    """Round numbers between which the amplitudes lie, of about equal logarithmic width.

    Parameters
    ----------
    amplitude
        Largest sample above the baseline, ADC units, ``(n,)``; the outermost 0.5 % on both sides may lie outside.

    Raises
    ------
    EvaluationError
        No amplitude is positive.
    """
    values = np.asarray(amplitude, np.float64)
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        raise EvaluationError("no signal has a positive amplitude")
    low, high = np.quantile(values, [0.005, 0.995])
    edges = [_rounded(edge) for edge in np.geomspace(low, max(high, 1.5 * low), windows + 1)]
    return tuple(sorted({*edges}))


def energy_edges(energy: ArrayLike) -> tuple[float, ...]:
    """Those of :data:`ENERGIES_KEV` between which there are signals; none if no energy is known."""
    values = np.asarray(energy, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return ()
    first = max(0, int(np.searchsorted(ENERGIES_KEV, values.min(), side="right")) - 1)
    last = min(len(ENERGIES_KEV) - 1, int(np.searchsorted(ENERGIES_KEV, values.max(), side="left")))
    return ENERGIES_KEV[first : last + 1] if last > first else ()


def split(values: ArrayLike, edges: Sequence[float]) -> list[tuple[float, float, Array]]:
    """Lower edge, upper edge and places, bool ``(n,)``, of each window; the upper edge belongs to the next one.

    Raises
    ------
    EvaluationError
        The edges do not ascend.
    """
    where, limits = np.asarray(values), [float(edge) for edge in edges]
    if any(not low < high for low, high in pairwise(limits)):
        raise EvaluationError(f"edges of windows must ascend: {', '.join(f'{edge:g}' for edge in limits)}")
    return [(low, high, (where >= low) & (where < high)) for low, high in pairwise(limits)]


def _rounded(value: float, digits: int = 2) -> float:
    return float(round(value, digits - 1 - math.floor(math.log10(value))))
