"""Losses and measures, one number per signal, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from psdbatch.config.network import Network
from psdbatch.errors import ConfigurationError

N, SAMPLES = 6, 8
CHANCE = np.random.default_rng(5)
CLEAN, SECOND, NOISE, ANSWER, OTHER = CHANCE.normal(size=(5, N, SAMPLES)).astype(np.float32)
LABEL = np.array([0, 1, 2, 1, 0, 2], np.int32)


def example() -> Any:
    from psdbatch.models.quiet import tf
    from psdbatch.networks.chance import Key
    from psdbatch.networks.example import Example

    key = Key(1, 2, tf.range(N, dtype=tf.int64))
    window, clean, second, label = (tf.constant(array) for array in (CLEAN + SECOND + NOISE, CLEAN, SECOND, LABEL))
    return Example(window, clean, second, label, key)


def tensors(*arrays: np.ndarray[Any, Any]) -> list[Any]:
    from psdbatch.models.quiet import tf

    return [tf.constant(array.astype(np.float32)) for array in arrays]


def close(tensor: Any, expected: Any) -> None:
    assert tensor.shape == (N,)
    np.testing.assert_allclose(tensor.numpy(), expected, rtol=1e-5)


def test_classifier() -> None:
    from psdbatch.networks.task import classifier

    probability = np.random.default_rng(1).dirichlet([1, 1, 1], N)
    task = classifier()
    close(task.loss(tensors(probability), example()), -np.log(probability[np.arange(N), LABEL]))
    close(task.metrics(tensors(probability), example())["accuracy"], probability.argmax(axis=1) == LABEL)


def test_one_number_is_the_probability_of_the_second_class() -> None:
    from dataclasses import replace

    from psdbatch.networks.task import classifier

    second = np.array([[0.1], [0.2], [0.9], [0.6], [0.7], [0.4]])
    label = np.array([0, 1, 1, 1, 0, 0], np.int32)
    truth = replace(example(), label=tensors(label)[0])
    truth = replace(truth, label=label)
    expected = np.where(label, second[:, 0], 1 - second[:, 0])
    close(classifier().loss(tensors(second), truth), -np.log(expected))
    close(classifier().metrics(tensors(second), truth)["accuracy"], expected > 0.5)


def test_a_network_wrongly_sure_of_itself_still_learns() -> None:
    from psdbatch.models.quiet import tf
    from psdbatch.networks.task import classifier

    score = tf.Variable(np.tile([[40.0, 0.0, 0.0]], (N, 1)).astype(np.float32))  # exp(-40) is far below 1e-7
    with tf.GradientTape() as tape:
        loss = classifier().loss([tf.nn.softmax(score)], example())
    gradient = tape.gradient(loss, score).numpy()
    wrong = LABEL != 0
    np.testing.assert_allclose(gradient[wrong, LABEL[wrong]], -1, rtol=1e-4)


def test_windows() -> None:
    from psdbatch.networks.task import autoencoder, denoiser, separator

    error = ((CLEAN - ANSWER) ** 2).mean(axis=1)
    close(autoencoder().loss(tensors(ANSWER, OTHER), example()), error)
    close(autoencoder().metrics(tensors(ANSWER), example())["error"], abs(CLEAN - ANSWER).mean(axis=1))
    close(denoiser().loss(tensors(ANSWER), example()), error)
    measures = denoiser().metrics(tensors(ANSWER), example())
    close(measures["noise_before"], ((SECOND + NOISE) ** 2).mean(axis=1))
    close(measures["noise_after"], error)
    close(separator().loss(tensors(ANSWER, OTHER), example()), error + ((SECOND - OTHER) ** 2).mean(axis=1))
    measures = separator().metrics(tensors(ANSWER, OTHER), example())
    close(measures["error_first"], abs(CLEAN - ANSWER).mean(axis=1))
    close(measures["error_second"], abs(SECOND - OTHER).mean(axis=1))
    close(measures["error_left"], abs(SECOND + NOISE).mean(axis=1))


def test_variational_loss_is_the_evidence_lower_bound() -> None:
    from psdbatch.networks.task import variational

    mean, log_variance = np.random.default_rng(2).normal(size=(2, N, 3))
    information = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)
    task = variational(resolution=0.2)
    outputs = tensors(ANSWER, mean, log_variance)
    # -log likelihood of Gaussian samples is sum(squares) / (2 resolution^2); multiplied by 2 resolution^2 / samples
    bound = ((CLEAN - ANSWER) ** 2).sum(axis=1) / (2 * 0.2**2) + information
    close(task.loss(outputs, example()), bound * 2 * 0.2**2 / SAMPLES)
    close(task.metrics(outputs, example())["information"], information)


def test_variational_bottleneck_is_drawn_from_the_normal_distribution_given() -> None:
    from psdbatch.models.quiet import tf
    from psdbatch.networks.chance import Key
    from psdbatch.networks.collection import build
    from psdbatch.networks.example import Example

    built = build(Network(name="variational", options={"bottleneck": 3, "hidden": []}), 3, ("all",))
    decoder = built.model.get_layer("decoder")
    decoder.set_weights([np.eye(3), np.zeros(3)])  # the answer is what was drawn
    built.model.get_layer("mean").set_weights([np.zeros((3, 3)), np.array([1.0, -2.0, 0.0])])
    built.model.get_layer("log_variance").set_weights([np.zeros((3, 3)), np.log([4.0, 0.25, 1.0])])
    count = 20_000
    window = tf.zeros((count, 3))
    label = tf.zeros(count, tf.int32)
    drawn = {}
    for epoch in (0, 1):
        key = Key(1, epoch, tf.range(count, dtype=tf.int64))
        drawn[epoch] = built.task.answers(built.model, Example(window, window, window, label, key), True)[0].numpy()
    np.testing.assert_allclose(drawn[0].mean(axis=0), [1, -2, 0], atol=0.06)
    np.testing.assert_allclose(drawn[0].std(axis=0), [2, 0.5, 1], rtol=0.03)
    assert abs(np.corrcoef(drawn[0][:, 0], drawn[1][:, 0])[0, 1]) < 0.03


@pytest.mark.parametrize(
    "name", ["categorical_crossentropy", "CategoricalCrossentropy", "mean_absolute_error", "categorical_focal_crossentropy"]
)  # fmt: skip
def test_losses_of_keras_give_one_number_per_signal(name: str) -> None:
    from psdbatch.networks.collection import build

    built = build(Network(), SAMPLES, ("a", "b", "c"), loss=name)
    probability = np.random.default_rng(1).dirichlet([1, 1, 1], N)
    loss = built.task.loss(tensors(probability), example())
    right = probability[np.arange(N), LABEL]
    if "focal" not in name:
        close(loss, 2 * (1 - right) / 3 if "absolute" in name else -np.log(right))
    assert loss.shape == (N,)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("categorical_crossentropi", r"'optimisation.loss' is .*did you mean 'categorical_crossentropy'"),
        ("sparse_categorical_crossentropy", r"takes class numbers; write 'categorical_crossentropy'"),
    ],
)
def test_unknown_loss(name: str, message: str) -> None:
    from psdbatch.networks.collection import build

    with pytest.raises(ConfigurationError, match=message):
        build(Network(), SAMPLES, ("a", "b", "c"), loss=name)
