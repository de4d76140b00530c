"""Worker processes on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
from distributed import Client, LocalCluster

from psdbatch.cluster.nanny import ReportingNanny
from psdbatch.config import Cluster

SETTINGS = {
    # The coordinator decides about retries; the scheduler must report the first death of a task's worker.
    "distributed.scheduler.allowed-failures": 0,
    # Tasks write to disk and return little: nothing to spill, nothing to move between workers.
    "distributed.scheduler.work-stealing": True,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.admin.log-format": "%(asctime)s %(name)s %(levelname)s %(message)s",
    "distributed.nanny.pre-spawn-environ.TF_CPP_MIN_LOG_LEVEL": "3",
    # Dask makes workers give freed memory back at once, which here means page faults in every batch: half the pace
    # (docs/design/threads.md).  Batches are all alike, so memory that is kept is used again.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 30,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 25,
    "distributed.scheduler.validate": False,
}


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0))


def workers_of(config: Cluster) -> tuple[int, int]:
    """Worker processes, and threads in each.

    One process for all cores by default: its threads share one model and, as decompression, compiled graph and
    compression leave the interpreter lock alone, scale like processes do (``benchmarks/README.md``).
    """
    processes = config.processes or 1
    return processes, config.threads or max(1, cores() // processes)


@contextmanager
def local_cluster(config: Cluster, logs: Path) -> Iterator[Client]:
    """Start the workers, yield a client, end them.

    Parameters
    ----------
    config
        The ``[cluster]`` section.
    logs
        Directory for the workers' notes.
    """
    processes, threads = workers_of(config)
    with (
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=processes,
            threads_per_worker=threads,
            worker_class=ReportingNanny,
            memory_limit=config.memory or "auto",
            dashboard_address=config.dashboard or "127.0.0.1:0",  # without one, a port that nobody is told
            silence_logs=logging.CRITICAL,
            notes=str(logs),
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
