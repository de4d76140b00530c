"""Campaigns on a real SLURM: two kinds of workers, and everything that a farm does to them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from distributed import Client
from distributed.security import Security

from psdbatch.cluster.security import read_security
from tests.campaigns import psdbatch, pulses, start, wait_for_commits, write_file
from tests.farms import (
    Material,
    admitted,
    check_whole,
    end,
    farm,
    jobs_by_group,
    journal,
    make_material,
    slurm_group,
    wait,
)
from tests.images import cpu_image
from tests.servers.slurm import Slurm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BLOCKS = 40

SMALL = {"block": 500, "batch": 500}

TINY = {"block": 50, "batch": 50}
"""Blocks for what must happen in mid-campaign on a fast machine too."""


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Two runs of 20 blocks each, with a network that takes about a second for one."""
    return make_material(tmp_path_factory.mktemp("material"), 10_000, SMALL)


def test_two_groups_work_at_the_same_time_and_the_store_is_that_of_a_local_cluster(
    slurm: Slurm, material: Material, tmp_path: Path
) -> None:
    cluster = farm(slurm_group("k80", jobs=2, batch=250), slurm_group("v100", cores=2))
    process = start("run", material.config(tmp_path, cluster, processing=SMALL))
    campaign = tmp_path / "campaign"
    wait("workers of both kinds", lambda: admitted(campaign, "k80") and admitted(campaign, "v100"), process)
    said = end(process)
    summary = check_whole(campaign, material)
    assert {name: use["lost_seconds"] for name, use in summary["groups"].items()} == {"k80": 0.0, "v100": 0.0}
    assert all(use["blocks"] > 0 for use in summary["groups"].values()), said
    assert sum(use["blocks"] for use in summary["groups"].values()) == BLOCKS
    batches = {entry["group"]: entry["batches"] for entry in journal(campaign, "worker admitted")}
    assert {name: list(sizes.values()) for name, sizes in batches.items()} == {"k80": [250], "v100": [500]}
    slurm.wait_empty(30)
    assert not (campaign / "certificates").exists()


def test_a_cancelled_worker_job_is_replaced_and_nobody_is_blamed(
    slurm: Slurm, material: Material, tmp_path: Path
) -> None:
    process = start("run", material.config(tmp_path, farm(slurm_group("k80")), processing=SMALL))
    campaign = tmp_path / "campaign"
    wait_for_commits(campaign, 4, process)
    (victim,) = jobs_by_group(campaign)["k80"]
    subprocess.run(["scancel", victim], check=True)
    wait("a job in its place", lambda: len(jobs_by_group(campaign)["k80"]) > 1, process)
    end(process)
    summary = check_whole(campaign, material)
    assert summary["quarantined"] == 0
    (reason,) = [entry["reason"] for entry in journal(campaign, "job ended") if entry["job"] == victim]
    assert "cancelled" in reason
    assert all(entry["verdict"] == "again" for entry in journal(campaign, "failed"))


def test_a_worker_leaves_before_its_time_limit_and_is_replaced(
    slurm: Slurm, material: Material, tmp_path: Path
) -> None:
    for run in range(12):  # more than the first job can do on any machine
        write_file(tmp_path / f"data/run_{run:04d}.psdz", pulses(10_000, run))
    longer = Material(str(tmp_path / "data/*.psdz"), material.network, {})
    # One minute is the least that SLURM knows; with this margin a worker works for some seconds of it.
    cluster = farm(slurm_group("v100", walltime="1 min"), margin="30 s")
    campaign = tmp_path / "campaign"
    process = start("run", longer.config(tmp_path, cluster, processing=SMALL))
    wait("another job", lambda: len(jobs_by_group(campaign).get("v100", [])) > 1, process, seconds=200)
    first = journal(campaign, "job ended")[0]
    assert first["job"] == jobs_by_group(campaign)["v100"][0]
    assert "it came to its end" in first["reason"]
    assert {entry["verdict"] for entry in journal(campaign, "failed")} <= {"again"}
    assert not journal(campaign, "worker died")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    slurm.wait_empty(60)


def test_a_preempted_job_is_replaced(slurm: Slurm, material: Material, tmp_path: Path) -> None:
    cluster = farm(slurm_group("v100", queue="spare"))
    process = start("run", material.config(tmp_path, cluster, processing=SMALL))
    campaign = tmp_path / "campaign"
    wait_for_commits(campaign, 3, process)
    owners = [slurm.submit("--partition=v100", "--gres=gpu:v100:4", "--time=1", command="sleep 20") for _ in range(2)]
    wait("the preemption", lambda: journal(campaign, "job ended"), process)
    slurm.run("scancel", *owners)
    end(process)
    check_whole(campaign, material)
    assert "preempted" in journal(campaign, "job ended")[0]["reason"]


def test_a_failed_node_costs_only_the_blocks_in_flight(slurm: Slurm, material: Material, tmp_path: Path) -> None:
    process = start("run", material.config(tmp_path, farm(slurm_group("v100")), processing=SMALL))
    campaign = tmp_path / "campaign"
    wait_for_commits(campaign, 3, process)
    (job,) = jobs_by_group(campaign)["v100"]
    slurm.fail(slurm.node(job))
    end(process)
    check_whole(campaign, material)
    assert len(jobs_by_group(campaign)["v100"]) == 2


def test_jobs_wait_for_a_drained_node_and_status_says_why(slurm: Slurm, material: Material, tmp_path: Path) -> None:
    for node in ("v100-1", "v100-2"):
        slurm.drain(node, "new cooling")
    process = start("run", material.config(tmp_path, farm(slurm_group("v100")), processing=SMALL))
    campaign = tmp_path / "campaign"
    wait("a job", lambda: jobs_by_group(campaign), process)
    (job,) = jobs_by_group(campaign)["v100"]
    wait("the reason", lambda: slurm.wait_reason(job) in psdbatch("status", campaign).stdout, process)
    for node in ("v100-1", "v100-2"):
        slurm.resume(node)
    end(process)
    check_whole(campaign, material)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"queue": "no_such_partition"}, "invalid partition specified: no_such_partition"),
        ({"options": ["--gres=gpu:h100:1"]}, "Requested node configuration is not available"),
        ({"options": ["--gres=gpu:v100:99"]}, "Requested node configuration is not available"),
    ],
)
def test_a_job_that_can_never_start_ends_the_campaign_with_the_scheduler_s_words(
    slurm: Slurm, material: Material, tmp_path: Path, values: dict[str, object], said: str
) -> None:
    group = {**slurm_group("v100"), **values}
    done = psdbatch("run", material.config(tmp_path, farm(group), processing=SMALL), check=1)
    assert said in done.stderr
    assert "v100" in done.stderr
    slurm.wait_empty(10)


@pytest.mark.long
def test_a_killed_coordinator_leaves_no_job_and_its_campaign_goes_on(
    slurm: Slurm, material: Material, tmp_path: Path
) -> None:
    cluster = farm(slurm_group("k80", jobs=1), slurm_group("v100", jobs=9), worker_timeout="10 s")
    config = material.config(tmp_path, cluster, processing=SMALL)
    process = start("run", config)
    campaign = tmp_path / "campaign"
    wait_for_commits(campaign, 3, process)
    assert slurm.jobs()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    slurm.wait_empty(10 + 30 + 20)  # worker_timeout, the grace of the reaper, and SLURM's own time
    done = psdbatch("run", config)
    assert f"{BLOCKS} of {BLOCKS} finished" in done.stdout
    check_whole(campaign, material)


def test_an_interrupted_coordinator_cancels_its_jobs(slurm: Slurm, material: Material, tmp_path: Path) -> None:
    process = start("run", material.config(tmp_path, farm(slurm_group("v100")), processing=TINY))
    campaign = tmp_path / "campaign"
    wait_for_commits(campaign, 2, process)
    process.send_signal(signal.SIGINT)
    end(process, code=4)
    slurm.wait_empty(30)
    assert {entry["reason"] for entry in journal(campaign, "job ended")} == {"the campaign has ended"}


@pytest.mark.skipif(not os.environ.get("PSDBATCH_TEST_IMAGE"), reason="builds an image: set PSDBATCH_TEST_IMAGE=1")
@pytest.mark.timeout(900)
def test_workers_in_an_image_make_the_same_store_as_without(slurm: Slurm, material: Material, tmp_path: Path) -> None:
    groups = [slurm_group("k80", image=str(cpu_image())), slurm_group("v100", image=str(cpu_image()))]
    end(start("run", material.config(tmp_path, farm(*groups), processing=SMALL)), seconds=300)
    summary = check_whole(tmp_path / "campaign", material)
    assert all(use["blocks"] > 0 for use in summary["groups"].values())
    assert all(entry["device"] == "CPU" for entry in journal(tmp_path / "campaign", "worker admitted"))


def test_a_gpu_group_refuses_workers_without_a_gpu(slurm: Slurm, material: Material, tmp_path: Path) -> None:
    cluster = farm(slurm_group("v100", allow_cpu=False))
    done = psdbatch("run", material.config(tmp_path, cluster, processing=SMALL), check=1)
    assert "sees no GPU" in done.stderr
    assert "no worker can be had" in done.stderr
    slurm.wait_empty(30)


def test_nobody_without_the_certificate_gets_in(slurm: Slurm, material: Material, tmp_path: Path) -> None:
    process = start("run", material.config(tmp_path, farm(slurm_group("v100")), processing=TINY))
    campaign = tmp_path / "campaign"
    wait_for_commits(campaign, 1, process)
    folder = campaign / "certificates"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    (job,) = jobs_by_group(campaign)["v100"]
    address = re.search(r"(tls://[\d.]+:\d+)", slurm.run("scontrol", "write", "batch_script", job, "-"))
    assert address
    stranger = Security.temporary()
    for client in (address[1].replace("tls://", "tcp://"), address[1]):
        with pytest.raises(OSError, match=r"."):
            Client(client, timeout=3, security=stranger if client.startswith("tls") else None)
    with Client(address[1], timeout=10, security=read_security(folder)) as known:
        assert known.scheduler_info()["workers"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
