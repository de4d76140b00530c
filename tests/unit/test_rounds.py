"""What follows from how a round of a training ended, and how many workers a round waits for."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from psdbatch.campaign.journal import Journal
from psdbatch.cluster.farm import open_farm
from psdbatch.config.training import read_training
from psdbatch.coordination.sheet import job_sheet
from psdbatch.errors import TrainingError
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.measured import BatchSize
from psdbatch.training.progress import TrainingProgress
from psdbatch.training.restart import RestartState, position
from psdbatch.training.round import Result, Round
from psdbatch.training.rounds import Rounds
from psdbatch.training.talk import Ending
from psdbatch.training.witness import Witness
from tests.trainings import write_training


def rounds(folder: Path, farm: Any = None, **sections: Any) -> Rounds:
    """Rounds of a training that has begun; no cluster is asked unless one is given."""
    config = read_training(write_training(folder / "training.toml", folder / "set.zarr", **sections))
    directory = TrainingDirectory(Path(config.training))
    directory.restart.parent.mkdir(parents=True)
    witness = Witness(Journal(directory.journal), TrainingProgress(Console(file=io.StringIO())))
    return Rounds(directory, config, farm, witness)


def ended(made: Rounds, ending: Ending, reason: str = "the node burnt", progress: bool = False) -> None:
    """A round ends, with or without a checkpoint on its way."""
    before = position(made.directory.restart)
    if progress:
        RestartState(before[0] + 1, 0, [], [], np.zeros(3)).write(made.directory.restart)
    round_ = Round(made.farm, made.directory, made.config, [], lambda: None)
    made._consider(Result(ending, reason, "tcp://worker"), before, round_)


def test_a_training_is_given_up_after_three_fruitless_rounds_in_a_row(tmp_path: Path) -> None:
    made = rounds(tmp_path)
    ended(made, Ending.FAILED)
    ended(made, Ending.FAILED)
    ended(made, Ending.FAILED, progress=True)
    ended(made, Ending.FAILED)
    ended(made, Ending.STOPPED)
    ended(made, Ending.FAILED)
    ended(made, Ending.FAILED, "out of memory before the first batch")
    with pytest.raises(TrainingError, match=r"3 starts .* the last one: out of memory before the first batch"):
        ended(made, Ending.FAILED, "out of memory before the first batch")


def test_halving_a_batch_that_does_not_fit_comes_to_an_end(tmp_path: Path) -> None:
    made = rounds(tmp_path)
    BatchSize(64).write(made.directory.batch)
    for batch in (32, 16, 8, 4, 2):
        ended(made, Ending.OUT_OF_MEMORY)
        assert BatchSize.read(made.directory.batch).batch == batch
    with pytest.raises(TrainingError, match="not even a batch of two signals fits"):
        ended(made, Ending.OUT_OF_MEMORY)


def test_a_network_that_cannot_be_used_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^no such layer$"):
        ended(rounds(tmp_path), Ending.REFUSED, "no such layer")


def test_the_coordinator_does_without_tensorflow() -> None:
    code = "import json, sys, psdbatch.training.coordinator; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
    assert "psdbatch.training.coordinator" in loaded
    assert not {"tensorflow", "keras"} & set(loaded)


def test_a_round_waits_for_further_workers_only_so_long_and_prefers_those_not_blamed(tmp_path: Path) -> None:
    made = rounds(tmp_path, replicas=3, wait="1 s")
    cluster = made.config.cluster.model_copy(update={"processes": 2, "threads": 1})
    sheet = job_sheet("psdbatch.training.worker", "training", made.directory, cluster, ())
    with open_farm(cluster, sheet, made.directory.certificates, made.witness) as farm:
        made.farm = farm
        places = made._gather()  # a third one never comes
        assert [place.name for place in places] == ["0", "1"]
        made.config = made.config.model_copy(update={"replicas": 1, "wait": 1e9})
        assert [place.name for place in made._gather()] == ["0"]  # enough: no wait
        for _ in range(2):
            made._blamed[places[0].address] = made._blamed.get(places[0].address, 0) + 1
        assert [place.name for place in made._gather()] == ["1"]
