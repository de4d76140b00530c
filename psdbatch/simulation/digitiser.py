"""From light to samples: photoelectrons one by one, the response of photomultiplier and preamplifier, noise, the ADC."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.compiled import compiled
from psdbatch.simulation.chance import NORMAL_ABOVE, bits, look_up, poisson, start, tables
from psdbatch.simulation.hits import Hits
from psdbatch.simulation.scintillator import DECAY_TIMES_NS, LIGHT_FRACTIONS
from psdbatch.simulation.settings import Simulation

Array = NDArray[Any]

FINE = 2
"""Photoelectrons are collected in this many time bins per sample before they meet the response."""

_16 = np.uint64(16)

_WIDTH_TO_TAU = 3.3948
"""Full width at half maximum of ``t**2 exp(-t/tau)`` in units of tau."""


def response(width_ns: float, sampling_period_ns: float) -> Array:
    """What the samples after a photoelectron see of it: ``t**2 exp(-t/tau)``, three equal low-pass stages.

    Parameters
    ----------
    width_ns
        Full width at half maximum.
    sampling_period_ns
        Time between two samples.

    Returns
    -------
    float32 array of shape ``(FINE, taps)``
        Row ``p`` is for a photoelectron in the ``p``-th part of a sampling period, column ``k`` for the ``k``-th sample from the one
        that begins this period.  On average over ``p`` a row adds up to 1.
    """
    tau = width_ns / _WIDTH_TO_TAU
    taps = 1 + math.ceil(10 * tau / sampling_period_ns)
    part = (np.arange(FINE)[:, None] + 0.5) / FINE
    time = np.maximum(np.arange(taps)[None, :] - part, 0) * sampling_period_ns / tau
    shape = time**2 * np.exp(-time)
    return np.asarray(shape * (FINE / shape.sum()), np.float32)


def onset(settings: Simulation, time: Array) -> Array:
    """Where in the record the pulses of hits at ``time`` (ns) begin, in samples, float32.

    The digitiser's clock runs freely, so the place inside a sampling period is random.
    """
    periods = time / settings.sampling_period
    return (settings.trigger + (periods - np.floor(periods))).astype(np.float32)


def digitise(settings: Simulation, key: np.uint64, first: int, hits: Hits, out: Array) -> Array:
    """Write the samples of ``hits``, number ``first`` and following, to ``out`` of shape ``(n, samples)``.

    Returns
    -------
    bool array of shape ``(n,)``
        Signals with a sample at an end of the ADC range.
    """
    saturated = np.zeros(len(out), np.bool_)
    fine_per_ns = FINE / settings.sampling_period
    per_photoelectron = settings.gain / settings.photoelectrons
    _digitise(
        key,
        first,
        onset(settings, hits.time).astype(np.float64) * FINE,
        np.stack([hits.label, hits.second_label]),
        np.stack([hits.energy, hits.second_energy]) * np.float32(settings.photoelectrons),
        hits.second_delay * fine_per_ns,
        np.array(LIGHT_FRACTIONS),
        np.array(DECAY_TIMES_NS) * fine_per_ns,
        settings.slow_spread,
        np.float32(settings.single_spread),
        response(settings.response, settings.sampling_period),
        np.float32(per_photoelectron * (1 if settings.polarity == "positive" else -1)),
        np.float32(settings.baseline),
        np.float32(settings.baseline_spread),
        np.float32(settings.noise),
        np.float32(2**settings.adc_bits - 1),
        *tables(),
        out,
        saturated,
    )
    return saturated


@compiled
def _collect(
    photons: float, began: float, tau: float, counts: Array, state: Array, normal: Array, exponential: Array
) -> None:
    """Add the photoelectrons of one decay component, ``photons`` on average from ``began`` on, to ``counts``.

    Bins with many are drawn as a whole.  As soon as they hold few, the rest are placed one by one: what is left of an
    exponential decay is the same decay again.  Times in fine bins; what falls behind the last bin is not drawn.
    """
    end = len(counts)
    edge = int(began) + 1
    after_first = photons * math.exp(-(edge - began) / tau)
    left, origin = photons, began
    if photons - after_first > NORMAL_ABOVE and edge <= end:  # else the first bin is placed one by one as well
        counts[edge - 1] += poisson(photons - after_first, state, normal)
        left, shrink = after_first, math.exp(-1.0 / tau)
        while left * (1.0 - shrink) > NORMAL_ABOVE and edge < end:
            counts[edge] += poisson(left * (1.0 - shrink), state, normal)
            left *= shrink
            edge += 1
        origin = float(edge)
    word = np.uint64(0)
    start, scale, last = np.float32(origin), np.float32(tau), np.float32(end)
    for k in range(poisson(left, state, normal)):
        word = bits(state) if k % 4 == 0 else word >> _16
        place = start + scale * look_up(exponential, word)
        if place < last:
            counts[np.uint32(place)] += 1


@compiled
def _fill(noises: Array, state: Array, normal: Array) -> None:
    """Fill ``noises`` with standard normal numbers."""
    whole = len(noises) // 4 * 4
    for k in range(whole, len(noises)):
        noises[k] = look_up(normal, bits(state))
    for k in range(0, whole, 4):
        word = bits(state)
        for part in range(4):
            noises[k + part] = look_up(normal, word)
            word >>= _16


@compiled
def _shape(
    counts: Array,
    begin: int,
    shape: Array,
    spread: Any,
    noises: Array,
    charge: Array,
    pulse: Array,
    state: Array,
    normal: Array,
) -> None:
    """Turn counts of photoelectrons, none before sample ``begin``, into a pulse: fluctuating charges, then the response.

    Every bin gets a random number, empty ones too, and the inner loops run over samples with plain indices and no sum to
    reorder: without branches they become vector code as they stand.
    """
    pulse[:] = 0
    _fill(noises[FINE * begin :], state, normal)
    for i in range(FINE * begin, len(counts)):
        n = np.float32(counts[i])
        noises[i] = n + spread * np.sqrt(n) * noises[i]
    for part in range(FINE):
        source = charge[part, begin:]
        for i in range(len(source)):
            source[i] = noises[FINE * (begin + i) + part]
        for k in range(shape.shape[1]):
            height, target = shape[part, k], pulse[begin + k :]
            for i in range(len(target)):
                target[i] += height * source[i]


@compiled
def _convert(
    pulse: Array, level: Any, noise: Any, largest: Any, row: Array, noises: Array, state: Array, normal: Array
) -> bool:
    """Add noise, round and limit to the ADC range; True if a sample lies at an end of it."""
    _fill(noises, state, normal)
    lowest = highest = level
    for k in range(len(row)):
        value = min(max(np.floor(level + pulse[k] + noise * noises[k] + np.float32(0.5)), np.float32(0)), largest)
        lowest, highest = min(lowest, value), max(highest, value)
        row[k] = value
    return bool(lowest <= 0 or highest >= largest)


@compiled
def _digitise(
    key: np.uint64,
    first: int,
    began: Array,
    label: Array,
    photons: Array,
    delay: Array,
    fractions: Array,
    decay: Array,
    slow_spread: float,
    single_spread: Any,
    shape: Array,
    scale: Any,
    baseline: Any,
    baseline_spread: Any,
    noise: Any,
    largest: Any,
    normal: Array,
    exponential: Array,
    out: Array,
    saturated: Array,
) -> None:
    state = np.zeros(1, np.uint64)
    samples = out.shape[1]
    counts = np.zeros(FINE * samples, np.int32)
    charge = np.zeros((FINE, samples), np.float32)
    pulse = np.zeros(samples, np.float32)
    noises = np.zeros(FINE * samples, np.float32)
    for i in range(len(out)):
        start(state, key, first + i)
        counts[:] = 0
        for hit in range(1 if delay[i] < 0.0 else 2):
            stretch = 1.0 + slow_spread * float(look_up(normal, bits(state)))
            fraction = fractions[label[hit, i]]
            slow = min(1.0, max(0.0, stretch * (1.0 - fraction[0])))
            at = began[i] + (delay[i] if hit else 0.0)
            for c in range(len(decay)):
                share = 1.0 - slow if c == 0 else slow * fraction[c] / (1.0 - fraction[0])
                _collect(photons[hit, i] * share, at, decay[c], counts, state, normal, exponential)
        begin = min(int(began[i]) // FINE, samples)
        _shape(counts, begin, shape, single_spread, noises, charge, pulse, state, normal)
        level = baseline + baseline_spread * look_up(normal, bits(state))
        for k in range(samples):
            pulse[k] *= scale
        saturated[i] = _convert(pulse, level, noise, largest, out[i], noises[:samples], state, normal)
