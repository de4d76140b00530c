"""Models of every kind become one frozen graph that answers as they did; nothing in a file is run on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.config import ModelSource
from psdbatch.errors import ModelError
from psdbatch.models.facts import ModelFacts
from tests.frozen_models import SAMPLES, softmax, write_graph


@pytest.fixture(scope="module")
def network() -> Any:
    """A Keras classifier with layers whose inference differs from training."""
    from psdbatch.models.quiet import tf

    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            tf.keras.Input((SAMPLES,)),
            layers.Dense(5, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(2, activation="softmax", name="output_layer"),
        ]
    )


def describe(source: Path, directory: Path, **more: Any) -> ModelFacts:
    from psdbatch.models.describe import describe

    directory.mkdir(exist_ok=True)
    return describe(ModelSource(path=str(source), **more), directory)


def answers(facts: ModelFacts, samples: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    from psdbatch.models.frozen import load
    from psdbatch.models.quiet import tf

    return [output.numpy() for output in load(facts)(tf.constant(samples))]


def some_samples(n: int = 7, samples: int = SAMPLES) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).random((n, samples), np.float32)


@pytest.mark.parametrize("name", ["network.keras", "network.h5", "network"])
def test_keras_and_saved_models_answer_as_before(network: Any, tmp_path: Path, name: str) -> None:
    from psdbatch.models.quiet import tf

    source = tmp_path / name
    if source.suffix:
        network.save(source)
    else:
        tf.saved_model.save(network, str(source))
    facts = describe(source, tmp_path / "campaign")
    assert facts.input.shape == (None, SAMPLES)
    assert [output.operation for output in facts.outputs] == ["Softmax"]
    if source.suffix:
        assert facts.outputs[0].name == "output_layer:0"
    (answer,) = answers(facts, some_samples())
    np.testing.assert_allclose(answer, network(some_samples()).numpy(), atol=1e-6)


def test_saved_model_of_the_first_tensorflow_answers_as_before(tmp_path: Path) -> None:
    from psdbatch.models.quiet import tf

    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        signal = tf.compat.v1.placeholder("float32", (None, SAMPLES), "signal")
        weights = tf.compat.v1.get_variable("weights", (SAMPLES, 2), use_resource=False)
        output = tf.nn.softmax(tf.matmul(signal, weights))
        session.run(tf.compat.v1.global_variables_initializer())
        expected = session.run(output, {signal: some_samples()})
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "old"))
        signature = tf.compat.v1.saved_model.predict_signature_def({"signal": signal}, {"type": output})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    facts = describe(tmp_path / "old", tmp_path / "campaign")
    np.testing.assert_allclose(answers(facts, some_samples())[0], expected, atol=1e-6)


def test_recurrent_networks_keep_their_loops_whole(tmp_path: Path) -> None:
    from psdbatch.models.quiet import tf

    model = tf.keras.Sequential(
        [
            tf.keras.Input((SAMPLES, 1)),
            tf.keras.layers.LSTM(3),
            tf.keras.layers.Dense(1, activation="sigmoid", name="neutron"),
        ]
    )
    model.save(tmp_path / "lstm.keras")
    facts = describe(tmp_path / "lstm.keras", tmp_path / "campaign")
    assert facts.input.shape == (None, SAMPLES, 1)
    assert "Enter" not in facts.operations
    samples = some_samples()[:, :, None]
    np.testing.assert_allclose(answers(facts, samples)[0], model(samples).numpy(), atol=1e-6)


def test_a_model_with_two_outputs_keeps_their_names(tmp_path: Path) -> None:
    from psdbatch.models.quiet import tf

    signal = tf.keras.Input((SAMPLES,))
    code = tf.keras.layers.Dense(4, activation="relu", name="code")(signal)
    again = tf.keras.layers.Dense(SAMPLES, name="again")(code)
    type_ = tf.keras.layers.Dense(2, activation="softmax", name="type")(code)
    model = tf.keras.Model(signal, [type_, again])
    model.save(tmp_path / "two.keras")
    facts = describe(tmp_path / "two.keras", tmp_path / "campaign")
    assert [(output.name, output.shape) for output in facts.outputs] == [
        ("type:0", (None, 2)),
        ("again:0", (None, SAMPLES)),
    ]


def test_a_real_network_of_keras_2_2_is_rebuilt_with_its_weights(shared_data: Path, tmp_path: Path) -> None:
    import h5py

    path = shared_data / "models" / "mlp-400-40-1.h5"
    facts = describe(path, tmp_path)
    assert facts.input.shape == (None, 400)
    assert [(output.shape, output.operation) for output in facts.outputs] == [((None, 1), "Sigmoid")]
    assert facts.parameters >= 400 * 40 + 40 + 40 + 1
    samples = some_samples(9, 400)
    with h5py.File(path) as file:
        weights = file["model_weights"]
        hidden = np.maximum(samples @ weights["dense/dense/kernel:0"][()] + weights["dense/dense/bias:0"][()], 0)
        score = hidden @ weights["dense_1/dense_1/kernel:0"][()] + weights["dense_1/dense_1/bias:0"][()]
    np.testing.assert_allclose(answers(facts, samples)[0], 1 / (1 + np.exp(-score)), atol=1e-6)


def test_a_campaign_holds_its_own_copy_of_a_frozen_graph(tmp_path: Path) -> None:
    source = write_graph(tmp_path / "net.pb", softmax)
    facts = describe(source, tmp_path / "campaign")
    source.unlink()
    assert facts.digest == facts.source_digest
    assert ModelFacts.read(tmp_path / "campaign" / "model.json") == facts
    assert answers(facts, some_samples())[0].shape == (7, 2)


def test_freezing_twice_gives_the_same_bytes(network: Any, tmp_path: Path) -> None:
    network.save(tmp_path / "network.keras")
    first, second = (describe(tmp_path / "network.keras", tmp_path / name) for name in ("a", "b"))
    assert first.digest == second.digest
    assert first.source_digest == second.source_digest != first.digest


def test_another_process_describes_the_same_and_fails_with_the_same_words(tmp_path: Path) -> None:
    from psdbatch.models.describing import describe_in_subprocess

    source = write_graph(tmp_path / "net.pb", softmax)
    (tmp_path / "other").mkdir()
    facts = describe_in_subprocess(ModelSource(path=str(source)), tmp_path / "other")
    here = describe(source, tmp_path / "here")
    assert (facts.digest, facts.input, facts.outputs) == (here.digest, here.input, here.outputs)
    source.write_bytes(b"")
    with pytest.raises(ModelError) as here_error:
        describe(source, tmp_path / "here")
    with pytest.raises(ModelError) as there_error:
        describe_in_subprocess(ModelSource(path=str(source)), tmp_path / "here")
    assert str(there_error.value) == str(here_error.value)


def test_without_tensorflow_one_is_told_what_to_install(tmp_path: Path) -> None:
    script = (
        "import importlib.util as util, sys\n"
        "sys.meta_path.insert(0, type('Hidden', (), {'find_spec': staticmethod(lambda name, *rest: None)})())\n"
        "real = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'tensorflow' else real(name, *rest)\n"
        "from pathlib import Path\n"
        "from psdbatch.config import ModelSource\n"
        "from psdbatch.models.describing import describe_in_subprocess\n"
        "describe_in_subprocess(ModelSource(path='net.pb'), Path('.'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "pip install 'psdbatch[cpu]'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.pb", None, "there is no such model"),
        ("net.keras", b"no zip", "not a whole Keras model"),
        ("net.h5", b"no hdf5", "not a whole Keras model"),
        ("net.h5", b"", "not a whole Keras model"),
        ("net.pb", b"\x0a\xff", "not a frozen GraphDef"),
    ],
)
def test_files_that_are_no_models_are_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message) as refused:
        describe(tmp_path / name, tmp_path / "campaign")
    assert str(refused.value).startswith(f"{tmp_path / name}: ")  # not the copy that is looked into
    assert not (tmp_path / "campaign" / "model.pb").exists() or name.endswith(".pb")


def test_a_directory_without_saved_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"not a SavedModel: saved_model\.pb"):
        describe(tmp_path / "empty", tmp_path / "campaign")


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    from psdbatch.models.quiet import tf

    first, second = tf.keras.Input((3,)), tf.keras.Input((3,))
    tf.keras.Model([first, second], tf.keras.layers.Add()([first, second])).save(tmp_path / "two.keras")
    with pytest.raises(ModelError, match="2 inputs; a signal is one"):
        describe(tmp_path / "two.keras", tmp_path / "campaign")


@pytest.mark.parametrize("name", ["network.keras", "network.h5"])
def test_python_code_in_a_keras_file_is_not_run(tmp_path: Path, name: str) -> None:
    from psdbatch.models.quiet import tf

    model = tf.keras.Sequential([tf.keras.Input((SAMPLES,)), tf.keras.layers.Lambda(lambda values: values + 1)])
    model.save(tmp_path / name)
    with pytest.raises(ModelError, match="holds a Lambda, which may run Python code"):
        describe(tmp_path / name, tmp_path / "campaign")


def test_a_keras_file_that_asks_for_a_foreign_module_is_not_loaded(network: Any, tmp_path: Path) -> None:
    network.save(tmp_path / "good.keras")
    with zipfile.ZipFile(tmp_path / "good.keras") as good, zipfile.ZipFile(tmp_path / "bad.keras", "w") as bad:
        for entry in good.namelist():
            content = good.read(entry)
            if entry == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1] |= {"module": "subprocess", "class_name": "Popen"}
                content = json.dumps(config).encode()
            bad.writestr(entry, content)
    with pytest.raises(ModelError, match="'Popen' comes from the Python module 'subprocess'"):
        describe(tmp_path / "bad.keras", tmp_path / "campaign")


def test_a_saved_model_that_writes_while_loading_is_refused_before(tmp_path: Path) -> None:
    from psdbatch.models.quiet import tf

    witness = tmp_path / "witness"
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        signal = tf.compat.v1.placeholder("float32", (None, SAMPLES), "signal")
        output = tf.nn.softmax(signal)
        main_op = tf.group(tf.io.write_file(str(witness), "written"))
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "bad"))
        signature = tf.compat.v1.saved_model.predict_signature_def({"signal": signal}, {"type": output})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, main_op=main_op)
        builder.save()
    with pytest.raises(ModelError, match="is the operation WriteFile"):
        describe(tmp_path / "bad", tmp_path / "campaign")
    assert not witness.exists()


def test_a_saved_model_whose_function_reads_files_is_refused(tmp_path: Path) -> None:
    from psdbatch.models.quiet import tf

    class Reading(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((None, SAMPLES), "float32")])
        def __call__(self, signal: Any) -> Any:
            return signal + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)

    module = Reading()
    tf.saved_model.save(module, str(tmp_path / "bad"), signatures=module.__call__)
    with pytest.raises(ModelError, match=r"of function '.*' is the operation ReadFile"):
        describe(tmp_path / "bad", tmp_path / "campaign")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    source = write_graph(tmp_path / "net.pb", softmax)
    (tmp_path / "campaign").mkdir(mode=0o500)
    with pytest.raises(ModelError, match=r"cannot be frozen into .*campaign"):
        describe(source, tmp_path / "campaign")
