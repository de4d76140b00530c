"""The package on its oldest software, that of the K80 image: TensorFlow 2.14 with Keras 2, and NumPy 1.26.

The environment is made with pip once and kept in pytest's cache; runs where PSDBATCH_TEST_OLDEST is set.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import psdbatch as package
from psdbatch.config import ModelSource
from psdbatch.errors import ModelError
from tests.campaigns import WINDOW, write_config
from tests.images import CHECKOUT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not os.environ.get("PSDBATCH_TEST_OLDEST"),
        reason="makes an environment with pip: set PSDBATCH_TEST_OLDEST=1",
    ),
]

UNIT_TESTS = ("test_engine.py", "test_engine_tensorflow.py", "test_preparation.py", "test_model_batching.py",
              "test_model_freezing.py", "test_model_frozen.py", "test_results_store.py", "test_packets.py")  # fmt: skip

IMPORT_ALL = """
import importlib, pkgutil, psdbatch
names = [m.name for m in pkgutil.walk_packages(psdbatch.__path__, "psdbatch.") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
import keras, numpy, tensorflow
print(len(names), tensorflow.__version__, keras.__version__, numpy.__version__)
"""

SAVE_MODELS = """
import sys
import numpy as np
from psdbatch.models.quiet import tf

layers = tf.keras.layers
samples = np.random.default_rng(0).random((64, 40), np.float32)
networks = {
    "dense": [layers.Dense(8, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.3)],
    "recurrent": [layers.Reshape((40, 1)), layers.LSTM(4)],
}
for name, hidden in networks.items():
    model = tf.keras.Sequential([tf.keras.Input((40,)), *hidden, layers.Dense(2, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(samples, np.arange(64) % 2, verbose=0)
    for suffix in ("", ".h5", ".keras"):
        model.save(f"{sys.argv[1]}/{name}{suffix}")
    np.save(f"{sys.argv[1]}/{name}.npy", model(samples).numpy())
np.save(f"{sys.argv[1]}/samples.npy", samples)
"""


@pytest.fixture(scope="module")
def oldest(pytestconfig: pytest.Config) -> Path:
    """Python of an environment with the pins of the K80 image, but TensorFlow's smaller build for CPUs."""
    pins = [CHECKOUT / "singularity" / name for name in ("constraints.txt", "k80.txt")]
    (tensorflow,) = (line for line in pins[1].read_text().splitlines() if line.startswith("tensorflow=="))
    wanted = [tensorflow.replace("tensorflow", "tensorflow-cpu"), "hypothesis", "pytest", "pytest-timeout"]
    project = (CHECKOUT / "pyproject.toml").read_bytes()
    digest = hashlib.sha256(b"".join([*(file.read_bytes() for file in pins), project])).hexdigest()[:12]
    environment = pytestconfig.cache.mkdir(f"psdbatch-oldest-{digest}") / "venv"
    python, finished = environment / "bin" / "python", environment / "finished"
    if not finished.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        constraints = [part for file in pins for part in ("--constraint", str(file))]
        pip = [python, "-m", "pip", "install", "--quiet", *constraints, *wanted, "--editable", CHECKOUT]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        finished.touch()
    return python


def run(python: Path, *arguments: object) -> str:
    done = subprocess.run([python, *map(str, arguments)], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_every_module_can_be_imported(oldest: Path) -> None:
    modules, tensorflow, keras, numpy = run(oldest, "-c", IMPORT_ALL).split()
    assert int(modules) > 100
    assert tensorflow.startswith("2.14.")
    assert keras.startswith("2.14.")
    assert numpy.startswith("1.26.")


@pytest.mark.parametrize("name", UNIT_TESTS)
def test_unit_tests_pass(oldest: Path, name: str) -> None:
    report = run(oldest, "-m", "pytest", "-q", "-p", "no:cacheprovider", CHECKOUT / "tests" / "unit" / name)
    assert " passed" in report


@pytest.fixture(scope="module")
def old_models(oldest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of trained networks that Keras 2 saved in each of its formats, and their answers."""
    folder = tmp_path_factory.mktemp("keras2")
    run(oldest, "-c", SAVE_MODELS, folder)
    return folder


@pytest.mark.parametrize("name", ["dense", "dense.h5", "recurrent", "recurrent.h5"])
def test_models_that_keras_2_saved_answer_here_as_there(old_models: Path, tmp_path: Path, name: str) -> None:
    from psdbatch.models.describe import describe
    from psdbatch.models.frozen import load
    from psdbatch.models.quiet import tf

    network = load(describe(ModelSource(path=str(old_models / name)), tmp_path))
    (answer,) = network(tf.constant(np.load(old_models / "samples.npy")))
    expected = np.load(old_models / f"{name.removesuffix('.h5')}.npy")
    np.testing.assert_allclose(answer.numpy(), expected, atol=1e-6)


def test_a_keras_file_of_keras_2_that_keras_3_cannot_read_is_refused_with_a_way_out(
    old_models: Path, tmp_path: Path
) -> None:
    from psdbatch.models.describe import describe

    with pytest.raises(ModelError, match=r"recurrent\.keras: .*of Keras 2\.14\.0 .*give the SavedModel instead"):
        describe(ModelSource(path=str(old_models / "recurrent.keras")), tmp_path)


def test_a_model_frozen_here_answers_there_as_here(oldest: Path, tmp_path: Path) -> None:
    from psdbatch.models.freezing import freeze
    from psdbatch.models.quiet import tf

    tf.keras.utils.set_random_seed(3)
    layers = tf.keras.layers
    entry, reshaped = tf.keras.Input((WINDOW,)), layers.Reshape((WINDOW, 1))
    convolution = [layers.Conv1D(4, 5, activation="relu"), layers.BatchNormalization(), layers.GlobalMaxPooling1D()]
    freeze(
        tf.keras.Sequential([entry, reshaped, *convolution, layers.Dense(2, activation="softmax")]), tmp_path / "m.pb"
    )
    here = Path(sys.executable)
    run(here, "-m", "psdbatch", "simulate", tmp_path / "runs", "--signals", 6000, "--set", "seed=7")
    answers = {}
    for name, python in (("here", here), ("there", oldest)):
        config = write_config(tmp_path / f"{name}.toml", f"{tmp_path}/runs/**/*.mfm", tmp_path / "m.pb", campaign=name)
        summary = json.loads(run(python, "-m", "psdbatch", "run", config, "--json"))
        assert summary["written"] == summary["signals"] > 0
        run(python, "-m", "psdbatch", "audit", tmp_path / name)
        answers[name] = package.open_results(tmp_path / name).load()
    ours, theirs = answers["here"], answers["there"]
    assert set(ours) == set(theirs)
    np.testing.assert_allclose(theirs["probability"].values, ours["probability"].values, atol=1e-5)
    certain = np.abs(ours["probability"].values[:, 0] - 0.5) > 1e-5
    assert np.array_equal(theirs["label"].values[certain], ours["label"].values[certain])
    for name in ("timestamp", "board", "channel", "flags"):
        assert np.array_equal(theirs[name].values, ours[name].values)
    for name in ("amplitude", "charge_long", "charge_short"):
        np.testing.assert_allclose(theirs[name].values, ours[name].values, rtol=1e-4, atol=0.5)
