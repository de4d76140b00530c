"""Freeze: variables become constants, so that a model is one file that every TensorFlow loads."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from psdbatch.errors import ModelError
from psdbatch.models.loading import Network, is_graph, keras_network, load_network
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


def frozen_function(call: Any, signature: Any, names: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    """GraphDef of a function of one tensor, its variables turned to constants, and the names of its outputs.

    Parameters
    ----------
    call
        From a tensor to a list of tensors.
    signature
        TensorSpec; its name becomes that of the input.
    names
        Wanted for the outputs; an output whose name is not free keeps the one that TensorFlow made.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    function = tf.function(call, input_signature=[signature], autograph=False).get_concrete_function()
    # Control flow stays functional: lowered loops are what XLA refuses.
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    graph = frozen.graph.as_graph_def()
    return graph, _name_outputs(graph, [tensor.op.name for tensor in frozen.outputs], names)


def write_graph(graph: Any, path: Path) -> None:
    """Write a GraphDef; the same graph gives the same bytes."""
    path.write_bytes(graph.SerializeToString(deterministic=True))


def _name_outputs(graph: Any, final: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Give the final identities the names of the outputs, where these are free; the names that they have then."""
    if not len(names) == len(final) == len({*names}) == len({*final}):
        return tuple(final)
    taken = {node.name for node in graph.node}
    wanted = {old: new for old, new in zip(final, names, strict=True) if new not in taken}
    for node in graph.node:
        node.name = wanted.get(node.name, node.name)
        for position, name in enumerate(node.input):
            mark, base = name[: name.startswith("^")], name.lstrip("^").split(":")[0]
            if base in wanted:
                node.input[position] = mark + wanted[base] + name[len(mark) + len(base) :]
    return tuple(wanted.get(old, old) for old in final)
