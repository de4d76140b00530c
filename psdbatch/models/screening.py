"""Looks at SavedModels and Keras files before TensorFlow loads them, because loading may run what they hold."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from psdbatch.errors import ModelError
from psdbatch.models.operations import ALLOWED, VARIABLES, check_nodes

_SAVING = frozenset(
    [
        "MergeV2Checkpoints",
        "RestoreV2",
        "SaveV2",
        "ShardedFilename",
        "StaticRegexFullMatch",
        "StringJoin",
        "RegexFullMatch",
    ]
)
"""Every SavedModel brings these for its variables; allowed only where loading does not call them by itself."""

_CODE = frozenset(
    [
        "Lambda",
        "TorchModuleWrapper",
        "JaxLayer",
        "FlaxLayer",
        "TFSMLayer",
        "StringLookup",
        "IntegerLookup",
        "TextVectorization",
    ]
)
"""Layers of Keras that run code or open files of the model's choice."""


def check_saved_model(directory: Path) -> None:
    """Refuse a SavedModel whose loading or signatures would run an operation not allowed.

    A model of TensorFlow 2 runs functions of its object graph; one of TensorFlow 1 its main graph, and an initialisation
    at loading.

    Raises
    ------
    ModelError
        Names the operation, or says that there is no SavedModel.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        model = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    except OSError as error:
        raise ModelError(f"{directory}: is not a SavedModel: saved_model.pb: {error.strerror}") from error
    except DecodeError as error:
        raise ModelError(f"{directory}: saved_model.pb is damaged ({error})") from error
    for graph in model.meta_graphs:
        functions = {function.signature.name: function.node_def for function in graph.graph_def.library.function}
        allowed = ALLOWED | VARIABLES | functions.keys()
        called = set(graph.object_graph_def.concrete_functions)
        if not called:
            check_nodes(graph.graph_def.node, allowed | _SAVING, directory)
            initial = _upstream(graph.graph_def.node, _initialisers(graph))
            check_nodes(initial, allowed, directory, " of the initialisation")
            called = set(_calls(graph.graph_def.node))
        for name in _closure(called, functions):
            check_nodes(functions[name], allowed, directory, f" of function '{name}'")


def check_keras_file(path: Path) -> None:
    """Refuse a ``.keras`` or HDF5 model with layers that bring Python code or name files to open.

    Raises
    ------
    ModelError
        Names the layer, or says that the file is damaged.
    """
    for entry in _entries(_keras_config(path)):
        kind, module = str(entry.get("class_name")), str(entry.get("module") or "keras")
        if kind in _CODE or kind == "__lambda__":
            raise ModelError(f"{path}: holds a {kind}, which may run Python code or open files; it is not loaded")
        if module.split(".")[0] not in ("keras", "builtins"):
            raise ModelError(
                f"{path}: layer '{kind}' comes from the Python module '{module}', which is not loaded; "
                "export the model as SavedModel or freeze it"
            )


def _keras_config(path: Path) -> Any:
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.read("config.json"))
        import h5py

        with h5py.File(path, "r") as file:
            return json.loads(file.attrs["model_config"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: is not a whole Keras model, or is damaged ({error})") from error


def _entries(config: Any) -> Iterator[Mapping[str, Any]]:
    """All dictionaries in a configuration that name a class."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        config = list(config.values())
    if isinstance(config, list):
        for part in config:
            yield from _entries(part)


def _initialisers(graph: Any) -> set[str]:
    names = {info.name for info in graph.signature_def["__saved_model_init_op"].outputs.values()}
    for key in ("saved_model_main_op", "legacy_init_op", "saved_model_initializers"):
        if key in graph.collection_def:
            names.update(graph.collection_def[key].node_list.value)
    return names


def _upstream(nodes: Iterable[Any], names: set[str]) -> list[Any]:
    known = {node.name: node for node in nodes}
    found: dict[str, Any] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lstrip("^").split(":")[0]
        if name in known and name not in found:
            found[name] = known[name]
            waiting += known[name].input
    return list(found.values())


def _calls(nodes: Iterable[Any]) -> Iterator[str]:
    for node in nodes:
        yield node.op
        for value in node.attr.values():
            yield from (function.name for function in (value.func, *value.list.func) if function.name)


def _closure(called: set[str], functions: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    waiting = called & functions.keys()
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= (set(_calls(functions[name])) & functions.keys()) - found
    return found
