"""Figures of networks that answer with a signal: auto-encoders, denoisers, pile-up separators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.evaluation.errors import EvaluationError
from psdbatch.evaluation.windows import amplitude_edges, split

Array = NDArray[Any]

FLOAT_BITS = 32
"""Bits of one number of a bottleneck."""


@dataclass(frozen=True)
class Reconstructed:
    """What is known of each reconstructed signal, arrays ``(n,)``; errors are rms over the window, in ADC units.

    Attributes
    ----------
    truth, amplitude, noise
        Class numbers; ADC units; rms of the baseline samples, ADC units.
    error
        Of the answer: window minus answer for an auto-encoder, clean window minus answer for the others.
    before
        Of doing nothing: clean window minus what the network saw; zero for an auto-encoder.
    second_error, second_before
        Of the second pulse of a separator, and of answering that there is none; empty for the others.
    first_charge, second_charge
        Relative error of the charge of either pulse, of a separator; NaN where there is no second pulse; empty for the others.
    """

    truth: Array
    amplitude: Array
    noise: Array
    error: Array
    before: Array
    second_error: Array
    second_before: Array
    first_charge: Array
    second_charge: Array


@dataclass(frozen=True)
class Distribution:
    """Where the values of a group of signals lie: mean with its standard deviation, and quantiles.

    ``quantiles`` are those of 16, 50 and 84 %.
    """

    signals: int
    mean: float
    mean_sigma: float
    quantiles: tuple[float, float, float]


@dataclass(frozen=True)
class Compression:
    """What a bottleneck saves: ``samples`` of ``sample_bits`` become ``numbers`` of 32 bits.

    ``ratio`` counts numbers, as publications do; ``bit_ratio`` bits, which is what a disk sees.
    """

    samples: int
    numbers: int
    ratio: float
    bit_ratio: float


@dataclass(frozen=True)
class ReconstructionWindow:
    """Figures of the signals in one window of amplitude (or, without bounds, of one class or of all)."""

    name: str
    low: float | None
    high: float | None
    error: Distribution | None = None
    relative_to_noise: Distribution | None = None
    gain_db: float | None = None
    gain_sigma_db: float | None = None
    second_error: Distribution | None = None
    second_gain_db: float | None = None
    first_charge: Distribution | None = None
    second_charge: Distribution | None = None
    reason: str = ""


@dataclass(frozen=True)
class Reconstruction:
    """Figures of a network that answers with a signal.

    ``whole`` over all signals, ``by_class`` and ``by_amplitude`` over parts of them.  A perfect auto-encoder has an error
    relative to noise of just under 1: it cannot know the noise, and what it keeps of it is no merit.
    """

    task: str
    signals: int
    unanswered: int
    compression: Compression | None
    whole: ReconstructionWindow
    by_class: tuple[ReconstructionWindow, ...]
    by_amplitude: tuple[ReconstructionWindow, ...]
    notes: tuple[str, ...]


def compression(samples: int, sample_bits: int, numbers: int) -> Compression:
    """Ratio of what goes in to what the bottleneck holds.

    Raises
    ------
    EvaluationError
        The bottleneck holds nothing.
    """
    if numbers < 1:
        raise EvaluationError("a bottleneck without a number cannot be compared")
    return Compression(samples, numbers, samples / numbers, samples * sample_bits / (numbers * FLOAT_BITS))


def gain_db(before: Array, after: Array) -> tuple[float, float]:
    """Reduction of the error's power in decibel, ``10 log10(sum before**2 / sum after**2)``, and its standard deviation.

    The standard deviation follows from the scatter of the signals' powers, which belong together in pairs.

    Raises
    ------
    EvaluationError
        There was no error before, or no signals.
    """
    first, second = np.square(before, dtype=np.float64), np.square(after, dtype=np.float64)
    if not len(first) or first.sum() == 0:
        raise EvaluationError("nothing was added to the signals, so that there is nothing to gain")
    if second.sum() == 0:
        return math.inf, 0.0
    value = 10 * math.log10(first.sum() / second.sum())
    influence = first / first.mean() - second / second.mean()
    return value, 10 / math.log(10) * float(influence.std()) / math.sqrt(len(first))


def distribution(values: Array) -> Distribution | None:
    """Mean and quantiles of the finite values; None if there are none."""
    given = np.asarray(values, np.float64)
    given = given[np.isfinite(given)]
    if not len(given):
        return None
    low, middle, high = (float(value) for value in np.quantile(given, [0.16, 0.5, 0.84]))
    return Distribution(
        len(given), float(given.mean()), float(given.std()) / math.sqrt(len(given)), (low, middle, high)
    )


def reconstruction(
    task: str,
    found: Reconstructed,
    classes: Sequence[str],
    saved: Compression | None = None,
    amplitudes: Sequence[float] = (),
) -> Reconstruction:
    """Figures of reconstructed signals.

    Parameters
    ----------
    task
        ``autoencoder``, ``variational``, ``denoiser`` or ``separator``.
    saved
        What the bottleneck saves, where there is one.
    amplitudes
        Edges of the windows, ADC units; default: :func:`psdbatch.evaluation.windows.amplitude_edges`.

    Raises
    ------
    EvaluationError
        There are no signals.
    """
    if not len(found.error):
        raise EvaluationError("there is no signal to evaluate")
    missing = int((~np.isfinite(found.error)).sum())
    notes = [f"{missing:,} signals have no answer (NaN) and are left out"] if missing else []
    if task in ("autoencoder", "variational") and saved is None:
        notes.append("the size of the bottleneck is not known: the model has no output for it")
    everything = np.ones(len(found.error), bool)
    edges = amplitudes or amplitude_edges(found.amplitude)
    return Reconstruction(
        task,
        len(found.error),
        missing,
        saved,
        _figures("all", None, None, found, everything),
        tuple(_figures(name, None, None, found, found.truth == k) for k, name in enumerate(classes)),
        tuple(
            _figures(f"{low:g} - {high:g}", low, high, found, inside)
            for low, high, inside in split(found.amplitude, edges)
        ),
        tuple(notes),
    )


def _figures(
    name: str, low: float | None, high: float | None, found: Reconstructed, inside: Array
) -> ReconstructionWindow:
    chosen = inside & np.isfinite(found.error)
    if not chosen.any():
        return ReconstructionWindow(name, low, high, reason="no signal with an answer")
    quiet = found.noise[chosen] > 0
    gain, sigma = _gain(found.before[chosen], found.error[chosen])
    pairs = len(found.second_error) > 0
    return ReconstructionWindow(
        name,
        low,
        high,
        distribution(found.error[chosen]),
        distribution(found.error[chosen][quiet] / found.noise[chosen][quiet]),
        gain,
        sigma,
        distribution(found.second_error[chosen]) if pairs else None,
        _gain(found.second_before[chosen], found.second_error[chosen])[0] if pairs else None,
        distribution(found.first_charge[chosen]) if pairs else None,
        distribution(found.second_charge[chosen]) if pairs else None,
    )


def _gain(before: Array, after: Array) -> tuple[float | None, float | None]:
    try:
        return gain_db(before, after)
    except EvaluationError:
        return None, None
