"""The quality monitor's residuals of a campaign: quality."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from psdbatch.cli import candidates
from psdbatch.cli.common import JSON, PATH, campaign_at, print_lines


@click.command(short_help="Show residuals of the quality monitor")
@click.argument("campaign", type=PATH)
@click.option("--run", "run_name", shell_complete=candidates.runs, help="Only this run; default: all.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, min_open=True),
    help="Residual above which a signal is unusual, in amplitudes; default: three standard deviations above the "
    "campaign's median, on a logarithmic scale.",
)
@click.option(
    "--all", "every", is_flag=True, help="List every channel of every run; default: sums, and what stands out."
)
@JSON
def quality(campaign: Path, run_name: str | None, threshold: float | None, every: bool, as_json: bool) -> None:
    """Show how well a campaign's auto-encoder reconstructs the signals of each run and channel.

    CAMPAIGN is its directory, or the campaign.toml that it is run with.  Channels that stand out say why.  Works while the campaign runs; needs [quality] in its campaign.toml.
    """
    from psdbatch.campaign.prepare import open_campaign
    from psdbatch.campaign.quality import read_quality
    from psdbatch.monitor.quality_lines import quality_lines

    if threshold is not None and not math.isfinite(threshold):
        raise click.BadParameter(
            f"{threshold} is not a residual; give a number, such as 0.05", param_hint="--threshold"
        )
    found = read_quality(*open_campaign(campaign_at(campaign)), run_name, threshold)
    if not as_json:
        print_lines(quality_lines(found, every))
        return
    rows = found.rows() if every else found.outstanding()
    print_lines(_json(found.facts(), "rows" if every else "outstanding", map(vars, rows)))


def _json(facts: Mapping[str, Any], name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """An object whose last entry is a list too long to be held at once."""
    yield f"{json.dumps(facts, indent=1)[:-2]},\n {json.dumps(name)}: ["
    last = ""
    for row in rows:
        if last:
            yield f"{last},"
        last = f"  {json.dumps(row)}"
    yield f"{last}\n ]\n}}"
