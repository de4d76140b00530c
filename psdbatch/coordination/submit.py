"""The coordinator itself as a batch job: login nodes kill processes that run for long."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from psdbatch.campaign import files
from psdbatch.campaign.coordinated import CoordinatedDirectory
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.journal import Journal
from psdbatch.campaign.layout import store_layout
from psdbatch.campaign.prepare import find_files
from psdbatch.cluster.system import BatchSystem
from psdbatch.cluster.systems import batch_system
from psdbatch.config import CampaignConfig
from psdbatch.config.cluster import Cluster, System
from psdbatch.config.training import TrainingConfig
from psdbatch.coordination.jobs import COORDINATOR_SUBMITTED, CampaignJob, ask_queue, submitted_jobs
from psdbatch.coordination.lock import current
from psdbatch.coordination.notice import PATIENCE, SIGNAL
from psdbatch.errors import BatchSystemBusyError, CampaignError, ConfigurationError, ExitCode, ModelError, StorageError

NOTICE = 300.0
"""Seconds before its time limit in which a coordinator lets blocks end and stops; less for short jobs."""

KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH")
"""Environment that a job needs as it is here, besides the site's and psdbatch's own."""


@dataclass(frozen=True)
class Errand:
    """What a coordinator is submitted for.

    Attributes
    ----------
    what
        ``"campaign"`` or ``"training"``.
    directory
        Where it works.
    config
        The configuration, whose ``[cluster]`` tells its workers and its own job.
    command, options
        Command of ``psdbatch`` that takes the configuration, and further options of it.
    """

    what: str
    directory: CoordinatedDirectory
    config: CampaignConfig | TrainingConfig
    command: str
    options: tuple[str, ...] = ()

    @property
    def cluster(self) -> Cluster:
        """Its workers and its own job."""
        return self.config.cluster


def submit(config: CampaignConfig, sample: float | None = None) -> CampaignJob:
    """Check what can be checked quickly, write the coordinator's job script into the campaign, and submit it.

    Parameters
    ----------
    sample
        Fraction of the blocks to process; None: all of them.

    Raises
    ------
    PsdbatchError
        Something is wrong with the configuration, a coordinator is at work or waits already, or the batch system
        refuses the job.
    """
    return submit_errand(campaign_errand(config, sample), lambda: check(config))


def campaign_errand(config: CampaignConfig, sample: float | None = None) -> Errand:
    """The errand of a campaign's coordinator; arguments as of :func:`submit`."""
    part = () if sample is None else ("--sample", repr(sample))
    directory = CampaignDirectory(Path(config.campaign))
    return Errand("campaign", directory, config, "run", part)


def submit_errand(errand: Errand, check: Callable[[], object]) -> CampaignJob:
    """Write a coordinator's job script into its directory, and submit it.

    Parameters
    ----------
    check
        Sees now what would let the job fail at its start.

    Raises
    ------
    PsdbatchError
        As :func:`submit`.
    """
    directory, kind = errand.directory, coordinator_system(errand.cluster)
    check()
    refuse_second(directory)
    system = batch_system(kind)
    try:
        for folder in (directory.path, directory.logs):
            files.make_directory(folder)
        content = tomli_w.dumps(errand.config.model_dump(mode="json", exclude_none=True))
        files.replace_durably(directory.coordinator_config, content.encode())
        files.replace_durably(directory.coordinator_script, job_script(system, errand).encode())
        directory.coordinator_script.chmod(0o700)
    except OSError as error:
        raise StorageError(f"{directory.path}: cannot be written: {error.strerror or error}", lasting=True) from error
    job = system.submit(directory.coordinator_script)
    Journal(directory.journal).write(COORDINATOR_SUBMITTED, system=kind, job=job)
    return CampaignJob(kind, job, "coordinator", None)


def coordinator_system(cluster: Cluster) -> System:
    """The batch system that the coordinator is submitted to."""
    if cluster.kind == "local" and cluster.coordinator.kind is None:
        raise ConfigurationError(
            "'cluster.coordinator.kind' must be 'slurm' or 'sge', so that the coordinator can be submitted; "
            "'psdbatch run' and 'psdbatch train' run it here"
        )
    return cluster.system(cluster.coordinator)


def check(config: CampaignConfig) -> None:
    """See now what would let the job fail at its start, as far as it costs no reading.

    Raises
    ------
    PsdbatchError
        A file is missing, or the configuration does not fit together.
    """
    find_files(config.input.files)
    store_layout(config.processing, config.results)
    kept = CampaignDirectory(Path(config.campaign)).plan
    if not Path(config.model.path).exists() and not kept.exists():
        raise ModelError(f"{config.model.path}: the model does not exist")
    check_images(config.cluster)


def check_images(cluster: Cluster) -> None:
    """Whether the images of the workers are there.

    Raises
    ------
    ConfigurationError
        One is not.
    """
    for group in cluster.workers:
        if group.image and "://" not in group.image and not Path(group.image).exists():
            raise ConfigurationError(f"worker group '{group.name}': image {group.image} does not exist")


def refuse_second(directory: CoordinatedDirectory) -> None:
    """Refuse to submit while a coordinator waits or works.

    Raises
    ------
    CampaignError
        There is one.
    BatchSystemBusyError
        The batch system does not say whether there is one.
    """
    advice = f"'psdbatch status {directory.path}' shows how it goes, 'psdbatch cancel {directory.path}' stops it"
    jobs = [job for job in submitted_jobs(Journal(directory.journal).read()) if job.is_coordinator]
    queue = ask_queue(jobs)
    for job in jobs:
        if state := queue.state(job):
            raise CampaignError(
                f"{directory.path}: its coordinator is {state.state} already as job {job.job}; {advice}"
            )
    if holder := current(directory):
        raise CampaignError(f"{directory.path}: is being run by {holder}; {advice}")
    for reason in queue.unanswered.values():
        raise BatchSystemBusyError(
            f"{reason}; an earlier coordinator may still wait or work, so none is submitted now; try again later"
        )


def job_script(system: BatchSystem, errand: Errand) -> str:
    """Shell script of the coordinator's job.

    The shell stays between batch system and coordinator: it hands on the signal to stop, waits, and has the job queued
    again if its time was over before the end.  The time is kept here, as Grid Engine's own warning before
    a time limit does not come to a job that runs for the second time, and SLURM's comes up to a minute early.
    """
    job, directory = errand.cluster.coordinator, errand.directory
    options = system.options(job, f"psdbatch-{_word(directory.path.name)}", directory.logs / "coordinator-{job}.log")
    options += system.enduring
    notice = min(NOTICE, job.walltime / 3)
    limit = round(job.walltime - notice)
    command = [errand.command, str(directory.coordinator_config), *errand.options]
    program = shlex.join([job.python or sys.executable, "-m", "psdbatch", *command])
    kept = [*KEPT_VARIABLES, *system.site_variables, *sorted(key for key in os.environ if key.startswith("PSDBATCH_"))]
    variables = {key: os.environ[key] for key in kept if key in os.environ} | job.environment
    variables[PATIENCE] = f"{notice * 2 / 3:.0f}"  # the rest is for the workers' end
    return "\n".join(
        [
            "#!/bin/bash",
            f"# Coordinator of the {errand.what} in {directory.path}, written by 'psdbatch submit'.",
            *(f"{system.directive} {option}" for option in options),
            "",
            *(f"export {key}={shlex.quote(value)}" for key, value in variables.items()),
            "export PYTHONUNBUFFERED=1",
            *job.prologue,
            "",
            "# Some batch systems signal all processes of a job, and warn with USR1 and USR2: the coordinator knows TERM,",
            "# to stop at once, and XCPU, to let blocks end first.",
            "trap '' USR1 USR2",
            f"(exec timeout --foreground --preserve-status --signal=XCPU {limit} {program}) &",
            "coordinator=$!",
            "trap : USR1",
            "trap 'kill -TERM \"$coordinator\" 2>/dev/null' TERM INT USR2",
            "",
            "# A signal interrupts 'wait', which then says something above 128.",
            'wait "$coordinator"; code=$?',
            'while [ "$code" -gt 128 ] && kill -0 "$coordinator" 2>/dev/null; do wait "$coordinator"; code=$?; done',
            'if [ "$code" -gt 128 ]; then wait "$coordinator"; last=$?; [ "$last" = 127 ] || code=$last; fi',
            "",
            "# Its time was over, and it has not come to its end: blocks are left, or XCPU ended it before it could answer to it.",
            f'if [ "$SECONDS" -ge {limit} ] && {{ [ "$code" = {int(ExitCode.UNFINISHED)} ] || [ "$code" = {128 + SIGNAL} ]; }}; then',
            '  echo "psdbatch: the time of this job is nearly over; it is queued again"',
            f"  {system.run_again}",
            f"  code={int(ExitCode.UNFINISHED)}",
            "fi",
            'exit "$code"',
            "",
        ]
    )


def _word(text: str) -> str:
    """``text`` as batch systems take it for a job's name."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in text)
