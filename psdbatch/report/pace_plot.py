"""Throughput against time, pauses cut out."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from psdbatch.campaign.throughput import Throughput
from psdbatch.monitor.drawing import drawn
from psdbatch.monitor.plots import COLOURS, colour, legend_name

MOST_GROUPS = len(COLOURS)


def throughput_plot(throughput: Throughput) -> str:
    """Signals per second of each worker group on top of each other, against hours of work."""
    buckets = np.array(sorted(throughput.buckets()))
    names = sorted(throughput.groups, key=lambda name: -sum(throughput.groups[name].values()))
    layers = [[throughput.groups[name].get(int(bucket), 0.0) for bucket in buckets] for name in names[:MOST_GROUPS]]
    rest = [[throughput.groups[name].get(int(bucket), 0.0) for bucket in buckets] for name in names[MOST_GROUPS:]]
    labels = [name or "this machine" for name in names[:MOST_GROUPS]]
    if rest:
        layers.append(np.sum(rest, axis=0).tolist())
        labels.append(f"and {len(rest)} more groups")
    worked = np.array([throughput.seconds(int(bucket)) for bucket in buckets])
    whole = worked.sum()
    unit, length = ("h", 3600.0) if whole > 7200 else ("min", 60.0) if whole > 300 else ("s", 1.0)
    edges = np.concatenate([[0.0], np.cumsum(worked)]) / length
    cuts = np.flatnonzero(np.diff(buckets) > 1) + 1

    def draw(axes: Any) -> None:
        ax, base = axes[0], np.zeros(len(buckets))
        for number, (name, layer) in enumerate(zip(labels, layers, strict=True)):
            top = base + np.array(layer) / worked
            style = {"color": colour(number), "label": legend_name(name), "alpha": 0.85}
            ax.stairs(top, edges, baseline=base, fill=True, **style)
            base = top
        for cut in cuts:
            ax.axvline(edges[cut], color="0.4", lw=0.8, ls=":")
        began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(buckets[0] * throughput.width))
        ax.set(xlabel=f"time of work [{unit}], from {began} on", ylabel="signals / s", xlim=(0, edges[-1]))
        ax.ticklabel_format(axis="y", style="sci", scilimits=(-1, 4))
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return drawn("signals per second against time", draw, 1, 8.4, 2.6)
