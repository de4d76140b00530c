"""A frozen file must give the numbers of the network that it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.config import ModelSource
from psdbatch.errors import ModelError
from psdbatch.models.card import ModelCard
from psdbatch.models.complete import complete_function
from psdbatch.models.frozen import describe_graph, load
from psdbatch.models.loading import Network
from psdbatch.models.quiet import tf

Array = NDArray[Any]

TOLERANCE = 1e-5
"""Largest difference of an output, as a fraction of its value where that exceeds 1.

The same operations in another order of additions differ by some 1e-7; a wrong weight, layer or preparation by much more.
"""

SIGNALS = 2048
"""Trial signals: half of them noise over the whole range of the ADC, half of them pulses."""

BATCH = 512


def verify(network: Network, path: Path, card: ModelCard) -> float:
    """Largest difference between the network and the frozen file on trial signals.

    Raises
    ------
    ModelError
        It is above :data:`TOLERANCE`, or the file does not answer as its card says.
    """
    largest = largest_difference(network, path, card)
    if not largest <= TOLERANCE:
        raise ModelError(
            f"{path}: the frozen file differs from the network that it was made from by {largest:.2g}, "
            f"more than the tolerance of {TOLERANCE:.0e}; it is not kept. Please report this with the model"
        )
    return largest


def largest_difference(network: Network, path: Path, card: ModelCard) -> float:
    """Largest difference of all outputs over all trial signals, relative to values over 1; infinite where one is not finite."""
    facts = describe_graph(path, ModelSource(path=str(path), outputs=card.outputs), "")
    frozen = load(facts)
    whole = complete_function(network, card)
    largest = 0.0
    raw = trial_signals(card)
    for first in range(0, len(raw), BATCH):
        batch = tf.constant(raw[first : first + BATCH])
        if card.complete:
            expected, answers = whole(batch), frozen(batch)
        else:
            expected, answers = network.call(batch), frozen(batch)
        for one, other in zip(expected, answers, strict=True):
            largest = max(largest, _difference(one.numpy(), other.numpy()))
    return largest


def _difference(expected: Array, answer: Array) -> float:
    if expected.shape != answer.shape:
        return float("inf")
    if not np.issubdtype(expected.dtype, np.inexact):
        return float(np.any(expected != answer))
    expected, answer = (np.asarray(values, np.result_type(values, np.float64)) for values in (expected, answer))
    good = np.isfinite(expected)
    if not np.array_equal(good, np.isfinite(answer)):
        return float("inf")
    scale = np.maximum(1.0, np.abs(expected[good]))
    return float(np.max(np.abs(expected[good] - answer[good]) / scale, initial=0.0))


def trial_signals(card: ModelCard, seed: int = 1) -> Array:
    """What the graph's input takes, ``(SIGNALS, card.samples)``: noise, then pulses as a scintillator gives them."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(card.sample_dtype)
    if not card.complete:  # prepared windows
        return np.concatenate([rng.uniform(-1, 1, (SIGNALS // 2, card.samples)), _pulses(card, rng)]).astype(kind)
    top = float(2**card.signals.adc_bits - 1)
    noise = rng.uniform(0, top, (SIGNALS // 2, card.samples))
    height = _pulses(card, rng) * rng.uniform(0.005, 1.1, (SIGNALS // 2, 1)) * 0.8 * top
    height += rng.normal(0, 2, height.shape)
    pulses = 0.1 * top + height if card.signals.polarity == "positive" else 0.9 * top - height
    raw = np.clip(np.concatenate([noise, pulses]), 0, top)
    whole: Array = np.rint(raw) if np.issubdtype(kind, np.integer) else raw
    return whole.astype(kind)


def _pulses(card: ModelCard, rng: np.random.Generator) -> Array:
    """Pulses of height about 1 with two decay times, starting in the first half of the signal."""
    start = rng.uniform(0, card.samples / 2, (SIGNALS // 2, 1))
    time = np.arange(card.samples)[None, :] - start
    slow = rng.uniform(0.02, 0.4, (SIGNALS // 2, 1))
    after = np.maximum(time, 0)
    decay = (1 - slow) * np.exp(-after / 2) + slow * np.exp(-after / 20)
    return np.asarray(np.where(time >= 0, decay * (1 - np.exp(-after - 0.5)), 0))
