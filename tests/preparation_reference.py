"""The whole preparation of one signal after the other in NumPy: slow, plain, independent of TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

from psdbatch.columns import Flag
from psdbatch.config import Alignment, Charge, PileUp, Preparation, SignalShape

F = np.float32


def prepare(
    raw: np.ndarray[Any, Any],
    signals: SignalShape,
    preparation: Preparation,
    charge: Charge,
    pile_up: PileUp,
    length: int,
) -> tuple[np.ndarray[Any, Any], dict[str, np.ndarray[Any, Any]]]:
    """Windows ``(n, length)`` and columns of raw signals ``(n, samples)``."""
    rows = [_one(signal, signals, preparation, charge, pile_up, length) for signal in raw]
    columns = {name: np.array([row[1][name] for row in rows]) for name in rows[0][1]}
    return np.array([row[0] for row in rows], F), columns


def _one(
    raw: np.ndarray[Any, Any],
    signals: SignalShape,
    preparation: Preparation,
    charge: Charge,
    pile_up: PileUp,
    length: int,
) -> tuple[list[float], dict[str, Any]]:
    samples = [float(value) for value in raw]
    rest = samples[: signals.baseline]
    baseline = sum(rest) / len(rest) if rest else 0.0
    noise = (sum((value - baseline) ** 2 for value in rest) / len(rest)) ** 0.5 if rest else 0.0
    sign = 1 if signals.polarity == "positive" else -1
    height = [sign * (value - baseline) for value in samples]
    amplitude = max(height)
    whole = np.issubdtype(raw.dtype, np.integer)

    start = _reference(height, amplitude, preparation, whole) + preparation.offset
    window = [height[min(max(start + number, 0), len(height) - 1)] for number in range(length)]
    if preparation.normalise == "amplitude" and amplitude > 0:
        window = [value / amplitude for value in window]

    gate = _reference(height, amplitude, charge, whole) + charge.offset
    flags = 0
    if min(samples) <= 0 or max(samples) >= 2**signals.adc_bits - 1:
        flags |= Flag.SATURATED
    limit = max(float(F(pile_up.fraction) * F(amplitude)), pile_up.noise * noise, 0.0)
    peak = height.index(amplitude)
    for number in range(peak + pile_up.dead, len(height) - pile_up.rise):
        if height[number + pile_up.rise] - height[number] > limit:
            flags |= Flag.PILE_UP
    return window, {
        "amplitude": amplitude,
        "charge_long": sum(height[max(0, gate) : max(0, gate + charge.long)]),
        "charge_short": sum(height[max(0, gate) : max(0, gate + charge.short)]),
        "flags": int(flags),
    }


def _reference(height: list[float], amplitude: float, alignment: Alignment, whole: bool) -> int:
    if alignment.align == "start":
        return 0
    if alignment.align == "maximum":
        return height.index(amplitude)
    level = min(alignment.threshold * amplitude - (1 / 64 if whole else 0), amplitude)
    return next(number for number, value in enumerate(height) if value >= level)
