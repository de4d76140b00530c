"""A job's working time: nothing is begun that cannot end, and whoever leaves says so once."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest

from psdbatch.cluster import walltime
from psdbatch.cluster.walltime import ENDS, MARGIN, PACE, REMEMBERED, Shift, facts, shift_of
from psdbatch.errors import NoTimeLeftError


def ending_in(seconds: float, margin: float = 0.0, pace: float | None = None) -> Shift:
    return Shift(time.time() + seconds, margin, pace)


def test_a_block_fits_with_its_safety_and_the_reserve() -> None:
    shift = ending_in(1000, margin=100, pace=1.0)
    assert shift.fits(700)  # 700 s, a quarter more, and 100 s in reserve: 975 s
    assert not shift.fits(730)
    shift.ends = time.time() + 500  # as the coordinator says later
    assert not shift.fits(700)
    assert not ending_in(90, margin=100).fits(1)
    assert Shift(pace=1e9).fits(10**9)  # outside of a batch system


def test_a_block_that_cannot_end_is_not_begun() -> None:
    shift = ending_in(10, pace=1.0)
    begun = []
    refusal = r"block run_1/000001 was not started: it may take 125 s"
    with pytest.raises(NoTimeLeftError, match=refusal), shift.block("run_1/000001", 100):
        begun.append(1)
    assert not begun
    assert shift.leaving
    assert shift.idle()
    with pytest.raises(NoTimeLeftError), shift.block("run_1/000002", 1):
        pass  # who has said that he leaves begins nothing, however small


def test_the_slowest_block_remembered_predicts_the_next() -> None:
    shift = ending_in(1000, pace=1.0)
    for _ in range(REMEMBERED - 1):
        with shift.block("run_1/000001", 10):
            pass
    assert shift.predicted(100) == 125  # one slow neighbour is remembered
    with shift.block("run_1/000001", 10):
        pass
    assert 0 < shift.predicted(100) < 125  # and forgotten in time


def test_a_failed_block_says_nothing_about_the_pace() -> None:
    shift = Shift()
    with suppress(OSError), shift.block("run_1/000001", 1):
        assert not shift.idle()
        raise OSError
    assert shift.predicted(10**9) == 0
    assert shift.idle()
    with shift.block("run_1/000001", 1):
        pass
    assert shift.predicted(10**9) > 0


def test_the_heartbeat_tells_what_runs_since_when() -> None:
    shift = Shift()
    before = time.time()
    with shift.block("run_1/000001", 5), shift.block("run_1/000002", 5):
        told = facts(shift)
        assert list(told["running"]) == ["run_1/000001", "run_1/000002"]
        assert all(before <= since <= time.time() for since in told["running"].values())
        shift.leave()
        assert facts(shift)["leaving"]
        assert not shift.idle()  # what runs goes on
    assert facts(shift) == {"running": {}, "leaving": True}


def test_a_block_comes_back_only_when_the_scheduler_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walltime, "STOP_WAIT", 60.0)
    shift, order = ending_in(0), []

    def tell_the_scheduler() -> None:
        order.append("told")
        shift.stopped()

    shift.on_leave(threading.Timer(0.1, tell_the_scheduler).start)
    with pytest.raises(NoTimeLeftError), shift.block("run_1/000001", 1):
        pass
    order.append("back")
    assert order == ["told", "back"]


def test_of_many_threads_without_time_one_says_goodbye() -> None:
    shift, calls, refused = ending_in(0), [], []
    threads_meet = threading.Barrier(8)

    def told() -> None:
        calls.append(1)
        shift.stopped()

    def begin() -> None:
        threads_meet.wait()
        try:
            with shift.block("run_1/000001", 1):
                pass
        except NoTimeLeftError:
            refused.append(1)

    shift.on_leave(told)
    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(calls), len(refused)) == (1, 8)


def test_a_worker_leaves_when_not_even_a_usual_block_fits() -> None:
    shift = ending_in(1000, pace=1.0)
    assert not shift.over()
    with shift.block("run_1/000001", 400):  # 500 s
        pass
    assert not shift.over()
    shift.ends = time.time() + 450
    assert shift.over()
    assert not shift.leaving  # to be over is not yet to leave


@pytest.mark.parametrize("text", ["", "soon", "12 h"])
def test_an_end_that_cannot_be_read_is_no_end(text: str) -> None:
    assert shift_of({ENDS: text, MARGIN: text, PACE: text}).fits(10**12)


def test_a_job_s_environment_makes_its_shift() -> None:
    shift = shift_of({ENDS: str(time.time() + 1000), MARGIN: "100", PACE: "1.000000e+00"})
    assert shift.fits(700)
    assert not shift.fits(730)
    assert shift_of({}).remaining() == float("inf")
