"""How ordinary the signals of each channel are: the quality monitor's residuals, from the tallies of the blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

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
class ChannelQuality:
    """Residuals of one channel in one run.

    Attributes
    ----------
    signals
        With a residual.
    mean, median
        Of the residual, in amplitudes.
    above
        Fraction of the signals above the threshold.
    outstanding
        Why the channel stands out among those of the campaign; "" if it does not.
    """

    run: str
    board: int
    channel: int
    signals: int
    mean: float
    median: float
    above: float
    outstanding: str


@dataclass(frozen=True)
class CampaignQuality:
    """Residuals of a campaign: over all signals, and by run, board and channel.

    ``threshold`` is the user's, or follows from the campaign (:func:`ordinary_threshold`).
    """

    signals: int
    median: float
    threshold: float
    above: float
    channels: tuple[ChannelQuality, ...]

    def facts(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return asdict(self)


def campaign_quality(tallies: Mapping[str, Tally], threshold: float | None = None) -> CampaignQuality | None:
    """Residuals by channel, from one tally per run; None if no signal has a residual.

    Parameters
    ----------
    threshold
        In amplitudes; default: :func:`ordinary_threshold` of all signals together.
    """
    rows = [
        (run, number, tally.residuals[number], tally.residual[number])
        for run, tally in tallies.items()
        for number in np.flatnonzero(tally.residual[:, 0])
    ]
    if not rows:
        return None
    whole = np.sum([counts for _, _, counts, _ in rows], axis=0)
    limit = ordinary_threshold(whole) if threshold is None else threshold
    medians = np.array([quantile(counts, 0.5) for _, _, counts, _ in rows])
    above = np.array([fraction_above(counts, limit) for _, _, counts, _ in rows])
    signals = np.array([int(moments[0]) for *_, moments in rows])
    reasons = _outstanding(signals, medians, above)
    channels = tuple(
        ChannelQuality(
            run,
            int(tallies[run].boards[number]),
            int(tallies[run].channels[number]),
            int(signals[row]),
            float(moments[1] / moments[0]),
            float(medians[row]),
            float(above[row]),
            reasons[row],
        )
        for row, (run, number, _, moments) in enumerate(rows)
    )
    return CampaignQuality(int(signals.sum()), quantile(whole, 0.5), limit, fraction_above(whole, limit), channels)


def ordinary_threshold(counts: Array) -> float:
    """Residual above which a signal is unusual among those counted, int64 ``(RESIDUALS,)``.

    Three standard deviations above the median on a logarithmic scale; the standard deviation is the distance from the
    median down to the quantile of 16 %, a side that unusual signals do not reach.
    """
    low, middle = quantile(counts, 0.16), quantile(counts, 0.5)
    return float(middle * (middle / low) ** SIGMAS)


def quantile(counts: Array, fraction: float) -> float:
    """Quantile of binned residuals; within a bin the signals are taken to lie evenly."""
    reached = np.concatenate([[0], np.cumsum(counts)])
    wanted = fraction * reached[-1]
    number = min(int(np.searchsorted(reached, wanted, side="right")) - 1, RESIDUALS - 1)
    inside = (wanted - reached[number]) / counts[number] if counts[number] else 0.0
    edges = residual_edges()
    return float(edges[number] + inside * (edges[number + 1] - edges[number]))


def fraction_above(counts: Array, threshold: float) -> float:
    """Fraction of binned residuals above a threshold."""
    below = np.interp(threshold, residual_edges(), np.concatenate([[0], np.cumsum(counts)]))
    return float(1 - below / counts.sum())


def quality_table(found: CampaignQuality) -> Table:
    """One row per run, board and channel; those that stand out say why."""
    table = Table("run", "board", "channel", "signals", "median", "mean", f"above {found.threshold:.3g}", "", box=None)
    for row in found.channels:
        table.add_row(
            row.run,
            str(row.board),
            str(row.channel),
            f"{row.signals:,}",
            f"{row.median:.4g}",
            f"{row.mean:.4g}",
            f"{100 * row.above:.2f} %",
            row.outstanding,
        )
    return table


def _outstanding(signals: Array, medians: Array, above: Array) -> list[str]:
    """Why each channel stands out among all: its usual signals, or too many unusual ones."""
    judged = signals >= LEAST_SIGNALS
    if not judged.any():
        return [""] * len(signals)
    logs = np.log(medians)
    centre = float(np.median(logs[judged]))
    scatter = 1.4826 * float(np.median(np.abs(logs[judged] - centre)))
    far = np.abs(logs - centre) > max(OUTSTANDING * scatter, np.log(LEAST_RATIO))
    usual = float(np.median(above[judged]))
    spread = np.sqrt(np.maximum(usual * (1 - usual) * signals, 1.0))
    many = ((above - usual) * signals > OUTSTANDING * spread) & (above > 2 * usual)
    return [
        ""
        if not judged[row]
        else f"median {np.exp(logs[row] - centre):.2g} x the usual one"
        if far[row]
        else f"{100 * above[row]:.2g} % unusual, elsewhere {100 * usual:.2g} %"
        if many[row]
        else ""
        for row in range(len(signals))
    ]
