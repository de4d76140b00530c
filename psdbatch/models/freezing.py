"""Freeze: variables become constants, so that a model is one file that every TensorFlow loads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from psdbatch.errors import ModelError
from psdbatch.models.quiet import tf


def freeze_source(source: Path, target: Path) -> None:
    """Write the frozen graph of ``source`` to ``target``.

    Parameters
    ----------
    source
        ``.pb`` (copied), SavedModel directory, ``.keras``, or ``.h5`` of any Keras.

    Raises
    ------
    ModelError
        It is none of these, or cannot be loaded.
    """
    if not source.exists():
        raise ModelError(f"{source}: there is no such model")
    if source.is_dir():
        _freeze_saved_model(source, target)
    elif source.suffix in (".keras", ".h5", ".hdf5"):
        freeze(_load_keras(source), target)
    else:
        shutil.copyfile(source, target)


def freeze(model: Any, target: Path) -> None:
    """Write a Keras model as a frozen graph; its outputs keep the names of their layers.

    Parameters
    ----------
    model
        Keras 2 or 3 model with one input; the batch dimension stays open.
    target
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
    _write(function.get_concrete_function(), target, list(getattr(model, "output_names", [])))


def _freeze_saved_model(source: Path, target: Path) -> None:
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
    _write(function, target, sorted(function.structured_outputs))


def _write(function: Any, target: Path, names: list[str]) -> None:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Control flow stays functional: lowered loops are what XLA refuses.
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    graph = frozen.graph.as_graph_def()
    _name_outputs(graph, [tensor.op.name for tensor in frozen.outputs], names)
    target.write_bytes(graph.SerializeToString(deterministic=True))


def _name_outputs(graph: Any, final: list[str], names: list[str]) -> None:
    """Give the final identities the names of the outputs, where these are free."""
    taken = {node.name for node in graph.node}
    wanted = (
        {old: new for old, new in zip(final, names, strict=False) if new not in taken}
        if len(names) == len(final)
        else {}
    )
    for node in graph.node:
        node.name = wanted.get(node.name, node.name)
        for position, name in enumerate(node.input):
            base, *rest = name.split(":")
            if base in wanted:
                node.input[position] = ":".join([wanted[base], *rest])


def _load_keras(source: Path) -> Any:
    try:
        return tf.keras.models.load_model(source, compile=False)
    except Exception as error:  # Keras raises whatever its layers raise
        if source.suffix == ".keras":
            raise ModelError(f"{source}: Keras cannot load the model: {_first_line(error)}") from error
        first = error
    try:
        return _load_old_h5(source)
    except Exception as error:
        raise ModelError(
            f"{source}: Keras cannot load the model: {_first_line(first)}; nor rebuilt: {_first_line(error)}"
        ) from error


def _load_old_h5(source: Path) -> Any:
    """Rebuild a sequential model of Keras 2.0-2.2 layer by layer; later versions refuse its configuration."""
    import json

    import h5py

    with h5py.File(source) as file:
        config = json.loads(file.attrs["model_config"])
        layers = config["config"]["layers"] if isinstance(config["config"], dict) else config["config"]
        if config["class_name"] != "Sequential":
            raise ValueError(f"a {config['class_name']} model of an old Keras")
        model = tf.keras.Sequential()
        for layer in layers:
            if layer["class_name"] == "Lambda":
                raise ValueError("a Lambda layer holds Python code, which is not run")
            settings = dict(layer["config"])
            shape = settings.pop("batch_input_shape", None)
            if shape and not model.layers:
                model.add(tf.keras.layers.InputLayer(tuple(shape[1:])))
            known = {key: value for key, value in settings.items() if key in _KEPT}
            model.add(getattr(tf.keras.layers, layer["class_name"])(**known))
        weights = file["model_weights"]
        for layer in model.layers:
            group = weights[layer.name]
            layer.set_weights([group[name][()] for name in group.attrs["weight_names"]])
    return model


_KEPT = {
    "name", "units", "activation", "use_bias", "rate", "filters", "kernel_size", "strides", "padding", "pool_size",
    "target_shape", "axis", "epsilon", "momentum", "return_sequences", "go_backwards", "recurrent_activation",
}  # fmt: skip
"""Settings of a layer that shape its computation; the rest (initialisers, constraints) matter for training alone."""


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
