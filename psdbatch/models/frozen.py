"""Frozen graphs: read, find inputs and outputs, make callable."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from psdbatch.config import ModelSource
from psdbatch.errors import ModelError
from psdbatch.models.facts import ModelFacts, TensorFacts
from psdbatch.models.operations import check_operations
from psdbatch.models.quiet import tf
from psdbatch.wording import nearest

_NO_OUTPUT = {"NoOp", "Assert", "Const", "Placeholder", "PlaceholderWithDefault", "ControlTrigger"}
_PASSING = {"Identity", "IdentityN", "StopGradient", "EnsureShape", "Reshape"}


def read_graph(path: Path) -> Any:
    """GraphDef of a ``.pb`` file, its operations checked.

    Raises
    ------
    ModelError
        The file is empty, damaged, or no GraphDef; or the graph holds variables or an operation not allowed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: the model cannot be read: {error.strerror}") from error
    if not content:
        raise ModelError(f"{path}: the file is empty")
    try:
        graph = tf.compat.v1.GraphDef.FromString(content)
    except DecodeError as error:
        raise ModelError(f"{path}: is not a frozen GraphDef, or is damaged ({error})") from error
    if not graph.node or not all(node.op for node in graph.node):
        raise ModelError(
            f"{path}: holds no graph; is it a SavedModel's saved_model.pb? Then name its directory instead"
        )
    check_operations(graph, path)
    return graph


def describe_graph(path: Path, source: ModelSource) -> ModelFacts:
    """Facts of a frozen graph.

    Raises
    ------
    ModelError
        Input or outputs cannot be found, or the graph cannot be loaded.
    """
    graph = read_graph(path)
    nodes = {node.name: node for node in graph.node}
    input_name = _input_name(nodes, source)
    names = list(source.outputs) if source.outputs else _final_tensors(graph)
    tensors = _tensors(graph, [input_name, *names], source.path)
    return ModelFacts(
        path=str(path),
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        source=source.path,
        input=_facts(tensors[0], nodes),
        outputs=tuple(_facts(tensor, nodes) for tensor in tensors[1:]),
        operations=dict(sorted(Counter(node.op for node in graph.node).items())),
        parameters=sum(_floats(node) for node in graph.node if node.op == "Const"),
    )


def load(facts: ModelFacts) -> Callable[[Any], list[Any]]:
    """The graph as a function from the input tensor to the list of output tensors.

    Raises
    ------
    ModelError
        The file is not the one that was described.
    """
    path = Path(facts.path)
    graph = read_graph(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != facts.digest:
        raise ModelError(f"{path}: is not the model that the campaign was planned with (other digest)")
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    find = wrapped.graph.as_graph_element
    pruned = wrapped.prune(find(facts.input.name), [find(output.name) for output in facts.outputs])

    def call(batch: Any) -> list[Any]:
        return list(pruned(batch))

    return call


def _input_name(nodes: dict[str, Any], source: ModelSource) -> str:
    placeholders = [name for name, node in nodes.items() if node.op == "Placeholder"]
    if source.input is not None:
        if source.input.split(":")[0] not in nodes:
            raise ModelError(
                f"{source.path}: 'model.input' names '{source.input}', which is not in the graph"
                f"{nearest(source.input, nodes)}; placeholders: {', '.join(placeholders) or 'none'}"
            )
        return _tensor_name(source.input)
    if len(placeholders) == 1:
        return _tensor_name(placeholders[0])
    what = "has no placeholder, so nothing can go in" if not placeholders else "has several placeholders"
    candidates = f": {', '.join(placeholders)}; name one with 'input = ...' in [model]" if placeholders else ""
    raise ModelError(f"{source.path}: the graph {what}{candidates}")


def _final_tensors(graph: Any) -> list[str]:
    used = {name.lstrip("^").split(":")[0] for node in graph.node for name in node.input}
    final = [f"{node.name}:0" for node in graph.node if node.name not in used and node.op not in _NO_OUTPUT]
    if not final:
        raise ModelError("the graph has no output: every tensor is used by another node")
    return final


def _tensors(graph: Any, names: Iterable[str], path: str) -> list[Any]:
    with tf.Graph().as_default() as imported:
        try:
            tf.graph_util.import_graph_def(graph, name="")
        except (ValueError, tf.errors.OpError) as error:
            raise ModelError(
                f"{path}: TensorFlow {tf.__version__} cannot load the graph: {_first_line(error)}"
            ) from error
        tensors = []
        for name in names:
            try:
                tensors.append(imported.get_tensor_by_name(_tensor_name(name)))
            except (KeyError, ValueError):
                known = [operation.name for operation in imported.get_operations()]
                raise ModelError(f"{path}: there is no tensor '{name}' in the graph{nearest(name, known)}") from None
        return tensors


def _facts(tensor: Any, nodes: dict[str, Any]) -> TensorFacts:
    if tensor.shape.rank is None:
        raise ModelError(
            f"tensor '{tensor.name}' of the model has no known rank; freeze the model with a fixed input shape"
        )
    return TensorFacts(tensor.name, tensor.dtype.name, tuple(tensor.shape.as_list()), _maker(tensor.op.name, nodes))


def _maker(name: str, nodes: dict[str, Any]) -> str:
    node = nodes[name]
    while node.op in _PASSING and node.input:
        node = nodes[node.input[0].lstrip("^").split(":")[0]]
    return str(node.op)


def _floats(node: Any) -> int:
    tensor = node.attr["value"].tensor
    if not tf.dtypes.as_dtype(tensor.dtype).is_floating:
        return 0
    return int(np.prod([dim.size for dim in tensor.tensor_shape.dim], dtype=np.int64))


def _tensor_name(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
