"""The ready campaigns of jobs/ are what a real scheduler accepts."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from psdbatch.cluster.jobs import JobSheet, job_spec
from psdbatch.cluster.systems import batch_system
from psdbatch.config import read_config
from psdbatch.config.cluster import Cluster, JobRequest
from psdbatch.config.training import read_training
from psdbatch.coordination.submit import campaign_errand, coordinator_system, job_script
from tests.servers.sge import GridEngine
from tests.servers.sge_configuration import PROJECTS
from tests.servers.slurm import Slurm
from tests.servers.slurm_configuration import PARTITIONS


def cluster_of(path: Path) -> Cluster:
    """The ``[cluster]`` section of a campaign or of a training."""
    training = "training" in tomllib.loads(path.read_text())
    return read_training(path).cluster if training else read_config(path).cluster


READY = sorted(
    path for path in (Path(__file__).parents[2] / "jobs").glob("*/*.toml") if cluster_of(path).kind != "local"
)
GROUP = "P_GROUP"
"""What the ready campaigns say where users put their project."""


def ready(kind: str) -> list[Path]:
    """The ready campaigns for a batch system."""
    return [path for path in READY if cluster_of(path).kind == kind]


def scripts(path: Path, folder: Path) -> dict[str, str]:
    """Every job script of a ready file: one for each worker group, and the coordinator's of a campaign."""
    cluster, found = cluster_of(path), {}
    if "coordinator" in requests(path):
        errand = campaign_errand(read_config(path))
        found["coordinator"] = job_script(batch_system(coordinator_system(cluster)), errand)
    for group in cluster.workers:
        spec = job_spec(cluster.system(group), group, f"{group.name}-1", JobSheet("module", folder, "label"))
        found[group.name] = spec["cls"]("tls://127.0.0.1:1", **spec["options"]).job_script()
    return found


def requests(path: Path) -> dict[str, JobRequest]:
    cluster = cluster_of(path)
    groups: dict[str, JobRequest] = {group.name: group for group in cluster.workers}
    return groups if path.parent.name == "training" else {"coordinator": cluster.coordinator, **groups}


def test_there_are_ready_campaigns_for_both_systems() -> None:
    for folder in ("cc-in2p3", "training"):
        assert {cluster_of(path).kind for path in READY if path.parent.name == folder} == {"slurm", "sge"}


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_the_scripts_of_a_ready_campaign_are_shell(path: Path, tmp_path: Path) -> None:
    for script in scripts(path, tmp_path).values():
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("path", ready("slurm"), ids=lambda path: path.stem)
def test_slurm_would_run_every_job_of_a_ready_campaign(slurm: Slurm, path: Path, tmp_path: Path) -> None:
    asked = requests(path)
    kinds = {partition.name: set(partition.kinds) for partition in PARTITIONS}
    for name, text in scripts(path, tmp_path).items():
        script = tmp_path / "job.sh"
        script.write_text(text)
        done = subprocess.run(["sbatch", "--test-only", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        found = re.search(r"on nodes (\S+) in partition (\S+)", done.stderr)
        assert found, done.stderr
        node, partition = found.groups()
        assert partition == asked[name].queue
        assert not kinds[partition] or slurm.nodes[node] in kinds[partition]
        if name in ("k80", "v100"):
            assert slurm.nodes[node] == name


@pytest.mark.parametrize("path", ready("sge"), ids=lambda path: path.stem)
def test_grid_engine_would_run_every_job_of_a_ready_campaign(sge: GridEngine, path: Path, tmp_path: Path) -> None:
    for name, text in scripts(path, tmp_path).items():
        script = tmp_path / "job.sh"
        script.write_text(text.replace(GROUP, PROJECTS[0]))
        assert "-w e" in text, f"{name}: an impossible request would wait for ever"
        # on the command line it wins over the script's own: nothing is submitted
        done = subprocess.run(["qsub", "-w", "v", script], capture_output=True, text=True, check=False)
        assert "found suitable queue(s)" in done.stdout + done.stderr, f"{name}: {done.stdout}{done.stderr}"
        assert done.returncode == 0
    assert not sge.jobs()


@pytest.mark.parametrize("path", ready("sge"), ids=lambda path: path.stem)
def test_grid_engine_places_each_group_of_a_ready_campaign_on_its_kind_of_gpu(
    sge: GridEngine, path: Path, tmp_path: Path
) -> None:
    jobs = {}
    for name, text in scripts(path, tmp_path).items():
        # its own options, but nothing of its work
        options = [line for line in text.splitlines() if line.startswith("#$")]
        script = tmp_path / f"{name}.sh"
        script.write_text("\n".join(["#!/bin/bash", *options, "sleep 100", ""]).replace(GROUP, PROJECTS[0]))
        jobs[name] = sge.run("qsub", "-terse", "-j", "y", "-o", "/dev/null", "-wd", "/tmp", str(script)).split()[-1]
    for name, request in requests(path).items():
        sge.wait_state(jobs[name], "r")
        kind = "" if name == "coordinator" else f"_{name.upper()}"
        assert sge.queue(jobs[name]) == f"{request.queue}{kind}"
