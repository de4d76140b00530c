"""Variational auto-encoder: independent numbers in the bottleneck, and signals made from such numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.models.quiet import tf
from psdbatch.networks.values import Count

_CARRIES = 0.1
"""Variance of a bottleneck's number over the signals, from which on it carries something; the prior has 1."""


def variational(samples: int = 75, bottleneck: Count = 4, hidden: tuple[Count, ...] = (64, 32)) -> Any:
    """Variational auto-encoder (Kingma and Welling, 2014).

    Outputs ``reconstruction`` ``(samples,)`` from the means, ``mean`` and ``log_variance``, both ``(bottleneck,)``.  Chance
    enters in the training alone (:func:`psdbatch.networks.task.variational`).

    Parameters
    ----------
    samples
        Prepared samples of a signal.
    bottleneck
        Numbers between encoder and decoder.
    hidden
        Units of the encoder's layers; the decoder's are their mirror image.
    """
    layers = tf.keras.layers
    entry = tf.keras.Input((samples,), name="signal")
    layer = entry
    for units in hidden:
        layer = layers.Dense(units, activation="relu")(layer)
    mean = layers.Dense(bottleneck, name="mean")(layer)
    log_variance = layers.Dense(bottleneck, name="log_variance")(layer)
    decoder = [tf.keras.Input((bottleneck,))]
    decoder += [layers.Dense(units, activation="relu") for units in reversed(hidden)]
    decoder.append(layers.Dense(samples))
    signal = tf.keras.Sequential(decoder, name="decoder")(mean)
    return tf.keras.Model(entry, [layers.Reshape((samples,), name="reconstruction")(signal), mean, log_variance])


def generator(model: Any) -> Any:
    """The decoder as a model of its own, from ``bottleneck`` numbers to a prepared signal; it freezes like any other.

    Parameters
    ----------
    model
        A model with a layer ``decoder``: a variational auto-encoder, or another one of the collection.
    """
    decoder = model.get_layer("decoder")
    numbers = tf.keras.Input(decoder.inputs[0].shape[1:], name="numbers")
    signal = decoder(numbers)
    return tf.keras.Model(numbers, tf.keras.layers.Reshape((signal.shape[1],), name="generated")(signal))


def generate_signals(model: Any, count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Signals that a variational auto-encoder makes from independent normal numbers.

    Returns
    -------
    signals
        Prepared signals, ``(count, samples)``.
    numbers
        What they were made from, ``(count, bottleneck)``.
    """
    network = generator(model)
    numbers = np.random.default_rng(seed).standard_normal((count, network.inputs[0].shape[1]), np.float32)
    return network(tf.constant(numbers), training=False).numpy(), numbers


def bottleneck_correlation(mean: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """How far the numbers of a bottleneck depend linearly on one another.

    Parameters
    ----------
    mean
        Bottleneck of many signals, ``(n, bottleneck)``.

    Returns
    -------
    correlation
        Pearson's coefficients of the numbers that carry something, ``(k, k)``.
    carries
        Which ones these are, ``(bottleneck,)``; the others hardly vary from signal to signal.
    """
    carries = mean.var(axis=0) > _CARRIES
    return np.atleast_2d(np.corrcoef(mean[:, carries], rowvar=False)), carries
