"""A worker group's job: dask-jobqueue's classes, with what a campaign needs put right.

dask-jobqueue writes the script's header and submits.  Put right here: one process per job; a log of its own for each
job; jobs are never requeued by the batch system, as the cluster replaces them; everything else that a site wants comes
from the configuration; a job that was refused can be told from one that runs.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed.core import Status

from psdbatch.cluster.jobqueue import Job, SGEJob, SLURMJob
from psdbatch.cluster.names import GROUP, NAME
from psdbatch.cluster.systems import batch_system
from psdbatch.cluster.walltime import ENDS, PACE
from psdbatch.config.cluster import JobRequest, System, WorkerGroup
from psdbatch.errors import BatchSystemBusyError, BatchSystemError


@dataclass(frozen=True)
class JobSheet:
    """What all jobs of a campaign have in common.

    Attributes
    ----------
    program
        Python module that a job runs; gets the scheduler's address and the options of :func:`worker_arguments`.
    logs
        Directory of the jobs' logs, ``NAME-JOBID.log``; on a file system that the nodes see.
    label
        Start of the jobs' names in the queue.
    arguments
        Further arguments of the program.
    environment
        Further environment variables.
    binds
        Directories that the program needs inside an image.
    """

    program: str
    logs: Path
    label: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    binds: tuple[str, ...] = ()


class _GroupJob(Job):  # type: ignore[misc]
    """Life of a job as the cluster sees it: refused, submitted, gone."""

    refusal = ""
    busy = False

    system: System

    def __init__(self, *args: Any, accepted: Callable[[str], object], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._accepted = accepted

    async def start(self) -> None:
        try:
            await super().start()
        except (BatchSystemError, OSError) as error:
            self.busy = isinstance(error, BatchSystemBusyError)
            self.refusal = str(error).partition(": ")[2] or str(error)  # without the script's name, which is gone
            self.status = Status.failed  # else the cluster takes it for one that is still to come
            raise BatchSystemError(str(error)) from error

    async def _submit_job(self, script_filename: str) -> str:
        return await asyncio.to_thread(self._submit, Path(script_filename))

    def _submit(self, script: Path) -> str:
        """Told in this thread: whatever becomes of the cluster meanwhile, an accepted job is not forgotten."""
        job = batch_system(self.system).submit(script)
        self._accepted(job)
        return job

    async def close(self) -> None:
        await super().close()
        self.forget()

    def forget(self) -> None:
        """The job is gone, or was cancelled with others in one command: there is nothing left to close."""
        self.job_id = None
        self.status = Status.closed


class _SLURM(_GroupJob, SLURMJob):  # type: ignore[misc]
    system: System = "slurm"


class _SGE(_GroupJob, SGEJob):  # type: ignore[misc]
    system: System = "sge"


CLASSES: dict[System, type[_GroupJob]] = {"slurm": _SLURM, "sge": _SGE}


def job_spec(
    system: System,
    group: WorkerGroup,
    name: str,
    sheet: JobSheet,
    pace: float | None = None,
    avoided: Sequence[str] = (),
    accepted: Callable[[str], object] = lambda job: None,
) -> dict[str, Any]:
    """Entry of a :class:`distributed.SpecCluster` for one job of a group.

    Parameters
    ----------
    name
        Name of the worker, never used twice.
    pace
        Seconds per signal measured on the group's other workers.
    avoided
        Nodes that the job must not go to.
    accepted
        Called with the job's number as soon as there is one, from any thread.
    """
    options: dict[str, Any] = {
        "name": name,
        "queue": group.queue,
        "walltime": clock(group.walltime),
        "cores": group.cores,
        "memory": f"{group.memory} B",
        "processes": 1,
        "nanny": True,
        "log_directory": None,
        "job_name": f"{sheet.label}-{name}",
        "job_extra_directives": _directives(system, group, sheet.logs / name, avoided),
        "job_script_prologue": _prologue(system, group, name, sheet, pace),
        "python": f"exec {' '.join(_python(group, sheet))}",
        "worker_command": sheet.program,
        "worker_extra_args": ["--threads", str(group.blocks), *map(shlex.quote, sheet.arguments)],
        "local_directory": f'"{group.scratch}"',
        "death_timeout": None,
        "interface": None,
        "accepted": accepted,
    }
    options["account" if system == "slurm" else "project"] = group.account
    return {"cls": CLASSES[system], "options": options}


def _directives(system: System, job: JobRequest, log: Path, avoided: Sequence[str]) -> list[str]:
    if system == "slurm":
        own = [f'--output="{str(log).replace("%", "%%")}-%j.log"', "--no-requeue"]
        own += [f"--exclude={','.join(avoided)}"] if avoided else []
    else:
        own = [f'-o "{log}-$JOB_ID.log"', "-r n"]
        own += [f"-l hostname=!({'|'.join(avoided)})"] if avoided else []
        if not any(option.split()[0] == "-w" for option in job.options):
            own.append("-w e")  # an impossible request is refused now instead of waiting for ever
    return [*own, *job.options]


def _prologue(system: System, group: WorkerGroup, name: str, sheet: JobSheet, pace: float | None) -> list[str]:
    variables = {
        **sheet.environment,
        GROUP: group.name,
        NAME: name,
        "PYTHONNOUSERSITE": "1",  # packages in a user's home would shadow those of the image
        **({PACE: f"{pace:.6e}"} if pace else {}),
        **group.environment,
    }
    return [
        *(f"export {key}={shlex.quote(value)}" for key, value in variables.items()),
        *_END[system],
        f"export {ENDS}=${{{ENDS}:-$(( $(date +%s) + {int(group.walltime)} ))}}",
        *(_gpu_lock(group.gpu_locks) if group.gpu_locks else []),
        *group.prologue,
        *(_runtime(group) if group.image else []),
    ]


_END: dict[System, list[str]] = {
    # squeue knows of a limit that the partition cut or an operator changed
    # where it does not answer, 'date' would take nothing for midnight
    "slurm": [
        'end=$(squeue -h -j "$SLURM_JOB_ID" -o %e 2>/dev/null)',
        f'{ENDS}=""; [ -n "$end" ] && {ENDS}=$(date -d "$end" +%s 2>/dev/null)',
    ],
    "sge": [],  # h_rt is what was asked for, counted from the job's start
}


def _gpu_lock(gpus: int) -> list[str]:
    """Lock the first free GPU of the node: the descriptor stays open in the worker, so the lock lasts like the job."""
    return [
        "gpu=",  # not the variable itself: a node may set that for all jobs
        f"for number in $(seq 0 {gpus - 1}); do",
        '  exec 9>>"/tmp/psdbatch-gpu-$number-$(id -u).lock" && flock -n 9 && gpu=$number && break',
        "done",
        '[ -n "$gpu" ] || { echo "psdbatch: all GPUs of $(hostname) are locked by other jobs"; exit 1; }',
        "export CUDA_VISIBLE_DEVICES=$gpu",
    ]


def _runtime(group: WorkerGroup) -> list[str]:
    if group.runtime == "auto":
        find = "RUNTIME=$(command -v apptainer || command -v singularity)"
    else:
        find = f"RUNTIME=$(command -v {group.runtime})"
    what = "apptainer or singularity" if group.runtime == "auto" else group.runtime
    return [f'{find} || {{ echo "psdbatch: $(hostname) has no {what}, which image {group.image} needs"; exit 1; }}']


def _python(group: WorkerGroup, sheet: JobSheet) -> list[str]:
    if group.image is None:
        return [shlex.quote(group.python or sys.executable)]
    binds = [part for bind in (*sheet.binds, *group.binds) for part in ("--bind", shlex.quote(bind))]
    gpu = ["--nv"] if group.gpu else []
    return [
        '"$RUNTIME"',
        "exec",
        *gpu,
        *binds,
        "--bind",
        f'"{group.scratch}"',
        shlex.quote(group.image),
        group.python or "python",
    ]


def clock(seconds: float) -> str:
    """``HH:MM:SS``, as both batch systems read it."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"
