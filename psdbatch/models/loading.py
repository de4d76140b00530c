"""Networks of every kind of file, loaded into one shape: a function from windows to outputs."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.config import ModelSource
from psdbatch.errors import ModelError
from psdbatch.models import frozen
from psdbatch.models.constants import frozen_concrete
from psdbatch.models.facts import ModelFacts
from psdbatch.models.operations import check_operations
from psdbatch.models.quiet import tf
from psdbatch.models.screening import check_keras_file, check_saved_model

_KERAS = (".keras", ".h5", ".hdf5")


@dataclass(frozen=True)
class Network:
    """A loaded network.

    Attributes
    ----------
    call
        From the input tensor to the list of outputs, in inference mode.
    names
        Names of the outputs: those of Keras layers, or those of a SavedModel's signature.
    shape, dtype
        Of the input, batch dimension first; None where a dimension is open.
    weights_digest
        SHA-256 of all weights, whatever their order and the kind of file; of a frozen graph, of its constants.
    """

    call: Callable[[Any], list[Any]]
    names: tuple[str, ...]
    shape: tuple[int | None, ...]
    dtype: str
    weights_digest: str


def is_graph(source: Path) -> bool:
    """Whether a source is read as a frozen GraphDef: whatever is no SavedModel directory and no Keras file."""
    return not source.is_dir() and source.suffix not in _KERAS


def load_network(source: Path, input_name: str | None = None, outputs: tuple[str, ...] | None = None) -> Network:
    """Load a SavedModel directory, ``.keras``, ``.h5`` of any Keras, or a frozen GraphDef.

    Parameters
    ----------
    input_name, outputs
        Tensors of a frozen graph that leaves a choice.

    Raises
    ------
    ModelError
        The source is none of these, would run code of its own, or cannot be loaded.
    """
    if not source.exists():
        raise ModelError(f"{source}: there is no such model")
    if source.is_dir():
        return _saved_network(source)
    if is_graph(source):
        return _graph_network(ModelSource(path=str(source), input=input_name, outputs=outputs))
    check_keras_file(source)
    return keras_network(_load_keras(source))


def keras_network(model: Any) -> Network:
    """A Keras 2 or 3 model with one input.

    Raises
    ------
    ModelError
        The model has several inputs.
    """
    if len(model.inputs) != 1:
        raise ModelError(f"model '{model.name}' has {len(model.inputs)} inputs; a signal is one")
    entry = model.inputs[0]
    return Network(
        call=lambda signal: list(tf.nest.flatten(model(signal, training=False))),
        names=_keras_names(model),
        shape=tuple(entry.shape),
        dtype=tf.dtypes.as_dtype(entry.dtype).name,
        weights_digest=_digest(model.get_weights()),
    )


def _keras_names(model: Any) -> tuple[str, ...]:
    """Names of a Keras model's outputs, in the order in which TensorFlow flattens them."""
    if isinstance(model, tf.keras.Sequential):  # Keras 3 does not name the outputs of these
        return (model.layers[-1].name,)
    return tuple(sorted(model.output) if isinstance(model.output, dict) else model.output_names)


def frozen_saved(source: Path) -> tuple[Any, tuple[str, ...]]:
    """GraphDef of the function that a SavedModel offers, and the names of its outputs.

    Raises
    ------
    ModelError
        The SavedModel holds an operation not allowed, cannot be loaded, or offers no function.
    """
    check_saved_model(source)
    try:
        loaded = tf.saved_model.load(str(source))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ModelError(
            f"{source}: is not a SavedModel that TensorFlow {tf.__version__} loads: {_first_line(error)}"
        ) from error
    signatures = dict(loaded.signatures)
    if not signatures:
        raise ModelError(f"{source}: the SavedModel has no signature; export it with one ('serving_default')")
    function = signatures.get("serving_default") or next(iter(signatures.values()))
    return frozen_concrete(function, tuple(sorted(function.structured_outputs)))


def _saved_network(source: Path) -> Network:
    graph, outputs = frozen_saved(source)
    check_operations(graph, source)
    facts = frozen.graph_facts(graph, ModelSource(path=str(source), outputs=outputs))
    return _network(graph, facts)


def _graph_network(source: ModelSource) -> Network:
    graph, digest = frozen.read_graph(Path(source.path))
    return _network(graph, frozen.graph_facts(graph, source, digest))


def _network(graph: Any, facts: ModelFacts) -> Network:
    """Network of a frozen graph; its weights are the constants that are no single numbers."""
    constants = (node.attr["value"].tensor for node in graph.node if node.op == "Const")
    real = (tensor for tensor in constants if tf.dtypes.as_dtype(tensor.dtype).is_floating)
    weights = _digest(tf.make_ndarray(tensor) for tensor in real if tensor.tensor_shape.dim)
    names = tuple(output.label for output in facts.outputs)
    return Network(frozen.function_of(graph, facts), names, facts.input.shape, facts.input.dtype, weights)


def _digest(arrays: Iterable[NDArray[Any]]) -> str:
    """SHA-256 of arrays in any order."""
    parts = []
    for array in arrays:
        head = f"{array.dtype} {array.shape}".encode()
        parts.append(hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).digest())
    return hashlib.sha256(b"".join(sorted(parts))).hexdigest()


def _load_keras(source: Path) -> Any:
    try:
        return tf.keras.models.load_model(source, compile=False)
    except Exception as error:  # Keras raises whatever its layers raise
        if source.suffix == ".keras":
            raise ModelError(
                f"{source}: Keras cannot load the model{_of_another_keras(source)}: {_first_line(error)}"
            ) from error
        first = error
    try:
        return _load_old_h5(source)
    except Exception as error:
        raise ModelError(
            f"{source}: Keras cannot load the model: {_first_line(first)}; nor rebuild it: {_first_line(error)}"
        ) from error


def _of_another_keras(source: Path) -> str:
    """What to do about a file that another generation of Keras wrote; nothing if it is of this one."""
    try:
        with zipfile.ZipFile(source) as archive:
            written = str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (KeyError, TypeError, ValueError):
        return ""
    if written.split(".")[0] == tf.keras.__version__.split(".")[0]:
        return ""
    return f" of Keras {written} (this is {tf.keras.__version__}; give the SavedModel instead, made by the Keras that wrote it)"


def _load_old_h5(source: Path) -> Any:
    """Rebuild a sequential model of Keras 2.0-2.2 layer by layer; Keras 3 stumbles over its configuration.

    Layout of the file: attribute ``model_config`` (JSON), group ``model_weights`` with one group per layer whose attribute
    ``weight_names`` gives the order of its arrays.
    """
    import h5py

    with h5py.File(source, "r") as file:
        config = json.loads(file.attrs["model_config"])
        if config["class_name"] != "Sequential":
            raise ValueError(f"a {config['class_name']} model of an old Keras; save it again with Keras 2.4 or later")
        layers = config["config"]["layers"] if isinstance(config["config"], dict) else config["config"]
        model = tf.keras.Sequential()
        for layer in layers:
            settings = {key: value for key, value in layer["config"].items() if key not in _FOR_TRAINING}
            if not settings.get("time_major", True):  # what Keras 3 always does
                del settings["time_major"]
            shape = settings.pop("batch_input_shape", None)
            if shape and not model.layers:
                model.add(tf.keras.layers.InputLayer(tuple(shape[1:])))
            if layer["class_name"] != "InputLayer":
                model.add(getattr(tf.keras.layers, layer["class_name"])(**settings))
        weights = file["model_weights"]
        for layer in model.layers:
            group = weights[layer.name]
            layer.set_weights([group[name][()] for name in group.attrs["weight_names"]])
    return model


_FOR_TRAINING = {
    "dtype", "trainable", "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer",
    "activity_regularizer", "kernel_constraint", "bias_constraint", "recurrent_initializer", "recurrent_regularizer",
    "recurrent_constraint", "beta_initializer", "gamma_initializer", "moving_mean_initializer",
    "moving_variance_initializer", "beta_regularizer", "gamma_regularizer", "beta_constraint", "gamma_constraint",
    "depthwise_initializer", "depthwise_regularizer", "depthwise_constraint", "implementation", "input_dtype",
}  # fmt: skip
"""Settings of a layer that do not touch what it computes from given weights; any other one must be understood."""


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]
