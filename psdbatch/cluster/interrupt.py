"""Loaded by the workers of a local cluster: a Ctrl-C reaches every process of a terminal, but it is meant for the coordinator."""

from __future__ import annotations

import signal

from distributed import Worker


def dask_setup(worker: Worker) -> None:
    """What Dask calls in a worker process, in its main thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
