"""Commands on campaigns: plan, run, submit, cancel, logs, status, audit, plot."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from psdbatch.cli import candidates
from psdbatch.cli.common import (
    DIRECTORY,
    JSON,
    PATH,
    PICTURE,
    FiniteRange,
    OutputFile,
    open_console,
    print_json,
    print_lines,
)
from psdbatch.errors import ExitCode

if TYPE_CHECKING:
    from psdbatch.config import CampaignConfig
    from psdbatch.coordination.status import AtWork

SAMPLE = click.option(
    "--sample",
    type=FiniteRange(0, 1, min_open=True),
    metavar="FRACTION",
    help="Process only this fraction of the blocks (at least one of each run, always the same ones); "
    "a later start without it does the rest.",
)


@click.command(short_help="Show what a campaign would do")
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
    from psdbatch.campaign.model import find_models
    from psdbatch.campaign.prepare import prepare
    from psdbatch.coordination.estimate import estimate
    from psdbatch.coordination.probe import probe_campaign
    from psdbatch.monitor import tables

    campaign = prepare(_read(config), find_models, create=False)
    expected = estimate(campaign, probe_campaign(campaign) if probe else None)
    if as_json:
        print_json({**expected.facts(), "fingerprint": campaign.plan.fingerprint})
        return
    console = open_console()
    for note in campaign.notes:
        console.print(note, soft_wrap=True)
    console.print(tables.plan_table(campaign.plan))
    console.print(tables.estimate_table(expected))


@click.command(short_help="Run a campaign or go on with it")
@click.argument("config", type=PATH)
@click.option("--retry-quarantined", is_flag=True, help="Try blocks again that were given up before.")
@SAMPLE
@JSON
@click.pass_context
def run(context: click.Context, config: Path, retry_quarantined: bool, sample: float | None, as_json: bool) -> None:
    """Run the campaign in CONFIG (campaign.toml, or a campaign directory) to its end; go on where it stopped.

    Files of new runs are added to a finished campaign by running it again.
    """
    from psdbatch.campaign.model import find_models
    from psdbatch.campaign.prepare import prepare
    from psdbatch.coordination.coordinator import release_quarantined, run_campaign
    from psdbatch.coordination.estimate import compare
    from psdbatch.monitor import tables
    from psdbatch.monitor.progress import Progress

    console = open_console(quiet=as_json)
    campaign = prepare(_read(config), find_models)
    for note in campaign.notes:
        console.print(note, soft_wrap=True)
    if retry_quarantined:
        for name in release_quarantined(campaign.directory):
            console.print(f"tried again: block {name}")
    summary = run_campaign(campaign, Progress(console), sample)
    if as_json:
        print_json(summary.facts())
    else:
        console.print(tables.summary_table(summary, compare(campaign.plan, summary)))
        console.print(f"results: {campaign.directory.store}", soft_wrap=True)
    context.exit(summary.exit_code)


@click.command(short_help="Run the coordinator as a batch job")
@click.argument("config", type=PATH)
@SAMPLE
@JSON
def submit(config: Path, sample: float | None, as_json: bool) -> None:
    """Submit the coordinator of the campaign or training in CONFIG as a batch job.

    CONFIG is campaign.toml, training.toml, or the directory of a campaign or training.  The job is described in
    [cluster.coordinator].  It is queued again if its node dies or its time is over.
    """
    from psdbatch.coordination.submit import submit as submit_coordinator

    what = "training" if _is_training(config) else "campaign"
    if what == "training":
        from psdbatch.training.status import read_training_at
        from psdbatch.training.submit import submit_training

        if sample is not None:
            raise click.UsageError(f"--sample is for campaigns; {config} is a training")
        chosen = read_training_at(config)
        job, directory = submit_training(chosen), chosen.training
    else:
        settings = _read(config)
        job, directory = submit_coordinator(settings, sample), settings.campaign
    if as_json:
        print_json({"system": job.system, "job": job.job, what: directory})
    else:
        open_console().print(f"coordinator submitted as job {job.job}; {what}: {directory}", soft_wrap=True)


@click.command(short_help="Stop a campaign or training and its jobs")
@click.argument("directory", type=DIRECTORY)
@JSON
def cancel(directory: Path, as_json: bool) -> None:
    """Stop the coordinator of a campaign or training and cancel all its jobs.  What is finished stays; the same command goes on."""
    from dataclasses import asdict

    from psdbatch.campaign.coordinated import CoordinatedDirectory
    from psdbatch.coordination.cancel import cancel as stop

    console = open_console(quiet=as_json)
    done = stop(
        CoordinatedDirectory(directory.absolute()),
        lambda step: console.print(step, soft_wrap=True),
    )
    if as_json:
        print_json(asdict(done))
    elif done.coordinator is None and not done.jobs:
        console.print("nothing of it waits or runs")


@click.command(short_help="Show what the jobs have printed")
@click.argument("directory", type=DIRECTORY)
@click.option("--group", shell_complete=candidates.groups, help="Logs of one worker group.")
@click.option("--job", help="Log of one job, as a whole.")
@click.option("--coordinator", is_flag=True, help="Logs of the coordinator's own jobs.")
@click.option("--lines", type=click.IntRange(min=0), help="Last lines of each log; default: 10, or all with --job.")
@click.option("--follow", is_flag=True, help="Go on with lines as they are written, until interrupted.")
@JSON
def logs(
    directory: Path,
    group: str | None,
    job: str | None,
    coordinator: bool,
    lines: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Show what the jobs of a campaign or training have printed, the newest last."""
    from psdbatch.campaign.coordinated import CoordinatedDirectory
    from psdbatch.coordination.logs import find_logs
    from psdbatch.coordination.logs import follow as follow_logs

    if follow and as_json:
        raise click.UsageError("--follow has no end, and JSON needs one: give one of them")
    found = find_logs(CoordinatedDirectory(directory.absolute()), group, job, coordinator)
    sizes = {log: log.size for log in found}
    shown = (10 if job is None else None) if lines is None else lines
    if as_json:
        print_json({"logs": [{**vars(log), "lines": log.tail(shown, size)} for log, size in sizes.items()]})
        return
    several = len(found) > 1
    for log, size in sizes.items():
        print_lines([*([f"==> {log.path.name} <=="] if several else []), *log.tail(shown, size)])
    if follow:
        with suppress(KeyboardInterrupt):
            print_lines(f"{log.path.stem}: {line}" if several else line for log, line in follow_logs(sizes))


@click.command(short_help="Show how far a campaign or training is")
@click.argument("directory", type=DIRECTORY)
@JSON
def status(directory: Path, as_json: bool) -> None:
    """Show how far a campaign or training is, and how its jobs stand in the queues."""
    from dataclasses import asdict

    state: AtWork
    if (directory / "training.toml").exists():
        from psdbatch.monitor import training_tables
        from psdbatch.training.directory import TrainingDirectory
        from psdbatch.training.status import read_status as read_training_status

        state = training = read_training_status(TrainingDirectory(directory.absolute()))
        table = training_tables.status_table(training)
    else:
        from psdbatch.campaign.directory import CampaignDirectory
        from psdbatch.coordination.status import read_status
        from psdbatch.monitor import tables

        state = campaign = read_status(CampaignDirectory(directory.absolute()))
        table = tables.status_table(campaign)
    if as_json:
        print_json(asdict(state))
    else:
        open_console().print(table)


@click.command(short_help="Prove that no signal is missing or doubled")
@click.argument("campaign", type=DIRECTORY)
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
        print_json(result.facts())
    else:
        open_console().print(tables.audit_table(result))
    context.exit(ExitCode.OK if result.passed else ExitCode.AUDIT_FAILED)


@click.command(short_help="Draw pulse shape against charge")
@click.argument("campaign", type=DIRECTORY)
@click.option(
    "--output",
    type=OutputFile(*PICTURE),
    default="psd.png",
    show_default=True,
    help="Picture to write, .png, .pdf or .svg.",
)
@click.option("--run", "run_name", shell_complete=candidates.runs, help="One run only; default: all.")
@click.option(
    "--signals",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    help="Signals to draw at most, spread evenly over the store.",
)
@JSON
def plot(campaign: Path, output: Path, run_name: str | None, signals: int, as_json: bool) -> None:
    """Draw pulse shape against charge with the network's classes."""
    from psdbatch.monitor.psd_figure import draw_campaign

    draw_campaign(campaign, output, run_name, signals)
    if as_json:
        print_json({"picture": output.absolute()})
    else:
        print_lines([str(output)])


def _read(path: Path) -> CampaignConfig:
    """Configuration of a file, or of a campaign directory wherever it lies now."""
    from psdbatch.config import read_config

    if path.is_dir():
        if _is_training(path):
            raise click.UsageError(f"{path} is a training's directory; use 'psdbatch train {path}'")
        return read_config(path / "campaign.toml").model_copy(update={"campaign": str(path.absolute())})
    return read_config(path)


def _is_training(path: Path) -> bool:
    """Whether a file or directory is a training's."""
    from psdbatch.config.section import read_toml

    if path.is_dir():
        return (path / "training.toml").exists()
    return "training" in read_toml(path)
