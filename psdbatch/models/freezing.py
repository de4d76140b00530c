"""Freeze: variables become constants, so that a model is one file that every TensorFlow loads."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from psdbatch.errors import ModelError
from psdbatch.models.quiet import tf
from psdbatch.models.screening import check_keras_file, check_saved_model

_KERAS = (".keras", ".h5", ".hdf5")


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
    if source.is_dir():
        _freeze_saved_model(source, partial)
    elif source.suffix in _KERAS:
        check_keras_file(source)
        freeze(_load_keras(source), partial)
    else:
        shutil.copyfile(source, partial)
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
    if len(model.inputs) != 1:
        raise ModelError(f"model '{model.name}' has {len(model.inputs)} inputs; a signal is one")
    entry = model.inputs[0]
    signature = tf.TensorSpec((None, *entry.shape[1:]), entry.dtype, name="signal")
    function = tf.function(lambda signal: model(signal, training=False), input_signature=[signature])
    sequential = isinstance(model, tf.keras.Sequential)  # Keras 3 does not name the outputs of these
    _write(function.get_concrete_function(), path, [model.layers[-1].name] if sequential else model.output_names)


def _freeze_saved_model(source: Path, path: Path) -> None:
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
    _write(function, path, sorted(function.structured_outputs))


def _write(function: Any, path: Path, names: Sequence[str]) -> None:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Control flow stays functional: lowered loops are what XLA refuses.
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    graph = frozen.graph.as_graph_def()
    _name_outputs(graph, [tensor.op.name for tensor in frozen.outputs], names)
    path.write_bytes(graph.SerializeToString(deterministic=True))


def _name_outputs(graph: Any, final: Sequence[str], names: Sequence[str]) -> None:
    """Give the final identities the names of the outputs, where these are free."""
    if not len(names) == len(final) == len({*names}) == len({*final}):
        return
    taken = {node.name for node in graph.node}
    wanted = {old: new for old, new in zip(final, names, strict=True) if new not in taken}
    for node in graph.node:
        node.name = wanted.get(node.name, node.name)
        for position, name in enumerate(node.input):
            mark, base = name[: name.startswith("^")], name.lstrip("^").split(":")[0]
            if base in wanted:
                node.input[position] = mark + wanted[base] + name[len(mark) + len(base) :]


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
