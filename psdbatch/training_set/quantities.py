"""Amplitude, charges and flags of raw signals without TensorFlow: what strata and label rules need of every signal.

The arithmetic is that of :mod:`psdbatch.models.preparation`, sample by sample in compiled code; the tests hold the two
against each other.  ``docs/training-set.md`` has the speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import Flag
from psdbatch.compiled import compiled
from psdbatch.config import Alignment, Charge, PileUp, SignalShape

Array = NDArray[Any]

NEARLY = 1 / 64
"""ADC units by which an integer sample may miss the threshold; as in the preparation."""

START, THRESHOLD, MAXIMUM = range(3)
_SATURATED, _PILE_UP = int(Flag.SATURATED), int(Flag.PILE_UP)


@dataclass(frozen=True)
class Quantities:
    """One value per signal: ``amplitude``, ``charge_long``, ``charge_short`` float32, ``flags`` uint16."""

    amplitude: Array
    charge_long: Array
    charge_short: Array
    flags: Array


def measure(raw: Array, signals: SignalShape, charge: Charge, pile_up: PileUp) -> Quantities:
    """Quantities of raw signals of shape ``(n, samples)``.

    Returns
    -------
    Quantities
        ``flags`` has the bits SATURATED and PILE_UP alone.
    """
    real_values = [np.empty(len(raw), np.float32) for _ in range(3)]
    found = Quantities(real_values[0], real_values[1], real_values[2], np.empty(len(raw), np.uint16))
    whole = np.issubdtype(raw.dtype, np.integer)
    real = np.float64 if whole and raw.dtype.itemsize > 2 else np.float32
    values = np.ascontiguousarray(raw)
    _measure(
        values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("=")),
        signals.polarity == "positive",
        min(signals.baseline, raw.shape[1]),
        real(2.0**signals.adc_bits - 1),
        *_gate(charge, real),
        pile_up.rise,
        real(pile_up.fraction),
        real(pile_up.noise),
        pile_up.dead,
        whole,
        np.int64(0) if whole else real(0),
        np.zeros(8, real),
        found.amplitude,
        found.charge_long,
        found.charge_short,
        found.flags,
    )
    return found


def _gate(charge: Charge, real: Any) -> tuple[int, Any, int, int, int]:
    kinds: dict[str, int] = {"start": START, "threshold": THRESHOLD, "maximum": MAXIMUM}
    alignment: Alignment = charge
    return kinds[alignment.align], real(alignment.threshold), alignment.offset, charge.long, charge.short


@compiled
def _extremes(row: Array) -> tuple[Any, Any]:
    lowest = highest = row[0]
    for k in range(len(row)):
        lowest, highest = min(lowest, row[k]), max(highest, row[k])
    return lowest, highest


@compiled
def _first_beyond(row: Array, level: Any, upwards: bool) -> int:
    if upwards:
        for k in range(len(row)):
            if row[k] >= level:
                return k
    else:
        for k in range(len(row)):
            if row[k] <= level:
                return k
    return len(row) - 1


@compiled
def _sum(row: Array, zero: Any) -> Any:
    total = zero
    for k in range(len(row)):
        total += row[k]
    return total


@compiled
def _highest_rise(early: Array, late: Array, upwards: bool, zero: Any) -> Any:
    """Largest step between two stretches of samples, 0 if none goes up."""
    highest = zero
    if upwards:
        for k in range(len(late)):
            highest = max(highest, zero + late[k] - early[k])
    else:
        for k in range(len(late)):
            highest = max(highest, zero + early[k] - late[k])
    return highest


@compiled
def _measure(
    raw: Array,
    upwards: bool,
    rest: int,
    largest: Any,
    align: int,
    threshold: Any,
    offset: int,
    long: int,
    short: int,
    rise: int,
    fraction: Any,
    noise: Any,
    dead: int,
    whole: bool,
    zero: Any,
    keep: Array,
    amplitudes: Array,
    longs: Array,
    shorts: Array,
    flags: Array,
) -> None:
    """One signal after the other.

    ``zero`` has the type that sums of samples are made in; every value kept in ``keep`` is rounded to the preparation's
    precision.
    """
    samples = raw.shape[1]
    for i in range(len(raw)):
        row = raw[i]
        lowest, highest = _extremes(row)
        peak = highest if upwards else lowest
        keep[0] = keep[1] = 0
        if rest:
            first = zero + row[0]
            keep[2] = _sum(row[:rest], zero) - rest * first  # counted from a sample: a flat line has its own value
            keep[0] = first + keep[2] / rest
            for k in range(rest):
                keep[3] = row[k] - keep[0]
                keep[1] += keep[3] * keep[3]
            keep[1] = np.sqrt(keep[1] / rest)
        baseline = keep[0]
        keep[4] = peak
        keep[4] = keep[4] - baseline if upwards else baseline - keep[4]
        amplitude = keep[4]
        top = _first_beyond(row, peak, upwards)

        start = offset
        if align == MAXIMUM:
            start += top
        elif align == THRESHOLD:
            keep[5] = threshold * amplitude
            keep[5] = baseline + keep[5] if upwards else baseline - keep[5]
            if whole:
                keep[5] = np.ceil(keep[5] - NEARLY) if upwards else np.floor(keep[5] + NEARLY)
            keep[5] = min(max(keep[5], lowest), highest)
            start += _first_beyond(row, keep[5], upwards)
        for gate in range(2):
            begin = min(max(start, 0), samples)
            stop = min(max(start + (long if gate == 0 else short), 0), samples)
            keep[6] = _sum(row[begin:stop], zero)
            keep[7] = (stop - begin) * baseline
            above = keep[6] - keep[7] if upwards else keep[7] - keep[6]
            if gate == 0:
                longs[i] = above
            else:
                shorts[i] = above

        bits = _SATURATED if lowest <= 0 or highest >= largest else 0
        begin = top + dead
        if begin + rise < samples:
            second = _highest_rise(row[begin : samples - rise], row[begin + rise :], upwards, zero)
            if second > max(fraction * amplitude, noise * keep[1], 0):
                bits |= _PILE_UP
        amplitudes[i], flags[i] = amplitude, bits
