"""``[cluster]``: where the work runs, and which jobs a batch system is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from psdbatch.config.section import Section
from psdbatch.units import Bytes, Seconds

System = Literal["slurm", "sge"]
"""Batch systems: SLURM, and Grid Engine in all its editions."""


class JobRequest(Section):
    """What every job says to its batch system; sites' own words (partitions, licences, complexes) are values here."""

    kind: System | None = Field(None, description="batch system of this job; default: the cluster's")
    queue: str | None = Field(None, description="SLURM partition or Grid Engine queue")
    account: str | None = Field(None, description="SLURM account or Grid Engine project")
    options: tuple[str, ...] = Field(
        (),
        description="further options of sbatch or qsub, one per entry, as on its command line: '--gres=gpu:v100:1', '-l GPU=1'",
    )
    cores: int = Field(4, ge=1, description="processor cores of the job")
    memory: Bytes = Field(
        16 * 10**9, description="memory of the job; SLURM is asked for it, Grid Engine only by 'options'"
    )
    walltime: Seconds = Field(43_200.0, gt=0, description="time after which the batch system kills the job")
    prologue: tuple[str, ...] = Field((), description="shell lines before the job's program: 'module load ...'")
    environment: dict[str, str] = Field(default_factory=dict, description="environment variables of the job")


class WorkerGroup(JobRequest):
    """``[[cluster.workers]]``: workers of one kind.  A job is one process on at most one GPU."""

    name: str = Field(
        pattern=r"^[A-Za-z][A-Za-z0-9_]*$", description="name of the group: letters, digits and underscores"
    )
    jobs: int = Field(1, ge=1, description="jobs at a time at most; fewer where less work is left")
    gpu: str | None = Field(
        None, description="name of the GPU, for people; a worker of the group that finds no GPU is refused"
    )
    allow_cpu: bool = Field(False, description="let workers of a GPU group work without a GPU, for trying things out")
    gpu_locks: int = Field(
        0,
        ge=0,
        description="GPUs of a node, where the batch system does not say which one is the job's: the first free one is locked, among the jobs of one user",
    )
    threads: int | None = Field(None, ge=1, description="blocks a worker treats at a time; default: its cores")
    image: str | None = Field(
        None, description="container image; relative to the configuration file; default: no container"
    )
    runtime: Literal["auto", "apptainer", "singularity"] = Field(
        "auto", description="container program; 'auto': the one that the node has"
    )
    binds: tuple[str, ...] = Field(
        (), description="further directories to show inside the image, 'OUTSIDE' or 'OUTSIDE:INSIDE[:ro]'"
    )
    python: str | None = Field(
        None, description="Python of the worker; default: 'python' in an image, else the coordinator's own"
    )
    scratch: str = Field(
        "${TMPDIR:-/tmp}", description="directory on the node for temporary files; the shell expands it"
    )
    batch: Annotated[int, Field(ge=1)] | Literal["auto"] | None = Field(
        None, description="signals in a model call for this group; default: that of [processing]"
    )
    xla: bool | None = Field(None, description="compile with XLA in this group; default: that of [processing]")

    @property
    def blocks(self) -> int:
        """Blocks that a worker of the group treats at a time."""
        return self.threads or self.cores


class CoordinatorJob(JobRequest):
    """``[cluster.coordinator]``: the coordinator itself as a batch job (``psdbatch submit``)."""

    cores: int = Field(2, ge=1, description="processor cores of the job")
    memory: Bytes = Field(8 * 10**9, description="memory of the job")
    walltime: Seconds = Field(
        604_800.0, gt=0, description="time limit of the job; before it the campaign stops and goes on in a new job"
    )
    python: str | None = Field(None, description="Python of the coordinator; default: the one that submits")


class Cluster(Section):
    """``[cluster]``: where the work runs."""

    kind: Literal["local", "slurm", "sge"] = Field(
        "local", description="'local': this machine; else the batch system of all jobs that name none themselves"
    )
    processes: int | None = Field(
        None, ge=1, description="local: worker processes; default: one (its threads share the model and scale)"
    )
    threads: int | None = Field(
        None, ge=1, description="local: blocks a worker process treats at a time; default: its share of the cores"
    )
    memory: Bytes | None = Field(
        None, description="local: memory limit of a worker process; default: its share of the machine's"
    )
    workers: tuple[WorkerGroup, ...] = Field((), description="worker groups, each a table [[cluster.workers]]")
    coordinator: CoordinatorJob = CoordinatorJob()
    dashboard: str = Field(
        "127.0.0.1:8787",
        description="address of the Dask dashboard; another port is taken if it is in use; '' for none",
    )
    address: str | None = Field(
        None,
        description="address or network interface ('ib0') at which workers reach the coordinator; default: the host's own address",
    )
    tls: bool | None = Field(None, description="encrypt and authenticate all connections; default: on batch systems")
    worker_timeout: Seconds = Field(
        60.0, gt=0, description="a worker that has lost the coordinator ends itself after this time"
    )
    margin: Seconds = Field(
        60.0, ge=0, description="a block is not started if it might not end this long before the job's time limit"
    )
    poll: Seconds = Field(60.0, gt=0, description="time between two questions to the batch system about all jobs")

    @model_validator(mode="after")
    def _groups_fit(self) -> Cluster:
        names = [group.name for group in self.workers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two worker groups are named '{twice[0]}'")
        if self.kind == "local" and self.workers:
            raise ValueError("kind = 'local' has no worker groups; say kind = 'slurm' or 'sge'")
        if self.kind != "local" and not self.workers:
            raise ValueError(f"kind = '{self.kind}' needs at least one worker group: a table [[cluster.workers]]")
        return self

    @property
    def encrypted(self) -> bool:
        """Whether connections are encrypted and authenticated."""
        return self.kind != "local" if self.tls is None else self.tls

    def system(self, job: JobRequest) -> System:
        """The batch system of a job."""
        if job.kind is not None:
            return job.kind
        if self.kind == "local":
            raise ValueError("a local cluster submits no jobs")
        return self.kind

    def located(self, base: Path) -> Cluster:
        """The same with image files counted from ``base``, the configuration's directory."""
        workers = tuple(
            group
            if group.image is None or "://" in group.image  # docker://..., library://...: not a path
            else group.model_copy(update={"image": str(base / group.image)})
            for group in self.workers
        )
        return self.model_copy(update={"workers": workers})

    def group(self, name: str) -> WorkerGroup:
        """The worker group called ``name``."""
        return next(group for group in self.workers if group.name == name)
