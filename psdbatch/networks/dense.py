"""Dense classifiers."""

from __future__ import annotations

from typing import Any

from psdbatch.models.quiet import tf
from psdbatch.networks.values import Count, Fraction


def dense(samples: int = 75, hidden: tuple[Count, ...] = (10, 4), classes: int = 2) -> Any:
    """Dense classifier; with its defaults the network of the talk: 75-10-4-2, 814 parameters.

    Parameters
    ----------
    samples
        Prepared samples of a signal.
    hidden
        Units of the hidden layers, rectified linear.
    classes
        Units of the softmax output, which is named ``output_layer``.
    """
    layers = [tf.keras.Input((samples,), name="signal")]
    layers += [tf.keras.layers.Dense(units, activation="relu") for units in hidden]
    layers.append(tf.keras.layers.Dense(classes, activation="softmax", name="output_layer"))
    return tf.keras.Sequential(layers)


def wide(samples: int = 75, hidden: tuple[Count, ...] = (64, 32, 16), dropout: Fraction = 0.0, classes: int = 2) -> Any:
    """Wider dense classifier for larger training sets.

    Parameters
    ----------
    samples, hidden, classes
        As :func:`dense`.
    dropout
        Fraction of the units of a hidden layer left out at random in training.
    """
    layers = [tf.keras.Input((samples,), name="signal")]
    for units in hidden:
        layers.append(tf.keras.layers.Dense(units, activation="relu"))
        if dropout:
            layers.append(tf.keras.layers.Dropout(dropout))
    layers.append(tf.keras.layers.Dense(classes, activation="softmax", name="output_layer"))
    return tf.keras.Sequential(layers)
