"""How many jobs a group should have: cases with names (the laws are in tests/property)."""

from __future__ import annotations

import pytest

from psdbatch.cluster.scaling import GroupLoad, jobs_wanted, to_release

V100 = GroupLoad("v100", limit=10, blocks=4)
K80 = GroupLoad("k80", limit=20, blocks=2)


@pytest.mark.parametrize(
    ("left", "jobs"),
    [(0, (0, 0)), (1, (1, 1)), (4, (1, 2)), (5, (2, 3)), (40, (10, 20)), (100_000, (10, 20))],
)
def test_before_the_first_worker_each_group_asks_for_all_that_it_could_use(left: int, jobs: tuple[int, int]) -> None:
    assert tuple(jobs_wanted([V100, K80], left).values()) == jobs


def test_running_workers_leave_only_the_rest_to_new_jobs() -> None:
    running = GroupLoad("v100", limit=10, blocks=4, running=3)
    assert jobs_wanted([running, K80], 17) == {"v100": 5, "k80": 3}  # 12 of 17 blocks are treated
    assert jobs_wanted([running, K80], 12) == {"v100": 3, "k80": 0}


def test_who_runs_stays_even_without_work() -> None:
    assert jobs_wanted([GroupLoad("v100", limit=10, blocks=4, running=3)], 0) == {"v100": 3}


def test_a_slow_queue_is_asked_as_long_as_the_end_is_not_near() -> None:
    working = GroupLoad("v100", limit=2, blocks=1, running=2, pace=0.5)  # a block per second
    slow = GroupLoad("k80", limit=5, blocks=1, pace=0.1, start=600.0)
    assert jobs_wanted([working, slow], 601)["k80"] == 5
    assert jobs_wanted([working, slow], 600)["k80"] == 0
    helping = GroupLoad("a100", limit=1, blocks=1, running=1, pace=1.0)  # together two blocks per second
    assert jobs_wanted([working, slow, helping], 1201)["k80"] == 5
    assert jobs_wanted([working, slow, helping], 1200)["k80"] == 0
    unmeasured = GroupLoad("new", limit=2, blocks=1, running=1)
    assert jobs_wanted([working, slow, unmeasured], 600)["k80"] == 5  # the end is not known


def test_released_are_the_idle_that_no_block_waits_for() -> None:
    assert [to_release(5, idle, waiting) for idle, waiting in [(0, 0), (3, 0), (3, 2), (3, 9), (5, 0)]] == [
        0,
        3,
        1,
        0,
        5,
    ]


def test_a_chain_of_blocks_keeps_one_thread_busy_however_long_it_is() -> None:
    assert sum(jobs_wanted([GroupLoad("v100", limit=72, blocks=4)], 1000, tasks_left=10).values()) == 3
