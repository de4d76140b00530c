"""Commands on campaigns: plan, run, submit, cancel, logs, status, audit, plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from psdbatch.cli.common import JSON, PATH, open_console, print_json
from psdbatch.errors import ExitCode

if TYPE_CHECKING:
    from psdbatch.config import CampaignConfig


@click.command()
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
        print_json({**expected.facts(), "fingerprint": campaign.plan.fingerprint})
        return
    console = open_console()
    for note in campaign.notes:
        console.print(note, highlight=False, markup=False)
    console.print(tables.plan_table(campaign.plan))
    console.print(tables.estimate_table(expected))


@click.command()
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

    console = open_console(quiet=as_json)
    campaign = prepare(_read(config), find_model)
    for note in campaign.notes:
        console.print(note, highlight=False, markup=False)
    if retry_quarantined:
        for name in release_quarantined(campaign.directory):
            console.print(f"tried again: block {name}")
    summary = run_campaign(campaign, Progress(console))
    if as_json:
        print_json(summary.facts())
    else:
        console.print(tables.summary_table(summary, compare(campaign.plan, summary)))
        console.print(f"results: {campaign.directory.store}", highlight=False, soft_wrap=True)
    context.exit(summary.exit_code)


@click.command()
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
        print_json({"system": job.system, "job": job.job, "campaign": settings.campaign})
    else:
        open_console().print(f"coordinator submitted as job {job.job}; campaign: {settings.campaign}", soft_wrap=True)


@click.command()
@click.argument("campaign", type=PATH)
@JSON
def cancel(campaign: Path, as_json: bool) -> None:
    """Stop a campaign's coordinator and cancel all its jobs.  Finished blocks stay; 'run' or 'submit' goes on."""
    from dataclasses import asdict

    from psdbatch.campaign.directory import CampaignDirectory
    from psdbatch.coordination.cancel import cancel as stop

    console = open_console(quiet=as_json)
    done = stop(CampaignDirectory(campaign.absolute()), lambda step: console.print(step, highlight=False, markup=False))
    if as_json:
        print_json(asdict(done))
    elif done.coordinator is None and not done.jobs:
        console.print("nothing of this campaign waits or runs")


@click.command()
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


@click.command()
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
        print_json(asdict(state))
    else:
        open_console().print(tables.status_table(state))


@click.command()
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
        print_json(result.facts())
    else:
        open_console().print(tables.audit_table(result))
    context.exit(ExitCode.OK if result.passed else ExitCode.AUDIT_FAILED)


@click.command()
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
    open_console().print(f"{output}", highlight=False, soft_wrap=True)


def _read(path: Path) -> CampaignConfig:
    """Configuration of a file, or of a campaign directory wherever it lies now."""
    from psdbatch.config import read_config

    if path.is_dir():
        return read_config(path / "campaign.toml").model_copy(update={"campaign": str(path.absolute())})
    return read_config(path)
