"""From light to samples: photoelectrons one by one, the response of photomultiplier and preamplifier, noise, the ADC."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.simulation.chance import bits, compiled, look_up, poisson, start, tables
from psdbatch.simulation.hits import Hits
from psdbatch.simulation.scintillator import DECAY_TIMES_NS, LIGHT_FRACTIONS
from psdbatch.simulation.settings import Simulation

Array = NDArray[Any]

FINE = 4
"""Photoelectrons are collected in this many time bins per sample before they meet the response."""

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
        2**settings.adc_bits - 1,
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
    exponential decay is the same decay again.  Times in fine bins.
    """
    edge = int(began) + 1
    shrink = math.exp(-1.0 / tau)
    left = photons * math.exp(-(edge - began) / tau)
    place, taps = edge - 1, counts.shape[1]
    inside = photons - left
    if inside < 1.0:  # the first bin is placed one by one as well
        left, origin = photons, began
    else:
        origin = float(edge)
        if place < FINE * taps:
            counts[place % FINE, place // FINE] += poisson(inside, state, normal)
        while left * (1.0 - shrink) > 16.0 and edge < FINE * taps:
            counts[edge % FINE, edge // FINE] += poisson(left * (1.0 - shrink), state, normal)
            left *= shrink
            edge += 1
            origin = float(edge)
    word = np.uint64(0)
    for k in range(poisson(left, state, normal)):
        if k % 4 == 0:
            word = bits(state)
        place = int(origin + tau * look_up(exponential, word, k % 4))
        if place < FINE * taps:
            counts[place % FINE, place // FINE] += 1


@compiled
def _shape(counts: Array, shape: Array, spread: Any, charge: Array, pulse: Array, state: Array, normal: Array) -> None:
    """Turn counts of photoelectrons into a pulse: fluctuating charges, then the response."""
    for part in range(FINE):
        for i in range(counts.shape[1]):
            n = counts[part, i]
            charge[part, i] = n
            if n > 0:
                charge[part, i] += spread * np.float32(math.sqrt(n)) * look_up(normal, bits(state), 0)
    pulse[:] = 0
    for part in range(FINE):
        for k in range(shape.shape[1]):
            # the inner loop runs over samples, with plain indices and no sum to reorder: it becomes vector code as it stands
            height, source, target = shape[part, k], charge[part], pulse[k:]
            for i in range(len(target)):
                target[i] += height * source[i]


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
    largest: int,
    normal: Array,
    exponential: Array,
    out: Array,
    saturated: Array,
) -> None:
    state = np.zeros(1, np.uint64)
    samples = out.shape[1]
    counts = np.zeros((FINE, samples), np.int32)
    charge = np.zeros((FINE, samples), np.float32)
    pulse = np.zeros(samples, np.float32)
    for i in range(len(out)):
        start(state, key, first + i)
        counts[:] = 0
        for hit in range(1 if delay[i] < 0.0 else 2):
            stretch = 1.0 + slow_spread * float(look_up(normal, bits(state), 0))
            fraction = fractions[label[hit, i]]
            slow = min(1.0, max(0.0, stretch * (1.0 - fraction[0])))
            at = began[i] + (delay[i] if hit else 0.0)
            for c in range(len(decay)):
                share = 1.0 - slow if c == 0 else slow * fraction[c] / (1.0 - fraction[0])
                _collect(photons[hit, i] * share, at, decay[c], counts, state, normal, exponential)
        _shape(counts, shape, single_spread, charge, pulse, state, normal)
        level = baseline + baseline_spread * look_up(normal, bits(state), 0)
        word = np.uint64(0)
        for k in range(samples):
            if k % 4 == 0:
                word = bits(state)
            value = level + scale * pulse[k] + noise * look_up(normal, word, k % 4)
            sample = math.floor(value + np.float32(0.5))
            if sample <= 0 or sample >= largest:
                saturated[i] = True
                sample = min(max(sample, 0), largest)
            out[i, k] = sample
