"""Command on results: export."""

from __future__ import annotations

from pathlib import Path

import click

from psdbatch.cli import candidates
from psdbatch.cli.common import DIRECTORY, JSON, PATH, open_console, print_json


@click.command(short_help="Write results as Parquet or ROOT or CSV")
@click.argument("campaign", type=DIRECTORY)
@click.argument("output", type=PATH)
@click.option(
    "--columns",
    metavar="A,B,...",
    shell_complete=candidates.columns,
    help="Columns to write; default: all stored ones.",
)
@click.option(
    "--select",
    metavar="CONDITION",
    help="Signals to write, for example 'label == neutron and amplitude > 500 and not saturated'; default: all.",
)
@click.option(
    "--run", "runs", multiple=True, shell_complete=candidates.runs, help="One run only; may be repeated; default: all."
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["parquet", "root", "csv"]),
    help="Default: what the name of OUTPUT ends with.",
)
@click.option("--time-order", is_flag=True, help="Put the signals of each run in order of time, across boards.")
@click.option(
    "--window",
    type=click.IntRange(min=0),
    help="Signals that one may be late by within its file, with --time-order; default: 65536.",
)
@JSON
def export(
    campaign: Path,
    output: Path,
    columns: str | None,
    select: str | None,
    runs: tuple[str, ...],
    format_name: str | None,
    time_order: bool,
    window: int | None,
    as_json: bool,
) -> None:
    """Write results of CAMPAIGN to OUTPUT (.parquet, .root or .csv): chosen columns of chosen signals.

    OUTPUT is replaced when the new file is whole.  Signals of unfinished blocks are left out, and counted.
    """
    from rich.progress import Progress

    from psdbatch.results.export import export as write
    from psdbatch.wording import quantity

    console = open_console(quiet=as_json)
    with Progress(console=console, transient=True, disable=not console.is_interactive) as bar:
        task = bar.add_task("signals", total=None)
        done = write(
            campaign,
            output,
            None if columns is None else [name.strip() for name in columns.split(",") if name.strip()],
            select,
            runs or None,
            format=format_name,
            time_order=time_order,
            window=window,
            told=lambda seen, total: bar.update(task, completed=seen, total=total),
        )
    if as_json:
        print_json(done.facts())
        return
    counts = done.counts
    left = {
        "not selected": counts.rejected,
        "of unfinished blocks": counts.unfinished,
        "without a time": counts.untimed,
    }
    reasons = "".join(f", {count:,} {why}" for why, count in left.items() if count)
    console.print(f"{output}: {counts.selected:,} signals, {quantity(done.bytes, 'B')}{reasons}", soft_wrap=True)
