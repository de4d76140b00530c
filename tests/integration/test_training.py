"""Whole trainings: one process and two, killed and resumed, diverging, out of memory, in the wrong directory."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.errors import TrainingError
from psdbatch.training.freeze import freeze_training
from psdbatch.training.restart import position
from tests.campaigns import kill_group, start
from tests.farms import end, farm, journal, slurm_group, wait
from tests.servers.slurm import Slurm
from tests.trainings import TRAINING_TIME, history, losses, summary, train, write_set, write_training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

ROUNDING = 2e-5
"""Loss by which trainings may differ that sum the same numbers in another order, over some hundred steps."""

LONG = {"epochs": 5, "batch": 16, "checkpoint_steps": 20, "learning_rate": 0.02, "momentum": 0.0}
"""Epochs of 1,000 steps or so: there is a middle to be killed in, with a checkpoint before it.

Gentle steps: with large ones the loss is chaotic, and the last bit of a sum makes another curve within an epoch.
"""


@pytest.fixture(scope="module")
def signals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 signals to learn from."""
    return write_set(tmp_path_factory.mktemp("signals") / "set.zarr")


@pytest.fixture(scope="module")
def many_signals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,000 signals to learn from."""
    return write_set(tmp_path_factory.mktemp("many") / "set.zarr", signals=20_000)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, signals: Path) -> Path:
    """A training on one process, with augmentation and weights of classes."""
    config = write_training(tmp_path_factory.mktemp("alone") / "training.toml", signals, **LEARNING)
    train(config)
    return config.parent / "training"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, many_signals: Path) -> Path:
    """A long training that nobody disturbs."""
    config = write_training(tmp_path_factory.mktemp("long") / "training.toml", many_signals, optimisation=LONG)
    train(config)
    return config.parent / "training"


LEARNING: dict[str, Any] = {
    "augmentation": {"noise": 5.0, "shift": 2, "pile_up": 0.2, "pile_up_delay": [5, 50]},
    "optimisation": {"class_weights": "balanced", "batch": 100},
}


def close(one: Path, other: Path) -> bool:
    """Whether two trainings have the same loss curves within rounding."""
    return np.allclose(losses(one), losses(other), rtol=0, atol=ROUNDING)


def replicas_of(training: Path) -> dict[int, int]:
    """Process numbers of the running replicas of a training, by rank, found by what they are asked to do."""
    rounds = max((path.stem for path in (training / "rounds").glob("*.json")), default="0")
    found = {}
    for log in (training / "logs").glob(f"replica-{int(rounds):04d}-*.log"):
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _has_open(entry, log):
                found[int(log.stem.rpartition("-")[2])] = int(entry.name)
    return found


def _has_open(process: Path, log: Path) -> bool:
    """Whether a process is a replica whose complaints go to ``log``."""
    try:
        is_replica = b"psdbatch.training.replica" in (process / "cmdline").read_bytes()
        return is_replica and (process / "fd" / "2").readlink() == log
    except OSError:
        return False


def in_the_middle(training: Path) -> bool:
    """Whether the restart state is one inside the second epoch or a later one."""
    epoch, done = position(training / "checkpoints" / "resume" / "state.npz")
    return epoch >= 1 and done > 0


def test_a_training_leaves_all_that_is_promised(alone: Path) -> None:
    rows = history(alone)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]
    assert rows[-1]["val_accuracy"] > 0.8
    assert {row["learning_rate"] for row in rows} == {0.1}
    found = summary(alone)
    assert (found["stopped"], found["epochs"], found["before"]) == ("epochs", 3, False)
    best = min(rows, key=lambda row: row["val_loss"])
    assert found["best_epoch"] == best["epoch"]
    kept = {path.name for path in (alone / "checkpoints").glob("*.keras")}
    assert f"epoch-{int(best['epoch']):03d}-loss-{best['val_loss']:.4f}.keras" in kept
    for name in ("model.keras", "model.pb", "evaluation/report.html", "evaluation/evaluation.json"):
        assert (alone / name).stat().st_size > 0


def test_the_kept_network_is_the_best_one(alone: Path, signals: Path) -> None:
    """Its accuracy on the validation part, computed here by other means, is the one in the history."""
    from psdbatch.config.training import read_training
    from psdbatch.models.preparation import prepare
    from psdbatch.models.quiet import tf
    from psdbatch.training_set.store import open_set

    config = read_training(alone / "training.toml")
    columns = open_set(signals).part("validation").read(0, 200, ("samples", "label"))
    window, _ = prepare(
        tf.constant(columns["samples"]), config.signals, config.preparation, config.charge, config.pile_up, 75
    )
    scores = tf.keras.models.load_model(alone / "model.keras")(window).numpy()
    accuracy = (scores.argmax(axis=1) == columns["label"]).mean()
    best = min(history(alone), key=lambda row: row["val_loss"])
    assert accuracy == pytest.approx(best["val_accuracy"], abs=1e-6)


def test_tensorboard_reads_curves_learning_rate_and_pictures(alone: Path) -> None:
    import tensorflow as tf
    from tensorflow.python.summary.summary_iterator import summary_iterator

    found: dict[tuple[str, str], list[tuple[int, Any]]] = {}
    for part in ("train", "validation"):
        for file in (alone / "tensorboard" / part).glob("events.out.tfevents.*"):
            for event in summary_iterator(str(file)):
                for value in event.summary.value:
                    content = tf.make_ndarray(value.tensor)
                    found.setdefault((part, value.tag), []).append((event.step, content))
                    plugin = "images" if value.tag == "signals" else "scalars"
                    assert value.metadata.plugin_data.plugin_name == plugin
    rows = history(alone)
    for part, tag, column in (
        ("train", "loss", "loss"),
        ("train", "accuracy", "accuracy"),
        ("train", "learning_rate", "learning_rate"),
        ("validation", "loss", "val_loss"),
        ("validation", "accuracy", "val_accuracy"),
    ):
        assert [step for step, _ in found[part, tag]] == [1, 2, 3]
        np.testing.assert_allclose([value for _, value in found[part, tag]], [row[column] for row in rows], rtol=1e-6)
    width, height, picture = found["validation", "signals"][0][1]
    assert tf.io.decode_png(picture).shape == (int(height), int(width), 4)
    assert np.ptp(tf.io.decode_png(picture).numpy()) > 100


def test_a_finished_training_says_so_and_does_nothing(alone: Path) -> None:
    config = alone.parent / "training.toml"
    before = {path: path.stat().st_mtime_ns for path in alone.rglob("*") if path.is_file()}
    said = train(config)
    assert "was finished before: nothing to do" in said
    changed = {
        path.relative_to(alone).parts[0] for path in before if path.exists() and path.stat().st_mtime_ns != before[path]
    }
    assert changed <= {"coordinators", "training.toml", "software.json"}


def test_a_directory_with_another_training_is_refused_by_name(alone: Path, signals: Path, tmp_path: Path) -> None:
    other = {**LEARNING, "optimisation": {**LEARNING["optimisation"], "learning_rate": 0.5}}
    config = write_training(tmp_path / "training.toml", signals, training=str(alone), **other)
    said = train(config, code=1)
    assert "holds another training" in said
    assert "'optimisation.learning_rate' is 0.5, was 0.1" in said


def test_two_replicas_give_the_loss_curve_of_one_process(alone: Path, signals: Path, tmp_path: Path) -> None:
    config = write_training(tmp_path / "training.toml", signals, replicas=2, **LEARNING)
    said = train(config)
    training = tmp_path / "training"
    assert "trains from epoch 1 on 2 replicas, 100 signals in a step" in said
    assert [entry["workers"] for entry in journal(training, "round")] == [["0", "1"]]
    assert len(losses(training)) == 3
    assert close(training, alone), (losses(training), losses(alone))
    assert summary(training)["best_epoch"] == summary(alone)["best_epoch"]


@pytest.mark.long
def test_a_killed_replica_costs_a_part_of_an_epoch_and_no_quality(
    uninterrupted: Path, many_signals: Path, tmp_path: Path
) -> None:
    config = write_training(tmp_path / "training.toml", many_signals, replicas=2, optimisation=LONG)
    training = tmp_path / "training"
    process = start("train", config)
    wait("a checkpoint in mid-epoch", lambda: in_the_middle(training), process, seconds=TRAINING_TIME)
    at = position(training / "checkpoints" / "resume" / "state.npz")
    os.kill(replicas_of(training)[1], signal.SIGKILL)
    said = end(process, seconds=TRAINING_TIME)
    assert "replica 1 on" in said
    assert "was killed by signal 9 (SIGKILL)" in said
    resumed = [(entry["epoch"], entry["done"]) for entry in journal(training, "ready")]
    assert resumed[0] == (1, 0)
    assert resumed[1] >= (at[0] + 1, at[1])
    assert close(training, uninterrupted), (losses(training), losses(uninterrupted))


@pytest.mark.long
def test_a_killed_coordinator_is_gone_on_from_in_mid_epoch(
    uninterrupted: Path, many_signals: Path, tmp_path: Path
) -> None:
    config = write_training(tmp_path / "training.toml", many_signals, optimisation=LONG)
    training = tmp_path / "training"
    process = start("train", config)
    wait("a checkpoint in mid-epoch", lambda: in_the_middle(training), process, seconds=TRAINING_TIME)
    replicas = replicas_of(training)
    kill_group(process)
    wait("the end of its replica", lambda: not any(Path(f"/proc/{pid}").exists() for pid in replicas.values()))
    epoch, done = position(training / "checkpoints" / "resume" / "state.npz")
    train(config)
    assert [(entry["epoch"], entry["done"]) for entry in journal(training, "ready")] == [(1, 0), (epoch + 1, done)]
    # One process: not only within rounding, but the same to the last bit
    assert losses(training) == losses(uninterrupted)


@pytest.mark.long
def test_an_interrupted_training_goes_on_with_another_number_of_replicas(
    uninterrupted: Path, many_signals: Path, tmp_path: Path
) -> None:
    config = write_training(tmp_path / "training.toml", many_signals, optimisation=LONG)
    training = tmp_path / "training"
    process = start("train", config)
    wait("a checkpoint in mid-epoch", lambda: in_the_middle(training), process, seconds=TRAINING_TIME)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=TRAINING_TIME)
    assert process.returncode == 4, said
    assert "the same command goes on" in said
    write_training(config, many_signals, replicas=2, optimisation=LONG)
    train(config)
    assert close(training, uninterrupted), (losses(training), losses(uninterrupted))


POISONED = '''
import tensorflow as tf


class Poison(tf.keras.layers.Layer):
    """Answers NaN from the 41st training step on."""

    def build(self, shape):
        self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False, name="steps")

    def call(self, signal, training=False):
        if not training:
            return signal
        self.steps.assign_add(1.0)
        return signal + tf.where(self.steps > 40, float("nan"), 0.0)


def poisoned(samples, classes):
    signal = tf.keras.Input((samples,))
    return tf.keras.Model(signal, tf.keras.layers.Dense(classes, activation="softmax")(Poison()(signal)))
'''


def test_a_training_that_diverges_after_good_epochs_keeps_the_best_network(signals: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(POISONED)
    config = write_training(
        tmp_path / "training.toml",
        signals,
        network={"function": "own.py:poisoned"},
        optimisation={"momentum": 0.0, "checkpoint_steps": 5},
    )
    said = train(config, code=1)
    training = tmp_path / "training"
    best = min(history(training), key=lambda row: row["val_loss"])
    assert len(history(training)) == 2  # of 16 steps each
    assert "the loss became NaN or infinite in epoch 3, step 9" in said
    assert "2 epochs are complete, and the restart state is the last finite one, of epoch 3, signal 320" in said
    assert f"The best network so far, of epoch {best['epoch']:.0f}, is in {training}/checkpoints" in said
    assert "a smaller learning rate (0.01)" in said
    assert not (training / "model.keras").exists()
    frozen = freeze_training(training, tmp_path / "best.pb")
    assert frozen.card.training["best_epoch"] == best["epoch"]


BIG = '''
import tensorflow as tf


class Greedy(tf.keras.layers.Layer):
    """Asks for 8 TB to train on more than 16 signals."""

    def call(self, signal, training=False):
        if not training:
            return signal
        size = tf.where(tf.shape(signal)[0] > 16, tf.constant(2**41, tf.int64), tf.constant(1, tf.int64))
        return signal + 1e-30 * tf.reduce_max(tf.random.uniform((size,)))

    def compute_output_shape(self, shape):
        return shape


def greedy(samples, classes):
    signal = tf.keras.Input((samples,))
    return tf.keras.Model(signal, tf.keras.layers.Dense(classes, activation="softmax")(Greedy()(signal)))
'''


def test_a_batch_that_does_not_fit_into_memory_is_halved(signals: Path, tmp_path: Path) -> None:
    (tmp_path / "big.py").write_text(BIG)
    config = write_training(
        tmp_path / "training.toml",
        signals,
        network={"function": "big.py:greedy"},
        optimisation={"batch": 64, "epochs": 1, "xla": False},
    )
    said = train(config)
    training = tmp_path / "training"
    assert "ran out of memory; goes on with 32 signals" in said
    assert "ran out of memory; goes on with 16 signals" in said
    assert json.loads((training / "batch.json").read_text())["batch"] == 16
    assert len(history(training)) == 1
    assert (training / "model.pb").exists()  # with a layer that only the user's function knows
    (tmp_path / "big.py").write_text(BIG.replace("> 16", "> 8"))
    with pytest.raises(TrainingError, match=r"big\.py: the file of 'network\.function' has changed"):
        freeze_training(training, tmp_path / "again.pb")
    assert not (tmp_path / "again.pb").exists()


@pytest.mark.long
def test_the_batch_size_is_measured_and_remembered(many_signals: Path, tmp_path: Path) -> None:
    config = write_training(
        tmp_path / "training.toml", many_signals, optimisation={"batch": "auto", "epochs": 1, "learning_rate": 0.1}
    )
    train(config)
    found = json.loads((tmp_path / "training" / "batch.json").read_text())
    assert sorted(map(int, found["paces"])) == [32, 64, 128]
    assert found["batch"] in (32, 64, 128)
    assert all(pace > 0 for pace in found["paces"].values())
    assert [entry["batch"] for entry in journal(tmp_path / "training", "ready")] == [found["batch"]]


def test_a_network_that_cannot_be_used_is_told_at_once(signals: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def broken(samples, classes):\n    raise RuntimeError('no such layer')\n")
    config = write_training(tmp_path / "training.toml", signals, network={"function": "own.py:broken"})
    said = train(config, code=1)
    assert "no such layer" in said
    assert [entry["ending"] for entry in journal(tmp_path / "training", "round ended")] == ["refused"]


@pytest.mark.long
def test_more_epochs_may_be_asked_for_later(signals: Path, tmp_path: Path) -> None:
    config = write_training(tmp_path / "training.toml", signals, optimisation={"epochs": 1})
    train(config)
    write_training(config, signals, optimisation={"epochs": 3})
    train(config)
    longer = write_training(tmp_path / "longer" / "training.toml", signals)
    train(longer)
    assert losses(tmp_path / "training") == losses(tmp_path / "longer" / "training")
    assert summary(tmp_path / "training")["epochs"] == 3


@pytest.fixture
def farm_training(slurm: Slurm, many_signals: Path, tmp_path: Path) -> Iterator[Path]:
    """A training for two jobs on SLURM."""
    cluster = {**farm(slurm_group("v100", jobs=2)), "dashboard": ""}
    yield write_training(tmp_path / "training.toml", many_signals, replicas=2, optimisation=LONG, cluster=cluster)
    shutil.rmtree(tmp_path / "training" / "logs", ignore_errors=True)


def test_two_jobs_on_slurm_train_one_network_and_survive_a_cancelled_one(
    farm_training: Path, uninterrupted: Path, slurm: Slurm
) -> None:
    training = farm_training.parent / "training"
    process = start("train", farm_training)
    wait("a checkpoint in mid-epoch", lambda: in_the_middle(training), process, seconds=TRAINING_TIME)
    jobs = [entry["job"] for entry in journal(training, "job submitted")]
    assert len(jobs) == 2
    subprocess.run(["scancel", jobs[1]], check=True)
    said = end(process, seconds=TRAINING_TIME)
    assert "on 2 replicas" in said
    assert close(training, uninterrupted), (losses(training), losses(uninterrupted))
    assert {entry["name"] for entry in journal(training, "worker admitted")} >= {"v100-1", "v100-2"}
    slurm.wait_empty(60)
    assert not (training / "certificates").exists()
