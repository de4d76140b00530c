"""Recurrent classifier."""

from __future__ import annotations

from typing import Any, Literal

from psdbatch.models.quiet import tf
from psdbatch.networks.values import Count


def recurrent(
    samples: int = 75, cell: Literal["gru", "lstm"] = "gru", units: Count = 16, step: Count = 5, classes: int = 2
) -> Any:
    """Classifier that reads a signal from its beginning to its end.

    Parameters
    ----------
    samples, classes
        As :func:`psdbatch.networks.dense.dense`.
    cell
        Gated recurrent unit, or long short-term memory.
    units
        Numbers that the network remembers from step to step.
    step
        Samples read at once; the time for a signal goes with ``samples / step``. Zeros fill the last step.
    """
    steps = -(-samples // step)
    kind = {"gru": tf.keras.layers.GRUCell, "lstm": tf.keras.layers.LSTMCell}[cell]
    return tf.keras.Sequential(
        [
            tf.keras.Input((samples,), name="signal"),
            tf.keras.layers.Reshape((samples, 1)),
            tf.keras.layers.ZeroPadding1D((0, steps * step - samples)),
            tf.keras.layers.Reshape((steps, step)),
            # Not the layers GRU and LSTM: on a GPU these become operations of cuDNN, which no CPU has.
            tf.keras.layers.RNN(kind(units)),
            tf.keras.layers.Dense(classes, activation="softmax", name="output_layer"),
        ]
    )
