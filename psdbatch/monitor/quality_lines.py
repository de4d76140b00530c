"""A campaign's residuals as lines of text, made one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from psdbatch.monitor.quality import CampaignQuality, Quality, RunChannelQuality
from psdbatch.monitor.residuals import percent

LISTED = 200
"""Channels that stand out which are listed; all of them are counted."""

_NUMBERS = ("signals", "median", "mean", "above")
_WIDTHS = (12, 10, 10, 9)


def quality_lines(found: CampaignQuality, every: bool) -> Iterator[str]:
    """Channels that stand out, runs, channels over all runs, and the sum; with ``every`` each channel of each run instead."""
    runs = max(3, *(len(run.run) for run in found.runs))
    if every:
        yield from _lines(("run", "board", "channel"), (-runs, 6, 8), _rows(found.rows()))
    else:
        if found.standing_out:
            yield "Channels that stand out"
            yield from _lines(("run", "board", "channel"), (-runs, 6, 8), _rows(islice(found.outstanding(), LISTED)))
            if found.standing_out > LISTED:
                yield f"and {found.standing_out - LISTED:,} more; --all lists every channel of every run"
            yield ""
        yield "Runs"
        runs_of = ((one, (one.run,), _part(one.outstanding, one.channels, "channels")) for one in found.runs)
        yield from _lines(("run",), (-runs,), runs_of)
        yield ""
        yield "Channels, all runs together"
        of_channels = (
            (one, (str(one.board), str(one.channel)), _part(one.outstanding, one.runs, "runs"))
            for one in found.channels
        )
        yield from _lines(("board", "channel"), (-6, 8), of_channels)
        yield ""
    yield from _end(found)


def _end(found: CampaignQuality) -> Iterator[str]:
    whole = found.whole
    yield (
        f"all: {whole.signals:,} signals, median {whole.median:.4g}, {percent(whole.above)} above {found.threshold:.3g}; "
        f"{found.standing_out:,} of {len(found):,} channels of runs stand out"
    )
    if found.unread:
        yield f"{found.unread:,} finished blocks are not in this: their records are damaged or have no readable tally"


def _rows(rows: Iterable[RunChannelQuality]) -> Iterator[tuple[Quality, tuple[str, ...], str]]:
    return ((row, (row.run, str(row.board), str(row.channel)), row.outstanding) for row in rows)


def _part(some: int, whole: int, what: str) -> str:
    return f"stands out in {some:,} of {whole:,} {what}" if some else ""


def _lines(
    head: Sequence[str], widths: Sequence[int], rows: Iterable[tuple[Quality, tuple[str, ...], str]]
) -> Iterator[str]:
    """Columns of the given widths, negative: from the left; then the numbers, then words."""
    yield _line((*head, *_NUMBERS), widths)
    for one, names, words in rows:
        numbers = f"{one.signals:,}", f"{one.median:.4g}", f"{one.mean:.4g}", percent(one.above)
        yield f"{_line((*names, *numbers), widths)}  {words}".rstrip()


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return " ".join(
        f"{cell:<{-width}}" if width < 0 else f"{cell:>{width}}"
        for cell, width in zip(cells, (*widths, *_WIDTHS), strict=True)
    )
