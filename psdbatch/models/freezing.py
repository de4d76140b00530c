"""Freeze: variables become constants, so that a model is one file that every TensorFlow loads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from psdbatch.errors import ModelError
from psdbatch.models.constants import frozen_function, write_graph
from psdbatch.models.loading import Network, frozen_saved, is_graph, keras_network, load_network
from psdbatch.models.quiet import tf


def freeze_source(source: Path, directory: Path) -> Path:
    """Write the frozen graph of ``source`` to ``directory/model.pb``.

    Parameters
    ----------
    source
        ``.pb`` (copied), SavedModel directory, ``.keras``, or ``.h5`` of any Keras.

    Returns
    -------
    Path
        The frozen graph; it is complete when it appears under this name.

    Raises
    ------
    ModelError
        The source is none of these, would run code of its own, or cannot be loaded.
    """
    if not source.exists():
        raise ModelError(f"{source}: there is no such model")
    frozen = directory / "model.pb"
    partial = directory / "model.pb.partial"
    if is_graph(source):
        shutil.copyfile(source, partial)
    elif source.is_dir():
        write_graph(frozen_saved(source)[0], partial)
    else:
        write_graph(frozen_graph(load_network(source))[0], partial)
    partial.replace(frozen)
    return frozen


def freeze(model: Any, path: Path) -> None:
    """Write a Keras model as a frozen graph; its outputs keep the names of their layers.

    Parameters
    ----------
    model
        Keras 2 or 3 model with one input; the batch dimension stays open.
    path
        ``.pb`` file.

    Raises
    ------
    ModelError
        The model has several inputs.
    """
    write_graph(frozen_graph(keras_network(model))[0], path)


def frozen_graph(network: Network) -> tuple[Any, tuple[str, ...]]:
    """GraphDef of the network alone, with the input ``signal``, and the names of its outputs."""
    signature = tf.TensorSpec((None, *network.shape[1:]), network.dtype, name="signal")
    return frozen_function(network.call, signature, network.names)
