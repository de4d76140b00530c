"""One step of a training: what is summed over replicas, what does not count, what a void step leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.config.training import TrainingConfig, read_training
from psdbatch.models.preparation import prepare
from psdbatch.models.quiet import tf
from psdbatch.training.feeding import Batch, Feed, Share
from psdbatch.training.learner import Learner
from psdbatch.training.together import Together
from psdbatch.training_set.store import StoredSet, open_set
from tests.trainings import write_set, write_training

AUGMENTED = {"noise": 5.0, "shift": 3, "gain": 0.1, "pile_up": 0.5, "pile_up_delay": [5, 50]}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredSet:
    return open_set(write_set(tmp_path_factory.mktemp("set") / "set.zarr", 300))


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    tf.keras.backend.clear_session()


def configured(folder: Path, stored: StoredSet, **sections: Any) -> TrainingConfig:
    return read_training(write_training(folder / "training.toml", stored.path, **sections))


def learner(config: TrainingConfig, stored: StoredSet, xla: bool = False) -> Learner:
    return Learner(config, stored.facts, Together(tf.distribute.get_strategy(), 0, 1), xla)


def batch_of(stored: StoredSet, size: int, share: Share = Share(), weights: tuple[float, float] = (1, 1)) -> Batch:  # noqa: B008
    feed = Feed(stored.part("train"), share, np.array(weights, np.float32), 10**9)
    return next(iter(feed.batches(feed.order(1, 1), size)))


def vector(one: Learner, batch: Batch) -> np.ndarray[Any, Any]:
    """What a replica gives into the sum for its rows."""
    return one._learn(*map(tf.constant, batch.arrays()), tf.constant(1, tf.int64)).numpy()


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 3.0)])
def test_a_step_is_that_of_keras(tmp_path: Path, stored: StoredSet, weights: tuple[float, float]) -> None:
    config = configured(tmp_path, stored, optimisation={"momentum": 0.0})
    ours, batch = learner(config, stored), batch_of(stored, 100, weights=weights)
    theirs = tf.keras.models.clone_model(ours.model)
    theirs.set_weights(ours.model.get_weights())
    theirs.compile(tf.keras.optimizers.SGD(0.1), "categorical_crossentropy")
    window, _ = prepare(tf.constant(batch.raw), config.signals, config.preparation, config.charge, config.pile_up, 75)
    weight = np.array(weights, np.float32)[batch.label]
    loss = theirs.train_on_batch(window, tf.one_hot(batch.label, 2), sample_weight=weight)
    ours.step(batch, 1, False)
    for mine, other in zip(ours.model.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)
    if weights == (1.0, 1.0):  # Keras shows it per weight, too, but not in all versions
        assert ours.means(ours.sums.numpy())["loss"] == pytest.approx(float(np.ravel(loss)[0]), rel=1e-5)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("size", [7, 100])
def test_shares_add_up_to_the_whole_batch_with_augmentation_and_class_weights(
    tmp_path: Path, stored: StoredSet, size: int, xla: bool
) -> None:
    one = learner(configured(tmp_path, stored, augmentation=AUGMENTED), stored, xla)
    assert one.compiled is xla
    whole = vector(one, batch_of(stored, size, weights=(0.5, 2.0)))
    for replicas in (2, 3):
        shares = [vector(one, batch_of(stored, size, Share(rank, replicas), (0.5, 2.0))) for rank in range(replicas)]
        np.testing.assert_allclose(sum(shares), whole, rtol=1e-4, atol=1e-4)
    assert whole[-2] == size  # signals, before the accuracy


def test_surplus_rows_change_nothing(tmp_path: Path, stored: StoredSet) -> None:
    one, batch = learner(configured(tmp_path, stored), stored), batch_of(stored, 10)
    more = Batch(
        batch.first,
        batch.stop,
        np.concatenate([batch.raw, batch.raw[:4]]),
        np.concatenate([batch.label, batch.label[:4]]),
        np.concatenate([batch.weight, np.zeros(4, np.float32)]),
        np.concatenate([batch.number, np.full(4, -1)]),
    )
    np.testing.assert_allclose(vector(one, more), vector(one, batch), rtol=1e-5, atol=1e-6)


def test_a_void_step_is_told_and_leaves_the_weights(tmp_path: Path, stored: StoredSet) -> None:
    one = learner(configured(tmp_path, stored, optimisation={"momentum": 0.0}), stored)
    batch = batch_of(stored, 10)
    before = one.model.get_weights()
    spoilt = replace(batch, weight=np.full(10, np.nan, np.float32))
    assert list(one.step(spoilt, 1, False).numpy()) == [0, 1]
    for mine, other in zip(one.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert not one.sums.numpy().any()
    assert list(one.step(batch, 1, False).numpy()) == [0, 0]
    assert one.sums.numpy()[2] == 10


def test_the_wish_to_stop_is_summed(tmp_path: Path, stored: StoredSet) -> None:
    one = learner(configured(tmp_path, stored), stored)
    assert list(one.step(batch_of(stored, 10), 1, True).numpy()) == [1, 0]


def test_state_goes_out_and_in_again_bit_for_bit(tmp_path: Path, stored: StoredSet) -> None:
    config = configured(tmp_path, stored, optimisation={"optimiser": "adam", "momentum": 0.0})
    batch = batch_of(stored, 50)
    one = learner(config, stored)
    for _ in range(3):
        one.step(batch, 1, False)
    state = one.values()
    one.step(batch, 1, False)
    other = learner(config, stored)
    other.restore(*state)
    other.step(batch, 1, False)
    for mine, theirs in zip(one.values()[0] + one.values()[1], other.values()[0] + other.values()[1], strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_learning_rate_can_be_changed(tmp_path: Path, stored: StoredSet) -> None:
    one = learner(configured(tmp_path, stored), stored)
    assert one.learning_rate == pytest.approx(0.1)
    one.learning_rate = 0.05
    assert one.learning_rate == pytest.approx(0.05)


OWN = """
import tensorflow as tf


def regularised(samples, classes):
    return tf.keras.Sequential([
        tf.keras.Input((samples,)),
        tf.keras.layers.Dense(classes, activation="softmax", kernel_regularizer=tf.keras.regularizers.L2(0.1)),
    ])


def normalised(samples, classes):
    return tf.keras.Sequential([
        tf.keras.Input((samples,)),
        tf.keras.layers.BatchNormalization(),
        tf.keras.layers.Dense(classes, activation="softmax"),
    ])


class Strings(tf.keras.layers.Layer):
    def call(self, signal):
        text = tf.strings.as_string(signal)
        return signal + 0.0 * tf.cast(tf.strings.length(text), tf.float32)


def not_for_xla(samples, classes):
    signal = tf.keras.Input((samples,))
    return tf.keras.Model(signal, tf.keras.layers.Dense(classes, activation="softmax")(Strings()(signal)))
"""


def own(folder: Path, name: str) -> dict[str, Any]:
    (folder / "own.py").write_text(OWN)
    return {"function": f"own.py:{name}"}


def test_regularisation_counts_the_same_in_every_split(tmp_path: Path, stored: StoredSet) -> None:
    one = learner(configured(tmp_path, stored, network=own(tmp_path, "regularised")), stored)
    assert one.model.losses
    whole = vector(one, batch_of(stored, 60))
    shares = [vector(one, batch_of(stored, 60, Share(rank, 2))) for rank in range(2)]
    np.testing.assert_allclose(sum(shares), whole, rtol=1e-4, atol=1e-4)


def test_a_step_that_xla_cannot_compile_is_run_without(
    tmp_path: Path, stored: StoredSet, caplog: pytest.LogCaptureFixture
) -> None:
    one = learner(configured(tmp_path, stored, network=own(tmp_path, "not_for_xla")), stored, xla=True)
    assert not one.compiled
    assert "XLA cannot compile this step" in caplog.text
    assert list(one.step(batch_of(stored, 10), 1, False).numpy()) == [0, 0]


def test_the_trial_of_a_new_step_leaves_no_trace(tmp_path: Path, stored: StoredSet) -> None:
    one = learner(configured(tmp_path, stored, network=own(tmp_path, "normalised")), stored)
    moving = {variable.name: variable.numpy() for variable in one.model.non_trainable_variables}
    assert all((value == (1 if "variance" in name else 0)).all() for name, value in moving.items())
    one.step(batch_of(stored, 10), 1, False)
    assert any(
        (variable.numpy() != 0).any() for variable in one.model.non_trainable_variables if "mean" in variable.name
    )
