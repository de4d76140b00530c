"""Pulses of another digitiser on the time scale of this one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psdbatch.evaluation.errors import EvaluationError

Array = NDArray[Any]


def width_at_half(pulse: ArrayLike) -> float:
    """Full width at half maximum of one pulse above a baseline of 0, in samples, interpolated between them.

    Raises
    ------
    EvaluationError
        The pulse does not come down to its half on both sides.
    """
    values = np.asarray(pulse, np.float64)
    peak = int(values.argmax())
    half = values[peak] / 2
    before, after = np.flatnonzero(values[:peak] < half), np.flatnonzero(values[peak:] < half)
    if values[peak] <= 0 or not len(before) or not len(after):
        raise EvaluationError("the pulse does not come down to its half on both sides of its maximum")
    left, right = int(before[-1]), peak + int(after[0])
    rise = left + (half - values[left]) / (values[left + 1] - values[left])
    fall = right - (half - values[right]) / (values[right - 1] - values[right])
    return float(fall - rise)


def resampled(signals: ArrayLike, step: float, samples: int, first: float = 0.0) -> Array:
    """Signals on another grid: sample ``k`` is the mean over ``step`` old samples from ``first + k * step`` on.

    The integral of the linearly interpolated signal is cut into pieces, so that charge is kept and no frequency above the new
    grid's folds back.  Beyond either end the first or last sample goes on.

    Parameters
    ----------
    signals
        ``(n, old samples)``.
    step
        New sampling period over old one.
    samples
        New samples.
    first
        Where the first new sample begins, in old samples.

    Returns
    -------
    float64 array of shape ``(n, samples)``
    """
    values = np.asarray(signals, np.float64)
    old = values.shape[1]
    if step <= 0:
        raise EvaluationError(f"a sampling period cannot be {step:g} times another one")
    integral = np.zeros((len(values), old))
    np.cumsum((values[:, 1:] + values[:, :-1]) / 2, axis=1, out=integral[:, 1:])
    edges = first + step * np.arange(samples + 1)
    inner = np.clip(edges, 0, old - 1)
    left = np.minimum(inner.astype(int), old - 2)
    part = inner - left
    # integral up to a place between two samples: a trapezoid of the interpolated line
    begun, slope = values[:, left], values[:, left + 1] - values[:, left]
    total = integral[:, left] + begun * part + slope * part**2 / 2
    total += values[:, :1] * np.minimum(edges, 0) + values[:, -1:] * np.maximum(edges - (old - 1), 0)
    return np.asarray(np.diff(total, axis=1) / step)
