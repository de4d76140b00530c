"""The batch systems there are, by name."""

from __future__ import annotations

import os

from psdbatch.cluster.sge import GridEngine
from psdbatch.cluster.slurm import SLURM
from psdbatch.cluster.system import BatchSystem
from psdbatch.config.cluster import System


def batch_system(kind: System) -> BatchSystem:
    """The batch system called ``kind``."""
    systems: dict[System, type[BatchSystem]] = {"slurm": SLURM, "sge": GridEngine}
    return systems[kind]()


def own_job() -> tuple[System, str] | None:
    """Batch system and number of the job that this process is part of, or None outside of jobs."""
    if job := os.environ.get("SLURM_JOB_ID"):
        return "slurm", job
    if "SGE_TASK_ID" in os.environ and (job := os.environ.get("JOB_ID")):
        return "sge", job
    return None
