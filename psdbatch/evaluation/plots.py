"""Plots of an evaluation as SVG text, to be laid into the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.evaluation.classification import Calibration
from psdbatch.evaluation.evaluation import WindowFigures
from psdbatch.evaluation.separation import Merit, Separation
from psdbatch.monitor.drawing import drawn, logarithmic
from psdbatch.monitor.plots import COLOURS, SEPARATED, legend_name
from psdbatch.monitor.shares import Share

Array = NDArray[Any]

NETWORK, CHARGE = COLOURS[1], COLOURS[0]
AMPLITUDE, ENERGY = "amplitude [ADC units]", "light output [keVee]"


def accuracy_plot(windows: Sequence[WindowFigures], unit: str) -> str:
    """Accuracy of network and charge comparison in windows, and the difference signal by signal."""

    def draw(axes: Any) -> None:
        _shares(axes[0], windows, [entry.accuracy for entry in windows], NETWORK, "network", -1)
        _shares(
            axes[0], windows, [entry.charge_accuracy for entry in windows], CHARGE, "charge comparison, best cut", 1
        )
        axes[0].set(ylabel="accuracy", title="fraction of signals decided right")
        gains = [entry for entry in windows if entry.gain is not None]
        axes[1].axhline(0, color="0.7", lw=0.8)
        for entry in gains:
            assert entry.gain is not None
            _point(axes[1], entry, 100 * entry.gain.value, [100 * entry.gain.sigma] * 2, "0.2", None)
        axes[1].set(ylabel="difference [percentage points]", title="network minus charge comparison")
        for ax in axes:
            logarithmic(ax, unit)
        _legend(axes[0])

    return drawn(f"accuracy {unit}", draw, 2)


def roc_plot(network: Separation, charge: Separation | None, windows: Sequence[WindowFigures], unit: str) -> str:
    """ROC of all signals, and of the three lowest windows that have one."""

    def draw(axes: Any) -> None:
        _curve(axes[0], network, NETWORK, "-", f"network, {_area(network)}")
        if charge is not None:
            _curve(axes[0], charge, CHARGE, "--", f"charge ratio, {_area(charge)}")
        axes[0].set_title("all signals")
        shown = [entry for entry in windows if entry.network is not None and entry.network.area is not None][:3]
        for k, entry in enumerate(shown):
            assert entry.network is not None
            _curve(axes[1], entry.network, COLOURS[k], "-", f"{entry.low:g} - {entry.high:g}")
            if entry.charge is not None:
                _curve(axes[1], entry.charge, COLOURS[k], "--", "")
        axes[1].set_title(f"lowest windows of {unit}\nsolid: network, dashed: charge ratio")
        for ax in axes:
            ax.set(
                xscale="log",
                xlabel="fraction of the gammas called neutrons",
                ylabel="neutron efficiency",
                ylim=(0, 1.02),
            )
            _legend(ax, "lower right")

    return drawn("roc", draw, 2)


def efficiency_plot(windows: Sequence[WindowFigures], unit: str, rejection: int) -> str:
    """Neutron efficiency at the ``rejection``-th of the gamma rejections, in windows."""

    def draw(axes: Any) -> None:
        wanted = 0.0
        for name, colour, side in (("network", NETWORK, -1), ("charge", CHARGE, 1)):
            label: str | None = "network" if name == "network" else "charge ratio"
            for entry in windows:
                found: Separation | None = getattr(entry, name)
                if found is None or len(found.efficiencies) <= rejection:
                    continue
                point = found.efficiencies[rejection]
                wanted, errors = point.rejection, [point.value - point.low, point.high - point.value]
                _point(axes[0], entry, point.value, errors, colour, label, side, hollow=point.few)
                label = None
        axes[0].set(
            ylabel="neutron efficiency",
            ylim=(0, 1.04),
            title=f"with {100 * wanted:g} % of the gammas rejected\n(hollow: fewer than 10 gammas decide)",
        )
        logarithmic(axes[0], unit)
        _legend(axes[0], "lower right")

    return drawn(f"efficiency {unit} {rejection}", draw)


def merit_plot(windows: Sequence[WindowFigures], unit: str) -> str:
    """Figures of merit in windows; windows without two peaks have none."""

    def draw(axes: Any) -> None:
        ax = axes[0]
        ax.axhline(SEPARATED, color="0.7", lw=0.8, ls="--", zorder=0)
        ax.text(1, SEPARATED, "3σ apart", transform=ax.get_yaxis_transform(), ha="right", va="bottom", color="0.5")
        for name, colour, side in (("network", NETWORK, -1), ("charge", CHARGE, 1)):
            label: str | None = "logit of the network's score" if name == "network" else "charge ratio"
            for entry in windows:
                merit = _merit(getattr(entry, name))
                if merit is None or merit.value is None:
                    continue
                _point(ax, entry, merit.value, [merit.uncertainty] * 2, colour, label, side)
                label = None
        logarithmic(ax, unit)
        ax.set(ylabel="figure of merit", ylim=(0, None), title="double-Gaussian fits")
        _legend(ax, "upper left")

    return drawn(f"merit {unit}", draw)


def calibration_plot(found: Calibration, name: str) -> str:
    """Observed fraction against score, and how many signals have which score."""

    def draw(axes: Any) -> None:
        axes[0].plot([0, 1], [0, 1], color="0.7", lw=0.8, ls="--")
        scores = [entry.mean_score for entry in found.bins]
        values = [entry.observed.value for entry in found.bins]
        errors = [[e.observed.value - e.observed.low, e.observed.high - e.observed.value] for e in found.bins]
        axes[0].errorbar(scores, values, yerr=np.transpose(errors), fmt="o", ms=4, lw=1, color=NETWORK)
        axes[0].set(
            xlabel=f"score of class {name}", ylabel=f"fraction that is {name}", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03)
        )
        axes[0].set_title(f"expected error {found.expected_error:.4f} (by chance {found.expected_by_chance:.4f})")
        widths = [entry.high - entry.low for entry in found.bins]
        counts = [entry.observed.total for entry in found.bins]
        axes[1].bar([entry.low for entry in found.bins], counts, widths, align="edge", color=NETWORK, alpha=0.6)
        axes[1].set(yscale="log", xlabel=f"score of class {name}", ylabel="signals", title="signals by score")

    return drawn(f"calibration {name}", draw, 2)


def parameter_plot(evidence: Array, ratio: Array | None, truth: Array, classes: Sequence[str], positive: str) -> str:
    """Distribution of the network's logit and of the charge ratio, by true class."""
    panels = [(evidence, f"ln odds of {positive} (network)")]
    if ratio is not None:
        panels.append((ratio, "charge ratio (long - short) / long"))

    def draw(axes: Any) -> None:
        for ax, (values, words) in zip(axes, panels, strict=True):
            finite = values[np.isfinite(values)]
            if not len(finite):
                continue
            low, high = np.quantile(finite, [0.001, 0.999])
            edges = np.linspace(low, high, 101)
            for k, name in enumerate(classes):
                chosen = np.clip(values[(truth == k) & np.isfinite(values)], edges[0], edges[-1])
                colour = COLOURS[k % len(COLOURS)]
                ax.hist(chosen, edges, histtype="stepfilled", color=colour, alpha=0.25)
                ax.hist(chosen, edges, histtype="step", color=colour, label=legend_name(name))
            ax.set(yscale="log", xlabel=words, ylabel="signals per bin")
            _legend(ax)

    return drawn("parameters", draw, len(panels))


def _merit(found: Separation | None) -> Merit | None:
    return None if found is None else found.merit


def _curve(ax: Any, found: Separation, colour: str, style: str, label: str) -> None:
    if found.area is None:
        return
    false = np.maximum(found.false_rate, 0.5 * found.false_rate[found.false_rate > 0].min(initial=1))
    ax.step(false, found.true_rate, where="post", color=colour, ls=style, lw=1.2, label=label or None)


def _area(found: Separation) -> str:
    return "no area" if found.area is None else f"area {found.area:.4f} ± {found.area_sigma:.4f}"


def _shares(
    ax: Any, windows: Sequence[WindowFigures], values: Sequence[Share | None], colour: str, label: str, side: int
) -> None:
    name: str | None = label
    for window, value in zip(windows, values, strict=True):
        if value is not None:
            errors = [value.value - value.low, value.high - value.value]
            _point(ax, window, value.value, errors, colour, name, side)
            name = None


def _point(
    ax: Any,
    window: WindowFigures,
    value: float,
    errors: Sequence[float | None],
    colour: str,
    label: str | None,
    side: int = 0,
    hollow: bool = False,
) -> None:
    """A value with its error over its window; ``side`` moves it a little, so that two methods do not hide one another."""
    middle = np.sqrt(window.low * window.high) * (window.high / window.low) ** (0.04 * side)
    ax.errorbar(
        [middle],
        [value],
        xerr=[[middle - window.low], [window.high - middle]],
        yerr=[[errors[0] or 0.0], [errors[1] or 0.0]],
        fmt="s" if side > 0 else "o",
        ms=4,
        lw=1,
        color=colour,
        mfc="white" if hollow else colour,
        label=label,
    )


def _legend(ax: Any, place: str = "best") -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc=place, fontsize=8)
