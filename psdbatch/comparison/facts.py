"""A comparison as plain facts: what ``--json`` prints, and what tables and plots read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.comparison.agreement import WINDOWS
from psdbatch.comparison.comparing import Comparison
from psdbatch.comparison.online import OnlineAnswers
from psdbatch.comparison.rows import State
from psdbatch.comparison.side import Side
from psdbatch.monitor.shares import Share, share
from psdbatch.plain import plain


@dataclass(frozen=True)
class Window:
    """Agreement in a window of amplitude.

    Attributes
    ----------
    low, high
        Edges, ADC units; infinite outside of all windows, NaN for signals without an amplitude.
    agreement
        Fraction with the same class.
    confusion
        int64 ``(classes, classes)``: by class in A and in B.
    """

    low: float
    high: float
    agreement: Share
    confusion: NDArray[np.int64]

    @property
    def words(self) -> str:
        """The window in words."""
        if np.isnan(self.low):
            return "no amplitude"
        if np.isinf(self.low):
            return f"below {self.high:g}"
        return f"above {self.low:g}" if np.isinf(self.high) else f"{self.low:g} - {self.high:g}"


def windows(found: Comparison) -> list[Window]:
    """Agreement in each window of amplitude that holds signals."""
    lows = (-np.inf, *WINDOWS, np.nan)
    highs = (*WINDOWS, np.inf, np.nan)
    return [
        Window(low, high, _agreement(counts), counts)
        for low, high, counts in zip(lows, highs, found.agreement.by_amplitude, strict=True)
        if counts.any()
    ]


def whole(found: Comparison) -> Share | None:
    """Agreement of all signals, None if not one was compared."""
    return share(found.agreement.agreeing, found.agreement.compared) if found.agreement.compared else None


def channels(found: Comparison) -> Iterator[tuple[int, int, Share]]:
    """Board, channel and agreement."""
    counted = found.agreement.by_channel
    for key, (compared, agreeing) in zip(counted.channel.tolist(), counted.counts.tolist(), strict=True):
        yield key >> 16, key & 0xFFFF, share(agreeing, compared)


def comparison_facts(found: Comparison) -> dict[str, Any]:
    """Everything as numbers and words."""
    agreement = found.agreement
    return {
        "a": side_facts(found.a),
        "b": side_facts(found.b),
        "match": found.match,
        "runs": list(found.runs),
        "runs_only_a": dict(found.only_a),
        "runs_only_b": dict(found.only_b),
        "accounting": found.accounting,
        "states": {
            one.name.lower(): {other.name.lower(): int(agreement.states[one, other]) for other in State}
            for one in State
        },
        "aside": plain(found.aside),
        "classes": list(agreement.classes),
        "confusion": agreement.confusion.tolist(),
        "agreement": plain(whole(found)),
        "by_amplitude": [
            {
                "low": plain(float(window.low)),
                "high": plain(float(window.high)),
                "agreement": plain(window.agreement),
                "confusion": window.confusion.tolist(),
            }
            for window in windows(found)
        ],
        "by_channel": [
            {"board": board, "channel": channel, "agreement": plain(value)} for board, channel, value in channels(found)
        ],
        "by_run": {name: {"agreement": plain(_agreement(counts))} for name, counts in agreement.by_run.items()},
        "probability": {
            name: {
                "signals": entry.signals,
                "mean": entry.total / entry.signals,
                "mean_size": entry.magnitude / entry.signals,
                "largest_size": entry.largest,
                "run": entry.run,
                "signal": entry.signal,
            }
            for name, entry in agreement.differences.items()
            if entry.signals
        },
        "notes": found.notes,
    }


def side_facts(side: Side) -> dict[str, Any]:
    """What one side is."""
    model = side.contents.attributes.get("model") or {}
    facts: dict[str, Any] = {"store": str(side.contents.store), "classes": list(side.answers.classes)}
    if isinstance(side.answers, OnlineAnswers):
        return facts | {"online_column": side.answers.column, "threshold": side.answers.threshold}
    return facts | {"model": model.get("source"), "digest": model.get("digest")}


def _agreement(confusion: NDArray[np.int64]) -> Share:
    return share(int(np.trace(confusion)), int(confusion.sum()))
