"""Pulse shape against charge of a campaign's results, drawn from a sample of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import NO_LABEL, charge_ratio
from psdbatch.errors import CampaignError
from psdbatch.monitor.plots import psd_plot
from psdbatch.results.reading import open_results

COLUMNS = ("charge_long", "charge_short", "label")


def draw_campaign(campaign: Path, output: Path, run: str | None = None, signals: int = 1_000_000) -> None:
    """Draw all signals, and which class the network gives them.

    Parameters
    ----------
    campaign
        Campaign directory or store.
    output
        PNG, PDF or SVG to write.
    run
        One run only; default: all of them.
    signals
        Signals to draw at most: whole pieces of the store at equal distances, so that little is read.

    Raises
    ------
    CampaignError
        There are no results, or none with an answer yet.
    """
    results = open_results(campaign, run)
    wanted = [name for name in COLUMNS if name in results]
    if len(wanted) < 2:
        raise CampaignError(f"{campaign}: the results hold no charges to draw")
    columns = _sample(results[wanted], signals)
    if "label" in columns and (columns["label"] == NO_LABEL).all():
        raise CampaignError(
            f"{campaign}: none of the {len(columns['label']):,} signals looked at, of {results.sizes['signal']:,}, has an answer; "
            "the campaign is unfinished, or its signals were refused: 'psdbatch status' tells which"
        )
    psd_plot(
        output,
        columns["charge_long"],
        charge_ratio(columns["charge_long"], columns["charge_short"]),
        columns.get("label"),
        [str(name) for name in results.attrs.get("classes", ())],
        title=f"{Path(campaign).resolve().name}{f', {run}' if run else ''}",
    )


def _sample(results: Any, signals: int) -> dict[str, NDArray[Any]]:
    """Pieces of the dataset at equal distances that hold about ``signals`` signals together."""
    total = results.sizes["signal"]
    piece = min(65_536, signals, total)
    count = max(1, min(signals // piece, total // piece))
    starts = np.linspace(0, total - piece, count).astype(int)
    parts = [results.isel(signal=slice(start, start + piece)).load() for start in starts]
    return {name: np.concatenate([part[name].values for part in parts]) for name in results.data_vars}
