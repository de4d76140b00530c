"""Builders of small real trainings: a labelled set, a configuration, and what a training leaves behind."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from psdbatch.config import Charge, PileUp, SignalShape
from psdbatch.config.training import read_training
from psdbatch.results.store import Layout
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.prepare import write_directory
from psdbatch.training.records import newest_round
from psdbatch.training.talk import Assignment
from psdbatch.training_set.columns import set_columns
from psdbatch.training_set.facts import SetFacts
from psdbatch.training_set.quantities import measure
from psdbatch.training_set.store import open_set
from psdbatch.training_set.writing import SetWriter
from tests.campaigns import command

SAMPLES = 96
CLASSES = ("gamma", "neutron")
TRAINING_TIME = 1500.0
"""Seconds that a training may take on a busy machine."""

LAYOUT = Layout(block=512, chunk=128, level=1)

Array = NDArray[Any]


def labelled_pulses(n: int, seed: int = 0) -> tuple[Array, Array]:
    """Negative 14-bit pulses over noise, int16 ``(n, SAMPLES)``, and their class: 1 for those with the longer tail."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n).astype(np.uint8)
    time_axis = np.arange(SAMPLES) - 20.0
    slow = np.where(label, 0.25, 0.12)[:, None]
    shape = np.where(time_axis >= 0, (1 - slow) * np.exp(-time_axis / 4) + slow * np.exp(-time_axis / 25), 0)
    amplitude = rng.uniform(100, 2000, n)[:, None]
    raw = np.rint(12000 - amplitude * shape + rng.normal(0, 12, (n, SAMPLES))).astype(np.int16)
    return raw, label


def write_set(path: Path, signals: int = 1000, validation: int = 200, test: int = 100, seed: int = 0) -> Path:
    """A training set of made-up pulses, in small chunks."""
    facts = SetFacts(CLASSES, SAMPLES, "int16", SignalShape(), Charge(), ("made up",), seed)
    sizes = {"train": signals, "validation": validation, "test": test}
    with SetWriter(path, facts, sizes, LAYOUT) as writer:
        for number, (part, size) in enumerate(sizes.items()):
            if size:
                writer.append(part, _columns(size, 10 * seed + number))
    return path


def _columns(size: int, seed: int) -> dict[str, Array]:
    raw, label = labelled_pulses(size, seed)
    columns = {column.name: np.zeros(size, column.dtype) for column in set_columns(SAMPLES, "int16")}
    found = measure(raw, SignalShape(), Charge(), PileUp())
    known = {name: getattr(found, name) for name in ("amplitude", "charge_long", "charge_short", "flags")}
    return columns | known | {"samples": raw, "label": label, "number": np.arange(size, dtype=np.uint64)}


def write_training(path: Path, set_path: Path | None, **sections: Any) -> Path:
    """``training.toml`` for a set that exists, with a small network; ``sections`` add keys to the sections named."""
    content: dict[str, Any] = {
        "training": "training",
        "network": {"name": "dense"},
        "preparation": {"length": 75},
        "optimisation": {"epochs": 3, "batch": 64, "optimiser": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        "cluster": {"dashboard": ""},
    }
    if set_path is not None:
        content["set"] = {"path": str(set_path)}
    for name, values in sections.items():
        content[name] = {**content.get(name, {}), **values} if isinstance(values, dict) else values
    if "function" in content["network"]:
        del content["network"]["name"]
    top = {name: value for name, value in content.items() if not isinstance(value, dict)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(top | {name: value for name, value in content.items() if name not in top}))
    return path


def train(config: Path, code: int = 0) -> str:
    """Run ``psdbatch train`` to its end; what it printed.  Several processes load TensorFlow, so it may take minutes."""
    done = subprocess.run(command("train", config), capture_output=True, text=True, timeout=TRAINING_TIME, check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in said, said
    return said


def history(training: Path) -> list[dict[str, float]]:
    """Rows of ``history.csv``."""
    with (training / "history.csv").open() as lines:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]


def losses(training: Path) -> list[tuple[float, float]]:
    """Training and validation loss of each epoch."""
    return [(row["loss"], row["val_loss"]) for row in history(training)]


def summary(training: Path) -> dict[str, Any]:
    """How the training ended."""
    found: dict[str, Any] = json.loads((training / "summary.json").read_text())
    return found


def run_replica(config_path: Path) -> list[dict[str, Any]]:
    """Run the one replica of a training in a process of its own, without coordinator and worker; what it said."""
    config = read_training(config_path)
    assert config.set.path is not None
    directory = TrainingDirectory(Path(config.training))
    write_directory(directory, config, open_set(Path(config.set.path)).facts.digest)
    number = newest_round(directory) + 1
    (directory.rounds / f"{number:06d}.json").touch()
    assignment = Assignment(str(directory.path), number, 0, ("localhost:1",), 1, 10**8)
    program = [sys.executable, "-m", "psdbatch.training.replica"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(assignment.line() + "\n")
        process.stdin.flush()
        return [json.loads(line) for line in process.stdout]
