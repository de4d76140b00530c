"""A worker that dies says how: real worker processes, real signals, real memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client
from distributed.scheduler import KilledWorker

from psdbatch.cluster.events import DEATHS
from psdbatch.cluster.local import local_cluster
from psdbatch.cluster.watchdog import deadline
from psdbatch.config import Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, list[str], Path]]:
    notes = tmp_path_factory.mktemp("notes")
    reasons: list[str] = []
    with local_cluster(Cluster(processes=1, threads=1, memory="1 GB", dashboard=""), notes) as (_, client):
        client.subscribe_topic(DEATHS, lambda event: reasons.append(event[1]["reason"]))
        yield client, reasons, notes


def killed_by(signal: int) -> None:
    os.kill(os.getpid(), signal)
    time.sleep(10)


def leave() -> None:
    os._exit(3)


def fill_memory() -> int:
    hog = bytearray(2_000_000_000)
    hog[::4096] = b"x" * len(hog[::4096])
    time.sleep(10)
    return len(hog)


def overrun(notes: str) -> None:
    with deadline(0.2, "block run_1/000007", Path(notes)):
        time.sleep(30)


@pytest.mark.parametrize(
    ("work", "arguments", "said"),
    [
        (killed_by, (9,), "was killed by signal 9 (SIGKILL"),
        (killed_by, (11,), "was killed by signal 11 (SIGSEGV)"),
        (leave, (), "exited with status 3"),
        (fill_memory, (), "used more memory than its limit of 1.0 GB"),
        (overrun, "notes", "block run_1/000007 took longer than its time limit of 0.2 s"),
    ],
)
def test_the_reason_of_a_death_is_told(
    cluster: tuple[Client, list[str], Path], work: object, arguments: object, said: str
) -> None:
    client, reasons, notes = cluster
    given = (str(notes),) if arguments == "notes" else arguments
    reasons.clear()
    error = client.submit(work, *given, pure=False).exception(timeout=60)  # type: ignore[misc]
    assert isinstance(error, KilledWorker)
    end = time.monotonic() + 10
    while not reasons and time.monotonic() < end:
        time.sleep(0.05)
    assert said in reasons[0]
