"""Every network of the collection learns from simulated signals what it is there for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from psdbatch.config import Preparation, SignalShape
from psdbatch.config.network import Network
from psdbatch.config.training import TrainingConfig
from psdbatch.simulation.generate import Truth, generate
from psdbatch.simulation.settings import Simulation

Array = np.ndarray[Any, Any]
WINDOW, TRAINING, HELD_OUT, BATCH = 48, 2000, 600, 100


def simulated(signals: int, seed: int = 4, pile_up: float = 0.0) -> tuple[Array, Truth]:
    settings = Simulation(
        signals=signals, samples=90, trigger=16, pile_up=pile_up, neutrons=0.5, seed=seed, lowest_energy=200
    )
    ((found, truth),) = generate(settings)
    return found.samples, truth


@pytest.fixture(scope="module")
def signals() -> tuple[Array, Truth]:
    return simulated(TRAINING + HELD_OUT)


class Trained(NamedTuple):
    """A network after some epochs, and what is measured on signals it has not seen."""

    model: Any
    held_out: Any
    before: dict[str, float]
    after: dict[str, float]

    def outputs(self) -> list[Array]:
        """Of the held-out signals."""
        from psdbatch.models.quiet import tf

        return [output.numpy() for output in tf.nest.flatten(self.model(self.held_out.window, training=False))]


def train(
    name: str,
    signals: tuple[Array, Truth],
    epochs: int,
    rate: float,
    options: dict[str, Any] | None = None,
    augmentation: dict[str, Any] | None = None,
) -> Trained:
    """Plain training with Adam, its steps compiled by XLA."""
    from psdbatch.models.quiet import tf
    from psdbatch.networks.chance import Key
    from psdbatch.networks.collection import build
    from psdbatch.networks.examples import example

    config = TrainingConfig.model_validate(
        {
            "training": "run",
            "set": {"path": "set.zarr"},
            "signals": {"baseline": 10},
            "preparation": {"length": WINDOW},
            "augmentation": augmentation or {},
        }
    )
    tf.keras.utils.set_random_seed(1)
    model, task = vars(build(Network(name=name, options=options or {}), WINDOW, ("gamma", "neutron"))).values()
    variables = model.trainable_variables
    optimiser = tf.keras.optimizers.Adam(rate)
    optimiser.build(variables)
    raw, label = tf.constant(signals[0]), tf.constant(signals[1].label)

    @tf.function(jit_compile=True)
    def gradients(samples: Any, truth: Any, epoch: Any, number: Any) -> Any:
        seen = example(samples, truth, Key(1, epoch, number), config, task, True)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(task.loss(task.answers(model, seen, True), seen))
        return tape.gradient(loss, variables)

    @tf.function
    def learn(epoch: Any) -> None:
        for first in tf.range(0, TRAINING, BATCH):
            number = first + tf.range(BATCH)
            found = gradients(tf.gather(raw, number), tf.gather(label, number), epoch, tf.cast(number, tf.int64))
            optimiser.apply_gradients(zip(found, variables, strict=True))

    def measured() -> dict[str, float]:
        outputs = task.answers(model, held_out, False)
        values = {"loss": task.loss(outputs, held_out), **task.metrics(outputs, held_out)}
        return {key: float(tf.reduce_mean(value)) for key, value in values.items()}

    numbers = tf.range(HELD_OUT, dtype=tf.int64)
    held_out = example(raw[TRAINING:], label[TRAINING:], Key(1, 0, numbers), config, task, False)
    before = measured()
    for epoch in range(epochs):
        learn(tf.constant(epoch, tf.int64))
    return Trained(model, held_out, before, measured())


@pytest.mark.parametrize(
    ("name", "options", "rate"),
    [
        ("dense", {}, 0.005),
        ("wide", {"dropout": 0.1}, 0.003),
        ("convolutional", {}, 0.005),
        ("recurrent", {"units": 8, "step": 6}, 0.01),
        ("recurrent", {"cell": "lstm", "units": 8, "step": 6}, 0.01),
    ],
)
def test_classifiers_tell_neutrons_from_gammas(
    name: str, options: dict[str, Any], rate: float, signals: tuple[Array, Truth]
) -> None:
    trained = train(name, signals, 8, rate, options)
    assert trained.after["loss"] < 0.4 * trained.before["loss"]
    assert trained.after["accuracy"] > 0.93


def test_classifier_learns_from_augmented_signals(signals: tuple[Array, Truth]) -> None:
    augmentation = {"noise": 3.0, "shift": 5, "gain": 0.2, "pile_up": 0.1, "pile_up_delay": [20, 60]}
    assert train("dense", signals, 8, 0.005, augmentation=augmentation).after["accuracy"] > 0.93


def test_autoencoder_compresses(signals: tuple[Array, Truth]) -> None:
    trained = train("autoencoder", signals, 8, 0.005, {"bottleneck": 4, "filters": [4, 8]})
    assert trained.outputs()[1].shape == (HELD_OUT, 4)
    assert trained.after["loss"] < 0.05 * trained.before["loss"]
    always_the_mean = np.asarray(trained.held_out.window).var(axis=0).mean()
    assert trained.after["loss"] < 0.3 * always_the_mean


def test_denoiser_gains(signals: tuple[Array, Truth]) -> None:
    options = {"filters": 8, "layers": 1}
    after = train("denoiser", signals, 8, 0.005, options, {"noise": 40.0}).after
    gain = 10 * np.log10(after["noise_before"] / after["noise_after"])
    assert gain > 3


def test_separation_is_better_than_leaving_the_pile_up_in(signals: tuple[Array, Truth]) -> None:
    augmentation = {"pile_up": 0.7, "pile_up_delay": [6, 25]}
    trained = train("separation", signals, 10, 0.005, {"filters": 8}, augmentation)
    assert trained.after["loss"] < 0.6 * trained.before["loss"]
    assert trained.after["error_first"] < 0.8 * trained.after["error_left"]
    first, second = trained.outputs()
    np.testing.assert_allclose(first + second, trained.held_out.window.numpy(), atol=1e-6)
    alone = ~trained.held_out.second.numpy().any(axis=1)
    assert 0.2 < alone.mean() < 0.4
    assert np.abs(second[alone]).mean() < 0.5 * np.abs(second[~alone]).mean()


@pytest.fixture(scope="module")
def variational(signals: tuple[Array, Truth]) -> Trained:
    """Long enough for the divergence to count: at first the numbers of the bottleneck are correlated."""
    return train("variational", signals, 120, 0.005, {"bottleneck": 3, "hidden": [32]})


def test_variational_bottleneck_is_decorrelated(variational: Trained) -> None:
    from psdbatch.networks.variational import bottleneck_correlation

    assert variational.after["loss"] < 0.01 * variational.before["loss"]
    _, mean, log_variance = variational.outputs()
    correlation, carries = bottleneck_correlation(mean)
    assert carries.sum() >= 2
    assert np.abs(correlation - np.eye(len(correlation))).max() < 0.3
    spread = mean.var(axis=0) + np.exp(log_variance).mean(axis=0)  # of all signals together: that of the prior
    np.testing.assert_allclose(spread, 1, atol=0.35)


def test_variational_autoencoder_makes_signals_like_those_it_learnt_from(variational: Trained, tmp_path: Path) -> None:
    from psdbatch.config import ModelSource
    from psdbatch.models.freezing import freeze
    from psdbatch.models.frozen import describe_graph, load
    from psdbatch.models.quiet import tf
    from psdbatch.networks.variational import generate_signals, generator

    made, numbers = generate_signals(variational.model, 3000, seed=1)
    real = variational.held_out.window.numpy()
    np.testing.assert_allclose(made.mean(axis=0), real.mean(axis=0), atol=0.03)
    edge = real.std(axis=0) > 0.05  # where pulses differ by more than their noise, which is not made
    assert edge.sum() >= 3
    np.testing.assert_allclose(made.std(axis=0)[edge], real.std(axis=0)[edge], rtol=0.35)
    np.testing.assert_array_equal(generate_signals(variational.model, 3000, seed=1)[0], made)
    assert not np.array_equal(generate_signals(variational.model, 3000, seed=2)[0], made)

    freeze(generator(variational.model), tmp_path / "generator.pb")
    facts = describe_graph(tmp_path / "generator.pb", ModelSource(path="generator.pb"), "0")
    assert (facts.input.shape, [output.label for output in facts.outputs]) == ((None, 3), ["generated"])
    np.testing.assert_allclose(load(facts)(tf.constant(numbers))[0].numpy(), made, atol=1e-6)


def test_monitor_notices_signals_unlike_those_it_learnt_from(signals: tuple[Array, Truth]) -> None:
    from psdbatch.models.preparation import model_input, pulses
    from psdbatch.models.quiet import tf

    trained = train("monitor", signals, 12, 0.005, {"bottleneck": 3, "filters": [4, 8]})
    again, residual = trained.outputs()
    window = trained.held_out.window.numpy()
    np.testing.assert_allclose(residual, ((window - again) ** 2).mean(axis=1), rtol=1e-4, atol=1e-7)
    piled_up, _ = simulated(HELD_OUT, seed=9, pile_up=1.0)
    odd = model_input(pulses(tf.constant(piled_up), SignalShape(baseline=10)), Preparation(), WINDOW)
    found = trained.model(odd)[1].numpy()
    # Some second pulses lie behind the window or are tiny, so not all are found.
    assert (found[:, None] > residual[None, :]).mean() > 0.75
    assert np.median(found) > 3 * np.median(residual)
