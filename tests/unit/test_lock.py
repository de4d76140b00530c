"""One coordinator at a time, and a dead one in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.coordination import lock
from psdbatch.coordination.lock import SILENCE, Coordinator, current, hold
from psdbatch.errors import CampaignError

ELSEWHERE = Coordinator("node17", 4711, os.getuid(), "another machine", 1, None, None, "token")


@pytest.fixture
def directory(tmp_path: Path) -> CampaignDirectory:
    return CampaignDirectory(tmp_path)


@pytest.fixture(autouse=True)
def _outside_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SGE_TASK_ID", "JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def left_behind(directory: CampaignDirectory, holder: Coordinator, silent: float, number: int = 3) -> Path:
    """The file of another coordinator, touched ``silent`` seconds ago."""
    path = directory.coordinators / f"{number:06d}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(asdict(holder)))
    os.utime(path, (time.time() - silent, time.time() - silent))
    return path


def holding_process(directory: CampaignDirectory) -> subprocess.Popen[str]:
    """A process that holds the campaign until it is killed."""
    program = (
        "import sys, time; from pathlib import Path\n"
        "from psdbatch.campaign.directory import CampaignDirectory; from psdbatch.coordination.lock import hold\n"
        "with hold(CampaignDirectory(Path(sys.argv[1]))):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(directory.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_coordinator_is_refused_and_told_of_the_first(directory: CampaignDirectory) -> None:
    process = holding_process(directory)
    try:
        with (
            pytest.raises(CampaignError, match=rf"is being run by process {process.pid} on .*psdbatch cancel"),
            hold(directory),
        ):
            pass
        assert str(current(directory)).startswith(f"process {process.pid}")
    finally:
        process.kill()
        process.wait()


def test_a_killed_coordinator_is_succeeded_at_once(directory: CampaignDirectory) -> None:
    process = holding_process(directory)
    process.kill()  # not yet waited for: a zombie
    while process.poll() is None and current(directory):
        time.sleep(0.01)
    with hold(directory) as holder:
        assert current(directory) == holder
    process.wait()
    assert current(directory) is None
    assert len(list(directory.coordinators.iterdir())) == 1


def test_an_orderly_end_leaves_the_way_free(directory: CampaignDirectory) -> None:
    for _ in range(3):
        with hold(directory):
            assert current(directory)
        assert current(directory) is None


def test_another_host_s_coordinator_counts_as_dead_after_a_long_silence(directory: CampaignDirectory) -> None:
    left_behind(directory, ELSEWHERE, silent=SILENCE - 30)
    with (
        pytest.raises(CampaignError, match="process 4711 on node17, last sign of life 2 min 30 s ago"),
        hold(directory),
    ):
        pass
    left_behind(directory, ELSEWHERE, silent=SILENCE + 1)
    assert current(directory) is None
    with hold(directory):
        pass


def test_a_process_number_used_again_is_another_process(directory: CampaignDirectory) -> None:
    with hold(directory) as me:
        pass
    left_behind(directory, replace(me, started=me.started - 1, released=False), silent=0, number=9)
    with hold(directory):
        pass


def test_a_job_that_runs_again_succeeds_itself(directory: CampaignDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind(directory, replace(ELSEWHERE, system="slurm", job="12"), silent=5)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    with pytest.raises(CampaignError), hold(directory, patience=0):
        pass
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with hold(directory, patience=0):
        pass


def test_of_many_at_once_one_wins(directory: CampaignDirectory) -> None:
    left_behind(directory, ELSEWHERE, silent=SILENCE + 1)
    barrier, over, won = threading.Barrier(8), threading.Event(), []

    def compete(number: int) -> None:
        barrier.wait()
        try:
            with hold(directory):
                won.append(number)
                known.release()
                over.wait(30)
        except CampaignError:
            known.release()

    known = threading.Semaphore(0)
    threads = [threading.Thread(target=compete, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert known.acquire(timeout=30)
    assert len(won) == 1
    over.set()
    for thread in threads:
        thread.join()


def test_a_coordinator_that_was_succeeded_stops(directory: CampaignDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()
    monkeypatch.setattr(lock, "BEAT", 0.05)
    before = signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())
    try:
        with hold(directory):
            for path in directory.coordinators.glob("*.json"):
                path.unlink()
            left_behind(directory, ELSEWHERE, silent=0)
            assert stopped.wait(30)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert current(directory) == ELSEWHERE
