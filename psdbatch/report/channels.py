"""Channels and boards of a report: maps, and tables with their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.monitor.page import folded, picture, side_by_side, table, text
from psdbatch.monitor.plots import COLOURS
from psdbatch.monitor.shares import share
from psdbatch.monitor.tally import Tally
from psdbatch.report import physics

Array = NDArray[Any]

MOST_ROWS = 40
MOST_FOLDED = 5000
MOST_MAPS = 6
"""Maps of class fractions."""

MOST_CLASSES = len(COLOURS)
"""Classes with a column of their own."""


def channel_maps(tally: Tally, classes: Sequence[str]) -> list[str]:
    """Maps of the channels, and a table of the boards."""
    return [*_maps(tally, classes), *_boards(tally, classes)]


def fractions(tally: Tally) -> Array:
    """Fraction of each class among a channel's signals with an answer, float64 ``(channels, classes)``; NaN without any."""
    return _ratio(tally.answers[:, :-1], tally.answers[:, :-1].sum(axis=1, keepdims=True))


def _maps(tally: Tally, classes: Sequence[str]) -> list[str]:
    total = tally.answers.sum(axis=1).astype(float)
    maps = [physics.channel_map(tally, total, np.sqrt(total), "signals of each channel", "signals")]
    if tally.residual.any():
        number, mean, error = _moments(tally.residual)
        title, unit = "mean residual of each channel", "amplitude of the signal"
        maps.append(physics.channel_map(tally, np.where(number > 0, mean, np.nan), error, title, unit))
        maps.append(physics.residual_plot(tally))
    found, answered = fractions(tally), np.maximum(tally.answers[:, :-1].sum(axis=1), 1)
    shown = range(len(classes)) if len(classes) > 2 else range(1, len(classes))
    for k in shown[:MOST_MAPS]:
        error = np.sqrt(np.nan_to_num(found[:, k] * (1 - found[:, k])) / answered)
        title = f"fraction of {classes[k]} of each channel"
        maps.append(physics.channel_map(tally, 100 * found[:, k], 100 * error, title, "%"))
    rest = len(shown) - MOST_MAPS
    more = [text(f"and {rest:,} more classes, in the table of channels")] if rest > 0 else []
    return [side_by_side([picture(one, "") for one in maps]), *more]


def _moments(moments: Array) -> tuple[Array, Array, Array]:
    """Number, mean, and the mean's standard deviation of each channel, from number, sum and sum of squares."""
    number = moments[:, 0]
    many = np.maximum(number, 1)
    mean = moments[:, 1] / many
    return number, mean, np.sqrt(np.maximum(moments[:, 2] / many - mean**2, 0) / many)


def _ratio(part: Array, whole: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(part / whole, float)


def _boards(tally: Tally, classes: Sequence[str]) -> list[str]:
    boards = np.unique(tally.boards)
    rows = []
    for board in boards[:MOST_ROWS]:
        mine = tally.boards == board
        rows.append([int(board), int(mine.sum()), *_numbers(tally, mine, classes)])
    more = [text(f"and {len(boards) - MOST_ROWS:,} more boards")] if len(boards) > MOST_ROWS else []
    return [table(["board", "channels", *_head(tally, classes)], rows), *more]


def channel_table(tally: Tally, classes: Sequence[str]) -> list[str]:
    """The numbers of each channel."""
    head = ["channel", *_head(tally, classes)]
    rows = [
        [f"board {tally.boards[k]}, {tally.channels[k]}", *_numbers(tally, np.array([k]), classes)]
        for k in range(min(len(tally.channel), MOST_FOLDED))
    ]
    more = len(tally.channel) - MOST_FOLDED
    return [
        table(head, rows[:MOST_ROWS]),
        folded_rows("channels", head, rows[MOST_ROWS:]),
        *([text(f"and {more:,} more channels, in 'psdbatch report --json'")] if more > 0 else []),
    ]


def folded_rows(what: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows for which a page has no room, as lines of text that open when asked for; "" without any."""
    if not rows:
        return ""
    lines = [
        "\t".join(f"{cell:,}" if isinstance(cell, int) else str("–" if cell is None else cell) for cell in row)
        for row in rows
    ]
    return folded(f"and {len(rows):,} more {what}: {', '.join(head)}", "\n".join(lines))


def _head(tally: Tally, classes: Sequence[str]) -> list[str]:
    known = [f"{name} [%]" for name in classes[:MOST_CLASSES]]
    rest = ["others [%]"] if len(classes) > MOST_CLASSES else []
    head = ["signals", *known, *rest, "no answer", "saturated", "with a second pulse", "mean charge ratio"]
    return head + (["mean residual"] if tally.residual.any() else [])


def _numbers(tally: Tally, mine: Array, classes: Sequence[str]) -> list[Any]:
    answers, flagged = tally.answers[mine].sum(axis=0), tally.flagged[mine].sum(axis=0)
    row: list[Any] = [int(answers.sum())]
    if classes:
        counts = [
            *answers[:-1][:MOST_CLASSES],
            *([answers[MOST_CLASSES:-1].sum()] if len(classes) > MOST_CLASSES else []),
        ]
        row += [percent(int(count), int(answers[:-1].sum())) for count in counts]
    row += [int(answers[-1]) if classes else None, int(flagged[0]), int(flagged[1]), _mean(tally.ratio[mine])]
    return row + ([_mean(tally.residual[mine])] if tally.residual.any() else [])


def _mean(moments: Array) -> str:
    number, total, _ = moments.sum(axis=0)
    return f"{total / number:.4f}" if number else "–"


def percent(count: int, whole: int) -> str:
    """A fraction in per cent with its uncertainty by counting."""
    if not whole:
        return "–"
    found = share(count, whole)
    return f"{100 * found.value:.2f} ± {50 * (found.high - found.low):.2f}"
