"""What all worker jobs of a coordinator have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from psdbatch.campaign.coordinated import CoordinatedDirectory
from psdbatch.cluster.jobs import JobSheet
from psdbatch.cluster.walltime import MARGIN
from psdbatch.config.cluster import Cluster


def job_sheet(
    program: str, what: str, directory: CoordinatedDirectory, cluster: Cluster, inputs: Iterable[str]
) -> JobSheet:
    """Sheet of the jobs that work for ``directory``.

    Parameters
    ----------
    program
        Python module that a job runs.
    what
        Its option that takes the directory: ``"campaign"`` or ``"training"``.
    inputs
        Directories that an image must be shown besides.
    """
    tls = ("--tls", str(directory.certificates)) if cluster.encrypted else ()
    return JobSheet(
        program=program,
        logs=directory.logs,
        label="psd-" + re.sub(r"[^A-Za-z0-9_.]", "_", directory.path.name),
        arguments=(f"--{what}", str(directory.path), "--timeout", f"{cluster.worker_timeout:g}s", *tls),
        environment={MARGIN: f"{cluster.margin:g}"},
        binds=tuple(outermost({str(directory.path), *inputs})),
    )


def outermost(paths: Iterable[str]) -> list[str]:
    """Those of the directories that lie in no other one: what an image must be shown."""
    chosen: list[str] = []
    for path in sorted(set(paths)):
        if not chosen or not Path(path).is_relative_to(chosen[-1]):
            chosen.append(path)
    return chosen
