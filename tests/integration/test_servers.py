"""The real servers of the tests do what the tests of the cluster rely on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.servers.container import directory_image
from tests.servers.fixtures import new_directory
from tests.servers.processes import ServerError, processes_where, wait_until
from tests.servers.sge import GridEngine
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
    check_life(Slurm(new_directory("slurm")), "RUNNING", "--hold")
    assert slurm.jobs() == [first]


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


@pytest.mark.parametrize("kind", ["K80", "V100"])
def test_grid_engine_gives_a_queue_of_the_kind_asked_for(sge: GridEngine, tmp_path: Path, kind: str) -> None:
    options = f"-P P_psdbatch -q mc_gpu_long -pe multicores_gpu 4 -l sps=1,GPU=1,GPUtype={kind} -o {tmp_path / 'out'}"
    job = sge.submit(*options.split(), command="echo $QUEUE $NSLOTS")
    sge.wait_state(job)
    assert (tmp_path / "out").read_text().split() == [f"mc_gpu_long_{kind}", "4"]
    assert "exit_status  0" in sge.run("qacct", "-j", job)


@pytest.mark.parametrize(
    "options",
    [
        "-q long -l GPU=1,GPUtype=V100",
        "-q mc_gpu_long -l GPU=1,GPUtype=H100",
        "-q mc_gpu_long -l GPU=5,GPUtype=K80",
        "-q mc_gpu_medium -l GPU=1,h_rt=20:0:0",
        "-q nosuch",
        "-P P_nosuch",
    ],
)
def test_grid_engine_refuses_what_can_never_run(sge: GridEngine, options: str) -> None:
    with pytest.raises(ServerError, match=r"no suitable queues|unknown queue|does not exist"):
        sge.submit(*options.split())


def test_grid_engine_counts_gpus_per_job_and_queue(sge: GridEngine) -> None:
    options = ("-q", "mc_gpu_long", "-pe", "multicores_gpu", "4", "-l", "GPU=2,GPUtype=K80")
    jobs = [sge.submit(*options, command="sleep 100") for _ in range(3)]
    for job in jobs[:2]:
        sge.wait_state(job, "r")
    assert "cannot run" in sge.wait_reason(jobs[2])
    assert sge.state(jobs[2]) == "qw"
    sge.run("qdel", jobs[0])
    sge.wait_state(jobs[2], "r")


def test_grid_engine_drained_queue_takes_no_job(sge: GridEngine) -> None:
    sge.drain("*_V100")
    waiting = sge.submit("-l", "GPU=1,GPUtype=V100", command="sleep 100")
    other = sge.submit("-l", "GPU=1,GPUtype=K80", command="sleep 100")
    sge.wait_state(other, "r")
    assert sge.queue(other).endswith("_K80")
    assert sge.state(waiting) == "qw"
    sge.resume()
    sge.wait_state(waiting, "r")


def test_two_grid_engines_do_not_see_each_other_and_leave_nothing(sge: GridEngine) -> None:
    first = sge.submit("-h")
    check_life(GridEngine(new_directory("sge")), "r", "-h")
    assert sge.jobs() == [first]


def check_life(server: Slurm | GridEngine, running: str, hold: str) -> None:
    """Start, start again, stop and remove a server while another runs."""
    try:
        with server:
            daemons = server.processes()
            server.start()  # does nothing when it runs
            assert server.processes() == daemons
            assert server.jobs() == []
            held = server.submit(hold)
            server.stop_daemons()
            assert server.processes() == []
            server.start()
            assert server.jobs() == [held]  # the queue is on disk
            job = server.submit(command="sleep 1000 & setsid sleep 1000")
            server.wait_state(job, running)
            assert wait_until(lambda: len(server.processes()) > len(daemons), 30)
        assert server.processes() == []
        directory = str(server.directory)
        left = processes_where(lambda environment: directory in " ".join(environment.values()))
        assert [Path(f"/proc/{process}/cmdline").read_text() for process in left] == []
    finally:
        server.remove()
    assert not server.directory.exists()


def test_apptainer_builds_an_image_and_runs_it_in_a_gpu_job(slurm: Slurm, apptainer: Path, tmp_path: Path) -> None:
    image = tmp_path / "small.sif"
    slurm.run(str(apptainer), "--quiet", "build", str(image), str(directory_image(tmp_path / "image")))
    job = slurm.submit(
        "--gres=gpu:v100:2",
        f"--output={tmp_path / 'out'}",
        f"--error={tmp_path / 'warnings'}",
        command=f"{apptainer} exec --bind /usr {image} sh -c 'echo $CUDA_VISIBLE_DEVICES; echo $APPTAINER_CONTAINER'",
    )
    slurm.wait_state(job)
    assert (tmp_path / "out").read_text().split() == ["0,1", str(image)]


def test_environment_of_a_server_ends_with_its_test(slurm_server: Slurm, sge_server: GridEngine) -> None:
    assert slurm_server.running
    assert sge_server.running
    assert "SLURM_CONF" not in os.environ
    assert "SGE_ROOT" not in os.environ
