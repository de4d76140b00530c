"""Cancels the jobs of a coordinator that was killed.

A coordinator that ends in any orderly way cancels its jobs itself.  One that is killed outright cannot, so a small process
beside it listens on a pipe: when the pipe ends and jobs are left, what still waits in the queue is cancelled at once, and
what runs after the time in which workers end by themselves.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, Self

from psdbatch.cluster.system import JobState
from psdbatch.cluster.systems import batch_system
from psdbatch.config.cluster import System
from psdbatch.errors import BatchSystemError

GRACE = 30.0
"""Seconds beyond the workers' own time in which they may still end a block."""


class Reaper:
    """The process beside the coordinator.

    Parameters
    ----------
    worker_timeout
        Seconds after which workers without a coordinator end by themselves.
    """

    def __init__(self, worker_timeout: float) -> None:
        self._timeout = worker_timeout
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()  # jobs are submitted in threads

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self._timeout)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is meant for the coordinator
        )
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError, subprocess.TimeoutExpired):  # jobs that could not be cancelled keep it busy
                self._process.stdin.close()
                self._process.wait(timeout=2)

    def submitted(self, system: System, job: str) -> None:
        """A job to look after."""
        self._say(f"+ {system} {job}")

    def ended(self, system: System, job: str) -> None:
        """One less."""
        self._say(f"- {system} {job}")

    def _say(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            with self._lock:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
        except OSError:  # it is gone: the coordinator goes on without
            pass


def listen(lines: IO[str], worker_timeout: float) -> None:
    """Keep account of the jobs until the pipe ends; cancel those left."""
    jobs: dict[tuple[System, str], None] = {}
    for line in lines:
        words = line.split()
        if len(words) == 3:
            job: tuple[System, str] = (words[1], words[2])  # type: ignore[assignment]
            if words[0] == "+":
                jobs[job] = None
            else:
                jobs.pop(job, None)
    reap(jobs, worker_timeout)


def reap(jobs: Iterable[tuple[System, str]], worker_timeout: float) -> None:
    """Cancel jobs that wait at once, and those that run when their workers should have ended by themselves."""
    by_system: dict[System, list[str]] = {}
    for system, job in jobs:
        by_system.setdefault(system, []).append(job)
    end = time.monotonic() + worker_timeout + GRACE
    while by_system and time.monotonic() < end:
        by_system = {system: left for system, ids in by_system.items() if (left := _cancel_waiting(system, ids))}
        time.sleep(min(5.0, worker_timeout))
    for system, ids in by_system.items():
        _cancel(system, ids)


def _cancel_waiting(system: System, ids: list[str]) -> list[str]:
    """Cancel those of ``ids`` that wait; those still in the queue, which are all where the system does not answer."""
    try:
        found = batch_system(system).ask(ids)
    except BatchSystemError:  # nothing follows from that
        return ids
    _cancel(system, [job for job, facts in found.items() if facts.state is JobState.PENDING])
    return [job for job, facts in found.items() if facts.state is not JobState.FINISHED]


def _cancel(system: System, ids: list[str]) -> None:
    if not ids:
        return
    try:
        batch_system(system).cancel(ids)
    except BatchSystemError as error:
        print(f"jobs {', '.join(ids)} could not be cancelled: {error}", file=sys.stderr)


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, signal.SIG_IGN
    )  # which a batch system sends to all processes of the coordinator's job
    listen(sys.stdin, float(sys.argv[1]))
