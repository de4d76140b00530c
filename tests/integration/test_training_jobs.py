"""Trainings on batch systems: the coordinator as a job, and replicas on Grid Engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.campaigns import facts, psdbatch
from tests.farms import farm, journal, sge_group, wait
from tests.servers.sge import GridEngine
from tests.servers.slurm import Slurm
from tests.trainings import TRAINING_TIME, history, losses, train, write_set, write_training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def test_a_training_is_submitted_shown_cancelled_and_run_to_its_end(slurm: Slurm, tmp_path: Path) -> None:
    signals = write_set(tmp_path / "set.zarr", signals=300, validation=100, test=0)
    training, path = tmp_path / "training", tmp_path / "training.toml"

    def configured(*options: str) -> Path:
        job = {"kind": "slurm", "memory": "3 GB", "walltime": "20 min", "options": list(options)}
        cluster = {"coordinator": job}
        return write_training(path, signals, optimisation={"epochs": 2}, cluster=cluster)

    job = facts("submit", configured("--hold"))
    assert (job["system"], job["training"]) == ("slurm", str(training))
    waits = facts("status", training)
    assert (waits["epochs"], waits["most"], waits["signals"], waits["finished"]) == (0, 2, 300, False)
    assert waits["jobs"][0]["pending"] == {"JobHeldUser": 1}
    assert "JobHeldUser" in psdbatch("status", training).stdout
    assert f"pending already as job {job['job']}" in psdbatch("submit", path, check=1).stderr
    assert facts("cancel", training)["coordinator"] == f"job {job['job']}"

    number = facts("submit", configured())["job"]
    wait("the end of the training", lambda: facts("status", training)["finished"], seconds=TRAINING_TIME)
    slurm.wait_empty(60)
    status = facts("status", training)
    rows = history(training)
    assert (status["epochs"], status["stopped"], status["best"]) in [(2, "epochs", row) for row in rows]
    assert status["last_event"]["event"] == "finished"
    assert status["jobs"] == [{"group": "coordinator", "system": "slurm", "pending": {}, "running": 0, "finished": 2}]
    shown = psdbatch("status", training).stdout
    assert "2 of at most 2" in shown
    assert "all epochs are done; frozen and evaluated" in shown
    assert f"frozen with its preparation: {training}/model.pb" in psdbatch("logs", training, "--job", number).stdout
    assert "was finished before: nothing to do" in psdbatch("train", training).stdout


def test_what_is_missing_is_said_before_a_training_is_submitted(tmp_path: Path) -> None:
    cluster = {"coordinator": {"kind": "slurm"}}
    path = write_training(tmp_path / "training.toml", tmp_path / "set.zarr", cluster=cluster)
    assert "there is no training set, and [set] names no sources" in psdbatch("submit", path, check=1).stderr
    source = {"name": "beam", "files": [str(tmp_path / "*.mfm")], "label": {"name": "gamma"}}
    write_training(path, None, set={"sources": [source]}, cluster=cluster)
    assert "source 'beam': 'files': no file matches" in psdbatch("submit", path, check=1).stderr
    write_training(path, None, set={"sources": [source]}, cluster=cluster, network={"function": "own.py:small"})
    assert "own.py: there is no such file ('network.function')" in psdbatch("submit", path, check=1).stderr
    assert not (tmp_path / "training").exists()


@pytest.mark.long
def test_two_jobs_on_grid_engine_train_the_network_of_one_process(sge: GridEngine, tmp_path: Path) -> None:
    signals = write_set(tmp_path / "set.zarr", signals=600, validation=100, test=0)
    gentle = {"epochs": 2, "learning_rate": 0.02, "momentum": 0.0}
    alone = write_training(tmp_path / "alone" / "training.toml", signals, optimisation=gentle)
    train(alone)
    cluster = {**farm(sge_group("v100", jobs=2)), "dashboard": ""}
    path = write_training(
        tmp_path / "farm" / "training.toml", signals, replicas=2, optimisation=gentle, cluster=cluster
    )
    assert "on 2 replicas" in train(path)
    training = path.parent / "training"
    assert {entry["system"] for entry in journal(training, "job submitted")} == {"sge"}
    assert {entry["name"] for entry in journal(training, "worker admitted")} == {"v100-1", "v100-2"}
    np.testing.assert_allclose(losses(training), losses(alone.parent / "training"), rtol=0, atol=2e-5)
    wait("the end of the jobs", lambda: not sge.jobs(), seconds=60)
    assert not (training / "certificates").exists()
