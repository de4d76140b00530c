"""Binned residuals of the quality monitor: quantiles, fractions above a threshold, and which channels stand out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import zstandard
from numpy.typing import NDArray

from psdbatch.monitor.tally import RESIDUALS, Tally, residual_edges

Array = NDArray[Any]

SIGMAS = 3.0
"""The threshold lies this many standard deviations of the logarithm of the residual above its median."""

OUTSTANDING = 5.0
"""A channel stands out from so many standard deviations on."""

LEAST_RATIO = 1.25
"""Medians of channels that differ by less, one bin of a tally, are the same."""

LEAST_SIGNALS = 100
"""A channel with fewer signals is not judged."""


@dataclass(frozen=True)
class Residuals:
    """Residuals of a run's channels, packed: of a hundred thousand runs or channels much is kept at a time.

    Attributes
    ----------
    channel
        uint32 ``(channels,)``: board * 65,536 + channel.
    moments
        float64 ``(channels, 2)``: number and sum.
    packed
        The counts by residual, int64 ``(channels, RESIDUALS)``, compressed.
    """

    run: str
    channel: Array
    moments: Array
    packed: bytes

    @classmethod
    def of(cls, run: str, tally: Tally) -> Self:
        """Those of a tally, without channels that have none."""
        known = tally.residual[:, 0] > 0
        packed = zstandard.compress(np.ascontiguousarray(tally.residuals[known]).tobytes(), 1)
        packed = bytes(memoryview(packed))  # zstandard leaves the room that the worst case would have taken
        return cls(run, tally.channel[known], tally.residual[known, :2], packed)

    @property
    def counts(self) -> Array:
        """The counts, unpacked."""
        raw = zstandard.decompress(self.packed) if len(self.channel) else b""
        return np.frombuffer(raw, np.int64).reshape(-1, RESIDUALS)


def ordinary_threshold(counts: Array) -> float:
    """Residual above which a signal is unusual among those counted, int64 ``(RESIDUALS,)``.

    Three standard deviations above the median on a logarithmic scale; the standard deviation is the distance from the
    median down to the quantile of 16 %, a side that unusual signals do not reach.
    """
    low, middle = quantile(counts, 0.16), quantile(counts, 0.5)
    return float(middle * (middle / low) ** SIGMAS)


def quantile(counts: Array, fraction: float) -> Any:
    """Quantile of binned residuals, ``(..., RESIDUALS)``; within a bin the signals are taken to lie evenly."""
    reached = np.concatenate([np.zeros_like(counts[..., :1]), np.cumsum(counts, axis=-1)], axis=-1)
    wanted = fraction * reached[..., -1:]
    number = np.minimum((reached <= wanted).sum(axis=-1, keepdims=True) - 1, RESIDUALS - 1)
    held = np.maximum(np.take_along_axis(counts, number, -1), 1)
    inside = np.minimum((wanted - np.take_along_axis(reached, number, -1)) / held, 1.0)
    edges = residual_edges()
    found = (edges[number] + inside * (edges[number + 1] - edges[number]))[..., 0]
    return found if found.ndim else float(found)


def fraction_above(counts: Array, threshold: float) -> Any:
    """Fraction of binned residuals, ``(..., RESIDUALS)``, above a threshold.

    Within a bin the number of signals above falls exponentially: it may fall tenfold from edge to edge.
    """
    edges, total = residual_edges(), np.maximum(counts.sum(axis=-1), 1)
    if threshold >= edges[-1]:
        found = np.zeros(total.shape)
    else:
        number = max(0, int(np.searchsorted(edges, threshold, side="right")) - 1)
        inside = max(0.0, (threshold - edges[number]) / (edges[number + 1] - edges[number]))
        high, low = (counts[..., first:].sum(axis=-1) / total for first in (number, number + 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            falling = np.where(low > 0, high * (low / high) ** inside, high * (1 - inside))
        found = np.where(high > 0, falling, 0.0)
    return found if np.ndim(found) else float(found)


def percent(fraction: float) -> str:
    """In per cent, as fine as a fraction of binned residuals is known."""
    value = 100 * fraction
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"


@dataclass(frozen=True)
class Judgement:
    """Which channels stand out among all: by their usual signals, or by too many unusual ones.

    Attributes
    ----------
    far, many
        bool ``(channels,)``.
    centre, usual
        The usual median, and the usual fraction above the threshold.
    """

    far: Array
    many: Array
    centre: float
    usual: float


def judge(signals: Array, medians: Array, above: Array) -> Judgement:
    """Judge channels by number of signals, median, and fraction above the threshold, each ``(channels,)``."""
    judged = signals >= LEAST_SIGNALS
    if not judged.any():
        return Judgement(judged, judged, 1.0, 0.0)
    logs = np.log(medians)
    centre = float(np.median(logs[judged]))
    scatter = 1.4826 * float(np.median(np.abs(logs[judged] - centre)))
    far = np.abs(logs - centre) > max(OUTSTANDING * scatter, np.log(LEAST_RATIO))
    usual = float(np.median(above[judged]))
    spread = np.sqrt(np.maximum(usual * (1 - usual) * signals, 1.0))
    many = ((above - usual) * signals > OUTSTANDING * spread) & (above > 2 * usual)
    return Judgement(far & judged, many & judged & ~far, float(np.exp(centre)), usual)
