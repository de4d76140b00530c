"""Plots of pulse-shape discrimination: parameter against charge, coloured by class, and figures of merit against energy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psdbatch.columns import NO_LABEL
from psdbatch.errors import ConfigurationError
from psdbatch.monitor.figure_of_merit import FigureOfMerit

Array = NDArray[Any]

STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.dpi": 200,
    "text.parse_math": False,  # names of classes, runs and files are words, whatever dollars they hold
}
COLOURS = ("#4477aa", "#cc3311", "#228833", "#aa3377", "#ccbb44", "#66ccee", "#ee7733", "#332288")
"""Colours that the colour-blind can tell apart (P. Tol's bright scheme); gammas blue, neutrons red."""
OTHERS = "0.6"
"""Colour of all that come after those that have one of their own."""

_RAISED = str.maketrans("-−0123456789", "⁻⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

SEPARATED = 1.27
"""Figure of merit at which two equal peaks lie three standard deviations of each apart on both sides."""


@contextmanager
def figure(path: Path, columns: int, width: float, height: float) -> Iterator[Any]:
    """Axes of a new figure, shape ``(columns,)``, saved to ``path`` at the end.  No display is needed."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        sheet = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(sheet)
        yield sheet.subplots(1, columns, squeeze=False)[0]
        without_formulas(sheet)
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.savefig(path)


def without_formulas(sheet: Any) -> None:
    """Write the powers of ten at a figure's axes as 10³: as formulas, which :data:`STYLE` forbids, they would be code."""
    from matplotlib.ticker import Formatter, LogFormatterMathtext

    class Plain(Formatter):
        def __init__(self, formulas: LogFormatterMathtext) -> None:
            self.formulas = formulas

        def __call__(self, value: float, position: int | None = None) -> str:
            words = str(self.formulas(value, position)).removeprefix("$\\mathdefault{").removesuffix("}$")
            words = re.sub(r"\^\{(.*?)\}", lambda found: found[1].translate(_RAISED), words)
            return words.replace(r"\times", "·")

        def set_locs(self, places: Any) -> None:
            self.formulas.set_locs(places)

    for axis in (axis for ax in sheet.axes for axis in (ax.xaxis, ax.yaxis)):
        if isinstance(axis.get_major_formatter(), LogFormatterMathtext):
            axis.set_major_formatter(Plain(axis.get_major_formatter()))
        if isinstance(axis.get_minor_formatter(), LogFormatterMathtext):
            axis.set_minor_formatter(Plain(axis.get_minor_formatter()))


def legend_name(name: str) -> str:
    """A name as it stands in a legend: matplotlib passes over those that begin with an underscore."""
    return f" {name}" if name.startswith("_") else name


def colour(number: int) -> str:
    """Colour of class or group ``number``."""
    return COLOURS[number] if number < len(COLOURS) else OTHERS


def psd_plot(
    path: Path,
    charge_long: ArrayLike,
    psd: ArrayLike,
    label: ArrayLike | None = None,
    class_names: Sequence[str] = ("gamma", "neutron"),
    *,
    charge_unit: str = "ADC units x samples",
    psd_name: str = "charge ratio (long - short) / long",
    title: str = "",
    figures: Sequence[FigureOfMerit] = (),
    bins: int = 200,
) -> None:
    """Draw a pulse-shape parameter against the charge as a two-dimensional histogram.

    With ``label``, a second panel shows which class the network gives most of the signals of each cell, stronger colour
    for a purer cell.  With ``figures`` a last panel shows the figure of merit against energy.

    Parameters
    ----------
    path
        PNG, PDF or SVG to write.
    charge_long, psd, label
        One value per signal, shape ``(n,)``; label 255 (no answer) and values that are not finite are left out.
    class_names
        Names of classes 0, 1 and following.
    charge_unit, psd_name, title
        Words on the axes.

    Raises
    ------
    ConfigurationError
        Not one signal is left to draw.
    """
    charge, shape = np.asarray(charge_long, np.float64), np.asarray(psd, np.float64)
    classes = None if label is None else np.asarray(label)
    good = np.isfinite(charge) & np.isfinite(shape) & (charge > 0)
    if classes is not None:
        good &= classes != NO_LABEL
    if not good.any():
        raise ConfigurationError(f"{path}: none of {len(charge):,} signals has a positive charge and an answer to plot")
    edges = _edges(charge[good], shape[good], bins)
    panels = 1 + (classes is not None) + bool(figures)
    with figure(path, panels, 3.6 * panels + 0.5, 3.2) as axes:
        density(axes[0], np.histogram2d(charge[good], shape[good], edges)[0], edges, int(good.sum()))
        if classes is not None:
            each = [(charge[good & (classes == k)], shape[good & (classes == k)]) for k in range(len(class_names))]
            class_map(axes[1], np.stack([np.histogram2d(*one, edges)[0] for one in each]), class_names, edges)
        for ax in axes[: panels - bool(figures)]:
            ax.set(xscale="log", xlabel=f"long charge [{charge_unit}]", ylabel=psd_name)
        if figures:
            _fom_points(axes[-1], {"": figures}, {})
        if title:
            axes[0].figure.suptitle(title, x=0.01, ha="left", fontsize=10)


def fom_plot(
    path: Path,
    series: Mapping[str, Sequence[FigureOfMerit]],
    points: Mapping[str, tuple[Sequence[float], ArrayLike]] | None = None,
) -> None:
    """Draw figures of merit against light output.

    Parameters
    ----------
    path
        PNG, PDF or SVG to write.
    series
        Fits by name; drawn with their uncertainties over their windows of energy (keVee).
    points
        Published values by name: the edges of the windows in keVee, and one value per window.
    """
    with figure(path, 1, 4.6, 3.4) as axes:
        _fom_points(axes[0], series, points or {})


def _edges(charge: Array, shape: Array, bins: int) -> tuple[Array, Array]:
    low, high = np.quantile(charge, [0.0005, 0.9995])
    first, last = np.quantile(shape, [0.003, 0.997])
    margin = 0.15 * (last - first) or 0.1
    return np.geomspace(low, max(high, 1.01 * low), bins + 1), np.linspace(first - margin, last + margin, bins + 1)


def density(ax: Any, counts: Array, edges: tuple[Array, Array], signals: int) -> None:
    """Draw signals per cell, ``counts`` of shape ``(x, y)``; the title says that they are ``signals`` together."""
    from matplotlib.colors import LogNorm

    filled = np.ma.masked_equal(counts.T, 0)
    mesh = ax.pcolormesh(*edges, filled, norm=LogNorm(1, max(2, counts.max())), cmap="viridis", rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label="signals per cell", pad=0.02)
    ax.set_title(f"{signals:,} signals")


def class_map(ax: Any, counts: Array, names: Sequence[str], edges: tuple[Array, Array]) -> None:
    """Draw which class most signals of each cell have, stronger for a purer cell; ``counts`` ``(classes, x, y)``."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    signals = counts.sum(axis=(1, 2))
    cells = counts.swapaxes(1, 2)
    total = cells.sum(axis=0)
    first = cells.argmax(axis=0)
    purity = cells.max(axis=0) / np.maximum(total, 1)
    strength = np.clip((purity - 1 / len(names)) / max(1 - 1 / len(names), 1e-9), 0.15, 1)[..., None]
    colours = np.array([to_rgb(colour(k)) for k in range(len(names))])
    image = np.where(total[..., None] > 0, 1 - strength * (1 - colours[first]), 1.0)
    ax.pcolormesh(*edges, image, rasterized=True)
    share = 100 * signals / max(1, signals.sum())
    known = [(colour(k), f"{name} ({share[k]:.1f} %)") for k, name in enumerate(names[: len(COLOURS)])]
    if rest := names[len(COLOURS) :]:
        known.append((OTHERS, f"{len(rest)} more classes ({share[len(COLOURS) :].sum():.1f} %)"))
    ax.legend(
        handles=[Patch(color=shade, label=legend_name(words)) for shade, words in known],
        loc="lower right",
        frameon=True,
        framealpha=0.85,
        edgecolor="none",
    )
    ax.set_title(f"class given by the network (pale: {'both' if len(names) == 2 else 'several'})")


def _fom_points(
    ax: Any, series: Mapping[str, Sequence[FigureOfMerit]], points: Mapping[str, tuple[Sequence[float], ArrayLike]]
) -> None:
    ax.axhline(SEPARATED, color="0.7", lw=0.8, ls="--", zorder=0)
    ax.text(
        0.99, SEPARATED, "3σ apart (1.27)", transform=ax.get_yaxis_transform(), ha="right", va="bottom", color="0.5"
    )
    for k, (name, (limits, values)) in enumerate(points.items()):
        edges, heights = np.asarray(limits, float), np.asarray(values, float)
        middle = np.sqrt(edges[1:] * edges[:-1])
        spans = np.abs(np.stack([edges[:-1], edges[1:]]) - middle)
        ax.errorbar(
            middle, heights, xerr=spans, fmt="o", ms=5, color=COLOURS[1 + k], mfc="white", label=legend_name(name), lw=1
        )
    for k, (name, found) in enumerate(series.items()):
        low, high = np.array([f.low for f in found]), np.array([f.high for f in found])
        middle = np.sqrt(low * high)
        ax.errorbar(
            middle,
            [f.value for f in found],
            xerr=[middle - low, high - middle],
            yerr=[f.uncertainty for f in found],
            fmt="s",
            ms=4,
            lw=1,
            color=COLOURS[0] if k == 0 else COLOURS[1 + k + len(points)],
            label=legend_name(name) or None,
        )
        if found and found[0].gates:
            ax.set_title(f"gates: {found[0].gates}", fontsize=7)
    ax.set(xscale="log", xlabel="light output [keVee]", ylabel="figure of merit", ylim=(0, None))
    ax.margins(y=0.1)
    if any([*series, *points]):
        ax.legend(loc="lower right")
