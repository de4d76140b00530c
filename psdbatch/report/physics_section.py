"""The physics of a report: all of it from the tallies that travel with the commit records."""

from __future__ import annotations

from collections.abc import Sequence

from psdbatch.monitor.figure_of_merit import FigureOfMerit, Gates
from psdbatch.monitor.page import picture, section, side_by_side, table, text
from psdbatch.monitor.tally import Tally
from psdbatch.report import physics
from psdbatch.report.channels import channel_maps, channel_table
from psdbatch.report.content import Content
from psdbatch.report.merit import Octave, merit_plot


def physics_section(content: Content) -> str:
    """Pulse shape, classes, channels."""
    tally, account = content.account.tally, content.account
    worked = account.totals["finished"] - account.totals["quarantined"]
    if tally is None or not tally.signals:
        reason = (
            "all finished blocks were made before psdbatch counted the physics of each, or counted it as now; 'psdbatch plot' "
            "draws the store"
            if worked
            else "no finished block has a signal to count yet"
        )
        return section("Physics", text(f"None to show: {reason}."))
    classes = content.classes[: tally.classes] if tally.classes else ()
    parts = []
    if account.totals["tallied"] < worked:
        parts.append(
            text(
                f"Of {account.totals['tallied']:,} of {worked:,} blocks; the others have no tally, being of an older version."
            )
        )
    if tally.psd.any():
        parts += _shapes(tally, classes, content.octaves, content.gates)
    parts += channel_maps(tally, classes)
    if classes and len(account.runs) > 1:
        parts += _runs(content, classes)
    parts += channel_table(tally, classes)
    return section("Physics", *parts)


def _shapes(tally: Tally, classes: tuple[str, ...], found: Sequence[Octave], gates: Gates | None) -> list[str]:
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
    figures = [one.found for one in found if one.found is not None]
    told = "unknown, as the plan does not say" if gates is None else str(gates)
    if figures:
        note = f"Two Gaussian peaks fitted to each octave of amplitude, without regard to the network. Signals: those with a charge ratio from 0.01 to 0.99. Gates: {told}."
        parts.append(side_by_side([picture(merit_plot(figures), note), _merits(figures)]))
    else:
        parts.append(
            text(f"No figure of merit: in no octave of amplitude does the charge ratio show two peaks. Gates: {told}.")
        )
    if out := [f"{one.low:,.0f} to {one.high:,.0f} ({one.reason})" for one in found if one.found is None]:
        parts.append(text(f"Amplitudes without a figure of merit: {', '.join(out)}."))
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


def _runs(content: Content, classes: tuple[str, ...]) -> list[str]:
    known = [(run.name, run.answers) for run in content.account.runs.values() if run.answers is not None]
    if len(classes) < 2 or not known:
        return []
    names, answers = [name for name, _ in known], [counts for _, counts in known]
    note = f"Class fractions by run; error bars: counting statistics. {len(names):,} runs"
    drawn = f", {physics.MOST_RUNS_DRAWN} of them drawn." if len(names) > physics.MOST_RUNS_DRAWN else "."
    return [picture(physics.run_plot(names, answers, classes), note + drawn)]
