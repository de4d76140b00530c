"""Command on two results: diff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from psdbatch.cli import candidates
from psdbatch.cli.common import DIRECTORY, JSON, OutputFile, open_console, print_json

if TYPE_CHECKING:
    from psdbatch.comparison.pairing import Match


@click.command(short_help="Compare the answers of two campaigns")
@click.argument("a", type=DIRECTORY)
@click.argument("b", type=DIRECTORY, required=False)
@click.option("--run", "run_name", shell_complete=candidates.runs, help="One run only; default: all that both have.")
@click.option("--output", type=DIRECTORY, help="Directory for comparison.html with all plots, and comparison.json.")
@click.option(
    "--select-changed",
    "changed_file",
    type=OutputFile(".parquet", ".root", ".csv"),
    metavar="FILE",
    help="Write the signals that changed class to FILE (.parquet, .root or .csv).",
)
@click.option(
    "--match",
    type=click.Choice(["position", "hit"]),
    help="How signals are found in B: the same number in the run, or the same time, board and channel; "
    "default: position, for online answers in compressed frames: hit.",
)
@click.option("--online", is_flag=True, help="Compare with the answer recorded online, in B or else in A itself.")
@click.option(
    "--online-column",
    metavar="COLUMN",
    help="Recorded column; default: the first there of online_network, online_neutron, neutron_trigger.",
)
@click.option(
    "--online-threshold",
    type=float,
    metavar="VALUE",
    help="A recorded value from here on means the second class; default: 32768 for online_network, else 1.",
)
@click.option(
    "--online-classes",
    nargs=2,
    metavar="LOW HIGH",
    default=("gamma", "neutron"),
    show_default=True,
    help="Names of the classes below and from the threshold on.",
)
@JSON
@click.pass_context
def diff(
    context: click.Context,
    a: Path,
    b: Path | None,
    run_name: str | None,
    output: Path | None,
    changed_file: Path | None,
    match: Match | None,
    online: bool,
    online_column: str | None,
    online_threshold: float | None,
    online_classes: tuple[str, str],
    as_json: bool,
) -> None:
    """Compare the classes that two campaigns A and B give to the same signals.

    Two models or versions on the same files, or one campaign against the answer that the electronics recorded (--online).
    """
    from psdbatch.comparison.comparing import OnlineRequest, compare
    from psdbatch.comparison.facts import comparison_facts
    from psdbatch.comparison.pages import comparison_directory, write_comparison
    from psdbatch.comparison.tables import comparison_table
    from psdbatch.monitor.progress import Progress

    _refuse_half_requests(context, b, online)
    request = OnlineRequest(online_column, online_threshold, online_classes) if online else None
    directory = None if output is None else comparison_directory(output)
    console = open_console(quiet=as_json)
    if console.is_terminal:
        with Progress(console) as progress:
            found = compare(a, b, request, run_name, match, changed_file, progress)
    else:
        found = compare(a, b, request, run_name, match, changed_file)
    page = write_comparison(found, directory) if directory else None
    if as_json:
        print_json(comparison_facts(found))
        return
    console.print(comparison_table(found))
    if changed_file:
        changed = found.agreement.compared - found.agreement.agreeing
        console.print(f"{changed:,} changed signals: {changed_file}", soft_wrap=True)
    if page:
        console.print(f"{page}", soft_wrap=True)


def _refuse_half_requests(context: click.Context, b: Path | None, online: bool) -> None:
    if online:
        return
    if b is None:
        raise click.UsageError(
            "what is A to be compared with? Give B, or --online for the answer that A's files recorded"
        )
    for name in ("online_column", "online_threshold", "online_classes"):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} goes with --online")
