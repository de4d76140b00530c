"""The process beside the coordinator: it acts when the coordinator was killed, and only then.

The queue is a file; squeue and scancel are scripts on the PATH that read and change it, called by the real SLURM class.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from psdbatch.cluster import reaper
from psdbatch.cluster.reaper import reap

COORDINATOR = """\
import sys, time
from psdbatch.cluster.reaper import Reaper
with Reaper(worker_timeout=0.1) as reaper:
    for job in ("1", "2", "3"):
        reaper.submitted("slurm", job)
    reaper.ended("slurm", "3")
    print("ready", flush=True)
    said = sys.stdin.readline()
    if "error" in said:
        raise ValueError
    for job in ("1", "2") if "ended" in said else ():
        reaper.ended("slurm", job)
"""


class Queue:
    """A batch system's queue in a folder: a file per job that holds its state."""

    def __init__(self, folder: Path) -> None:
        self._jobs = folder / "jobs"
        self._jobs.mkdir(parents=True)
        self.silent = folder / "silent"
        commands = folder / "commands"
        commands.mkdir()
        silent = f'[ ! -e "{self.silent}" ] || {{ echo "Socket timed out" >&2; exit 1; }}'
        squeue = f'{silent}\ncd "{self._jobs}"\nfor job in *; do echo "$job|$(cat "$job")|N/A||None"; done'
        scancel = f'for job; do mv "{self._jobs}/$job" "{folder}/cancelled-$job"; done'
        for name, lines in {"squeue": squeue, "scancel": scancel}.items():
            (commands / name).write_text(f"#!/bin/sh\n{lines}\n")
            (commands / name).chmod(0o755)
        self.path = f"{commands}:/usr/bin:/bin"
        self._folder = folder

    def holds(self, **jobs: str) -> None:
        """Put jobs in a state: ``holds(j1="PENDING")``."""
        for job, state in jobs.items():
            (self._jobs / job[1:]).write_text(state)

    def ends(self, job: str) -> None:
        """A job leaves the queue by itself."""
        (self._jobs / job).unlink()

    def cancelled(self) -> set[str]:
        """Jobs that somebody cancelled."""
        return {path.name.partition("-")[2] for path in self._folder.glob("cancelled-*")}


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue(tmp_path / "queue")
    monkeypatch.setenv("PATH", made.path)
    return made


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def coordinator(queue: Queue) -> Iterator[subprocess.Popen[str]]:
    """A process that has submitted jobs 1, 2 and 3, of which 3 has ended."""
    command = [sys.executable, "-c", COORDINATOR]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_a_killed_coordinator_s_waiting_jobs_are_cancelled_and_the_others_may_end(
    queue: Queue, coordinator: subprocess.Popen[str]
) -> None:
    queue.holds(j1="PENDING", j2="RUNNING", j3="PENDING", j77="PENDING")  # 77 is another campaign's; 3 was used again
    [beside] = psutil.Process(coordinator.pid).children()
    assert os.getsid(beside.pid) != os.getsid(coordinator.pid)  # a Ctrl-C does not reach it
    coordinator.kill()
    until(lambda: queue.cancelled() == {"1"})
    queue.ends("2")  # its worker has ended by itself
    beside.wait(60)
    assert queue.cancelled() == {"1"}


def test_a_coordinator_that_has_cancelled_its_jobs_leaves_nothing_to_do(
    queue: Queue, coordinator: subprocess.Popen[str]
) -> None:
    queue.holds(j1="PENDING", j2="RUNNING")  # used again, by others
    [beside] = psutil.Process(coordinator.pid).children()
    coordinator.communicate("all have ended\n", timeout=60)
    assert coordinator.returncode == 0
    beside.wait(60)
    assert queue.cancelled() == set()


@pytest.mark.parametrize("ending", ["", "by an error"])
def test_what_a_coordinator_could_not_cancel_is_cancelled_after_it(
    queue: Queue, coordinator: subprocess.Popen[str], ending: str
) -> None:
    queue.holds(j1="PENDING", j2="RUNNING")
    [beside] = psutil.Process(coordinator.pid).children()
    assert coordinator.stdin is not None
    coordinator.stdin.write(f"{ending}\n")
    coordinator.stdin.flush()
    coordinator.wait(60)
    until(lambda: queue.cancelled() == {"1"})
    queue.ends("2")
    beside.wait(60)
    assert queue.cancelled() == {"1"}


def test_a_job_whose_worker_does_not_end_is_cancelled_after_the_grace(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "GRACE", 1.0)
    queue.holds(j1="RUNNING", j2="RUNNING", j3="RUNNING")
    ending = threading.Timer(0.2, queue.ends, ["2"])
    ending.start()
    reap([("slurm", "1"), ("slurm", "2")], worker_timeout=0.1)
    assert queue.cancelled() == {"1"}


def test_a_queue_that_does_not_answer_costs_no_running_block(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "GRACE", 60.0)
    queue.holds(j1="PENDING", j2="RUNNING")
    queue.silent.touch()

    def answers_again() -> None:
        queue.silent.unlink()
        until(lambda: queue.cancelled() == {"1"})
        queue.ends("2")

    again = threading.Timer(0.5, answers_again)
    again.start()
    reap([("slurm", "1"), ("slurm", "2")], worker_timeout=0.1)
    again.join()
    assert queue.cancelled() == {"1"}
