"""The coordinator as a batch job on real batch systems: submitted, queued again, cancelled."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from psdbatch.cluster.system import BatchSystem, JobState, QueuedJob
from psdbatch.cluster.systems import batch_system
from tests.campaigns import (
    facts,
    psdbatch,
    pulses,
    start,
    store_digests,
    wait_for_commits,
    write_config,
    write_file,
    write_network,
)
from tests.servers.slurm import Slurm

SIGNALS = 21_000
NOWHERE = {"slurm": "Invalid partition name specified", "sge": 'unknown queue "nowhere"'}
HELD = {"slurm": ("--hold", "JobHeldUser"), "sge": ("-h", "hqw")}
batch = pytest.mark.slow
SGE_RESEMBLES = pytest.mark.parametrize("system", ["slurm", pytest.param("sge", marks=pytest.mark.long)], indirect=True)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs and a network that takes its time."""
    folder = tmp_path_factory.mktemp("archive")
    write_file(folder / "run_1/board1.psdz", pulses(9_000, 1))
    write_file(folder / "run_1/board2.psdz", pulses(7_000, 2))
    write_file(folder / "run_2/board1.psdz", pulses(5_000, 3))
    write_network(folder / "slow.pb", hidden=(2000, 2000))
    return folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> dict[str, str]:
    """The store of a campaign that ran through here."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    psdbatch("run", configuration(folder, archive, None))
    return store_digests(folder / "campaign")


@pytest.fixture(params=["slurm", "sge"])
def system(request: pytest.FixtureRequest) -> BatchSystem:
    """Each of the real batch systems."""
    request.getfixturevalue(request.param)
    return batch_system(request.param)


def configuration(folder: Path, archive: Path, kind: str | None, **coordinator: Any) -> Path:
    """A campaign on one local worker, whose coordinator may be a job."""
    cluster: dict[str, Any] = {"threads": 1}
    if kind:
        cluster["coordinator"] = {"kind": kind, "memory": "3 GB", "walltime": "10 min", **coordinator}
    sections = {"processing": {"block": 500}, "cluster": cluster}
    return write_config(folder / "campaign.toml", f"{archive}/*/*.psdz", archive / "slow.pb", **sections)


def submitted(config: Path) -> str:
    job = facts("submit", config)["job"]
    assert isinstance(job, str)
    return job


def wait_for(condition: Callable[[], Any], campaign: Path, timeout: float = 120) -> Any:
    """Wait until ``condition`` gives something."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > end:
            printed = [path.read_text() for path in sorted(campaign.glob("logs/coordinator-*"))]
            raise AssertionError("\n".join(["not in time; the coordinators printed:", *printed]))
        time.sleep(0.2)
    return found


def committed(campaign: Path) -> int:
    return len(list(campaign.glob("commits/*/*/*.json")))


def events(campaign: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (campaign / "journal.jsonl").read_text().splitlines()]


def listed(system: BatchSystem, job: str) -> QueuedJob | None:
    found = system.ask([job]).get(job)
    return None if found is None or found.state is JobState.FINISHED else found


def wait_for_end(system: BatchSystem, job: str, campaign: Path) -> None:
    wait_for(lambda: listed(system, job) is None, campaign)


@batch
def test_a_submitted_campaign_runs_to_its_end(
    system: BatchSystem, tmp_path: Path, archive: Path, uninterrupted: dict[str, str]
) -> None:
    campaign, config = tmp_path / "campaign", configuration(tmp_path, archive, system.kind)
    job = submitted(config)
    config.write_text("written anew for the next campaign")
    wait_for_end(system, job, campaign)
    assert facts("audit", campaign)["passed"]
    assert store_digests(campaign) == uninterrupted
    (jobs,) = facts("status", campaign)["jobs"]
    assert jobs == {"group": "coordinator", "system": system.kind, "pending": {}, "running": 0, "finished": 1}
    assert f"{SIGNALS:,} written" in psdbatch("logs", campaign, "--job", job).stdout
    assert (campaign / "coordinator.sh").stat().st_mode & 0o777 == 0o700


@batch
def test_a_second_coordinator_is_not_submitted_and_status_says_why_the_first_waits(
    system: BatchSystem, tmp_path: Path, archive: Path
) -> None:
    campaign = tmp_path / "campaign"
    option, reason = HELD[system.kind]
    config = configuration(tmp_path, archive, system.kind, options=[option])
    job = submitted(config)
    refusal = psdbatch("submit", config, check=1).stderr
    assert f"pending already as job {job}" in refusal
    shown = facts("status", campaign)
    assert shown["summary"] is None
    ((waits_for, count),) = shown["jobs"][0]["pending"].items()
    assert (waits_for.startswith(reason), count) == (True, 1)
    assert reason in psdbatch("status", campaign).stdout
    assert facts("cancel", campaign)["coordinator"] == f"job {job}"
    wait_for_end(system, job, campaign)
    assert "nothing of it waits or runs" in psdbatch("cancel", campaign).stdout


@batch
def test_what_the_batch_system_refuses_is_said_in_its_own_words(
    system: BatchSystem, tmp_path: Path, archive: Path
) -> None:
    config = configuration(tmp_path, archive, system.kind, queue="nowhere")
    assert NOWHERE[system.kind] in psdbatch("submit", config, check=1).stderr
    assert not (tmp_path / "campaign/journal.jsonl").exists()


@batch
@SGE_RESEMBLES
def test_a_cancelled_coordinator_stops_in_order_and_the_campaign_goes_on_later(
    system: BatchSystem, tmp_path: Path, archive: Path, uninterrupted: dict[str, str]
) -> None:
    campaign = tmp_path / "campaign"
    job = submitted(configuration(tmp_path, archive, system.kind))
    wait_for(lambda: committed(campaign) >= 2, campaign)
    assert "is running already" in psdbatch("submit", campaign, check=1).stderr
    assert facts("cancel", campaign) == {"coordinator": f"job {job}", "orderly": True, "jobs": []}
    wait_for_end(system, job, campaign)
    assert events(campaign)[-1] == "stopped"
    finished = committed(campaign)
    assert 2 <= finished < 42
    psdbatch("run", campaign)
    assert facts("audit", campaign)["passed"]
    assert store_digests(campaign) == uninterrupted


@batch
@SGE_RESEMBLES
def test_workers_left_by_a_dead_coordinator_are_cancelled(
    system: BatchSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the jobs' output goes
    campaign = tmp_path / "campaign"
    campaign.mkdir()
    script = tmp_path / "worker.sh"
    script.write_text("#!/bin/bash\nsleep 300\n")
    jobs = [system.submit(script) for _ in range(3)]
    lines = [
        {"event": "job submitted", "group": "v100", "worker": f"v100-{job}", "system": system.kind, "job": job}
        for job in jobs
    ]
    lines.append(
        {"event": "job ended", "group": "v100", "worker": f"v100-{jobs[0]}", "job": jobs[0], "reason": "known"}
    )
    (campaign / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = facts("cancel", campaign)
    assert (done["coordinator"], sorted(done["jobs"])) == (None, sorted(jobs[1:]))
    for job in jobs[1:]:
        wait_for_end(system, job, campaign)
    assert listed(system, jobs[0])  # the journal knows it as ended: it is not this campaign's any more


@batch
@pytest.mark.parametrize(
    "queued_again", [pytest.param("by an operator", marks=pytest.mark.long), "after its node failed"]
)
def test_a_coordinator_queued_again_in_mid_campaign_resumes(
    slurm: Slurm, tmp_path: Path, archive: Path, uninterrupted: dict[str, str], queued_again: str
) -> None:
    campaign = tmp_path / "campaign"
    job = submitted(configuration(tmp_path, archive, "slurm"))
    wait_for(lambda: committed(campaign) >= 2, campaign)
    if queued_again == "by an operator":
        slurm.run("scontrol", "requeue", job)
    else:
        slurm.fail(slurm.node(job))
    slurm.wait_state(job, "PENDING")
    slurm.run("scontrol", "update", f"job={job}", "StartTime=now")  # SLURM has it wait for a while
    wait_for_end(batch_system("slurm"), job, campaign)
    assert events(campaign).count("started") == 2
    assert facts("audit", campaign)["passed"]
    assert store_digests(campaign) == uninterrupted


@batch
@SGE_RESEMBLES
def test_a_coordinator_whose_time_is_over_goes_on_in_a_new_job(system: BatchSystem, tmp_path: Path) -> None:
    """The network is too slow for one job of this length; that the campaign ends takes too long for a test."""
    campaign = tmp_path / "campaign"
    write_file(tmp_path / "run_1/board1.psdz", pulses(200_000, 1))
    write_network(tmp_path / "slow.pb", hidden=(4000, 4000))
    job = submitted(configuration(tmp_path, tmp_path, system.kind, walltime="60 s"))
    wait_for(lambda: "queued again" in "".join(p.read_text() for p in campaign.glob("logs/coordinator-*")), campaign)
    wait_for(lambda: (now := listed(system, job)) and now.state is JobState.PENDING, campaign)
    last = json.loads((campaign / "journal.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "stopped"
    assert last["reason"].startswith("TimeIsOverError")
    assert committed(campaign) < 400
    facts("cancel", campaign)
    wait_for_end(system, job, campaign)


def test_a_coordinator_in_the_foreground_can_be_cancelled_and_has_no_second(tmp_path: Path, archive: Path) -> None:
    campaign = tmp_path / "campaign"
    config = configuration(tmp_path, archive, None)
    process = start("run", config)
    wait_for_commits(campaign, 1, process)
    process.send_signal(signal.SIGSTOP)  # or it might have finished before all questions are asked
    refusal = psdbatch("run", config, check=1).stderr
    assert f"is being run by process {process.pid}" in refusal
    assert f"process {process.pid}" in facts("status", campaign)["coordinator"]
    threading.Timer(15, process.send_signal, [signal.SIGCONT]).start()  # the order to stop is waiting for it by then
    assert f"process {process.pid}" in facts("cancel", campaign)["coordinator"]
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 4, output
    assert facts("status", campaign)["coordinator"] is None
    assert facts("run", campaign)["written"] == SIGNALS
    assert facts("audit", campaign)["passed"]


def test_status_answers_where_the_queue_cannot_be_asked(tmp_path: Path, archive: Path) -> None:
    campaign = tmp_path / "campaign"
    network = write_network(tmp_path / "psd.pb")
    coordinator = {"coordinator": {"kind": "slurm"}}
    config = write_config(tmp_path / "campaign.toml", f"{archive}/*/*.psdz", network, cluster=coordinator)
    psdbatch("run", config)
    line = {"time": 0, "event": "coordinator submitted", "system": "slurm", "job": "1"}
    with (campaign / "journal.jsonl").open("a") as journal:
        journal.write(json.dumps(line) + "\n")
    without = {**os.environ, "PATH": str(tmp_path)}
    shown = psdbatch("status", campaign, env=without).stdout
    assert f"{SIGNALS:,} written" in shown
    assert "no answer: SLURM's command 'squeue' cannot be run here" in shown
    assert "an earlier coordinator may still wait or work" in psdbatch("submit", config, check=1, env=without).stderr
    assert "'squeue' cannot be run here" in psdbatch("cancel", campaign, check=1, env=without).stderr


def test_what_is_missing_is_said_before_anything_is_submitted(tmp_path: Path, archive: Path) -> None:
    config = configuration(tmp_path, archive, "slurm")
    network = str(archive / "slow.pb")
    text = config.read_text()
    config.write_text(text.replace(network, str(tmp_path / "gone.pb")))
    assert "gone.pb: the model does not exist" in psdbatch("submit", config, check=1).stderr
    config.write_text(text.replace("*.psdz", "*.nothing"))
    assert "no file matches" in psdbatch("submit", config, check=1).stderr
    assert "must be 'slurm' or 'sge'" in psdbatch("submit", configuration(tmp_path, archive, None), check=1).stderr
    assert not (tmp_path / "campaign").exists()
    assert "is not a campaign" in psdbatch("cancel", tmp_path / "campaign", check=1).stderr
