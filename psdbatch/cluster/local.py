"""Worker processes on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT

from psdbatch.cluster.nanny import ReportingNanny
from psdbatch.cluster.settings import SETTINGS
from psdbatch.config import Cluster


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
def local_cluster(config: Cluster, logs: Path) -> Iterator[tuple[LocalCluster, Client]]:
    """Start the workers, yield cluster and client, end them.

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
            memory_limit=config.memory or MEMORY_LIMIT // processes,  # Dask would give a thread a core's share
            dashboard_address=config.dashboard or "127.0.0.1:0",  # without one, a port that nobody is told
            silence_logs=logging.CRITICAL,
            notes=str(logs),
            preload=["psdbatch.cluster.interrupt"],
        ) as cluster,
        Client(cluster) as client,
    ):
        yield cluster, client
