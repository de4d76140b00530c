"""The ready campaigns of jobs/ are what a real scheduler accepts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from psdbatch.cluster.jobs import JobSheet, job_spec
from psdbatch.config import read_config
from tests.servers.slurm import Slurm

READY = sorted((Path(__file__).parents[2] / "jobs").glob("*/*.toml"))


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_a_ready_campaign_is_valid_and_its_scripts_are_shell(path: Path, tmp_path: Path) -> None:
    cluster = read_config(path).cluster
    assert cluster.workers
    for group in cluster.workers:
        spec = job_spec(cluster.system(group), group, f"{group.name}-1", JobSheet("module", tmp_path, "label"))
        script = spec["cls"]("tls://127.0.0.1:1", **spec["options"]).job_script()
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("path", [path for path in READY if "slurm" in path.stem], ids=lambda path: path.stem)
def test_slurm_would_run_every_job_of_a_ready_campaign(slurm: Slurm, path: Path, tmp_path: Path) -> None:
    cluster = read_config(path).cluster
    for group in cluster.workers:
        spec = job_spec("slurm", group, f"{group.name}-1", JobSheet("module", tmp_path, "label"))
        script = tmp_path / "job.sh"
        script.write_text(spec["cls"]("tls://127.0.0.1:1", **spec["options"]).job_script())
        done = subprocess.run(["sbatch", "--test-only", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
