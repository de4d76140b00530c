"""Frozen graphs: read, find inputs and outputs, make callable."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from psdbatch.config import ModelSource
from psdbatch.errors import ModelError
from psdbatch.models.card import card_of
from psdbatch.models.facts import ModelFacts, TensorFacts
from psdbatch.models.operations import check_operations
from psdbatch.models.quiet import tf
from psdbatch.wording import nearest

_PLACEHOLDERS = ("Placeholder", "PlaceholderWithDefault")
_PASSING = {"Identity", "IdentityN", "StopGradient", "EnsureShape", "Reshape"}


def read_graph(path: Path, named: str | None = None) -> tuple[Any, str]:
    """GraphDef of a ``.pb`` file, its operations checked, and the SHA-256 of the file.

    Parameters
    ----------
    named
        What the user calls the file, where ``path`` is a copy of it; messages say that.

    Raises
    ------
    ModelError
        The file is empty, damaged, or no GraphDef; or the graph holds variables or an operation not allowed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: the model cannot be read: {error.strerror}") from error
    named = named or str(path)
    if not content:
        raise ModelError(f"{named}: the file is empty")
    try:
        graph = tf.compat.v1.GraphDef.FromString(content)
    except DecodeError as error:
        raise ModelError(f"{named}: is not a frozen GraphDef, or is damaged ({error})") from error
    if not graph.node or not all(node.op for node in graph.node):
        raise ModelError(
            f"{named}: holds no graph; is it a SavedModel's saved_model.pb? Then name its directory instead"
        )
    check_operations(graph, named)
    for node in graph.node:  # where it was trained says nothing about where it runs
        node.device = ""
    return graph, hashlib.sha256(content).hexdigest()


def describe_graph(path: Path, source: ModelSource, source_digest: str) -> ModelFacts:
    """Facts of a frozen graph.

    Raises
    ------
    ModelError
        Input or outputs cannot be found, or the graph cannot be loaded.
    """
    graph, digest = read_graph(path, source.path)
    return replace(graph_facts(graph, source, digest), path=str(path.absolute()), source_digest=source_digest)


def graph_facts(graph: Any, source: ModelSource, digest: str = "") -> ModelFacts:
    """Facts of a GraphDef in memory; ``path`` is that of the source.

    Raises
    ------
    ModelError
        As :func:`describe_graph`.
    """
    imported = _imported(graph, source.path)
    entry = _input(imported, source)
    entry_facts = _input_facts(entry, source.path)
    outputs = _named(imported, source) if source.outputs else _final_tensors(entry, source.path)
    _check_needs(entry, outputs, source.path)
    return ModelFacts(
        path=source.path,
        digest=digest,
        source=source.path,
        source_digest=digest,
        input=entry_facts,
        outputs=tuple(_output_facts(tensor, source.path) for tensor in outputs),
        operations=dict(sorted(Counter(node.op for node in graph.node).items())),
        parameters=sum(_floats(node) for node in graph.node if node.op == "Const"),
        card=card_of(graph, source.path),
    )


def load(facts: ModelFacts) -> Callable[[Any], list[Any]]:
    """The graph as a function from the input tensor to the list of output tensors.

    Raises
    ------
    ModelError
        The file is not the one that was described.
    """
    path = Path(facts.path)
    graph, digest = read_graph(path)
    if digest != facts.digest:
        raise ModelError(f"{path}: is not the model that the campaign was planned with (other digest)")
    return function_of(graph, facts)


def function_of(graph: Any, facts: ModelFacts) -> Callable[[Any], list[Any]]:
    """A GraphDef as a function from the input tensor to the list of output tensors."""
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    find = wrapped.graph.as_graph_element
    pruned = wrapped.prune(find(facts.input.name), [find(output.name) for output in facts.outputs])

    def call(batch: Any) -> list[Any]:
        return list(pruned(batch))

    return call


def _imported(graph: Any, path: str) -> Any:
    with tf.Graph().as_default() as imported:
        try:
            tf.graph_util.import_graph_def(graph, name="")
        except (ValueError, tf.errors.OpError) as error:
            raise ModelError(
                f"{path}: TensorFlow {tf.__version__} cannot load the graph: {_first_line(error)}"
            ) from error
    return imported


def _input(graph: Any, source: ModelSource) -> Any:
    if source.input is not None:
        return _tensor(graph, source.input, "input", source.path)
    candidates = [operation.outputs[0] for operation in graph.get_operations() if operation.type == "Placeholder"]
    signals = [tensor for tensor in candidates if _is_number(tensor) and tensor.shape.rank != 0]
    if len(signals) == 1:
        return signals[0]
    if not candidates:
        raise ModelError(f"{source.path}: the graph has no placeholder, so nothing can go in")
    listed = ", ".join(f"'{tensor.name}' ({tensor.dtype.name}, {tensor.shape})" for tensor in candidates)
    what = "several placeholders" if signals else "no placeholder for numbers"
    raise ModelError(f"{source.path}: the graph has {what}: {listed}; name one with 'input'")


def _named(graph: Any, source: ModelSource) -> list[Any]:
    return [_tensor(graph, name, "outputs", source.path) for name in source.outputs or ()]


def _tensor(graph: Any, name: str, key: str, path: str) -> Any:
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError):
        known = [operation.name for operation in graph.get_operations()]
        placeholders = [entry.name for entry in graph.get_operations() if entry.type in _PLACEHOLDERS]
        raise ModelError(
            f"{path}: '{key}' names '{name}', which is not in the graph{nearest(name, known)}"
            f"; its placeholders: {', '.join(placeholders) or 'none'}"
        ) from None


def _final_tensors(entry: Any, path: str) -> list[Any]:
    """Tensors made from the input that nobody uses, one row per signal."""
    unused = []
    for operation in _reached(
        [entry.op], lambda operation: [user for made in operation.outputs for user in made.consumers()]
    ):
        if operation is not entry.op and not any(made.consumers() for made in operation.outputs):
            unused += operation.outputs
    order = {operation.name: number for number, operation in enumerate(entry.graph.get_operations())}
    unused.sort(key=lambda tensor: (order[tensor.op.name], tensor.value_index))
    final = [tensor for tensor in unused if _is_number(tensor) and _rows_are_open(tensor)]
    if not final:
        found = ", ".join(f"'{tensor.name}' {tensor.shape}" for tensor in unused) or "none"
        raise ModelError(
            f"{path}: the graph has no output with one row per signal; tensors at its end: {found}; "
            "name the right ones with 'outputs'"
        )
    return final


def _check_needs(entry: Any, outputs: Iterable[Any], path: str) -> None:
    """The outputs must follow from this one input."""

    def sources(operation: Any) -> list[Any]:
        fed = operation is entry.op
        return [] if fed else [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]

    for output in outputs:
        needed = _reached([output.op], sources)
        others = [op.name for op in needed if op.type == "Placeholder" and op is not entry.op]
        if others:
            raise ModelError(
                f"{path}: output '{output.name}' needs the placeholder '{others[0]}' besides the signals ('{entry.name}'); "
                "freeze the model with a fixed value for it"
            )
        if entry.op not in needed:
            raise ModelError(f"{path}: output '{output.name}' does not depend on the input '{entry.name}'")


def _reached(start: list[Any], following: Callable[[Any], list[Any]]) -> set[Any]:
    found, waiting = set(start), list(start)
    while waiting:
        new = [operation for operation in following(waiting.pop()) if operation not in found]
        found.update(new)
        waiting += new
    return found


def _input_facts(tensor: Any, path: str) -> TensorFacts:
    if not _is_number(tensor):
        raise ModelError(f"{path}: input '{tensor.name}' takes {tensor.dtype.name}; samples are numbers")
    if tensor.shape.rank is None:  # TensorFlow 1 let one leave it open
        return TensorFacts(tensor.name, tensor.dtype.name, (None, None), tensor.op.type)
    shape = tuple(tensor.shape.as_list())
    if len(shape) < 2 or shape[0] is not None:
        raise ModelError(
            f"{path}: input '{tensor.name}' has shape {shape}; its first dimension must be an open batch dimension: "
            "freeze the model with shape (None, samples)"
        )
    return TensorFacts(tensor.name, tensor.dtype.name, shape, tensor.op.type)


def _output_facts(tensor: Any, path: str) -> TensorFacts:
    if not _is_number(tensor):
        raise ModelError(f"{path}: output '{tensor.name}' is of type {tensor.dtype.name}; columns hold numbers")
    if tensor.shape.rank is None:
        raise ModelError(f"{path}: output '{tensor.name}' has no known rank; freeze the model with a fixed input shape")
    if not _rows_are_open(tensor):
        raise ModelError(f"{path}: output '{tensor.name}' has shape {tensor.shape}, not one row per signal")
    maker = tensor.op
    while maker.type in _PASSING and maker.inputs:
        maker = maker.inputs[0].op
    return TensorFacts(tensor.name, tensor.dtype.name, tuple(tensor.shape.as_list()), maker.type)


def _is_number(tensor: Any) -> bool:
    return bool(tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_complex or tensor.dtype.is_bool)


def _rows_are_open(tensor: Any) -> bool:
    return tensor.shape.rank is None or (tensor.shape.rank > 0 and tensor.shape[0] is None)


def _floats(node: Any) -> int:
    tensor = node.attr["value"].tensor
    if not tf.dtypes.as_dtype(tensor.dtype).is_floating:
        return 0
    return int(np.prod([dim.size for dim in tensor.tensor_shape.dim], dtype=np.int64))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
