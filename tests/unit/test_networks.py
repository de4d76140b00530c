"""The collection of networks: built with options, frozen, and answering as in Keras."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.config import Charge, ModelSource, PileUp, Preparation, SignalShape
from psdbatch.config.network import Augmentation, Network
from psdbatch.errors import ConfigurationError, PsdbatchError
from psdbatch.models.engine_settings import EngineSettings
from tests.frozen_models import pulses as raw_pulses

WINDOW = 30  # not a multiple of 4 or 8: decoders have to cut, recurrent networks to fill up
CLASSES = ("gamma", "neutron", "noise")
SMALL: dict[str, dict[str, Any]] = {
    "dense": {"hidden": [5]},
    "wide": {"hidden": [8, 6], "dropout": 0.5},
    "convolutional": {"filters": [3, 4], "kernel": 3},
    "recurrent": {"units": 4, "step": 4},
    "autoencoder": {"bottleneck": 3, "filters": [2, 3, 2], "kernel": 3},
    "monitor": {"bottleneck": 2, "filters": [2, 3], "kernel": 3},
    "denoiser": {"filters": 3, "layers": 1, "kernel": 3},
    "separation": {"filters": 3, "layers": 2, "kernel": 3},
    "variational": {"bottleneck": 2, "hidden": [6, 4], "resolution": 0.1},
}
OUTPUTS = {
    "autoencoder": {"reconstruction": (WINDOW,), "code": (3,)},
    "monitor": {"reconstruction": (WINDOW,), "residual": ()},
    "denoiser": {"denoised": (WINDOW,)},
    "separation": {"first": (WINDOW,), "second": (WINDOW,)},
    "variational": {"reconstruction": (WINDOW,), "mean": (2,), "log_variance": (2,)},
}


def small(name: str, **options: Any) -> Any:
    from psdbatch.models.quiet import tf
    from psdbatch.networks.collection import build

    tf.keras.utils.set_random_seed(3)
    return build(Network(name=name, options={**SMALL[name], **options}), WINDOW, CLASSES)


def test_small_options_name_the_whole_collection() -> None:
    from psdbatch.networks.collection import NETWORKS

    assert list(SMALL) == list(NETWORKS)


@pytest.mark.parametrize(("name", "more"), [*((name, {}) for name in SMALL), ("recurrent", {"cell": "lstm"})])
def test_frozen_network_answers_as_in_keras(name: str, more: dict[str, Any], tmp_path: Path) -> None:
    from psdbatch.models.engine import Engine
    from psdbatch.models.freezing import freeze
    from psdbatch.models.frozen import describe_graph
    from psdbatch.models.preparation import model_input, pulses
    from psdbatch.models.quiet import tf

    model = small(name, **more).model
    for weights in model.trainable_weights:  # zeros, as biases begin, would hide a mistake
        weights.assign_add(tf.random.stateless_normal(weights.shape, (1, 2), stddev=0.05))
    freeze(model, tmp_path / "network.pb")
    source = ModelSource(path=str(tmp_path / "network.pb"), classifier=name not in OUTPUTS)
    facts = describe_graph(tmp_path / "network.pb", source, "0")
    expected_shapes = OUTPUTS.get(name, {"output_layer": (len(CLASSES),)})
    assert {tensor.label: tensor.shape[1:] for tensor in facts.outputs} == expected_shapes

    raw = raw_pulses(16)
    signals, preparation = SignalShape(baseline=8), Preparation()
    window = model_input(pulses(tf.constant(raw), signals), preparation, WINDOW)
    outputs = [output.numpy() for output in tf.nest.flatten(model(window, training=False))]
    expected = dict(zip(expected_shapes, outputs, strict=True))
    assert all(values.std() > 0 for values in outputs)
    for xla in (False, True):
        settings = EngineSettings(
            facts, source, signals, preparation, Charge(short=4, long=20), PileUp(), 40, "int16", xla
        )
        engine = Engine(settings, 16)
        assert engine.compiled == xla
        answers = engine.run(raw)
        for label, values in expected.items():
            column = "probability" if label == "output_layer" else label
            np.testing.assert_allclose(answers[column].numpy(), values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_keras_file_is_loaded_without_psdbatch(name: str, tmp_path: Path) -> None:
    from psdbatch.models.quiet import tf
    from psdbatch.models.screening import check_keras_file

    model = small(name).model
    model.save(tmp_path / "network.keras")
    check_keras_file(tmp_path / "network.keras")
    again = tf.keras.models.load_model(tmp_path / "network.keras")
    window = np.random.default_rng(0).random((5, WINDOW), np.float32)
    for before, after in zip(tf.nest.flatten(model(window)), tf.nest.flatten(again(window)), strict=True):
        np.testing.assert_allclose(after.numpy(), before.numpy(), atol=1e-6)


def test_network_of_the_talk_is_the_default() -> None:
    from psdbatch.networks.collection import build

    built = build(Network(), 75, ("gamma", "neutron"))
    assert built.model.count_params() == 814
    assert built.task.name == "classifier"


def test_a_classifier_of_one_class_is_refused() -> None:
    from psdbatch.networks.collection import build

    with pytest.raises(ConfigurationError, match="names one class, gamma"):
        build(Network(name="dense"), WINDOW, ("gamma",))
    assert build(Network(name="autoencoder"), WINDOW, ("gamma",)).task.name == "autoencoder"


def test_options_change_the_network() -> None:
    assert small("autoencoder", bottleneck=7).model.outputs[1].shape == (None, 7)
    assert small("dense", hidden=[]).model.count_params() == (WINDOW + 1) * len(CLASSES)
    assert small("recurrent", cell="lstm").model.count_params() != small("recurrent").model.count_params()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"name": "convolution"}, r"'network.name' is 'convolution', which is not .*mean 'convolutional'"),
        ({"options": {"hiden": [3]}}, r"'network.options.hiden': 'dense' has no such option; did you mean 'hidden'"),
        ({"options": {"classes": 3}}, r"'network.options.classes': .* follows from the training set; leave it out"),
        ({"options": {"hidden": [4, 0]}}, r"'network.options.hidden\[2\]': Input should be greater than 0, got 0"),
        ({"options": {"hidden": "ten"}}, r"'network.options.hidden': .*, got 'ten'"),
        ({"name": "recurrent", "options": {"cell": "rnn"}}, r"'network.options.cell': .*'gru' or 'lstm', got 'rnn'"),
        ({"name": "autoencoder", "options": {"resolution": 0.1}}, r"'autoencoder' has no such option; .*bottleneck"),
        ({"name": "monitor", "options": {"filters": []}}, r"'network.options.filters': .*at least 1 item"),
        ({"name": "variational", "options": {"resolution": 0}}, r"'network.options.resolution': .*greater than 0"),
    ],
)
def test_wrong_options_are_named(network: dict[str, Any], message: str) -> None:
    from psdbatch.networks.collection import build

    with pytest.raises(ConfigurationError, match=message):
        build(Network.model_validate(network), WINDOW, CLASSES)


OWN = """
from tensorflow import keras
import beside

LIST = []


def good(samples, classes, units=3):
    return keras.Sequential([keras.Input((samples,)), keras.layers.Dense(units), keras.layers.Dense(classes, "softmax")])


def one_number(samples, classes):
    return keras.Sequential([keras.Input((samples,)), keras.layers.Dense(1, "sigmoid")])


def anything(**options):
    return good(options["samples"], options["classes"], options["my_units"])


def raises(samples, classes):
    width = beside.width(samples)
    return good(width, classes)


def nothing(samples, classes):
    good(samples, classes)


def fixed(classes):
    return good(99, classes)


def unbuilt(samples, classes):
    return keras.Sequential([keras.layers.Dense(classes, "softmax")])


def two_inputs(samples, classes):
    entries = [keras.Input((samples,)), keras.Input((samples,))]
    return keras.Model(entries, keras.layers.Dense(classes, "softmax")(keras.layers.Add()(entries)))


def whole_numbers(samples, classes):
    entry = keras.Input((samples,), dtype="int32")
    return keras.Model(entry, keras.layers.Dense(classes, "softmax")(keras.layers.Rescaling(1.0)(entry)))


def too_many(samples, classes):
    entry = keras.Input((samples,))
    return keras.Model(entry, [keras.layers.Dense(classes, "softmax")(entry), keras.layers.Dense(3)(entry)])


def scores(samples, classes):
    return keras.Sequential([keras.Input((samples,)), keras.layers.Dense(classes)])


def wants_more(samples, width):
    return good(samples, 3)


def normalised(samples, classes):
    entry = keras.Input((samples,))
    layer = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(entry))
    return keras.Model(entry, keras.layers.Dense(classes, "softmax")(layer))


def again(samples):
    return keras.Sequential([keras.Input((samples,)), keras.layers.Dense(4), keras.layers.Dense(samples)])
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("def width(samples):\n    raise ValueError('no width for you\\nsecond line')\n")
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


def build_own(own: Path, function: str, classes: tuple[str, ...] = CLASSES, **more: Any) -> Any:
    from psdbatch.networks.collection import build

    return build(Network(function=f"{own}:{function}", **more), WINDOW, classes)


def test_own_function_builds_a_classifier(own: Path) -> None:
    built = build_own(own, "good", options={"units": 4})
    assert built.task.name == "classifier"
    assert built.model.layers[0].units == 4
    assert build_own(own, "anything", options={"my_units": 5}).model.layers[0].units == 5


def test_trying_a_network_leaves_it_as_it_was(own: Path) -> None:
    model = build_own(own, "normalised").model
    mean, variance = model.layers[1].get_weights()[2:]
    assert not mean.any()
    assert (variance == 1).all()


def test_one_number_stands_for_two_classes(own: Path) -> None:
    assert build_own(own, "one_number", ("gamma", "neutron")).model.outputs[0].shape == (None, 1)
    with pytest.raises(PsdbatchError, match=r"a classifier of 3 classes has one output \(None, 3\)"):
        build_own(own, "one_number")


def test_own_function_for_another_task(own: Path) -> None:
    assert build_own(own, "again", task="denoiser").task.name == "denoiser"


@pytest.mark.parametrize(
    ("function", "more", "message"),
    [
        ("god", {}, r"own.py: has no function 'god'; did you mean 'good'"),
        ("LIST", {}, r"own.py: 'LIST' is no function, but of type list"),
        ("good", {"options": {"unit": 4}}, r"has no such option; did you mean 'units'\?; its options: units"),
        ("raises", {}, r"own.py:raises: called with samples=30, classes=3, it fails: ValueError: no width for you \(line 21 of .*own.py\)$"),
        ("wants_more", {}, r"it fails: TypeError: wants_more\(\) missing 1 required positional argument: 'width'$"),
        ("nothing", {}, r"own.py:nothing: gives NoneType, not a Keras model"),
        ("fixed", {}, r"the model takes \(None, 99\); prepared signals are \(None, 30\)"),
        ("unbuilt", {}, r"does not say what it takes; begin it with tf.keras.Input\(\(30,\)\)"),
        ("two_inputs", {}, r"has 2 inputs"),
        ("whole_numbers", {}, r"takes int32; prepared signals are float32"),
        ("too_many", {}, r"one output \(None, 3\), this model has \(None, 3\), \(None, 3\)"),
        ("scores", {}, r"holds no probabilities; end a classifier with softmax"),
        ("good", {"task": "autoencoder"}, r"for the task 'autoencoder' the first output must be the signal, \(None, 30\)"),
        ("again", {"task": "separator"}, r"a separator has two outputs \(None, 30\)"),
        ("again", {"task": "variational"}, r"a variational auto-encoder has three outputs"),
    ],
)  # fmt: skip
def test_own_function_that_does_not_fit(own: Path, function: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(PsdbatchError, match=message):
        build_own(own, function, **more)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("nowhere.py:make", "nowhere.py: there is no such file"),
        ("make", r"write 'FILE.py:FUNCTION' or 'package.module:FUNCTION'"),
        ("no_such_package.networks:make", r"the module 'no_such_package.networks', which is not installed here"),
        ("math:hypot", r"whose arguments Python does not know; name a function written in Python"),
        ("json:lods", r"json: has no function 'lods'; did you mean 'loads'"),
    ],
)
def test_own_function_that_is_not_there(written: str, message: str) -> None:
    from psdbatch.networks.collection import build

    with pytest.raises(PsdbatchError, match=message):
        build(Network(function=written), WINDOW, CLASSES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import beside\n\nbeside.width(3)\n", r"broken.py: cannot be imported: ValueError: no width for you \(line 3 of .*broken.py"),
        ("import sys\nsys.exit(3)\n", r"broken.py: cannot be imported: SystemExit: 3 \(line 2 of .*broken.py"),
        ("def make(:\n", r"broken.py: cannot be imported: SyntaxError: .*, line 1 of .*broken.py"),
        ("import no_such_package\n", r"broken.py: cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)  # fmt: skip
def test_own_file_that_cannot_be_imported(own: Path, text: str, message: str) -> None:
    own.with_name("broken.py").write_text(text)
    with pytest.raises(PsdbatchError, match=message):
        build_own(own.with_name("broken.py"), "make")


def test_task_belongs_to_an_own_function() -> None:
    with pytest.raises(ValueError, match="'task' belongs to a 'function'"):
        Network(name="dense", task="denoiser")


DOCUMENT = (Path(__file__).parents[2] / "docs/networks.md").read_text()


def test_documented_collection_is_the_collection() -> None:
    """Parameters, task, options with their defaults, and outputs of each network; nothing else in the table."""
    from psdbatch.networks.collection import NETWORKS, TASKS, build
    from psdbatch.networks.options import option_names

    table = DOCUMENT.split("## The collection")[1].split("\n\n")[2]
    rows = {row[0].strip("` "): row for row in (line.strip("| ").split(" | ") for line in table.splitlines()[2:])}
    assert list(rows) == list(NETWORKS)
    for name, (_, parameters, task, options, outputs) in rows.items():
        model = build(Network(name=name), 75, ("gamma", "neutron")).model
        assert int(parameters.replace(",", "")) == model.count_params(), name
        assert task == NETWORKS[name].task
        functions = (NETWORKS[name].function, TASKS[task])
        defaults = {
            option: inspect.signature(function).parameters[option].default
            for function in functions
            for option in option_names(function)
        }
        written = tomllib.loads("\n".join(re.findall(r"`(.*?)`", options)))
        assert {key: tuple(value) if isinstance(value, list) else value for key, value in written.items()} == defaults
        shapes = {"class": (2,), "sample": (75,), "bottleneck": (defaults.get("bottleneck"),), "": ()}
        documented = [(output, shapes[shape]) for output, shape in re.findall(r"`(\w+)` \((\w*)\)", outputs)]
        names = [model.layers[-1].name] if len(model.outputs) == 1 else model.output_names
        assert documented == list(zip(names, (output.shape[1:] for output in model.outputs), strict=True)), name


def test_every_key_of_network_and_augmentation_is_documented_with_its_default() -> None:
    for section in (Network, Augmentation):
        for key, field in section.model_fields.items():
            row = re.search(rf"^\| `{key}` \| (.*?) \|", DOCUMENT, re.MULTILINE)
            assert row, key
            if section is Augmentation:
                assert row[1] == str(list(field.default) if isinstance(field.default, tuple) else field.default)


def test_documented_function_of_ones_own_works(tmp_path: Path) -> None:
    (tmp_path / "my_networks.py").write_text(DOCUMENT.split("```python\n")[2].split("```")[0])
    built = build_own(tmp_path / "my_networks.py", "small", options={"units": 12})
    assert built.model.layers[0].units == 12
