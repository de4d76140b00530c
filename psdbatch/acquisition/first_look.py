"""What some signals tell of the digitiser where the file itself does not: estimates, for people to confirm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from psdbatch.acquisition.index import FileIndex, open_signals
from psdbatch.acquisition.signals import Signals
from psdbatch.columns import REFUSED

BEGIN = 4
"""First samples of a signal, taken as its baseline until more is known."""

RISE = 0.1
"""Fraction of the amplitude at which a pulse has begun."""

ABOVE_NOISE = 6.0
"""A pulse is higher than the noise by this factor; noise alone reaches 4 to 5 in some hundred samples."""

MARGIN = 2
"""Samples before that which may belong to the pulse already."""


@dataclass(frozen=True)
class FirstLook:
    """Estimates from some signals.

    Attributes
    ----------
    signals
        How many were looked at; 0: no signal with samples was found, and nothing else here means anything.
    pulses
        How many of them hold a pulse that stands out of the noise; 0: nothing is known of polarity and ``quiet``.
    polarity, agreement
        Direction in which most pulses go, and the fraction of the pulses that do.
    lowest, highest
        Smallest and largest sample, ADC units.
    whole
        Whether samples are integers, as an ADC gives them.
    adc_bits
        Fewest bits that hold the largest sample; None where samples are negative or no integers.
    quiet
        Samples before the pulse that nearly all signals have (95 % of those with the larger pulses).
    boards, channels
        Numbers of different boards, and of channels of all boards.
    """

    signals: int
    pulses: int
    polarity: Literal["negative", "positive"]
    agreement: float
    lowest: float
    highest: float
    whole: bool
    adc_bits: int | None
    quiet: int
    boards: int
    channels: int


def first_look(indexes: Sequence[FileIndex], most: int = 4000) -> FirstLook:
    """Look at the first signals of each file, ``most`` of them in all.

    Raises
    ------
    AcquisitionFileError, OSError
        A file cannot be read.
    """
    looked = [look for index in indexes if len(look := _first_signals(index, max(20, most // len(indexes))))]
    if not looked:
        return FirstLook(0, 0, "negative", 0.0, 0.0, 0.0, False, None, 0, 0, 0)
    whole = all(np.issubdtype(look.samples.dtype, np.integer) for look in looked)
    lowest = min(float(look.samples.min()) for look in looked)
    highest = max(float(look.samples.max()) for look in looked)
    down, onset = (np.concatenate(parts) for parts in zip(*(_pulses(look.samples) for look in looked), strict=True))
    share = float(np.mean(down)) if len(down) else 1.0
    places = np.concatenate([np.stack([look.board, look.channel], axis=1) for look in looked])
    return FirstLook(
        signals=len(places),
        pulses=len(down),
        polarity="negative" if share >= 0.5 else "positive",
        agreement=max(share, 1 - share) if len(down) else 0.0,
        lowest=lowest,
        highest=highest,
        whole=whole,
        adc_bits=max(1, int(highest).bit_length()) if whole and lowest >= 0 else None,
        quiet=int(np.quantile(onset, 0.05)) if len(onset) else 0,
        boards=len(np.unique(places[:, 0])),
        channels=len(np.unique(places, axis=0)),
    )


def _first_signals(index: FileIndex, count: int) -> Signals:
    """The first signals that have samples."""
    out = Signals.allocate(min(count, index.scan.signals), index.scan.longest, index.scan.sample_dtype)
    with open_signals(index) as reader:
        filled = out[: reader.read(out)]
    return filled.take((filled.flags & np.uint16(REFUSED)) == 0)


def _pulses(samples: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Of the signals ``(n, samples)`` with a pulse: whether each goes down, and where the larger half of them begins."""
    values = samples.astype(np.float64)
    values -= values[:, :BEGIN].mean(axis=1, keepdims=True)
    down = -values.min(axis=1) > values.max(axis=1)
    values[down] *= -1
    amplitude = values.max(axis=1)
    pulse = amplitude > ABOVE_NOISE * np.maximum(_noise(values), np.issubdtype(samples.dtype, np.integer))
    if not pulse.any():
        return down[pulse], np.zeros(0, np.int64)
    values, down, amplitude = values[pulse], down[pulse], amplitude[pulse]
    large = values[amplitude >= np.median(amplitude)]
    begun = large >= RISE * large.max(axis=1, keepdims=True)
    return down, np.maximum(begun.argmax(axis=1) - MARGIN, 0)


def _noise(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of each signal's white noise, ADC units; a pulse changes few of the steps between samples."""
    steps = np.abs(np.diff(values, axis=1))
    return np.median(steps, axis=1) if steps.shape[1] else np.zeros(len(values))
