"""The commands: parse, call, print.  No logic here, and nothing heavy is imported before a command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from psdbatch import __version__
from psdbatch.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from psdbatch.config import CampaignConfig

PATH = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="psdbatch")
def cli() -> None:
    """Reprocess archives of detector pulses with a frozen TensorFlow model.

    Acquisition files in, a Zarr store out.  Exit codes: 0 all fine, 1 error, 2 wrong command line, 3 finished but some
    signals were refused, 4 unfinished (the same command goes on), 5 audit failed.
    """


@cli.command()
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("--format", "format_name", default="auto", show_default=True, help="Acquisition format of all files.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the format; may be repeated.")
@click.option("--show", is_flag=True, help="List the damaged regions.")
@JSON
def index(files: tuple[Path, ...], format_name: str, options: tuple[str, ...], show: bool, as_json: bool) -> None:
    """Count signals and find damage in acquisition FILES, in one pass over their headers."""
    from psdbatch.campaign.prepare import index_files
    from psdbatch.monitor import tables

    indexes = index_files(files, format_name, _options(options))
    if as_json:
        _print_json([entry.to_json() for entry in indexes])
        return
    console = _console()
    console.print(tables.index_table(indexes))
    if show:
        console.print(tables.damage_table(indexes))


@cli.command()
@click.argument("config", type=PATH)
@click.option(
    "--probe/--no-probe",
    default=True,
    show_default=True,
    help="Process parts of some blocks to predict time and memory.",
)
@JSON
def plan(config: Path, probe: bool, as_json: bool) -> None:
    """Show what a campaign would do: runs, files, signals, blocks, output, time.  No results are written."""
    from psdbatch.campaign.model import find_model
    from psdbatch.campaign.prepare import prepare
    from psdbatch.coordination.estimate import estimate
    from psdbatch.coordination.probe import probe_campaign
    from psdbatch.monitor import tables

    campaign = prepare(_read(config), find_model, create=False)
    expected = estimate(campaign, probe_campaign(campaign) if probe else None)
    if as_json:
        _print_json({**expected.facts(), "fingerprint": campaign.plan.fingerprint})
        return
    console = _console()
    console.print(tables.plan_table(campaign.plan))
    console.print(tables.estimate_table(expected))


@cli.command()
@click.argument("config", type=PATH)
@click.option("--retry-quarantined", is_flag=True, help="Try blocks again that were given up before.")
@JSON
@click.pass_context
def run(context: click.Context, config: Path, retry_quarantined: bool, as_json: bool) -> None:
    """Run the campaign in CONFIG (campaign.toml, or a campaign directory) to its end; go on where it stopped.

    Files of new runs are added to a finished campaign by running it again.
    """
    from psdbatch.campaign.model import find_model
    from psdbatch.campaign.prepare import prepare
    from psdbatch.coordination.coordinator import release_quarantined, run_campaign
    from psdbatch.coordination.estimate import compare
    from psdbatch.monitor import tables
    from psdbatch.monitor.progress import Progress

    console = _console(quiet=as_json)
    campaign = prepare(_read(config), find_model)
    if retry_quarantined:
        for name in release_quarantined(campaign.directory):
            console.print(f"tried again: block {name}")
    summary = run_campaign(campaign, Progress(console))
    if as_json:
        _print_json(summary.facts())
    else:
        console.print(tables.summary_table(summary, compare(campaign.plan, summary)))
        console.print(f"results: {campaign.directory.store}", highlight=False, soft_wrap=True)
    context.exit(summary.exit_code)


@cli.command()
@click.argument("config", type=PATH)
@JSON
def submit(config: Path, as_json: bool) -> None:
    """Submit the coordinator of the campaign in CONFIG (campaign.toml, or a campaign directory) as a batch job.

    Its job is described in [cluster.coordinator].  It is queued again if its node dies or its time is over.
    """
    from psdbatch.coordination.submit import submit as submit_coordinator

    settings = _read(config)
    job = submit_coordinator(settings, config)
    if as_json:
        _print_json({"system": job.system, "job": job.job, "campaign": settings.campaign})
    else:
        _console().print(f"coordinator submitted as job {job.job}; campaign: {settings.campaign}", soft_wrap=True)


@cli.command()
@click.argument("campaign", type=PATH)
@JSON
def cancel(campaign: Path, as_json: bool) -> None:
    """Stop a campaign's coordinator and cancel all its jobs.  Finished blocks stay; 'run' or 'submit' goes on."""
    from dataclasses import asdict

    from psdbatch.campaign.directory import CampaignDirectory
    from psdbatch.coordination.cancel import cancel as stop

    console = _console(quiet=as_json)
    done = stop(CampaignDirectory(campaign.absolute()), lambda step: console.print(step, highlight=False, markup=False))
    if as_json:
        _print_json(asdict(done))
    elif done.coordinator is None and not done.jobs:
        console.print("nothing of this campaign waits or runs")


@cli.command()
@click.argument("campaign", type=PATH)
@click.option("--group", help="Logs of one worker group.")
@click.option("--job", help="Log of one job, as a whole.")
@click.option("--coordinator", is_flag=True, help="Logs of the coordinator's own jobs.")
@click.option("--lines", type=click.IntRange(min=0), help="Last lines of each log; default: 10, or all with --job.")
@click.option("--follow", is_flag=True, help="Go on with lines as they are written, until interrupted.")
def logs(
    campaign: Path, group: str | None, job: str | None, coordinator: bool, lines: int | None, follow: bool
) -> None:
    """Show what a campaign's jobs have printed, the newest last."""
    from psdbatch.campaign.directory import CampaignDirectory
    from psdbatch.coordination.logs import find_logs
    from psdbatch.coordination.logs import follow as follow_logs

    found = find_logs(CampaignDirectory(campaign.absolute()), group, job, coordinator)
    sizes = {log: log.size for log in found}
    for log, size in sizes.items():
        if len(found) > 1:
            click.echo(f"==> {log.path.name} <==")
        for line in log.tail((10 if job is None else None) if lines is None else lines, size):
            click.echo(line)
    if follow:
        try:
            for log, line in follow_logs(sizes):
                click.echo(f"{log.path.stem}: {line}" if len(found) > 1 else line)
        except KeyboardInterrupt:
            return


@cli.command()
@click.argument("campaign", type=PATH)
@JSON
def status(campaign: Path, as_json: bool) -> None:
    """Show how far a campaign is, and how its jobs stand in the queues."""
    from dataclasses import asdict

    from psdbatch.campaign.directory import CampaignDirectory
    from psdbatch.coordination.status import read_status
    from psdbatch.monitor import tables

    state = read_status(CampaignDirectory(campaign.absolute()))
    if as_json:
        _print_json(asdict(state))
    else:
        _console().print(tables.status_table(state))


@cli.command()
@click.argument("campaign", type=PATH)
@click.option(
    "--inputs/--no-inputs", default=True, show_default=True, help="Count the signals in the acquisition files again."
)
@click.option(
    "--deep", is_flag=True, help="Compare time, board and channel of every signal with the acquisition files."
)
@JSON
@click.pass_context
def audit(context: click.Context, campaign: Path, inputs: bool, deep: bool, as_json: bool) -> None:
    """Prove from the bytes that no signal is missing or doubled."""
    from psdbatch.campaign.audit import audit as check
    from psdbatch.campaign.prepare import open_campaign
    from psdbatch.monitor import tables

    result = check(*open_campaign(campaign), inputs=inputs, deep=deep)
    if as_json:
        _print_json(result.facts())
    else:
        _console().print(tables.audit_table(result))
    context.exit(ExitCode.OK if result.passed else ExitCode.AUDIT_FAILED)


@cli.command()
@click.argument("model", type=PATH)
@click.option("--input", "input_name", help="Name of the input tensor.")
@click.option("--output", "outputs", multiple=True, help="Name of an output tensor; may be repeated.")
@JSON
def inspect(model: Path, input_name: str | None, outputs: tuple[str, ...], as_json: bool) -> None:
    """Show inputs, outputs, operations and digest of a MODEL (.pb, SavedModel, .keras, .h5)."""
    import tempfile

    from psdbatch.config import ModelSource
    from psdbatch.models.describing import describe_in_subprocess
    from psdbatch.monitor import tables

    source = ModelSource(path=str(model.absolute()), input=input_name, outputs=outputs or None)
    with tempfile.TemporaryDirectory() as folder:
        facts = describe_in_subprocess(source, Path(folder))
    if as_json:
        _print_json(facts.to_json())
    else:
        _console().print(tables.model_table(facts))


@cli.command()
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@click.option("--format", "format_name", default="packets", show_default=True, help="Format of TARGET.")
@click.option("--from", "source_format", default="auto", show_default=True, help="Format of SOURCE.")
@click.option(
    "--from-option", "source_options", multiple=True, metavar="KEY=VALUE", help="Option of the format of SOURCE."
)
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the format of TARGET.")
@JSON
def convert(
    source: Path,
    target: Path,
    format_name: str,
    source_format: str,
    source_options: tuple[str, ...],
    options: tuple[str, ...],
    as_json: bool,
) -> None:
    """Convert the acquisition file SOURCE to TARGET in another format, keeping every signal and column."""
    from dataclasses import asdict

    from psdbatch.acquisition.convert import convert as transcribe
    from psdbatch.monitor import tables

    summary = transcribe(
        source,
        target,
        format_name,
        options=_options(options),
        source_format=source_format,
        source_options=_options(source_options),
    )
    if as_json:
        _print_json(asdict(summary))
    else:
        _console().print(tables.conversion_table(summary))


@cli.command()
@click.argument("directory", type=PATH)
@click.option("--run", "run_number", default=1, show_default=True, help="Number of the run.")
@click.option("--files", default=1, show_default=True, help="Acquisition files of the run.")
@click.option("--signals", default=100_000, show_default=True, help="Signals in each file.")
@click.option("--format", "format_name", default="mfm", show_default=True, help="Any format that can be written.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the format; may be repeated.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Setting of the simulation; may be repeated."
)
@click.option("--settings", "show_settings", is_flag=True, help="List the settings with their defaults and leave.")
def simulate(
    directory: Path,
    run_number: int,
    files: int,
    signals: int,
    format_name: str,
    options: tuple[str, ...],
    settings: tuple[str, ...],
    show_settings: bool,
) -> None:
    """Write acquisition files of a liquid scintillator into DIRECTORY, with the truth beside them."""
    from psdbatch.config import validated
    from psdbatch.monitor import tables
    from psdbatch.simulation.files import simulate_run
    from psdbatch.simulation.settings import Simulation

    if show_settings:
        _console().print(tables.settings_table(Simulation))
        return
    chosen = validated(Simulation, {"signals": signals, **_options(settings)}, "--set")
    for path in simulate_run(directory, chosen, run_number, files, format_name, _options(options)):
        click.echo(path)


@cli.command()
@click.argument("campaign", type=PATH)
@click.option("--output", type=PATH, default=Path("psd.png"), show_default=True, help="PNG or PDF to write.")
@click.option("--run", "run_name", help="One run only; default: all.")
@click.option(
    "--signals",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    help="Signals to draw at most, spread evenly over the store.",
)
def plot(campaign: Path, output: Path, run_name: str | None, signals: int) -> None:
    """Draw pulse shape against charge with the network's classes."""
    from psdbatch.monitor.psd_figure import draw_campaign

    draw_campaign(campaign, output, run_name, signals)
    _console().print(f"{output}", highlight=False, soft_wrap=True)


def _read(path: Path) -> CampaignConfig:
    """Configuration of a file, or of a campaign directory wherever it lies now."""
    from psdbatch.config import read_config

    if path.is_dir():
        return read_config(path / "campaign.toml").model_copy(update={"campaign": str(path.absolute())})
    return read_config(path)


def _options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``KEY=VALUE`` pairs; values are read as TOML where they are (``5``, ``true``), else as text."""
    import tomllib

    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"'{pair}' is not KEY=VALUE")
        try:
            options[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[key] = value
    return options


def _console(quiet: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=quiet)
    if not console.is_terminal:  # a log or a pipe: nobody wants file names cut to 80 columns
        console.width = max(console.width, 200)
    return console


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1, default=str))
