"""A frozen file with its preparation inside: made by the command, run by a campaign, by TensorFlow alone, and by C++."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from psdbatch import open_results
from psdbatch.config import Preparation, SignalShape
from psdbatch.models.card import ModelCard
from tests.campaigns import SAMPLES, WINDOW, facts, psdbatch, pulses, write_config, write_file

PROGRAM = Path(__file__).parents[1] / "cpp" / "classify.cpp"

ALONE = """
import sys

class Hidden:
    def find_spec(self, name, *rest):
        if name.split(".")[0] == "psdbatch":
            raise ImportError("psdbatch is not installed here")

sys.meta_path.insert(0, Hidden())
try:
    import psdbatch
except ImportError:
    pass
else:
    sys.exit("psdbatch could be imported")

import numpy as np
import tensorflow as tf

model, signals, answers = sys.argv[1:]
graph = tf.compat.v1.GraphDef.FromString(open(model, "rb").read())
loaded = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
classify = loaded.prune("signal:0", "output_layer:0")
np.save(answers, classify(tf.constant(np.load(signals))).numpy())
"""


ROUNDING = 20 * 2e-7
"""What the last layer's factor of 20 makes of the rounding of float32, whatever the processor's vectors add up first."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network as ``network.keras``, and frozen by the command for raw signals as ``complete.pb``."""
    from psdbatch.models.quiet import tf

    path = tmp_path_factory.mktemp("freeze")
    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    network = [tf.keras.Input((WINDOW,)), layers.Dense(10, activation="relu")]
    network += [layers.Dense(4, activation="tanh"), layers.Dense(2, activation="softmax", name="output_layer")]
    model = tf.keras.Sequential(network)
    weights = model.get_weights()
    model.set_weights([*weights[:-2], 20 * weights[-2], weights[-1]])  # untrained, it would say nearly the same of all
    model.save(path / "network.keras")
    named = ("--class", "gamma", "--class", "neutron", "--samples", SAMPLES)
    made = facts("freeze", path / "network.keras", path / "complete.pb", *named)
    assert 0 <= made["difference"] < ROUNDING
    assert ModelCard.from_json(made["card"]).classes == ("gamma", "neutron")
    np.save(path / "signals.npy", pulses(300).samples)
    return path


@pytest.fixture(scope="module")
def answers(folder: Path) -> np.ndarray[Any, Any]:
    """What the network says of the signals, prepared one operation after the other."""
    from psdbatch.models.preparation import model_input
    from psdbatch.models.preparation import pulses as found
    from psdbatch.models.quiet import tf

    raw = tf.constant(np.load(folder / "signals.npy"))
    window = model_input(found(raw, SignalShape()), Preparation(), WINDOW)
    scores = tf.keras.models.load_model(folder / "network.keras")(window).numpy()
    assert np.ptp(scores) > 0.05
    return np.asarray(scores)


def test_the_command_tells_what_it_made_and_how_it_compared(folder: Path, tmp_path: Path) -> None:
    options = ("--samples", SAMPLES, "--class", "gamma", "--class", "neutron")
    done = psdbatch("freeze", folder / "network.keras", tmp_path / "net.pb", *options).stdout
    for words in (
        "gamma, neutron",
        f"raw signals of {SAMPLES} samples, int16",
        "allowed 1e-05",
        "0.2 of the amplitude",
    ):
        assert words in done
    assert (tmp_path / "net.pb").read_bytes() == (folder / "complete.pb").read_bytes()


def test_inspect_shows_the_card(folder: Path) -> None:
    shown = psdbatch("inspect", folder / "complete.pb").stdout
    assert "signal:0: int16" in shown
    assert "gamma, neutron" in shown
    assert "5 ns, 14 bits, negative pulses" in shown


def test_what_cannot_be_frozen_is_said_in_words_and_nothing_is_written(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    said = psdbatch("freeze", "network.keras", "complete.pb", "--samples", 60, check=1, cwd=folder).stderr
    assert (
        said
        == "psdbatch: "
        + f"{folder}/complete.pb: the network takes 75 samples, the raw signals have only 60; a window cannot be longer than the signal\n"
    )
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_campaign_with_a_complete_file_needs_no_classes_and_no_preparation(
    folder: Path, answers: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    write_file(tmp_path / "data/run_1.psdz", pulses(300))
    content = {
        "campaign": "campaign",
        "input": {"files": ["data/*"]},
        "model": {"path": str(folder / "complete.pb")},
        "processing": {"block": 200, "batch": 128},
        "results": {"chunk": 100},
        "cluster": {"processes": 1, "threads": 1, "dashboard": ""},
    }
    (tmp_path / "campaign.toml").write_text(tomli_w.dumps(content))
    said = psdbatch("run", tmp_path / "campaign.toml").stdout
    assert "classes from the model's card: gamma, neutron" in said
    assert "the model prepares raw signals itself" in said
    assert "warning" not in said
    results = open_results(tmp_path / "campaign", run="run_1")
    np.testing.assert_allclose(results.probability.values, answers, atol=1e-5)
    assert np.array_equal(results.label.values, answers.argmax(axis=1))
    assert results.probability.attrs["classes"] == ["gamma", "neutron"]


def test_a_campaign_that_contradicts_the_card_does_not_start(folder: Path, tmp_path: Path) -> None:
    write_file(tmp_path / "data/run_1.psdz", pulses(10))
    config = write_config(
        tmp_path / "campaign.toml", "data/*", folder / "complete.pb", signals={"polarity": "positive"}
    )
    refused = psdbatch("run", config, check=1).stderr
    assert "'signals.polarity' is positive" in refused
    assert "with negative" in refused
    assert not (tmp_path / "campaign").exists()


def test_tensorflow_alone_runs_a_complete_file(folder: Path, answers: np.ndarray[Any, Any], tmp_path: Path) -> None:
    arguments = [folder / "complete.pb", folder / "signals.npy", tmp_path / "answers.npy"]
    subprocess.run([sys.executable, "-c", ALONE, *map(str, arguments)], check=True, timeout=200)
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), answers, atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(900)  # the compiler takes 25 s of a processor that others use too
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here (g++)")
def test_a_cpp_program_runs_a_complete_file(folder: Path, answers: np.ndarray[Any, Any], tmp_path: Path) -> None:
    spec = find_spec("tensorflow")
    assert spec is not None
    assert spec.submodule_search_locations
    tensorflow = Path(spec.submodule_search_locations[0])
    libraries = ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    command = ["g++", "-std=c++17", f"-isystem{tensorflow}/include", PROGRAM, "-o", tmp_path / "classify"]
    command += [f"-L{tensorflow}", "-Wl,--no-as-needed", *libraries, f"-Wl,-rpath,{tensorflow}"]
    subprocess.run([*map(str, command)], check=True, timeout=700)
    raw = np.load(folder / "signals.npy")
    (tmp_path / "signals.bin").write_bytes(raw.tobytes())
    run = [str(tmp_path / "classify"), str(folder / "complete.pb"), str(tmp_path / "signals.bin")]
    done = subprocess.run([*run, str(SAMPLES)], capture_output=True, text=True, check=True, timeout=100)
    scores = np.array([[float(number) for number in line.split()] for line in done.stdout.splitlines()])
    assert scores.shape == answers.shape
    np.testing.assert_allclose(scores, answers, atol=1e-6)
    torn = subprocess.run([*run, str(SAMPLES + 1)], capture_output=True, text=True, check=False, timeout=100)
    assert torn.returncode == 1
    assert "classify:" in torn.stderr
