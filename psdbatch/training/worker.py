"""The program of a training's worker jobs: ``python -m psdbatch.training.worker``."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from psdbatch.cluster.examination import check_gpu, check_versions
from psdbatch.cluster.job_worker import JobWorker, run_worker
from psdbatch.cluster.names import GROUP
from psdbatch.config.cluster import WorkerGroup
from psdbatch.config.training import read_training
from psdbatch.errors import TrainingError
from psdbatch.golden import software
from psdbatch.training.device import find_device
from psdbatch.training.directory import TrainingDirectory


class TrainingWorker(JobWorker):
    """A worker that can run replicas: right versions, and the GPU that its group promises."""

    def examine(self) -> Mapping[str, Any]:
        """Versions, and what TensorFlow finds in a process of its own."""
        started = time.monotonic()
        directory = TrainingDirectory(self.home)
        group = _group(directory)
        here, theirs = software.software(), json.loads(directory.software.read_bytes())
        check_versions(software.conflicts(here, theirs), group)
        device = find_device()
        check_gpu(device.name, device.tensorflow, device.with_cuda, group)
        return {
            **asdict(device),
            "host": socket.gethostname(),
            "versions": here,
            "other_versions": software.differences(here, theirs),
            "seconds": round(time.monotonic() - started, 3),
        }


def _group(directory: TrainingDirectory) -> WorkerGroup | None:
    """The group of this process; None: it was started by hand without one."""
    name = os.environ.get(GROUP)
    if not name:
        return None
    for group in read_training(directory.config).cluster.workers:
        if group.name == name:
            return group
    raise TrainingError(f"{GROUP} says that this worker is of the group '{name}', which the training does not have")


if __name__ == "__main__":
    # By its module's name, as the nanny's child imports the class from there
    from psdbatch.training.worker import TrainingWorker as Examined

    sys.exit(run_worker(Examined, "psdbatch.training.worker", "training", sys.argv[1:]))
