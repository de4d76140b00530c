"""Campaigns on a real Grid Engine, alone and beside SLURM: two kinds of workers, and everything that happens to jobs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from psdbatch.cluster.names import NAME
from tests.campaigns import (
    kill_group,
    psdbatch,
    pulses,
    start,
    wait_for_commits,
    write_file,
)
from tests.farms import (
    Material,
    admitted,
    check_whole,
    end,
    farm,
    jobs_by_group,
    journal,
    make_material,
    sge_group,
    slurm_group,
    wait,
)
from tests.servers.processes import environment_of, processes_where
from tests.servers.server import Server
from tests.servers.sge import GridEngine
from tests.servers.slurm import Slurm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Run = Callable[[Path], "subprocess.Popen[str]"]

BLOCKS = 24
SMALL = {"block": 500, "batch": 500}

PATIENCE = 300.0
"""Seconds that a busy machine may need for anything; a quiet one takes some."""


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Two runs of 12 blocks each, with a network that takes about a second for one."""
    return make_material(tmp_path_factory.mktemp("material"), 6_000, SMALL)


@pytest.fixture
def run() -> Iterator[Run]:
    """Start a campaign; it ends with the test, also with one that fails."""
    started: list[subprocess.Popen[str]] = []

    def begin(config: Path) -> subprocess.Popen[str]:
        started.append(start("run", config))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            kill_group(process)


@pytest.fixture(params=["slurm", "sge"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the real batch systems."""
    found: Server = request.getfixturevalue(request.param)
    return found


def group_of(server: Server, gpu: str, **values: Any) -> dict[str, Any]:
    """A worker group of a server."""
    return (slurm_group if isinstance(server, Slurm) else sge_group)(gpu, **values)


def test_two_groups_work_at_the_same_time_and_the_store_is_that_of_a_local_cluster(
    sge: GridEngine, material: Material, tmp_path: Path, run: Run
) -> None:
    cluster = farm(sge_group("k80", jobs=2, batch=250), sge_group("v100", cores=2))
    process = run(material.config(tmp_path, cluster, processing=SMALL))
    campaign = tmp_path / "campaign"
    wait("workers of both kinds", lambda: admitted(campaign, "k80") and admitted(campaign, "v100"), process, PATIENCE)
    for name, jobs in jobs_by_group(campaign).items():
        assert {sge.queue(job) for job in jobs} <= {f"mc_gpu_long_{name.upper()}", ""}
    said = end(process, seconds=PATIENCE)
    summary = check_whole(campaign, material)
    assert {name: use["lost_seconds"] for name, use in summary["groups"].items()} == {"k80": 0.0, "v100": 0.0}
    assert all(use["blocks"] > 0 for use in summary["groups"].values()), said
    assert sum(use["blocks"] for use in summary["groups"].values()) == BLOCKS
    batches = {entry["group"]: entry["batches"] for entry in journal(campaign, "worker admitted")}
    assert {name: list(sizes.values()) for name, sizes in batches.items()} == {"k80": [250], "v100": [500]}
    sge.wait_empty(60)
    assert not (campaign / "certificates").exists()


def test_slurm_and_grid_engine_work_under_one_scheduler(
    slurm: Slurm, sge: GridEngine, material: Material, tmp_path: Path, run: Run
) -> None:
    process = run(material.config(tmp_path, farm(slurm_group("v100"), sge_group("k80")), processing=SMALL))
    campaign = tmp_path / "campaign"
    wait("workers of both systems", lambda: admitted(campaign, "k80") and admitted(campaign, "v100"), process, PATIENCE)
    end(process, seconds=PATIENCE)
    summary = check_whole(campaign, material)
    assert {name: use["lost_seconds"] for name, use in summary["groups"].items()} == {"k80": 0.0, "v100": 0.0}
    assert all(use["blocks"] > 0 for use in summary["groups"].values())
    assert {entry["group"]: entry["system"] for entry in journal(campaign, "job submitted")} == {
        "k80": "sge",
        "v100": "slurm",
    }
    slurm.wait_empty(60)
    sge.wait_empty(60)


@pytest.mark.long  # as on SLURM
def test_a_deleted_worker_job_is_replaced_and_nobody_is_blamed(
    sge: GridEngine, material: Material, tmp_path: Path, run: Run
) -> None:
    process = run(material.config(tmp_path, farm(sge_group("k80")), processing=SMALL))
    campaign = tmp_path / "campaign"
    wait_for_commits(campaign, 4, process, PATIENCE)
    (victim,) = jobs_by_group(campaign)["k80"]
    sge.run("qdel", victim)
    wait("a job in its place", lambda: len(jobs_by_group(campaign)["k80"]) > 1, process, PATIENCE)
    end(process, seconds=PATIENCE)
    summary = check_whole(campaign, material)
    assert summary["quarantined"] == 0
    (reason,) = [entry["reason"] for entry in journal(campaign, "job ended") if entry["job"] == victim]
    assert "killed from outside" in reason
    assert {entry["verdict"] for entry in journal(campaign, "failed")} <= {"again"}


@pytest.mark.long
def test_a_worker_leaves_before_its_time_limit_and_is_replaced(
    sge: GridEngine, material: Material, tmp_path: Path, run: Run
) -> None:
    for number in range(12):  # more than the first job can do on any machine
        write_file(tmp_path / f"data/run_{number:04d}.psdz", pulses(10_000, number))
    longer = Material(str(tmp_path / "data/*.psdz"), material.network, {})
    # It works for some seconds; a busy machine may need more for the start alone, but not all of its time.
    cluster = farm(sge_group("v100", walltime="2 min"), margin="95 s")
    campaign = tmp_path / "campaign"
    process = run(longer.config(tmp_path, cluster, processing=SMALL))
    wait("another job", lambda: len(jobs_by_group(campaign).get("v100", [])) > 1, process, PATIENCE)
    first = wait("the end of the first", lambda: journal(campaign, "job ended"), process, PATIENCE)[0]
    assert first["job"] == jobs_by_group(campaign)["v100"][0]
    assert "it came to its end" in first["reason"]
    assert {entry["verdict"] for entry in journal(campaign, "failed")} <= {"again"}
    assert not journal(campaign, "worker died")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    sge.wait_empty(60)


@pytest.mark.long
def test_jobs_wait_for_a_disabled_queue_and_status_says_why(
    sge: GridEngine, material: Material, tmp_path: Path, run: Run
) -> None:
    sge.drain("*_V100")
    process = run(material.config(tmp_path, farm(sge_group("v100")), processing=SMALL))
    campaign = tmp_path / "campaign"
    wait("a job", lambda: jobs_by_group(campaign), process, PATIENCE)
    (job,) = jobs_by_group(campaign)["v100"]
    why = 'cannot run in PE "multicores_gpu" because it only offers 0 slots'
    wait("the reason", lambda: why in psdbatch("status", campaign).stdout, process, PATIENCE)
    assert sge.state(job) == "qw"
    sge.resume()
    end(process, seconds=PATIENCE)
    check_whole(campaign, material)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"queue": "no_such_queue"}, 'unknown queue "no_such_queue"'),
        ({"account": "P_nobody"}, 'project "P_nobody" does not exist'),
        ({"options": ["-l GPU=1,GPUtype=H100"]}, "no suitable queues"),
        ({"options": ["-l GPU=99,GPUtype=V100"]}, "no suitable queues"),
        ({"queue": "mc_gpu_medium", "walltime": "13 h"}, "no suitable queues"),
        ({"options": ["-wd /no/such/directory"]}, "can't chdir to /no/such/directory"),
    ],
    ids=["queue", "project", "kind of GPU", "number of GPUs", "time", "error state"],
)
def test_a_job_that_can_never_start_ends_the_campaign_with_the_scheduler_s_words(
    sge: GridEngine, material: Material, tmp_path: Path, values: dict[str, object], said: str
) -> None:
    group = {**sge_group("v100"), **values}
    done = psdbatch("run", material.config(tmp_path, farm(group), processing=SMALL), check=1)
    assert said in done.stderr
    assert "v100" in done.stderr
    sge.wait_empty(10)


def test_a_killed_coordinator_leaves_no_job_and_its_campaign_goes_on(
    sge: GridEngine, material: Material, tmp_path: Path, run: Run
) -> None:
    # Two jobs with all GPUs of a kind each: one of them waits.
    whole_queue = {**sge_group("v100", jobs=2), "options": ["-l GPU=4,GPUtype=V100"]}
    cluster = farm(sge_group("k80"), whole_queue, worker_timeout="10 s")
    config = material.config(tmp_path, cluster, processing=SMALL)
    process = run(config)
    campaign = tmp_path / "campaign"
    wait_for_commits(campaign, 3, process, PATIENCE)
    assert len(sge.jobs()) == 3
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    sge.wait_empty(10 + 30 + 60)  # worker_timeout, the grace of the reaper, and Grid Engine's own time
    done = psdbatch("run", config)
    assert f"{BLOCKS} of {BLOCKS} finished" in done.stdout
    check_whole(campaign, material)


@pytest.mark.long
def test_an_interrupted_coordinator_deletes_its_jobs(
    sge: GridEngine, material: Material, tmp_path: Path, run: Run
) -> None:
    process = run(material.config(tmp_path, farm(sge_group("v100", jobs=2)), processing=SMALL))
    campaign = tmp_path / "campaign"
    wait_for_commits(campaign, 2, process, PATIENCE)
    process.send_signal(signal.SIGINT)
    end(process, code=4, seconds=PATIENCE)
    sge.wait_empty(60)
    assert {entry["reason"] for entry in journal(campaign, "job ended")} == {"the campaign has ended"}


def is_locked(gpu: int) -> bool:
    """Whether some job of this user holds a GPU of this machine."""
    path = f"/tmp/psdbatch-gpu-{gpu}-{os.getuid()}.lock"
    return subprocess.run(["flock", "--nonblock", path, "true"], check=False).returncode != 0


@pytest.mark.long
def test_jobs_of_one_node_lock_different_gpus(sge: GridEngine, material: Material, tmp_path: Path, run: Run) -> None:
    group = sge_group("v100", jobs=2, gpu_locks=2)
    process = run(material.config(tmp_path, farm(group), processing=SMALL))
    campaign = tmp_path / "campaign"
    wait("both workers", lambda: admitted(campaign, "v100") == 2, process, PATIENCE)
    seen: dict[str, set[str | None]] = {}
    for number in processes_where(lambda environment: environment.get(NAME, "").startswith("v100-")):
        environment = environment_of(number)
        if environment.get("SGE_ROOT") == sge.environment["SGE_ROOT"]:
            seen.setdefault(environment[NAME], set()).add(environment.get("CUDA_VISIBLE_DEVICES"))
    assert sorted(map(sorted, seen.values())) == [["0"], ["1"]]
    assert is_locked(0)
    assert is_locked(1)
    end(process, seconds=PATIENCE)
    check_whole(campaign, material)
    sge.wait_empty(60)
    assert not is_locked(0)
    assert not is_locked(1)


def test_a_job_for_which_no_gpu_is_free_says_so(sge: GridEngine, material: Material, tmp_path: Path) -> None:
    """The one GPU is held by somebody else, whatever the node tells all its jobs about visible ones."""
    lock = f"/tmp/psdbatch-gpu-0-{os.getuid()}.lock"
    group = sge_group("v100", gpu_locks=1, environment={"CUDA_VISIBLE_DEVICES": "0"})
    with subprocess.Popen(["flock", "--nonblock", lock, "cat"], stdin=subprocess.PIPE) as other:
        wait("the lock", lambda: is_locked(0))
        done = psdbatch("run", material.config(tmp_path, farm(group), processing=SMALL), check=1)
        assert other.stdin is not None
        other.stdin.close()
    assert "no worker can be had" in done.stderr
    log = re.search(r"its log is (\S+)", done.stderr)
    assert log
    assert "all GPUs of" in (tmp_path / "campaign/logs" / log[1]).read_text()


def test_a_group_whose_nodes_are_all_refused_is_given_up(sge: GridEngine, material: Material, tmp_path: Path) -> None:
    cluster = farm(sge_group("v100", allow_cpu=False))
    done = psdbatch("run", material.config(tmp_path, cluster, processing=SMALL), check=1)
    assert "no worker can be had" in done.stderr
    assert "keeps away from nodes whose workers were refused" in done.stderr
    assert "sees no GPU" in done.stderr
    campaign = tmp_path / "campaign"
    assert len(jobs_by_group(campaign)["v100"]) == 1
    assert "no suitable queues" in str(journal(campaign, "cluster"))
    sge.wait_empty(60)


def test_workers_jobs_are_not_put_back_in_the_queue(
    server: Server, material: Material, tmp_path: Path, run: Run
) -> None:
    process = run(material.config(tmp_path, farm(group_of(server, "v100")), processing=SMALL))
    campaign = tmp_path / "campaign"
    wait_for_commits(campaign, 3, process, PATIENCE)
    (job,) = jobs_by_group(campaign)["v100"]
    request = ["scontrol", "requeue"] if isinstance(server, Slurm) else ["qmod", "-rj"]
    refusal = subprocess.run([*request, job], capture_output=True, text=True, check=False)
    assert re.search("not restartable|disabled|not requeue", refusal.stdout + refusal.stderr), refusal
    end(process, seconds=PATIENCE)
    summary = check_whole(campaign, material)
    assert jobs_by_group(campaign)["v100"] == [job]
    assert summary["groups"]["v100"]["lost_seconds"] == 0


@pytest.mark.long
def test_a_job_put_back_in_the_queue_by_force_goes_on_and_nobody_is_blamed(
    sge: GridEngine, material: Material, tmp_path: Path, run: Run
) -> None:
    process = run(material.config(tmp_path, farm(sge_group("v100")), processing=SMALL))
    campaign = tmp_path / "campaign"
    wait_for_commits(campaign, 3, process, PATIENCE)
    (job,) = jobs_by_group(campaign)["v100"]
    sge.run("qmod", "-f", "-rj", job)
    end(process, seconds=PATIENCE)
    summary = check_whole(campaign, material)
    assert summary["quarantined"] == 0
    assert jobs_by_group(campaign)["v100"] == [job]
    assert admitted(campaign, "v100") == 2
    assert {entry["verdict"] for entry in journal(campaign, "failed")} <= {"again"}
    sge.wait_empty(60)
