"""A worker group's bookkeeping: when it is given up, what it counts, what it has thrown away."""

from __future__ import annotations

import time

import pytest

from psdbatch.cluster.group import PATIENCE, ROUNDS, Group, Placed
from psdbatch.cluster.names import group_of
from psdbatch.cluster.system import JobState
from psdbatch.config.cluster import WorkerGroup


def group_of_jobs(jobs: int = 4) -> Group:
    return Group(WorkerGroup(name="v100", jobs=jobs, threads=2), "slurm")


def submitted(group: Group, number: int) -> Placed:
    name = f"v100-{number}"
    group.add(name)
    group.submitted(name, str(100 + number))
    return group.jobs[name]


def at_work(group: Group, number: int) -> Placed:
    placed = submitted(group, number)
    group.arrived(placed, f"tcp://node:{number}")
    return placed


def fruitless(group: Group, jobs: int, first: int = 1) -> None:
    """Jobs that end before their workers are ready."""
    for number in range(first, first + jobs):
        group.ended(submitted(group, number), "it ended with exit code 1")


def test_a_group_is_given_up_after_jobs_in_a_row_without_a_worker() -> None:
    group = group_of_jobs()
    fruitless(group, PATIENCE - 1)
    assert group.hopeless() is None
    group.ended(at_work(group, 10), "it was preempted")  # a worker that was ready proves that jobs can work
    fruitless(group, PATIENCE - 1, first=20)
    assert group.hopeless() is None
    fruitless(group, 1, first=30)
    assert group.hopeless() == (
        f"{PATIENCE} jobs in a row ended before a worker was ready; the last one: "
        "job 130: it ended with exit code 1; its log is v100-30-130.log"
    )


def test_a_refused_worker_s_reason_is_told_and_its_node_avoided() -> None:
    group = group_of_jobs()
    for number in range(PATIENCE):
        placed = submitted(group, number)
        group.refused(placed, f"node{number}", "no GPU is seen", avoid=True)
        group.ended(placed, "it ended with exit code 77")
    assert str(group.hopeless()).endswith("the last one: no GPU is seen")
    assert group.avoided == {"node0", "node1", "node2"}


def test_a_worker_that_cannot_be_examined_says_nothing_about_its_node() -> None:
    group = group_of_jobs()
    group.refused(submitted(group, 1), "node1", "there is no reference yet", avoid=False)
    assert group.avoided == set()


def test_a_node_where_jobs_come_to_nothing_is_left_out_if_others_work() -> None:
    group = group_of_jobs()
    healthy = submitted(group, 1)
    healthy.node = "node1"
    group.arrived(healthy, "tcp://node1:1")
    for number in (2, 3, 4, 5):
        placed = submitted(group, number)
        placed.node = "node7" if number < 4 else "node8"
        group.ended(placed, "it ended with exit code 1")
        assert group.avoided == (set() if number < 3 else {"node7"} if number < 5 else {"node7", "node8"})
    assert group.hopeless() is None
    placed = submitted(group, 6)
    placed.node = "node1"  # where a worker is at work
    for _ in range(3):
        group.ended(placed, "it ended with exit code 1")
    assert group.avoided == {"node7", "node8"}


def test_a_node_that_worked_once_is_left_out_when_nothing_comes_of_its_jobs_any_more() -> None:
    group = group_of_jobs()
    for number in (1, 2):
        placed = submitted(group, number)
        placed.node = f"node{number}"
        group.arrived(placed, f"tcp://node{number}:1")
    group.ended(placed, "it ended with exit code 77")  # node2 has lost its file system
    for number in (3, 4):
        placed = submitted(group, number)
        placed.node = "node2"
        group.ended(placed, "it ended with exit code 77")
    assert group.avoided == {"node2"}
    assert group.hopeless() is None


def test_jobs_that_others_ended_do_not_speak_against_a_group() -> None:
    group = group_of_jobs()
    for number in range(PATIENCE + 1):
        group.ended(submitted(group, number), "it was preempted", innocent=True)
    assert group.hopeless() is None


def test_a_group_that_was_given_up_is_taken_back_by_a_worker() -> None:
    group = group_of_jobs()
    late = submitted(group, 50)
    fruitless(group, PATIENCE)
    group.given_up = group.hopeless()
    assert group.given_up
    group.arrived(late, "tcp://node:50")
    assert group.given_up is None
    assert group.hopeless() is None


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_group_is_given_up_after_rounds_of_jobs_without_a_block(jobs: int) -> None:
    most = max(PATIENCE, ROUNDS * jobs)
    group = group_of_jobs(jobs)
    for number in range(most - 1):
        group.ended(at_work(group, number), "it was preempted")
    assert group.hopeless() is None
    group.measured(seconds=10, signals=1000)
    for number in range(most - 1):
        group.ended(at_work(group, number), "it was preempted")
    assert group.hopeless() is None
    group.ended(at_work(group, 99), "it was preempted")
    assert str(group.hopeless()).startswith(f"{most} jobs in a row ended without a finished block")


def test_jobs_that_the_campaign_itself_ends_prove_nothing() -> None:
    group = group_of_jobs(jobs=1)
    for number in range(20):
        placed = submitted(group, number)
        placed.released = True
        group.ended(placed, "it came to its end")
        group.cancelled(submitted(group, 100 + number))
    assert group.hopeless() is None
    assert group.jobs == {}


def test_a_full_queue_is_no_reason_to_give_up_unless_nodes_are_avoided() -> None:
    group = group_of_jobs()
    for _ in range(20):
        group.turned_away()
    assert group.hopeless() is None
    placed = submitted(group, 1)
    group.refused(placed, "node1", "its answers differ", avoid=True)
    group.ended(placed, "it ended with exit code 77")
    for _ in range(PATIENCE - 2):
        group.turned_away()
    assert group.hopeless() is None
    group.turned_away()
    assert str(group.hopeless()).endswith("whose workers were refused (node1); the last one: its answers differ")


def test_a_full_queue_is_no_reason_to_give_up_while_a_job_is_left() -> None:
    group = group_of_jobs()
    at_work(group, 1)
    placed = submitted(group, 2)
    group.refused(placed, "node1", "its answers differ", avoid=True)
    group.ended(placed, "it ended with exit code 77")
    for _ in range(20):
        group.turned_away()
    assert group.hopeless() is None


def test_the_scaling_sees_every_job_once_and_those_that_leave_no_more() -> None:
    group = group_of_jobs(jobs=9)
    waiting, younger = submitted(group, 1), submitted(group, 2)
    working, leaving, restarting = at_work(group, 3), at_work(group, 4), at_work(group, 5)
    leaving.heard({"run_1/000001": time.time()}, leaving=True)
    group.gone(restarting)  # its process died; the nanny starts another one in the same job
    load = group.load()
    assert (load.limit, load.blocks, load.running, load.pending) == (9, 2, 1, 3)
    assert group.pending() == [younger.name, waiting.name]  # who may be cancelled: not one that restarts
    group.arrived(restarting, "tcp://node:55")
    group.gone(leaving)
    load = group.load()
    assert (load.running, load.pending) == (2, 2)
    group.arrived(leaving, "tcp://node:44")  # a nanny's new process has said nothing about leaving
    assert group.load().running == 3
    assert working.address == "tcp://node:3"


def test_the_start_is_measured_from_the_submission_and_only_once_a_job() -> None:
    group = group_of_jobs()
    placed = submitted(group, 1)
    placed.asked -= 1000
    assert group.load().start is None
    group.arrived(placed, "tcp://node:1")
    start = group.load().start
    assert start is not None
    assert start >= 1000
    group.gone(placed)
    placed.asked -= 5000
    group.arrived(placed, "tcp://node:2")  # a nanny's restart says nothing about the queue
    assert group.load().start == start


def test_thrown_away_is_the_part_of_a_worker_that_worked_on_unfinished_blocks() -> None:
    group = group_of_jobs()
    killed, good, idle = at_work(group, 1), at_work(group, 2), at_work(group, 3)
    for placed in (killed, good, idle):
        placed.heard({"run_1/000001": time.time() - 1000}, leaving=False)  # one of its two threads
    good.left = True  # it said goodbye after its last heartbeat: all its blocks are done
    group.ended(good, "it came to its end")
    idle.released = True  # it was sent home as it had no block
    group.ended(idle, "it came to its end")
    assert group.use.lost == 0
    group.ended(killed, "it was cancelled")
    assert group.use.lost == pytest.approx(500, rel=0.2)
    assert group.use.facts()["jobs"] == 3
    group.gone(killed)  # a second word about the same end
    assert group.use.lost == pytest.approx(500, rel=0.2)


def test_the_pace_is_that_of_all_threads_and_follows_the_newest_blocks() -> None:
    group = group_of_jobs()
    group.measured(seconds=10, signals=1000)
    assert group.load().pace == pytest.approx(0.2)  # two blocks at a time
    assert group.seconds_per_signal == pytest.approx(0.01)
    for _ in range(50):
        group.measured(seconds=20, signals=1000)
    assert group.load().pace == pytest.approx(0.1, rel=1e-3)
    assert group.use.facts() | {"blocks": 51, "signals": 51_000} == group.use.facts()
    group.measured(seconds=0, signals=0)  # an empty block has no pace
    assert group.load().pace == pytest.approx(0.1, rel=1e-3)


def test_a_worker_is_told_of_its_end_when_that_changes() -> None:
    placed = Placed("v100-1", "v100", 2)
    assert [placed.told(ends) for ends in (1000.0, 1004.0, 1200.0, 1195.0)] == [True, False, True, False]


def test_the_line_about_a_group_says_why_jobs_wait() -> None:
    group = group_of_jobs()
    for number, reason in enumerate(["Resources", "Priority", "Resources"]):
        submitted(group, number).reason = reason
    at_work(group, 7)
    submitted(group, 8).state = JobState.RUNNING  # the job runs, its worker is not ready
    assert group.describe() == "v100 1 running, 1 starting, 3 pending (Resources, Priority)"
    group.given_up = "no worker came"
    assert group.describe().endswith("(given up)")


def test_a_worker_s_name_tells_its_group() -> None:
    assert group_of("k80_long-12") == "k80_long"
