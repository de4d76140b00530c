"""How ordinary the signals of each channel are: the quality monitor's residuals, from the tallies of the blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from psdbatch.monitor.residuals import Residuals, fraction_above, judge, ordinary_threshold, percent, quantile
from psdbatch.monitor.tally import RESIDUALS

Array = NDArray[Any]


@dataclass(frozen=True)
class Quality:
    """Residuals of some signals.

    Attributes
    ----------
    signals
        With a residual.
    mean, median
        Of the residual, in amplitudes.
    above
        Fraction of the signals above the threshold.
    """

    signals: int
    mean: float
    median: float
    above: float

    @classmethod
    def of(cls, counts: Array, total: float, threshold: float) -> Self:
        """Of signals counted by residual, int64 ``(RESIDUALS,)``, and the sum of their residuals."""
        signals = int(counts.sum())
        return cls(signals, float(total / signals), quantile(counts, 0.5), fraction_above(counts, threshold))


@dataclass(frozen=True)
class RunQuality(Quality):
    """One run; ``outstanding`` says how many of its ``channels`` stand out."""

    run: str
    channels: int
    outstanding: int


@dataclass(frozen=True)
class ChannelQuality(Quality):
    """One channel in all runs; ``outstanding`` says in how many of its ``runs`` it stands out."""

    board: int
    channel: int
    runs: int
    outstanding: int


@dataclass(frozen=True)
class RunChannelQuality(Quality):
    """One channel in one run; ``outstanding`` says why it stands out among those of the campaign, "" if it does not."""

    run: str
    board: int
    channel: int
    outstanding: str


@dataclass(frozen=True)
class CampaignQuality:
    """Residuals of a campaign: over all signals, and by run, channel, and both.

    ``threshold`` is the user's, or follows from the campaign (:func:`ordinary_threshold`).

    Attributes
    ----------
    whole
        All signals.
    runs, channels
        One entry each.
    single
        Each channel in each run, of which :meth:`rows` makes rows.
    unread
        Finished blocks whose residuals are not known: their record has no tally that can be read, or is damaged.
    """

    threshold: float
    whole: Quality
    runs: tuple[RunQuality, ...]
    channels: tuple[ChannelQuality, ...]
    single: _Rows
    unread: int

    def rows(self) -> Iterator[RunChannelQuality]:
        """Each channel in each run, in the order of the plan, made one by one."""
        return map(self.single.row, range(len(self.single.signals)))

    def outstanding(self) -> Iterator[RunChannelQuality]:
        """Those rows that stand out."""
        return map(self.single.row, np.flatnonzero(self.single.far | self.single.many).tolist())

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.single.signals)

    @property
    def standing_out(self) -> int:
        """Rows that stand out."""
        return int((self.single.far | self.single.many).sum())

    def facts(self) -> dict[str, Any]:
        """Plain dictionary for JSON, without the single rows."""
        return {
            **asdict(self.whole),
            "threshold": self.threshold,
            "unread": self.unread,
            "runs": [asdict(run) for run in self.runs],
            "channels": [asdict(channel) for channel in self.channels],
        }


def campaign_quality(
    parts: Iterable[Residuals], threshold: float | None = None, unread: int = 0
) -> CampaignQuality | None:
    """Residuals by run and channel; None if no signal has a residual.

    Parameters
    ----------
    parts
        One per run.
    threshold
        In amplitudes; default: :func:`ordinary_threshold` of all signals together.
    unread
        Blocks that are not in them.
    """
    known = [part for part in parts if len(part.channel)]
    if not known:
        return None
    by_run = np.array([part.counts.sum(axis=0) for part in known])
    whole = by_run.sum(axis=0)
    limit = ordinary_threshold(whole) if threshold is None else threshold
    rows = _rows(known, limit)
    out, run_of = rows.far | rows.many, rows.run
    sums = np.array([part.moments[:, 1].sum() for part in known])
    runs = tuple(
        RunQuality(
            **vars(Quality.of(by_run[k], sums[k], limit)),
            run=part.run,
            channels=len(part.channel),
            outstanding=int(out[run_of == k].sum()),
        )
        for k, part in enumerate(known)
    )
    whole_quality = Quality.of(whole, float(sums.sum()), limit)
    return CampaignQuality(limit, whole_quality, runs, _channels(known, rows, limit), rows, unread)


@dataclass(frozen=True)
class _Rows:
    """Each channel in each run, as arrays ``(rows,)``; ``run`` is a number among ``names``."""

    names: tuple[str, ...]
    run: Array
    code: Array
    signals: Array
    mean: Array
    median: Array
    above: Array
    far: Array
    many: Array
    centre: float
    usual: float

    def row(self, number: int) -> RunChannelQuality:
        code, above = int(self.code[number]), float(self.above[number])
        reason = ""
        if self.far[number]:
            reason = f"median {self.median[number] / self.centre:.2g} x the usual one"
        elif self.many[number]:
            reason = f"{percent(above)} unusual, elsewhere {percent(self.usual)}"
        return RunChannelQuality(
            signals=int(self.signals[number]),
            mean=float(self.mean[number]),
            median=float(self.median[number]),
            above=above,
            run=self.names[self.run[number]],
            board=code >> 16,
            channel=code & 0xFFFF,
            outstanding=reason,
        )


def _rows(parts: list[Residuals], limit: float) -> _Rows:
    columns = []
    for number, part in enumerate(parts):
        counts = part.counts
        run = np.full(len(counts), number, np.int32)
        columns.append((run, part.channel, counts.sum(axis=1), quantile(counts, 0.5), fraction_above(counts, limit)))
    run, code, signals, median, above = (np.concatenate(one) for one in zip(*columns, strict=True))
    mean = np.concatenate([part.moments[:, 1] / part.moments[:, 0] for part in parts])
    judged = judge(signals, median, above)
    return _Rows(tuple(part.run for part in parts), run, code, signals, mean, median, above, **vars(judged))


def _channels(parts: list[Residuals], rows: _Rows, limit: float) -> tuple[ChannelQuality, ...]:
    codes = np.unique(rows.code)
    counts, sums = np.zeros((len(codes), RESIDUALS), np.int64), np.zeros(len(codes))
    for part in parts:
        places = np.searchsorted(codes, part.channel)
        counts[places] += part.counts
        sums[places] += part.moments[:, 1]
    place = np.searchsorted(codes, rows.code)
    runs = np.bincount(place, minlength=len(codes))
    out = np.bincount(place, rows.far | rows.many, minlength=len(codes))
    return tuple(
        ChannelQuality(
            **vars(Quality.of(counts[k], sums[k], limit)),
            board=int(code) >> 16,
            channel=int(code) & 0xFFFF,
            runs=int(runs[k]),
            outstanding=int(out[k]),
        )
        for k, code in enumerate(codes)
    )
