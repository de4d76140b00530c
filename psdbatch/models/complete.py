"""Frozen graphs with a card, and with the preparation inside: raw ADC samples in, answers out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.errors import ModelError
from psdbatch.models.card import ModelCard, add_card
from psdbatch.models.constants import frozen_function, write_graph
from psdbatch.models.freezing import frozen_graph
from psdbatch.models.loading import Network, keras_network
from psdbatch.models.operations import check_operations
from psdbatch.models.preparation import model_input, pulses
from psdbatch.models.quiet import tf

INPUT = "signal"


def freeze_complete(model: Any, path: Path, card: ModelCard) -> ModelCard:
    """Write a Keras model as a frozen graph that takes raw signals, with its card.

    Parameters
    ----------
    model
        Keras 2 or 3 model whose input is a prepared window.
    path
        ``.pb`` file.  Its graph has the input ``signal``, ``(None, card.samples)`` of ``card.sample_dtype``, and outputs
        named as the layers.
    card
        Its ``complete``, ``outputs`` and ``weights_digest`` are filled in here.

    Returns
    -------
    ModelCard
        The card as written.

    Raises
    ------
    ModelError
        The model and the card do not fit.
    """
    return write_complete(keras_network(model), path, card)


def write_complete(network: Network, path: Path, card: ModelCard) -> ModelCard:
    """As :func:`freeze_complete`, for a network from any file."""
    check_fit(network, card, path)
    signature = tf.TensorSpec((None, card.samples), card.sample_dtype, name=INPUT)
    graph, outputs = frozen_function(complete_function(network, card), signature, network.names)
    card = replace(card, complete=True, outputs=outputs, weights_digest=network.weights_digest)
    _write(graph, path, card)
    return card


def write_bare(network: Network, path: Path, card: ModelCard) -> ModelCard:
    """Write a network without preparation, its card telling how signals are to be prepared; the card as written."""
    check_fit(network, card, path)
    graph, outputs = frozen_graph(network)
    card = replace(
        card,
        complete=False,
        samples=card.window,
        sample_dtype=network.dtype,
        outputs=outputs,
        weights_digest=network.weights_digest,
    )
    _write(graph, path, card)
    return card


def complete_function(network: Network, card: ModelCard) -> Callable[[Any], list[Any]]:
    """From raw signals, ``(batch, card.samples)``, to the network's outputs; not yet compiled or frozen."""
    row = [1 if size == 1 else card.window for size in network.shape[1:]]

    def call(raw: Any) -> list[Any]:
        window = raw
        if card.preparation.enabled:
            window = model_input(pulses(raw, card.signals), card.preparation, card.window)
        return network.call(tf.reshape(tf.cast(window, network.dtype), [-1, *row]))

    return call


def check_fit(network: Network, card: ModelCard, path: Path) -> None:
    """Refuse a card that says something else than the network.

    Raises
    ------
    ModelError
        Names both values.
    """
    sizes = [size for size in network.shape[1:] if size != 1]
    if len(sizes) > 1:
        raise ModelError(
            f"{path}: the network's input has shape {network.shape}; a signal is one row of samples: (batch, samples), "
            "(batch, samples, 1) or (batch, 1, samples)"
        )
    taken = sizes[0] if sizes else 1
    if taken is not None and taken != card.window:
        what = "'preparation.length' is" if card.preparation.enabled else "without preparation it would get"
        raise ModelError(f"{path}: the network takes {taken} samples, but {what} {card.window}")
    if card.preparation.enabled and card.window > card.samples:
        raise ModelError(
            f"{path}: the network takes {card.window} samples, the raw signals have only {card.samples}; "
            "a window cannot be longer than the signal"
        )
    if not np.issubdtype(np.dtype(card.sample_dtype), np.number):
        raise ModelError(f"{path}: raw samples of '{card.sample_dtype}' are no numbers")
    kind = np.dtype(card.sample_dtype)
    if np.issubdtype(kind, np.integer) and 2**card.signals.adc_bits - 1 > np.iinfo(kind).max:
        raise ModelError(
            f"{path}: samples of {card.signals.adc_bits} bits do not fit into {kind}; give another sample dtype"
        )


def _write(graph: Any, path: Path, card: ModelCard) -> None:
    check_operations(graph, path)
    add_card(graph, card)
    write_graph(graph, path)
