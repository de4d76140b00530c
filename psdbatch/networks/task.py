"""What a network is trained for: its answers, its loss, and what is measured beside it.

Losses and measures are one number per signal, never a mean over the batch: class weights and replicas of unequal shares
stay exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from psdbatch.models.quiet import tf
from psdbatch.networks.chance import normal
from psdbatch.networks.example import Example
from psdbatch.networks.values import Positive

Outputs = list[Any]
"""A model's outputs as a flat list of tensors."""

Difference = Callable[[Any, Any], Any]
"""Loss of every signal ``(batch,)`` from truth and answer, both ``(batch, ...)``."""

_LEAST = 1e-30
"""Least probability in a logarithm: far below Keras's 1e-7, so that a signal of which the network is wrongly sure still counts."""


def run(model: Any, example: Example, training: bool) -> Outputs:
    """Outputs of a model that only sees the window."""
    return list(tf.nest.flatten(model(example.window, training=training)))


@dataclass(frozen=True)
class Task:
    """What a network is trained for.

    Attributes
    ----------
    name
        As users write it.
    loss
        ``loss(outputs, example)``: float32 ``(batch,)``.
    metrics
        ``metrics(outputs, example)``: further float32 ``(batch,)`` by name.
    answers
        ``answers(model, example, training)``: what ``loss`` and ``metrics`` get.
    learns_from
        Keys of ``[augmentation]`` without which there is nothing to learn; they are used in validation too.
    """

    name: str
    loss: Callable[[Outputs, Example], Any]
    metrics: Callable[[Outputs, Example], dict[str, Any]]
    answers: Callable[[Any, Example, bool], Outputs] = run
    learns_from: tuple[Literal["noise", "pile_up"], ...] = ()


def classifier(difference: Difference | None = None) -> Task:
    """One class of several; the output holds probabilities, or that of the second of two classes alone.

    Measures ``accuracy``.  ``difference`` gets the true class as 0 and 1 in each column.
    """
    difference = difference or cross_entropy

    def loss(outputs: Outputs, example: Example) -> Any:
        probability = both_classes(outputs[0])
        return difference(tf.one_hot(example.label, probability.shape[1]), probability)

    def metrics(outputs: Outputs, example: Example) -> dict[str, Any]:
        chosen = tf.argmax(both_classes(outputs[0]), axis=1, output_type=tf.int32)
        return {"accuracy": tf.cast(chosen == example.label, tf.float32)}

    return Task("classifier", loss, metrics)


def autoencoder(difference: Difference | None = None) -> Task:
    """The first output is the window again.  Measures ``error``, the mean absolute one of a sample."""
    difference = difference or squares

    def loss(outputs: Outputs, example: Example) -> Any:
        return difference(example.clean, outputs[0])

    def metrics(outputs: Outputs, example: Example) -> dict[str, Any]:
        return {"error": distances(example.clean, outputs[0])}

    return Task("autoencoder", loss, metrics)


def denoiser(difference: Difference | None = None) -> Task:
    """The first output is the window without the noise that was added.

    Measures the mean square of the noise, ``noise_before`` and ``noise_after``; their ratio is the gain.
    """
    difference = difference or squares

    def loss(outputs: Outputs, example: Example) -> Any:
        return difference(example.clean, outputs[0])

    def metrics(outputs: Outputs, example: Example) -> dict[str, Any]:
        return {
            "noise_before": squares(example.clean, example.window),
            "noise_after": squares(example.clean, outputs[0]),
        }

    return Task("denoiser", loss, metrics, learns_from=("noise",))


def separator(difference: Difference | None = None) -> Task:
    """Two outputs: the first pulse alone, and the added later one alone, each in the scale of the whole window.

    Measures the mean absolute errors ``error_first`` and ``error_second``, and ``error_left``, that of the first pulse if
    the second one is left in.
    """
    difference = difference or squares

    def loss(outputs: Outputs, example: Example) -> Any:
        return difference(example.clean, outputs[0]) + difference(example.second, outputs[1])

    def metrics(outputs: Outputs, example: Example) -> dict[str, Any]:
        return {
            "error_first": distances(example.clean, outputs[0]),
            "error_second": distances(example.second, outputs[1]),
            "error_left": distances(example.clean, example.window),
        }

    return Task("separator", loss, metrics, learns_from=("pile_up",))


def cross_entropy(truth: Any, probability: Any) -> Any:
    """Categorical cross-entropy of probabilities, ``(batch,)``."""
    return -tf.reduce_sum(truth * tf.math.log(tf.maximum(probability, _LEAST)), axis=-1)


def squares(truth: Any, answer: Any) -> Any:
    """Mean squared difference of the samples, ``(batch,)``."""
    return tf.reduce_mean(tf.math.squared_difference(truth, answer), axis=-1)


def distances(truth: Any, answer: Any) -> Any:
    """Mean absolute difference of the samples, ``(batch,)``."""
    return tf.reduce_mean(tf.abs(truth - answer), axis=-1)


def both_classes(probability: Any) -> Any:
    """Probabilities of all classes; a single number is that of the second of two."""
    return tf.concat([1.0 - probability, probability], axis=1) if probability.shape[1] == 1 else probability


BOTTLENECK = 100
"""Stream of the random numbers in a variational bottleneck; those of the augmentation are below."""


def variational(difference: Difference | None = None, resolution: Positive = 0.05) -> Task:
    """A variational auto-encoder (Kingma and Welling, 2014): outputs are window, means and log variances of the bottleneck.

    In training the bottleneck is drawn from the normal distribution that the encoder gives, outside of the model: the
    model itself answers without chance.  The loss is the negative evidence lower bound for samples with Gaussian errors of
    ``resolution``, in units in which reconstruction counts as mean squares.  Measures ``error`` and ``information``, the
    Kullback-Leibler divergence in nats.

    Parameters
    ----------
    resolution
        Error of a sample that is as good as none, as a fraction of the amplitude; larger: fewer, more independent numbers
        in the bottleneck carry something.
    """
    difference = difference or squares

    def answers(model: Any, example: Example, training: bool) -> Outputs:
        _, mean, log_variance = run(model, example, training)
        drawn = mean + tf.exp(0.5 * log_variance) * normal(example.key, BOTTLENECK, mean.shape[1])
        return [model.get_layer("decoder")(drawn, training=training), mean, log_variance]

    def loss(outputs: Outputs, example: Example) -> Any:
        weight = 2.0 * resolution**2 / example.clean.shape[1]
        return difference(example.clean, outputs[0]) + weight * divergence(outputs)

    def metrics(outputs: Outputs, example: Example) -> dict[str, Any]:
        return {"error": distances(example.clean, outputs[0]), "information": divergence(outputs)}

    return Task("variational", loss, metrics, answers)


def divergence(outputs: Outputs) -> Any:
    """Kullback-Leibler divergence of the bottleneck from independent standard normal numbers, nats, ``(batch,)``."""
    _, mean, log_variance = outputs
    return 0.5 * tf.reduce_sum(tf.square(mean) + tf.exp(log_variance) - 1.0 - log_variance, axis=1)
