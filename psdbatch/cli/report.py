"""The command that writes a campaign's report."""

from __future__ import annotations

from pathlib import Path

import click

from psdbatch.cli.common import JSON, PATH, OutputFile, campaign_at, print_json, print_lines


@click.command(short_help="Write one page on a campaign")
@click.argument("campaign", type=PATH)
@click.option(
    "--output", type=OutputFile(), help="HTML file to write; default: report.html in the campaign's directory."
)
@JSON
def report(campaign: Path, output: Path | None, as_json: bool) -> None:
    """Write one page on a campaign as it is now: result, physics, throughput, workers, failures, provenance.

    CAMPAIGN is its directory, or the campaign.toml that it is run with.
    'psdbatch run' writes the same at its end.
    """
    from psdbatch.campaign.directory import CampaignDirectory
    from psdbatch.report.content import read_content
    from psdbatch.report.write import write_page

    directory = CampaignDirectory(campaign_at(campaign).absolute())
    content = read_content(directory)
    written = write_page(content, output or directory.report)
    if as_json:
        print_json({"report": written.absolute(), **content.facts()})
    else:
        print_lines([str(written)])
