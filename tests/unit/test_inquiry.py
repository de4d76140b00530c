"""How often a batch system is asked, with one that counts the questions."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection
from typing import Any

import pytest

from psdbatch.cluster import inquiry
from psdbatch.cluster.group import Group
from psdbatch.cluster.inquiry import HURRY, Inquiry
from psdbatch.cluster.slurm import SLURM
from psdbatch.cluster.system import JobState, QueuedJob
from psdbatch.config.cluster import WorkerGroup
from psdbatch.errors import BatchSystemBusyError


class Counting(SLURM):
    """Answers without a server, and not at all at first."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, jobs: Collection[str]) -> dict[str, QueuedJob]:
        self.asked += 1
        if self.asked == 1:
            raise BatchSystemBusyError("the controller does not answer")
        return {job: QueuedJob(job, JobState.RUNNING) for job in jobs}


@pytest.mark.parametrize("poll", [60.0, 8.0])
def test_a_lost_worker_makes_questions_come_sooner_and_then_slower_again(
    monkeypatch: pytest.MonkeyPatch, poll: float
) -> None:
    group, system, clock = Group(WorkerGroup(name="v100"), "slurm"), Counting(), [1000.0]
    group.add("v100-1")
    group.submitted("v100-1", "7")
    monkeypatch.setattr(inquiry.time, "monotonic", lambda: clock[0])
    made = Inquiry({"v100": group}, {"slurm": system}, poll)
    times: list[float] = []

    async def watch(seconds: int, hurry: bool) -> None:
        for _ in range(seconds):
            before = system.asked
            if hurry:
                made.soon()
            answers = await made.ask()
            assert not answers.ended  # nothing follows from no answer
            if system.asked > before:
                times.append(clock[0] - 1000)
            clock[0] += 1

    asyncio.run(watch(int(2 * poll), hurry=False))
    assert times == [0, poll]
    del times[:]
    start = clock[0] - 1000
    asyncio.run(watch(200, hurry=True))
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert times[0] == start
    expected: list[Any] = [min(HURRY * 2**k, poll) for k in range(1, len(gaps) + 1)]
    assert gaps == expected
