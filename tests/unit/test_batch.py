"""Groups of a batch cluster that come to nothing; without any batch system, nothing is submitted here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from psdbatch.cluster.batch import BatchCluster
from psdbatch.cluster.deaths import Deaths
from psdbatch.cluster.group import PATIENCE, Placed
from psdbatch.cluster.jobs import JobSheet
from psdbatch.cluster.reaper import Reaper
from psdbatch.cluster.sge import GridEngine
from psdbatch.cluster.slurm import SLURM
from psdbatch.cluster.system import JobEnd, JobState, QueuedJob
from psdbatch.config.cluster import Cluster, WorkerGroup


class Notes:
    """Writes down what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def submitted(self, *facts: str) -> None: ...

    def ended(self, *facts: str) -> None: ...

    def admitted(self, facts: dict[str, Any]) -> None: ...

    def died(self, facts: dict[str, Any]) -> None: ...

    def said(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def cluster(tmp_path: Path, notes: Notes) -> Iterator[BatchCluster]:
    """A cluster of one group that never asks its batch system, and that no work is left for."""
    settings = Cluster(kind="slurm", workers=(WorkerGroup(name="v100", jobs=4),), poll="100000 h")  # type: ignore[arg-type]
    scheduler = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    sheet = JobSheet("module", tmp_path, "label")
    with Reaper(60) as reaper, BatchCluster(settings, sheet, None, notes, Deaths(), reaper, **scheduler) as made:
        yield made
        made.groups["v100"].jobs.clear()


def submitted(cluster: BatchCluster, number: int) -> Placed:
    group, name = cluster.groups["v100"], f"v100-{number}"
    group.add(name)
    group.submitted(name, str(number))
    return group.jobs[name]


def test_without_any_worker_the_campaign_ends_with_the_reason(cluster: BatchCluster, notes: Notes) -> None:
    for number in range(PATIENCE):
        cluster._ended(submitted(cluster, number), JobEnd("it ended with exit code 1"))
    cluster._give_up_hopeless()
    assert "no worker can be had" in str(cluster.failure)
    assert "it ended with exit code 1" in str(cluster.failure)
    assert any("is given up" in line for line in notes.lines)


def test_a_group_with_a_worker_is_not_given_up_and_gets_jobs_again_after_it(cluster: BatchCluster) -> None:
    group = cluster.groups["v100"]
    late = submitted(cluster, 9)
    for number in range(PATIENCE):
        cluster._ended(submitted(cluster, number), JobEnd("it ended with exit code 1"))
    group.arrived(late, "tcp://node:1")
    cluster._give_up_hopeless()
    assert cluster.failure is None
    group.measured(seconds=1, signals=100)
    cluster._ended(late, JobEnd("its time was over", innocent=True))
    cluster._give_up_hopeless()
    assert cluster.failure is None
    assert group.given_up is None
    assert group.hopeless() is None  # so that it is asked for jobs again


@pytest.mark.parametrize(
    ("state", "reason", "innocent"),
    [
        (JobState.RUNNING, "SUSPENDED", "was suspended"),
        (JobState.PENDING, "BeginTime", "was put back in the queue"),
        (JobState.RUNNING, "", None),
        (JobState.RUNNING, "COMPLETING", None),
    ],
)
def test_who_suspends_a_job_or_puts_it_back_is_to_blame(
    cluster: BatchCluster, state: JobState, reason: str, innocent: str | None
) -> None:
    placed = submitted(cluster, 1)
    cluster.groups["v100"].arrived(placed, "tcp://node:1")
    cluster.groups["v100"].gone(placed)
    cluster.sync(cluster._seen, SLURM(), placed, QueuedJob("1", state, reason))
    death = cluster.deaths.of("tcp://node:1")
    if innocent is None:
        assert death is None
    else:
        assert death is not None
        assert death.innocent
        assert innocent in death.reason


@pytest.mark.parametrize(("state", "suspended"), [("r", False), ("s", True), ("S", True), ("T", True), ("", False)])
def test_a_suspended_job_of_grid_engine_is_known_by_its_letters(state: str, suspended: bool) -> None:
    assert GridEngine().suspended(QueuedJob("1", JobState.RUNNING, "" if state == "r" else state)) is suspended
