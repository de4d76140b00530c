"""Networks by name.  Each is a short function that gives an uncompiled Keras model."""

from __future__ import annotations

from typing import Any

from psdbatch.models.quiet import tf


def dense(samples: int = 75, hidden: tuple[int, ...] = (10, 4), classes: int = 2) -> Any:
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


NETWORKS = {"dense": dense}
