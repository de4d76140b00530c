"""The coordinator's job script, the jobs in a journal, and logs."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.cluster.system import JobState, QueuedJob
from psdbatch.cluster.systems import batch_system
from psdbatch.config import CampaignConfig
from psdbatch.config.cluster import System
from psdbatch.coordination.jobs import GroupJobs, Queue, count_jobs, submitted_jobs
from psdbatch.coordination.logs import find_logs, follow
from psdbatch.coordination.submit import campaign_errand, coordinator_system, job_script
from psdbatch.errors import CampaignError, ConfigurationError


def configuration(folder: Path, **coordinator: object) -> CampaignConfig:
    sections = {
        "campaign": str(folder / "a campaign"),
        "input": {"files": ["/data/*.npy"]},
        "model": {"path": "/models/network.pb"},
        "cluster": {"coordinator": coordinator},
    }
    return CampaignConfig.model_validate(sections)


def script(
    folder: Path, program: str, system: System = "sge", walltime: str = "1 h", sample: float | None = None
) -> Path:
    """A job script whose coordinator is the shell program ``program``."""
    python = folder / "python"
    python.write_text(f"#!/bin/bash\n{program}\n")
    python.chmod(0o755)
    config = configuration(folder, kind=system, python=str(python), walltime=walltime)
    path = folder / "coordinator.sh"
    path.write_text(job_script(batch_system(system), campaign_errand(config, sample)))
    return path


def coordinator_toml(folder: Path) -> str:
    return f"{folder}/a campaign/coordinator.toml"


def test_the_script_hands_on_the_coordinator_s_exit_code_and_arguments(tmp_path: Path) -> None:
    path = script(tmp_path, 'echo "$@"; exit 3')
    done = subprocess.run(["bash", path], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 3
    assert done.stdout == f"-m psdbatch run {coordinator_toml(tmp_path)}\n"


def test_a_job_that_was_submitted_for_a_sample_asks_for_it_each_time_it_starts(tmp_path: Path) -> None:
    path = script(tmp_path, 'echo "$@"', sample=0.01)
    for _ in range(2):
        done = subprocess.run(["bash", path], capture_output=True, text=True, check=True, timeout=30)
        assert done.stdout == f"-m psdbatch run {coordinator_toml(tmp_path)} --sample 0.01\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_to_the_job_reaches_the_coordinator_as_term_and_is_waited_for(tmp_path: Path, number: int) -> None:
    program = (
        "trap 'sleep 0.3; echo stopped in order; exit 4' TERM; touch started; for i in {1..200}; do sleep 0.1; done"
    )
    path = script(tmp_path, program)
    process = subprocess.Popen(["bash", path], stdout=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True)
    wait_for(tmp_path / "started")
    if number == signal.SIGUSR2:
        os.killpg(process.pid, number)  # as Grid Engine does it: to every process of the job
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert output == "stopped in order\n"
    assert process.returncode == 4


def test_a_warning_of_grid_engine_before_a_suspension_harms_nothing(tmp_path: Path) -> None:
    path = script(tmp_path, "touch started; while ! [ -e go ]; do sleep 0.05; done; exit 0")
    process = subprocess.Popen(["bash", path], cwd=tmp_path, start_new_session=True)
    wait_for(tmp_path / "started")
    os.killpg(process.pid, signal.SIGUSR1)
    (tmp_path / "go").touch()
    assert process.wait(30) == 0


@pytest.mark.parametrize("system", ["sge", "slurm"])
def test_a_job_whose_time_is_over_has_itself_queued_again(tmp_path: Path, system: System) -> None:
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "scontrol $@"\n')
    (tmp_path / "scontrol").chmod(0o755)
    path = script(tmp_path, "trap 'exit 4' TERM; while :; do sleep 0.1; done", system, walltime="1.5 s")
    text = path.read_text().replace("export PATH=", f"export PATH={tmp_path}:")
    done = subprocess.run(
        ["bash", "-c", text],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ | {"SLURM_JOB_ID": "7"},
    )
    assert "queued again" in done.stdout
    assert done.returncode == (99 if system == "sge" else 4)
    assert ("scontrol requeue 7" in done.stdout) == (system == "slurm")


@pytest.mark.parametrize("code", [0, 3])
def test_a_campaign_that_ends_in_its_last_minutes_is_not_queued_again(tmp_path: Path, code: int) -> None:
    path = script(tmp_path, f"trap 'exit {code}' XCPU; while :; do sleep 0.1; done", walltime="1.5 s")
    done = subprocess.run(["bash", path], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (code, "")


def test_a_campaign_that_ends_is_not_queued_again(tmp_path: Path) -> None:
    done = subprocess.run(["bash", script(tmp_path, "exit 4")], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (4, "")


def test_a_local_cluster_needs_to_be_told_where_its_coordinator_goes(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'cluster.coordinator.kind' must be 'slurm' or 'sge'"):
        coordinator_system(configuration(tmp_path).cluster)
    assert coordinator_system(configuration(tmp_path, kind="sge").cluster) == "sge"


JOURNAL = [
    {"event": "coordinator submitted", "system": "slurm", "job": "1"},
    {"event": "started"},
    *(
        {"event": "job submitted", "group": group, "worker": f"{group}-{job}", "system": system, "job": str(job)}
        for group, system, job in [("v100", "slurm", 2), ("v100", "slurm", 3), ("v100", "slurm", 4), ("k80", "sge", 2)]
    ),
    {"event": "job ended", "group": "v100", "worker": "v100-2", "job": "2", "reason": "it was cancelled (CANCELLED)"},
]


def test_jobs_are_counted_by_group_from_journal_and_queue() -> None:
    jobs = submitted_jobs(JOURNAL)
    assert [job.ended is None for job in jobs] == [True, False, True, True, True]
    listed = {
        ("slurm", "1"): QueuedJob("1", JobState.RUNNING),
        ("slurm", "3"): QueuedJob("3", JobState.PENDING, "Resources"),
        ("sge", "2"): QueuedJob("2", JobState.RUNNING, node="n1"),
    }
    assert count_jobs(jobs, Queue(listed, {})) == (
        GroupJobs("coordinator", "slurm", {}, 1, 0),
        GroupJobs("k80", "sge", {}, 1, 0),
        GroupJobs("v100", "slurm", {"Resources": 1}, 0, 2),
    )


def test_nothing_is_said_about_jobs_of_a_system_that_gave_no_answer() -> None:
    counted = count_jobs(submitted_jobs(JOURNAL), Queue({}, {"slurm": "SLURM does not answer"}))
    assert counted == (GroupJobs("k80", "sge", {}, 0, 1), GroupJobs("v100", "slurm", {}, 0, 1))


def test_logs_are_found_by_group_and_job_and_the_newest_is_last(tmp_path: Path) -> None:
    directory = CampaignDirectory(tmp_path)
    directory.logs.mkdir()
    for age, name in enumerate(["v100-2-17.log", "k80-1-16.log", "coordinator-15.log", "coordinator-1-18.log"]):
        path = directory.logs / name
        path.write_text("".join(f"line {number}\n" for number in range(30_000)))
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    (directory.logs / "stack.txt").write_text("no job's")
    assert [log.job for log in find_logs(directory)] == ["18", "15", "16", "17"]
    assert [log.job for log in find_logs(directory, group="coordinator")] == ["18"]  # a group of that name
    assert [log.job for log in find_logs(directory, coordinator=True)] == ["15"]
    (log,) = find_logs(directory, job="16")
    assert (log.group, log.worker) == ("k80", "k80-1")
    assert log.tail(2) == ["line 29998", "line 29999"]
    assert log.tail(0) == []
    assert len(log.tail(20_000)) == 20_000
    assert len(log.tail(None)) == len(log.tail(40_000)) == 30_000
    with pytest.raises(CampaignError, match="there are 4, of groups coordinator, k80, v100"):
        find_logs(directory, group="h100")


def test_a_followed_log_gives_whole_lines_as_they_come(tmp_path: Path) -> None:
    directory = CampaignDirectory(tmp_path)
    directory.logs.mkdir()
    path = directory.logs / "v100-2-17.log"
    path.write_text("old\n")
    news = follow({log: log.size for log in find_logs(directory)}, pause=0.01)

    def write() -> None:
        with path.open("a") as log:
            for piece in itertools.chain(["one\ntw", "o\n"], itertools.repeat("more\n", 20)):
                time.sleep(0.02)
                log.write(piece)
                log.flush()

    writer = threading.Thread(target=write)
    writer.start()
    lines = [next(news)[1] for _ in range(3)]
    writer.join()
    assert lines == ["one", "two", "more"]


def wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, f"{path} was not made"
        time.sleep(0.02)
