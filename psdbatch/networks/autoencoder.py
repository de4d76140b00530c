"""Convolutional auto-encoders: compression, and quality from what cannot be reconstructed."""

from __future__ import annotations

from typing import Any

from psdbatch.models.quiet import tf
from psdbatch.networks.values import Count, Filters


def autoencoder(samples: int = 75, bottleneck: Count = 8, filters: Filters = (8, 16), kernel: Count = 5) -> Any:
    """Auto-encoder for compression; outputs ``reconstruction`` ``(samples,)`` and ``code`` ``(bottleneck,)``.

    Parameters
    ----------
    samples
        Prepared samples of a signal.
    bottleneck
        Numbers that a signal is compressed to; the compression is ``samples / bottleneck``.
    filters
        Filters of the encoder's layers, each of which halves the signal; the decoder's are their mirror image.
    kernel
        Samples that a filter spans.
    """
    entry = tf.keras.Input((samples,), name="signal")
    code = tf.keras.layers.Dense(bottleneck, name="code")(encoded(entry, filters, kernel))
    return tf.keras.Model(entry, [reconstructed(code, samples, filters, kernel), code])


def monitor(samples: int = 75, bottleneck: Count = 4, filters: Filters = (8, 16), kernel: Count = 5) -> Any:
    """Quality monitor: an auto-encoder that also answers how badly it reconstructs each signal.

    Outputs ``reconstruction`` ``(samples,)`` and ``residual`` ``()``, the mean square of what is left, in squares of the
    amplitude.  Signals unlike those of the training - piled up, cut off, from a dying detector - have a large residual.

    Parameters
    ----------
    samples, bottleneck, filters, kernel
        As :func:`autoencoder`; a narrow bottleneck leaves no room for what is rare.
    """
    entry = tf.keras.Input((samples,), name="signal")
    code = tf.keras.layers.Dense(bottleneck, name="code")(encoded(entry, filters, kernel))
    again = reconstructed(code, samples, filters, kernel)
    left = tf.keras.layers.Subtract()([entry, again])
    # Layers, not operations: a .keras file holds layers only, and none that brings code of its own is loaded.
    square = tf.keras.layers.Dot(axes=1)([left, left])
    mean = tf.keras.layers.Rescaling(1.0 / samples)(square)
    return tf.keras.Model(entry, [again, tf.keras.layers.Reshape((), name="residual")(mean)])


def encoded(signal: Any, filters: tuple[int, ...], kernel: int) -> Any:
    """Convolutions, each of which halves the signal; a row of numbers per signal."""
    layer = tf.keras.layers.Reshape((signal.shape[1], 1))(signal)
    for count in filters:
        layer = tf.keras.layers.Conv1D(count, kernel, strides=2, padding="same", activation="relu")(layer)
    return tf.keras.layers.Flatten()(layer)


def reconstructed(code: Any, samples: int, filters: tuple[int, ...], kernel: int) -> Any:
    """The signal from its code, layer ``reconstruction``; all between them is the model ``decoder``."""
    signal = convolutional_decoder(code.shape[1], samples, filters, kernel)(code)
    return tf.keras.layers.Reshape((samples,), name="reconstruction")(signal)


def convolutional_decoder(bottleneck: int, samples: int, filters: tuple[int, ...], kernel: int) -> Any:
    """From ``(bottleneck,)`` to ``(samples,)``.

    Samples are repeated and then filtered, rather than spread by a transposed convolution, whose filters overlap unevenly.
    """
    layers = tf.keras.layers
    short = -(-samples // 2 ** len(filters))
    decoder = [
        tf.keras.Input((bottleneck,)),
        layers.Dense(short * filters[-1], activation="relu"),
        layers.Reshape((short, filters[-1])),
    ]
    for count in reversed(filters):
        decoder += [layers.UpSampling1D(2), layers.Conv1D(count, kernel, padding="same", activation="relu")]
    decoder += [
        layers.Conv1D(1, kernel, padding="same"),
        layers.Cropping1D((0, short * 2 ** len(filters) - samples)),
        layers.Reshape((samples,)),
    ]
    return tf.keras.Sequential(decoder, name="decoder")
