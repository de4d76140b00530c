"""Networks that answer with a better signal: without noise, or without the pulse on top."""

from __future__ import annotations

from typing import Any

from psdbatch.models.quiet import tf
from psdbatch.networks.values import Count


def denoiser(samples: int = 75, filters: Count = 16, layers: Count = 2, kernel: Count = 9) -> Any:
    """Denoising; output ``denoised`` ``(samples,)``, the signal less the noise that the convolutions find in it.

    Parameters
    ----------
    samples
        Prepared samples of a signal.
    filters, layers
        Filters of each hidden layer, and number of these layers.
    kernel
        Samples that a filter spans.
    """
    entry = tf.keras.Input((samples,), name="signal")
    layer = tf.keras.layers.Reshape((samples, 1))(entry)
    for _ in range(layers):
        layer = tf.keras.layers.Conv1D(filters, kernel, padding="same", activation="relu")(layer)
    noise = tf.keras.layers.Reshape((samples,))(tf.keras.layers.Conv1D(1, kernel, padding="same")(layer))
    return tf.keras.Model(entry, tf.keras.layers.Subtract(name="denoised")([entry, noise]))


def separation(samples: int = 75, filters: Count = 16, layers: Count = 4, kernel: Count = 5) -> Any:
    """Separation of piled-up pulses; outputs ``first`` and ``second``, both ``(samples,)``, which add up to the signal.

    Parameters
    ----------
    samples, filters
        As :func:`denoiser`.
    layers
        Hidden layers; each looks twice as far along the signal as the one before.
    kernel
        Samples that a filter of the first layer spans.
    """
    entry = tf.keras.Input((samples,), name="signal")
    layer = tf.keras.layers.Reshape((samples, 1))(entry)
    for number in range(layers):
        layer = tf.keras.layers.Conv1D(filters, kernel, dilation_rate=2**number, padding="same", activation="relu")(
            layer
        )
    share = tf.keras.layers.Conv1D(1, 1, activation="sigmoid")(layer)  # of the first pulse in each sample
    first = tf.keras.layers.Multiply(name="first")([entry, tf.keras.layers.Reshape((samples,))(share)])
    return tf.keras.Model(entry, [first, tf.keras.layers.Subtract(name="second")([entry, first])])
