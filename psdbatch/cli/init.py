"""Command that begins a campaign: init."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from psdbatch.cli import candidates
from psdbatch.cli.common import (
    FORMAT,
    FORMAT_OPTIONS,
    JSON,
    PATH,
    OutputFile,
    open_console,
    print_json,
    print_lines,
    read_options,
)


@click.command(short_help="Write a commented campaign.toml")
@click.argument("places", nargs=-1, required=True, type=PATH, metavar="DIRECTORY_OR_FILES...")
@click.option("--model", required=True, type=PATH, help="Network: .pb, SavedModel directory, .keras or .h5.")
@click.option(
    "--output",
    type=OutputFile(),
    default="campaign.toml",
    show_default=True,
    help="File to write; '-': standard output.",
)
@click.option(
    "--campaign", default="campaign", show_default=True, help="Directory of the campaign, relative to the file's own."
)
@FORMAT
@FORMAT_OPTIONS
@click.option(
    "--cluster",
    type=click.Choice(["local", "slurm", "sge"]),
    default="local",
    show_default=True,
    help="Batch system for which a worker group is written.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    shell_complete=candidates.campaign_keys,
    help="Key of the file, whatever is found, such as preparation.length=75; may be repeated.",
)
@click.option("--force", is_flag=True, help="Overwrite the file.")
@JSON
def init(
    places: tuple[Path, ...],
    model: Path,
    output: Path,
    campaign: str,
    format_name: str,
    options: tuple[str, ...],
    cluster: str,
    settings: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Write a commented campaign.toml for acquisition files and a network.

    Files and network are looked at: format, runs, sampling period, polarity, baseline, classes, preparation.  What only
    signals tell is an estimate, and marked so.  Some files are looked at; 'psdbatch plan' then reads them all.
    """
    from psdbatch.campaign.draft import DraftRequest, draft_campaign, write_draft

    to_file = str(output) != "-"
    if as_json and not to_file:
        raise click.UsageError("--json and --output - both want standard output: give one of them")
    request = DraftRequest(
        places=places,
        model=model,
        output=output if to_file else Path("campaign.toml"),
        campaign=campaign,
        format=format_name,
        options=read_options(options),
        cluster=cluster,
        settings=_nested(read_options(settings)),
    )
    draft = draft_campaign(request, replace=force or not to_file)
    if to_file:
        write_draft(draft, output, force)
    else:
        print_lines(draft.text.splitlines())
    if as_json:
        print_json({"written": output.absolute(), **draft.facts()})
        return
    console = open_console(quiet=not to_file)
    for line in draft.lines():
        console.print(line, soft_wrap=True)
    if to_file:
        console.print(f"written: {output}; next: psdbatch plan {output}", soft_wrap=True)


def _nested(settings: dict[str, Any]) -> dict[str, Any]:
    """``{"signals.adc_bits": 12}`` → ``{"signals": {"adc_bits": 12}}``."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        place = nested
        *path, key = name.split(".")
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise click.UsageError(f"--set {name}: '{part}' is given as a value and as a section")
        place[key] = value
    return nested
