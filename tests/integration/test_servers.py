"""The real servers of the tests do what the tests of the cluster rely on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.servers.fixtures import new_directory
from tests.servers.processes import ServerError, processes_where, wait_until
from tests.servers.slurm import Slurm


@pytest.mark.parametrize("kind", ["k80", "v100"])
def test_slurm_gives_a_gpu_of_the_kind_asked_for(slurm: Slurm, tmp_path: Path, kind: str) -> None:
    job = slurm.submit(
        f"--gres=gpu:{kind}:1", f"--output={tmp_path / 'out'}", command="echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES"
    )
    assert slurm.wait_state(job) == "COMPLETED"
    node, gpu = (tmp_path / "out").read_text().split()
    assert slurm.nodes[node] == kind
    assert gpu == "0"


def test_slurm_jobs_of_one_node_get_different_gpus(slurm: Slurm, tmp_path: Path) -> None:
    options = ("--gres=gpu:k80:1", "--nodelist=k80-1", f"--output={tmp_path}/%j")
    jobs = [slurm.submit(*options, command="echo $CUDA_VISIBLE_DEVICES; sleep 100") for _ in range(4)]
    assert wait_until(lambda: all((tmp_path / job).exists() and (tmp_path / job).read_text() for job in jobs), 30)
    waiting = slurm.submit(*options)
    assert slurm.wait_reason(waiting) == "Resources"
    slurm.run("scancel", *jobs)
    slurm.wait_state(waiting, "COMPLETED")
    assert sorted((tmp_path / job).read_text().split()[0] for job in jobs) == ["0", "1", "2", "3"]


def test_slurm_refuses_a_kind_its_partition_does_not_have(slurm: Slurm) -> None:
    with pytest.raises(ServerError, match="Requested node configuration is not available"):
        slurm.submit("--partition=v100", "--gres=gpu:k80:1")
    with pytest.raises(ServerError, match="invalid partition"):
        slurm.submit("--partition=nosuch")


def test_slurm_accepts_the_options_of_cc_in2p3(slurm: Slurm) -> None:
    options = (
        "--partition=gpu_v100 --gres=gpu:v100:4 --qos=gpu --account=psd --licenses=sps --mem=32G --cpus-per-task=4"
    )
    assert slurm.wait_state(slurm.submit(*options.split())) == "COMPLETED"


def test_slurm_drained_node_takes_no_job(slurm: Slurm) -> None:
    slurm.drain("v100-1")
    jobs = [slurm.submit("--gres=gpu:v100:2", command="sleep 100") for _ in range(3)]
    for job in jobs[:2]:
        slurm.wait_state(job, "RUNNING")
        assert slurm.node(job) == "v100-2"
    assert slurm.state(jobs[2]) == "PENDING"
    slurm.resume("v100-1")
    slurm.wait_state(jobs[2], "RUNNING")
    assert slurm.node(jobs[2]) == "v100-1"


def test_slurm_spare_job_gives_way_and_comes_back(slurm: Slurm) -> None:
    spare = slurm.submit("--partition=spare", "--nodelist=k80-2", "--exclusive", "--requeue", command="sleep 100")
    slurm.wait_state(spare, "RUNNING")
    other = slurm.submit("--partition=k80", "--nodelist=k80-2", "--exclusive")
    slurm.wait_state(other, "COMPLETED")
    slurm.wait_state(spare, "RUNNING")
    assert "Restarts=1" in slurm.run("scontrol", "show", "job", spare)


def test_slurm_job_on_a_failed_node_is_requeued_or_lost_as_it_asked(slurm: Slurm) -> None:
    options = ("--nodelist=k80-1", "--gres=gpu:k80:1")
    again = slurm.submit(*options, "--requeue", command="sleep 100")
    lost = slurm.submit(*options, "--no-requeue", command="sleep 100")
    for job in (again, lost):
        slurm.wait_state(job, "RUNNING")
    slurm.fail("k80-1")
    assert slurm.wait_state(lost) == "NODE_FAIL"
    assert slurm.state(again) == "PENDING"
    slurm.resume("k80-1")
    slurm.wait_state(again, "RUNNING")


def test_two_slurm_clusters_do_not_see_each_other_and_leave_nothing(slurm: Slurm) -> None:
    first = slurm.submit("--hold")
    other = Slurm(new_directory("slurm"))
    try:
        with other:
            other.start()  # does nothing when it runs
            assert other.jobs() == []
            job = other.submit("--ignore-pbs", command="sleep 1000 & setsid sleep 1000")
            other.wait_state(job, "RUNNING")
            assert other.processes()
        assert other.processes() == []
        directory = str(other.directory)
        assert not processes_where(lambda environment: directory in " ".join(environment.values()))
        other.stop()
    finally:
        other.remove()
    assert slurm.jobs() == [first]
    assert not other.directory.exists()


def test_slurm_starts_again_in_its_directory_with_its_queue(slurm: Slurm) -> None:
    server = Slurm(new_directory("slurm"))
    try:
        with server:
            job = server.submit("--hold", "--output=/dev/null")
            server._daemons["slurmctld"].stop()
            server.stop()
            server.start()
            assert server.jobs() == [job]
    finally:
        server.remove()


def test_slurm_says_with_its_log_what_failed() -> None:
    server = Slurm(new_directory("slurm"))
    if server.unavailable():
        pytest.skip(str(server.unavailable()))
    (server.directory / "munge.key").write_text("short")
    try:
        with pytest.raises(ServerError, match=r"munged ended (?s:.*)[Kk]ey"):
            server.start()
        assert server.processes() == []
    finally:
        server.remove()


def test_environment_of_a_server_ends_with_its_test() -> None:
    assert "SLURM_CONF" not in os.environ
