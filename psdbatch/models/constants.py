"""Variables become constants: from functions of TensorFlow to GraphDefs that hold everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from psdbatch.models.quiet import tf


def frozen_function(
    call: Callable[[Any], list[Any]], signature: Any, names: Sequence[str]
) -> tuple[Any, tuple[str, ...]]:
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
    function = tf.function(call, input_signature=[signature], autograph=False).get_concrete_function()
    return frozen_concrete(function, names)


def frozen_concrete(function: Any, names: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    """As :func:`frozen_function`, for a concrete function as it is; variables of TensorFlow 1 cannot be called from another."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

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
