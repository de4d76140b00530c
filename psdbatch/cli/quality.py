"""The quality monitor's residuals of a campaign: quality."""

from __future__ import annotations

from pathlib import Path

import click

from psdbatch.cli import candidates
from psdbatch.cli.common import DIRECTORY, JSON, open_console, print_json


@click.command(short_help="Show residuals of the quality monitor")
@click.argument("campaign", type=DIRECTORY)
@click.option("--run", "run_name", shell_complete=candidates.runs, help="Only this run; default: all.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, min_open=True),
    help="Residual above which a signal is unusual, in amplitudes; default: three standard deviations above the "
    "campaign's median, on a logarithmic scale.",
)
@JSON
def quality(campaign: Path, run_name: str | None, threshold: float | None, as_json: bool) -> None:
    """Show how well a campaign's auto-encoder reconstructs the signals of each run, board and channel.

    Channels that stand out say why.  Works while the campaign runs; needs [quality] in its campaign.toml.
    """
    from psdbatch.campaign.prepare import open_campaign
    from psdbatch.campaign.quality import read_quality
    from psdbatch.monitor.quality import quality_table

    found = read_quality(*open_campaign(campaign), run_name, threshold)
    if as_json:
        print_json(found.facts())
        return
    console = open_console()
    console.print(quality_table(found))
    console.print(
        f"all: {found.signals:,} signals, median {found.median:.4g}, {100 * found.above:.2f} % above {found.threshold:.3g}; "
        f"{sum(bool(row.outstanding) for row in found.channels)} of {len(found.channels)} channels stand out"
    )
