"""Frozen graphs: inputs and outputs are found; what is no model, or more than one, is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.config import ModelSource
from psdbatch.errors import ModelError
from psdbatch.models.facts import ModelFacts
from tests.frozen_models import HIDDEN, LAST, SAMPLES, expected_probability, several, sigmoid, softmax, write_graph

V1 = "tf.compat.v1"


def describe(path: Path, build: Any, **source: Any) -> ModelFacts:
    from psdbatch.models.frozen import describe_graph

    return describe_graph(write_graph(path, build), ModelSource(path=str(path), **source), "0")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pb"


def test_input_outputs_and_parameters_are_found(path: Path) -> None:
    facts = describe(path, softmax)
    assert (facts.input.name, facts.input.dtype, facts.input.shape) == ("signal:0", "float32", (None, SAMPLES))
    (output,) = facts.outputs
    assert (output.name, output.shape, output.operation) == ("output_layer:0", (None, 2), "Softmax")
    assert facts.operations["MatMul"] == 2
    assert facts.parameters == HIDDEN.size + 2 * len(LAST)
    assert len(facts.digest) == 64


def test_every_final_tensor_is_an_output_in_the_order_of_the_graph(path: Path) -> None:
    facts = describe(path, several)
    assert [(output.name, output.dtype, output.shape) for output in facts.outputs] == [
        ("output_layer:0", "float32", (None, 3)),
        ("decoder/Again:0", "float32", (None, SAMPLES, 1)),
        ("brightest:0", "int32", (None,)),
    ]


def test_all_numbers_of_an_operation_with_several_outputs_are_outputs(path: Path) -> None:
    facts = describe(path, lambda tf: tf.nn.moments(softmax(tf), axes=[1]) and tf.split(softmax_of(tf), 2, axis=1))
    assert {"split:0", "split:1"} <= {output.name for output in facts.outputs}


def softmax_of(tf: Any) -> Any:
    return tf.compat.v1.get_default_graph().get_tensor_by_name("output_layer:0")


def test_named_tensors_are_used(path: Path) -> None:
    facts = describe(path, several, input="signal", outputs=("hidden", "output_layer:0"))
    assert [output.name for output in facts.outputs] == ["hidden:0", "output_layer:0"]


def test_leftovers_of_training_are_no_outputs(path: Path) -> None:
    def build(tf: Any) -> None:
        softmax(tf)
        hidden = tf.compat.v1.get_default_graph().get_tensor_by_name("hidden:0")
        tf.reduce_mean(hidden, name="penalty")
        tf.shape(hidden, name="size")
        tf.multiply(tf.constant(3.0, name="rate"), 2.0)
        tf.compat.v1.placeholder("bool", (), "is_training")
        tf.debugging.Assert(tf.reduce_all(hidden >= 0), [tf.constant(0)])
        tf.no_op("init")

    assert [output.name for output in describe(path, build).outputs] == ["output_layer:0"]


def test_an_output_that_the_graph_itself_uses_must_be_named(path: Path) -> None:
    def build(tf: Any) -> None:
        tf.reduce_mean(softmax(tf), name="loss")

    with pytest.raises(ModelError, match=r"tensors at its end: 'loss:0' \(\); name the right ones with 'outputs'"):
        describe(path, build)
    assert [output.name for output in describe(path, build, outputs=("output_layer",)).outputs] == ["output_layer:0"]


def test_device_of_the_training_is_forgotten(path: Path) -> None:
    from psdbatch.models.frozen import load
    from psdbatch.models.quiet import tf

    def build(tf: Any) -> None:
        with tf.device("/job:worker/replica:0/task:3/device:GPU:7"):
            softmax(tf)

    prepared = np.random.default_rng(0).random((6, SAMPLES), np.float32)
    (answer,) = load(describe(path, build))(tf.constant(prepared))
    np.testing.assert_allclose(answer.numpy(), expected_probability(prepared), atol=1e-6)


def test_graph_of_the_first_tensorflow_without_version_and_shape_is_read(path: Path) -> None:
    from psdbatch.models.frozen import describe_graph, load
    from psdbatch.models.quiet import tf

    graph = tf.compat.v1.GraphDef.FromString(write_graph(path, lambda tf: softmax(tf, None)).read_bytes())
    graph.ClearField("versions")
    path.write_bytes(graph.SerializeToString())
    facts = describe_graph(path, ModelSource(path=str(path)), "0")
    assert facts.input.shape == (None, None)
    assert load(facts)(tf.zeros((3, SAMPLES)))[0].shape == (3, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is no model\n" * 9, "not a frozen GraphDef|holds no graph"),
        (b"\x12\x00", "holds no graph"),
    ],
)
def test_files_that_are_no_graph_are_refused(path: Path, content: bytes, message: str) -> None:
    from psdbatch.models.frozen import read_graph

    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_graph(path)


def test_graph_truncated_anywhere_is_an_error_or_another_digest(path: Path) -> None:
    from psdbatch.models.frozen import describe_graph

    whole = describe(path, softmax)
    content = path.read_bytes()
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        try:
            facts = describe_graph(path, ModelSource(path=str(path)), "0")
        except ModelError:
            continue
        assert facts.digest != whole.digest


def test_a_model_exchanged_after_the_plan_is_refused(path: Path) -> None:
    from psdbatch.models.frozen import load

    facts = describe(path, softmax)
    write_graph(path, sigmoid)
    with pytest.raises(ModelError, match="other digest"):
        load(facts)


def placeholders(tf: Any) -> None:
    tf.compat.v1.placeholder("float32", (None, 8), "first") + tf.compat.v1.placeholder("float32", (None, 8), "second")


def keep_prob(tf: Any) -> None:
    tf.multiply(softmax(tf), tf.compat.v1.placeholder("float32", (), "keep_prob"), name="answer")


@pytest.mark.parametrize(
    ("build", "source", "message"),
    [
        (lambda tf: tf.constant(1.0) + 1, {}, "no placeholder"),
        (
            placeholders,
            {},
            r"several placeholders: 'first:0' \(float32, \(None, 8\)\), 'second:0'.*'input'",
        ),
        (placeholders, {"input": "first"}, "needs the placeholder 'second'"),
        (keep_prob, {}, "needs the placeholder 'keep_prob'"),
        (softmax, {"input": "singal"}, "did you mean 'signal'.*placeholders: signal"),
        (softmax, {"outputs": ("output_lair",)}, "'outputs'.*did you mean 'output_layer'"),
        (lambda tf: softmax(tf, (1, SAMPLES)), {}, "open batch dimension"),
        (lambda tf: tf.reduce_mean(softmax(tf)), {}, "no output with one row per signal"),
        (lambda tf: tf.compat.v1.placeholder("string", (None,), "text"), {}, "no placeholder for numbers"),
        (
            lambda tf: (softmax(tf), tf.zeros((4, 2), name="other")),
            {"outputs": ("other",)},
            "does not depend on the input",
        ),
    ],
)
def test_graphs_without_a_clear_way_through_are_explained(path: Path, build: Any, source: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        describe(path, build, **source)


def test_an_operation_of_a_later_tensorflow_is_named(path: Path) -> None:
    from psdbatch.models.frozen import describe_graph
    from psdbatch.models.quiet import tf

    graph = tf.compat.v1.GraphDef.FromString(write_graph(path, softmax).read_bytes())
    graph.node[-1].op = "HyperSoftmax"
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(ModelError, match="'output_layer' is the operation HyperSoftmax"):
        describe_graph(path, ModelSource(path=str(path)), "0")
