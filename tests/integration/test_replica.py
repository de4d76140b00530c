"""Single replicas: what they keep when the network is lost, and what they leave of a training that began anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.training.restart import position
from tests.trainings import run_replica, write_set, write_training

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def signals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("signals") / "set.zarr", 300)


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory, signals: Path) -> tuple[Path, list[dict[str, Any]]]:
    """A training begun anew in a directory without restart state; its first step leaves weights that are not finite."""
    folder = tmp_path_factory.mktemp("lost")
    stale = folder / "training" / "checkpoints" / "epoch-050-loss-0.0100.keras"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of another training")
    (folder / "training" / "history.csv").write_text("epoch,loss\n50,0.01\n")
    # The rate is infinite in float32, loss and gradients of the first step are not
    settings = {"learning_rate": 1e39, "momentum": 0.0, "checkpoint_steps": 1}
    said = run_replica(write_training(folder / "training.toml", signals, optimisation=settings))
    return folder / "training", said


def test_weights_that_are_not_finite_are_never_kept(lost: tuple[Path, list[dict[str, Any]]]) -> None:
    training, said = lost
    assert [entry["event"] for entry in said] == ["ready", "end"]  # no checkpoint
    assert said[-1]["ending"] == "diverged"
    assert said[-1]["reason"] == "the network's weights became NaN or infinite in epoch 1, by step 1"
    state = training / "checkpoints" / "resume" / "state.npz"
    assert position(state) == (0, 0)
    with np.load(state) as stored:
        weights = [stored[name] for name in stored.files if name.startswith("weights")]
    assert len(weights) == 6
    assert all(np.isfinite(array).all() for array in weights)


def test_networks_of_a_training_whose_restart_state_was_removed_are_cleared(
    lost: tuple[Path, list[dict[str, Any]]],
) -> None:
    training, _ = lost
    assert not list((training / "checkpoints").glob("*.keras"))
    assert not (training / "history.csv").exists()


GREEDY = """
import tensorflow as tf


class Greedy(tf.keras.layers.Layer):
    def call(self, signal, training=False):
        return signal + 1e-30 * tf.reduce_max(tf.random.uniform((2**41,))) if training else signal


def greedy(samples, classes):
    signal = tf.keras.Input((samples,))
    return tf.keras.Model(signal, tf.keras.layers.Dense(classes, activation="softmax")(Greedy()(signal)))
"""


def test_a_network_that_has_no_room_at_all_is_not_the_fault_of_the_batch(signals: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(GREEDY)
    network, settings = {"function": "own.py:greedy"}, {"xla": False}
    (said,) = run_replica(write_training(tmp_path / "training.toml", signals, network=network, optimisation=settings))
    assert said["ending"] == "failed"
    assert said["reason"].startswith("out of memory before the first batch")
