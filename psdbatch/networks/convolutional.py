"""Convolutional classifier."""

from __future__ import annotations

from typing import Any

from psdbatch.models.quiet import tf
from psdbatch.networks.values import Count, Filters


def convolutional(
    samples: int = 75, filters: Filters = (8, 8), kernel: Count = 5, stride: Count = 2, classes: int = 2
) -> Any:
    """Classifier of convolutions along time.

    Parameters
    ----------
    samples, classes
        As :func:`psdbatch.networks.dense.dense`.
    filters
        Filters of each layer, rectified linear.
    kernel
        Samples that a filter spans.
    stride
        Every how many samples a filter is computed; each layer shortens the signal by this factor, which is what makes the
        network fast on a CPU.
    """
    layers = [tf.keras.Input((samples,), name="signal"), tf.keras.layers.Reshape((samples, 1))]
    layers += [
        tf.keras.layers.Conv1D(count, kernel, strides=stride, padding="same", activation="relu") for count in filters
    ]
    layers.append(tf.keras.layers.Flatten())  # windows are aligned: where in it something happens says much
    layers.append(tf.keras.layers.Dense(classes, activation="softmax", name="output_layer"))
    return tf.keras.Sequential(layers)
