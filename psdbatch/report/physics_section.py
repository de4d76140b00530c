"""The physics of a report: all of it from the tallies that travel with the commit records."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.config import CampaignConfig, read_config
from psdbatch.errors import PsdbatchError
from psdbatch.monitor.figure_of_merit import FigureOfMerit, Gates
from psdbatch.monitor.page import picture, section, side_by_side, table, text
from psdbatch.monitor.shares import share
from psdbatch.monitor.tally import Tally
from psdbatch.report import physics
from psdbatch.report.content import Content

Array = NDArray[Any]

MOST_ROWS = 40


def physics_section(content: Content) -> str:
    """Pulse shape, classes, channels, residuals."""
    tally, account = content.account.tally, content.account
    worked = account.totals["finished"] - account.totals["quarantined"]
    if tally is None or not tally.signals:
        reason = "before psdbatch counted the physics of each block" if worked else "with no finished block yet"
        return section(
            "Physics", text(f"None to show: these are blocks made {reason}. 'psdbatch plot' draws the store.")
        )
    classes = content.classes[: tally.classes] if tally.classes else ()
    parts = []
    if account.totals["tallied"] < worked:
        parts.append(
            text(
                f"Of {account.totals['tallied']:,} of {worked:,} blocks; the others have no tally, being of an older version."
            )
        )
    if tally.psd.any():
        parts += _shapes(content, tally, classes)
    parts += _channels(tally, classes)
    if classes and len(account.runs) > 1:
        parts += _runs(content, classes)
    return section("Physics", *parts)


def _shapes(content: Content, tally: Tally, classes: tuple[str, ...]) -> list[str]:
    parts = [
        picture(
            physics.psd_plot(tally, classes),
            "All signals that have a charge ratio; the outermost cells hold what lies beyond.",
        ),
        picture(
            physics.ratio_plot(tally, classes),
            "Charge ratio in four ranges of amplitude with about as many signals each."
            + (" A class given rightly is one peak." if classes else ""),
        ),
    ]
    config = _config(content)
    gates = None if config is None else _gates(config)
    figures = physics.figures_of_merit(tally, gates) if gates else []
    if figures:
        note = f"Two Gaussian peaks fitted to each octave of amplitude, without regard to the network; octaves without two clear peaks are left out. Gates: {gates}."
        parts.append(side_by_side([picture(physics.merit_plot(figures), note), _merits(figures)]))
    else:
        parts.append(text("No octave of amplitude shows two peaks of the charge ratio: no figure of merit."))
    return parts


def _merits(figures: list[FigureOfMerit]) -> str:
    rows = [
        [
            f"{one.low:,.0f} to {one.high:,.0f}",
            one.signals,
            f"{one.value:.3f} ± {one.uncertainty:.3f}",
            f"{one.gamma.mean:.3f}, {one.neutron.mean:.3f}",
            f"{one.gamma.sigma:.3f}, {one.neutron.sigma:.3f}",
            f"{100 * one.neutron.signals / (one.gamma.signals + one.neutron.signals):.1f}",
        ]
        for one in figures
    ]
    return table(["amplitude [ADC units]", "signals", "figure of merit", "means", "widths σ", "upper peak [%]"], rows)


def _gates(config: CampaignConfig) -> Gates:
    charge = config.charge
    reference = f"{charge.threshold:g} of the amplitude" if charge.align == "threshold" else f"the {charge.align}"
    return Gates(reference, charge.offset, charge.short, charge.long)


def _config(content: Content) -> CampaignConfig | None:
    with suppress(PsdbatchError):
        return read_config(content.directory.config)
    return None


def _channels(tally: Tally, classes: tuple[str, ...]) -> list[str]:
    answered = tally.answers[:, :-1].sum(axis=1)
    total = tally.answers.sum(axis=1)
    maps = [physics.channel_map(tally, total.astype(float), "signals of each channel", "signals")]
    for k in range(len(classes)) if len(classes) > 2 else range(1, len(classes)):
        fraction = 100 * _ratio(tally.answers[:, k], answered)
        maps.append(physics.channel_map(tally, fraction, f"fraction of {classes[k]} of each channel", "%"))
    if tally.residual.any():
        mean = _ratio(tally.residual[:, 1], tally.residual[:, 0])
        maps.append(physics.channel_map(tally, mean, "mean residual of each channel", "amplitude of the signal"))
        maps.append(physics.residual_plot(tally))
    pictures = [picture(one, "") for one in maps[:8]]
    return [side_by_side(pictures), *_boards(tally, classes)]


def _ratio(part: Array, whole: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(part / whole, float)


def _boards(tally: Tally, classes: tuple[str, ...]) -> list[str]:
    head = [
        "board",
        "channels",
        "signals",
        *(f"{name} [%]" for name in classes),
        "no answer",
        "saturated",
        "with a second pulse",
    ]
    head += ["mean charge ratio"] + (["mean residual"] if tally.residual.any() else [])
    boards = np.unique(tally.boards)
    rows: list[list[Any]] = []
    for board in boards[:MOST_ROWS]:
        mine = tally.boards == board
        answers, flagged = tally.answers[mine].sum(axis=0), tally.flagged[mine].sum(axis=0)
        whole = int(answers[:-1].sum())
        row: list[Any] = [int(board), int(mine.sum()), int(answers.sum())]
        row += [_percent(int(count), whole) for count in answers[:-1]] if classes else []
        row += [int(answers[-1]) if classes else None, int(flagged[0]), int(flagged[1])]
        row.append(_mean(tally.ratio[mine]))
        rows.append(row + ([_mean(tally.residual[mine])] if tally.residual.any() else []))
    more = [text(f"and {len(boards) - MOST_ROWS:,} more boards")] if len(boards) > MOST_ROWS else []
    return [table(head, rows), *more]


def _mean(moments: Array) -> str:
    number, total, _ = moments.sum(axis=0)
    return f"{total / number:.4f}" if number else "–"


def _percent(count: int, whole: int) -> str:
    if not whole:
        return "–"
    found = share(count, whole)
    return f"{100 * found.value:.2f} ± {50 * (found.high - found.low):.2f}"


def _runs(content: Content, classes: tuple[str, ...]) -> list[str]:
    known = [(run.name, run.answers) for run in content.account.runs.values() if run.answers is not None]
    if len(classes) < 2 or not known:
        return []
    names, answers = [name for name, _ in known], [counts for _, counts in known]
    note = f"Class fractions by run; error bars: counting statistics. {len(names):,} runs"
    drawn = f", {physics.MOST_RUNS_DRAWN} of them drawn." if len(names) > physics.MOST_RUNS_DRAWN else "."
    return [picture(physics.run_plot(names, answers, classes), note + drawn)]
