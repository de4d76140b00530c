"""A model is a program: only operations that compute on tensors are run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from psdbatch.errors import ModelError
from tests.frozen_models import SAMPLES, softmax, write_graph

STATEFUL = {
    "Assert", "Case", "If", "While", "StatefulPartitionedCall", "CudnnRNN", "CudnnRNNV2", "CudnnRNNV3", "Multinomial",
    "RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal", "StatelessRandomGetAlg",
    "TensorArrayV3", "TensorArrayReadV3", "TensorArrayWriteV3", "TensorArrayGatherV3", "TensorArrayScatterV3",
    "TensorArraySizeV3", "TensorArrayCloseV3", "TensorArrayConcatV3", "TensorArraySplitV3",
}  # fmt: skip
"""Control flow, random numbers and arrays of tensors: stateful for TensorFlow, and yet nothing outside the graph."""


def read(path: Path, build: Any) -> Any:
    from psdbatch.models.frozen import read_graph

    return read_graph(write_graph(path, build))


def test_allowed_operations_exist_and_have_no_other_state() -> None:
    from tensorflow.python.framework import op_def_registry

    from psdbatch.models.operations import ALLOWED
    from psdbatch.models.quiet import tf  # noqa: F401  registers the operations

    known = {name: op_def_registry.get(name) for name in ALLOWED}
    assert {name for name, definition in known.items() if definition is None} <= {"Conv"}  # later than TensorFlow 2.14
    assert {name for name, definition in known.items() if definition is not None and definition.is_stateful} == STATEFUL


def test_no_operation_that_touches_the_world_is_allowed() -> None:
    from psdbatch.models.operations import ALLOWED

    words = ("File", "Save", "Restore", "PyFunc", "Reader", "Queue", "Iterator", "Dataset", "Print", "Summary", "Rpc", "Send",
             "Recv", "Remote", "Table", "Var", "Barrier", "Stage", "Custom", "Immutable", "Session", "Checkpoint")  # fmt: skip
    found = {name for name in ALLOWED for word in words if word in name}
    assert found == {"FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"}


@pytest.mark.parametrize(
    ("operation", "build"),
    [
        ("ReadFile", lambda tf: tf.io.read_file("/etc/passwd", name="inner/reading")),
        ("WriteFile", lambda tf: tf.io.write_file("/tmp/x", "x", name="inner/writing")),
        ("EagerPyFunc", lambda tf: tf.py_function(lambda: 1.0, [], tf.float32)),
        ("PyFunc", lambda tf: tf.compat.v1.py_func(lambda: 1.0, [], tf.float32)),
        (
            "SaveV2",
            lambda tf: tf.raw_ops.SaveV2(prefix="x", tensor_names=["a"], shape_and_slices=[""], tensors=[tf.zeros(1)]),
        ),
        (
            "RestoreV2",
            lambda tf: tf.raw_ops.RestoreV2(prefix="x", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]),
        ),
        ("MatchingFiles", lambda tf: tf.io.matching_files("/*")),
        ("PrintV2", lambda tf: tf.raw_ops.PrintV2(input="hello", output_stream="file:///tmp/x")),
        (
            "ImmutableConst",
            lambda tf: tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=[4], memory_region_name="/etc/passwd"),
        ),
        ("HashTableV2", lambda tf: tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.int64)),
    ],
)
def test_operations_that_touch_files_or_python_are_refused_by_name(tmp_path: Path, operation: str, build: Any) -> None:
    with pytest.raises(ModelError, match=rf"the operation {operation}, .*not run"):
        read(tmp_path / "model.pb", lambda tf: (softmax(tf), build(tf)))


def test_operations_hidden_in_a_function_are_refused_too(tmp_path: Path) -> None:
    def build(tf: Any) -> None:
        signal = tf.compat.v1.placeholder("float32", (None, SAMPLES), "signal")

        @tf.function
        def inner(values: Any) -> Any:
            with tf.control_dependencies([tf.io.write_file("/tmp/x", "x")]):
                return tf.identity(values)

        tf.cond(tf.reduce_sum(signal) > 0, lambda: inner(signal), lambda: signal)

    with pytest.raises(ModelError, match=r"of function '.*' is the operation WriteFile"):
        read(tmp_path / "model.pb", build)


def test_variables_left_in_the_graph_say_that_it_is_not_frozen(tmp_path: Path) -> None:
    def build(tf: Any) -> None:
        tf.compat.v1.get_variable("weights", (3, 2), use_resource=False)

    with pytest.raises(ModelError, match=r"'weights' is a variable.*not frozen"):
        read(tmp_path / "model.pb", build)
