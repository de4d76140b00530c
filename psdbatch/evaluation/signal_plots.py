"""Plots of networks that answer with a signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.evaluation.plots import AMPLITUDE
from psdbatch.evaluation.reconstruction import Reconstructed, Reconstruction
from psdbatch.monitor.drawing import drawn, logarithmic
from psdbatch.monitor.plots import COLOURS, legend_name

Array = NDArray[Any]


def error_plot(found: Reconstruction) -> str:
    """Error against amplitude, in ADC units and relative to the noise: median and the middle 68 %."""

    def draw(axes: Any) -> None:
        for ax, name, words in (
            (axes[0], "error", "rms error [ADC units]"),
            (axes[1], "relative_to_noise", "rms error / rms noise of the baseline"),
        ):
            for window in found.by_amplitude:
                values = getattr(window, name)
                if values is None or window.low is None or window.high is None:
                    continue
                low, middle, high = values.quantiles
                centre = np.sqrt(window.low * window.high)
                ax.errorbar(
                    [centre],
                    [middle],
                    xerr=[[centre - window.low], [window.high - centre]],
                    yerr=[[middle - low], [high - middle]],
                    fmt="o",
                    ms=4,
                    lw=1,
                    color=COLOURS[0],
                )
            logarithmic(ax, AMPLITUDE)
            logarithmic(ax, words, vertical=True)
        axes[1].axhline(1, color="0.7", lw=0.8, ls="--")
        axes[0].set_title("median and middle 68 % of the signals")

    return drawn("error", draw, 2)


def gain_plot(found: Reconstruction) -> str:
    """Gain in decibel against amplitude; of a separator for both pulses."""

    def draw(axes: Any) -> None:
        ax = axes[0]
        ax.axhline(0, color="0.7", lw=0.8)
        label: str | None = "first pulse" if found.task == "separator" else None
        second: str | None = "second pulse"
        for window in found.by_amplitude:
            if window.low is None or window.high is None or window.gain_db is None:
                continue
            centre = np.sqrt(window.low * window.high)
            width = [[centre - window.low], [window.high - centre]]
            error = window.gain_sigma_db or 0.0
            ax.errorbar(
                [centre], [window.gain_db], xerr=width, yerr=[error], fmt="o", ms=4, lw=1, color=COLOURS[0], label=label
            )
            label = None
            if window.second_gain_db is not None:
                ax.errorbar(
                    [centre], [window.second_gain_db], xerr=width, fmt="s", ms=4, lw=1, color=COLOURS[1], label=second
                )
                second = None
        logarithmic(ax, AMPLITUDE)
        ax.set(ylabel="gain [dB]", title="power of the error, before over after")
        if found.task == "separator":
            ax.legend()

    return drawn("gain", draw)


def residual_plot(signals: Reconstructed, classes: Sequence[str]) -> str:
    """How many signals of each class have which error relative to the noise."""
    relative = signals.error / np.where(signals.noise > 0, signals.noise, np.nan)

    def draw(axes: Any) -> None:
        positive = relative[np.isfinite(relative) & (relative > 0)]
        if not len(positive):
            return
        low, high = np.quantile(positive, [0.0005, 0.9995])
        edges = np.geomspace(low, high, 81)
        for k, name in enumerate(classes):
            chosen = np.clip(relative[(signals.truth == k) & np.isfinite(relative)], edges[0], edges[-1])
            colour = COLOURS[k % len(COLOURS)]
            axes[0].hist(chosen, edges, histtype="stepfilled", color=colour, alpha=0.25)
            axes[0].hist(chosen, edges, histtype="step", color=colour, label=legend_name(name))
        axes[0].set(
            xscale="log",
            yscale="log",
            xlabel="rms error / rms noise of the baseline",
            ylabel="signals per bin",
            title="residuals by class",
        )
        axes[0].legend()

    return drawn("residuals", draw)


def picture_plot(found: Mapping[str, Array], task: str) -> str:
    """Six signals with the network's answer, in ADC units above the baseline."""
    columns = 3

    def draw(axes: Any) -> None:
        for k, ax in enumerate(axes):
            if k >= len(found["picture_window"]):
                ax.set_axis_off()
                continue
            ax.plot(found["picture_window"][k], color="0.75", lw=1.5, label="what the network sees")
            if task in ("denoiser", "separator"):
                ax.plot(found["picture_clean"][k], color=COLOURS[0], lw=1, label="truth")
            ax.plot(found["picture_answer_0"][k], color=COLOURS[1], lw=1, ls="--", label="answer")
            if task == "separator":
                ax.plot(found["picture_second"][k], color=COLOURS[2], lw=1, label="truth, second pulse")
                ax.plot(found["picture_answer_1"][k], color=COLOURS[3], lw=1, ls="--", label="answer, second pulse")
            ax.set(xlabel="sample of the window", ylabel="height [ADC units]" if k == 0 else "")
        axes[0].legend(fontsize=7)

    return drawn("pictures", draw, columns, 3.2, 2.8)
