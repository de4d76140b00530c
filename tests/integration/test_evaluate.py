"""``psdbatch evaluate`` from a frozen file and a set to a report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from psdbatch.cli import cli
from psdbatch.config import Charge, PileUp, Preparation, SignalShape
from psdbatch.evaluation.scoring import score_model
from psdbatch.models.card import ModelCard
from psdbatch.models.facts import ModelFacts
from psdbatch.simulation.generate import generate
from psdbatch.simulation.settings import Simulation
from psdbatch.training_set.facts import SetFacts
from psdbatch.training_set.store import open_set
from psdbatch.training_set.writing import write_set
from tests.preparation_reference import prepare

Array = NDArray[Any]

CLASSES = ("gamma", "neutron")
SAMPLES, WINDOW = 100, 75


def _windows(raw: Array) -> Array:
    return prepare(raw, SignalShape(), Preparation(), Charge(), PileUp(), WINDOW)[0]


def part(signals: int, seed: int) -> dict[str, Array]:
    """Simulated signals with all columns of a set that an evaluation reads."""
    made, truth = next(
        generate(Simulation(signals=signals, samples=SAMPLES, neutrons=0.5, seed=seed, pile_up=0.0), chunk=signals)
    )
    _, columns = prepare(made.samples, SignalShape(), Preparation(), Charge(), PileUp(), WINDOW)
    columns.pop("flags")
    return {"samples": made.samples.copy(), "label": truth.label.copy(), "energy": truth.energy.copy(), **columns}


@pytest.fixture(scope="module")
def training_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 600 test and 400 validation signals."""
    path = tmp_path_factory.mktemp("evaluate") / "set.zarr"
    facts = SetFacts(CLASSES, SAMPLES, "int16", SignalShape(), Charge(), ("simulation",), 1)
    write_set(path, facts, {"validation": part(400, 2), "test": part(600, 3)})
    return path


def card(task: str, classes: tuple[str, ...] = CLASSES, **training: Any) -> ModelCard:
    """Card of a model for the signals of the set."""
    preparation = Preparation(length=WINDOW)
    return ModelCard(classes, task, True, SAMPLES, "int16", SignalShape(), preparation, (), training)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frozen network of one layer."""
    return _classifier(tmp_path_factory.mktemp("model") / "linear.pb", card("classifier"))


def _classifier(path: Path, told: ModelCard) -> Path:
    """The best linear discriminant of 400 signals, by least squares, as a network; nothing is trained here."""
    from psdbatch.models.complete import freeze_complete
    from psdbatch.models.quiet import tf

    layer = tf.keras.layers.Dense(2, activation="softmax", name="output_layer")
    model = tf.keras.Sequential([tf.keras.Input((WINDOW,), name="signal"), layer])
    learnt = part(400, 2)
    windows = np.hstack([_windows(learnt["samples"]), np.ones((400, 1))])
    solution = np.linalg.lstsq(windows, 20 * (learnt["label"] - 0.5), rcond=1e-3)[0]
    weights = np.stack([np.zeros(WINDOW + 1), solution], axis=1).astype(np.float32)
    layer.set_weights([weights[:-1], weights[-1]])
    freeze_complete(model, path, told)
    return path


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The model runs here: starting TensorFlow anew each time would be most of the test."""

    def run_here(model: Path, path: Path, part: str, signals: int | None = None) -> tuple[ModelFacts, dict[str, Array]]:
        folder = tmp_path / "frozen"
        folder.mkdir(exist_ok=True)
        return score_model(model, path, part, signals, folder)

    monkeypatch.setattr("psdbatch.evaluation.evaluating.score_in_subprocess", run_here)


def run(*arguments: object) -> Result:
    """The command."""
    return CliRunner().invoke(cli, ["evaluate", *map(str, arguments)])


def test_a_classifier_gets_a_report_and_numbers(classifier: Path, training_set: Path, tmp_path: Path) -> None:
    result = run(
        classifier, "--set", training_set, "--output", tmp_path / "out", "--energy", 50, "--energy", 4000, "--json"
    )
    assert result.exit_code == 0, result.output
    numbers = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert json.loads(result.output) == numbers
    figures = numbers["figures"]
    assert figures["accuracy"]["total"] == 600
    assert np.sum(figures["confusion"]) == 600
    assert figures["accuracy"]["value"] > 0.8
    assert figures["charge_accuracy"]["value"] > 0.8
    assert figures["unanswered"] == 0
    assert [window["low"] for window in figures["by_energy"]] == [50.0]
    assert numbers["about"]["set"]["digest"] == open_set(training_set).facts.digest
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg") >= 6
    assert not re.search(r"(?:src|href)=.(?!#)|url\(.?http|@import", page)  # nothing is fetched
    assert "600 of 600 signals" in page


def test_scores_are_those_of_the_frozen_model(classifier: Path, training_set: Path) -> None:
    from psdbatch.evaluation.scoring import score_in_subprocess
    from psdbatch.models.quiet import tf

    facts, found = score_in_subprocess(classifier, training_set, "test", 100)
    stored = open_set(training_set).part("test").read(0, 100, ["samples", "label"])
    graph = tf.compat.v1.GraphDef.FromString(Path(classifier).read_bytes())
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    function = wrapped.prune("signal:0", "output_layer:0")
    np.testing.assert_allclose(found["scores"], function(tf.constant(stored["samples"])).numpy(), atol=1e-6)
    np.testing.assert_array_equal(found["label"], stored["label"])
    assert facts.card is not None
    assert facts.card.task == "classifier"


@pytest.mark.usefixtures("in_this_process")
def test_classes_in_another_order_are_put_right(training_set: Path, tmp_path: Path) -> None:
    swapped = _classifier(tmp_path / "swapped.pb", card("classifier", ("neutron", "gamma")))
    result = run(swapped, "--set", training_set, "--json", "--amplitude", 1, "--amplitude", 10000)
    assert json.loads(result.output)["figures"]["accuracy"]["value"] < 0.2  # the card says the opposite of the truth


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"classes": ("proton", "alpha")}, "knows the classes proton, alpha, the set holds gamma, neutron"),
        ({"signals": SignalShape(polarity="positive")}, "made for positive pulses, those of the set are negative"),
    ],
)
def test_a_model_of_other_signals_is_refused(
    told: dict[str, Any], message: str, training_set: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    other = _classifier(tmp_path / "other.pb", replace(card("classifier"), **told))
    result = run(other, "--set", training_set)
    assert result.exit_code == 1
    assert message in str(result.exception)


@pytest.mark.usefixtures("in_this_process")
def test_what_is_missing_is_named(classifier: Path, training_set: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ([tmp_path / "no.pb", "--set", training_set], "no such model"),
        ([classifier], "name the training set to evaluate on with --set"),
        ([classifier, "--set", tmp_path], "there is no training set"),
        ([classifier, "--set", training_set, "--part", "train"], "has no part 'train'"),
        ([tmp_path], "no training directory with a frozen model"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert message in str(result.exception)


@pytest.mark.usefixtures("in_this_process")
def test_an_auto_encoder_is_judged_by_what_it_reconstructs(training_set: Path, tmp_path: Path) -> None:
    """Principal components of the windows are the best linear auto-encoder; nothing is trained here."""
    from psdbatch.models.complete import freeze_complete
    from psdbatch.models.quiet import tf

    raw = open_set(training_set).part("validation").read(0, 400, ["samples"])["samples"]
    windows = _windows(raw)
    middle = windows.mean(axis=0)
    components = np.linalg.svd(windows - middle, full_matrices=False)[2][:6]
    entry = tf.keras.Input((WINDOW,), name="signal")
    code = tf.keras.layers.Dense(6, name="code")
    back = tf.keras.layers.Dense(WINDOW, name="reconstruction")
    model = tf.keras.Model(entry, [back(code(entry)), code.output])
    code.set_weights([components.T, -components @ middle])
    back.set_weights([components, middle])
    freeze_complete(model, tmp_path / "components.pb", card("autoencoder"))

    result = run(tmp_path / "components.pb", "--set", training_set, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.output)["figures"]
    assert figures["compression"]["numbers"] == 6
    assert figures["compression"]["ratio"] == WINDOW / 6
    samples = open_set(training_set).part("test").read(0, 600, ["samples", "amplitude"])
    seen, columns = prepare(samples["samples"], SignalShape(), Preparation(), Charge(), PileUp(), WINDOW)
    left = seen - middle - (seen - middle) @ components.T @ components
    expected = np.sqrt((left**2).mean(axis=1)) * columns["amplitude"]
    assert figures["whole"]["error"]["mean"] == pytest.approx(expected.mean(), rel=1e-3)
    assert figures["whole"]["error"]["quantiles"][1] == pytest.approx(np.median(expected), rel=1e-3)
    assert "<svg" in (tmp_path / "components-evaluation" / "report.html").read_text()


@pytest.mark.usefixtures("in_this_process")
def test_a_denoiser_that_does_nothing_gains_nothing(training_set: Path, tmp_path: Path) -> None:
    from psdbatch.models.complete import freeze_complete
    from psdbatch.models.quiet import tf

    entry = tf.keras.Input((WINDOW,), name="signal")
    model = tf.keras.Model(entry, tf.keras.layers.Reshape((WINDOW,), name="clean")(entry))
    told = card("denoiser", configuration={"augmentation": {"noise": 20.0}})
    freeze_complete(model, tmp_path / "nothing.pb", told)
    result = run(tmp_path / "nothing.pb", "--set", training_set, "--json")
    assert result.exit_code == 0, result.output
    whole = json.loads(result.output)["figures"]["whole"]
    assert whole["gain_db"] == pytest.approx(0, abs=1e-3)
    assert whole["error"]["mean"] == pytest.approx(20, rel=0.05)  # the noise that was added, in ADC units

    freeze_complete(model, tmp_path / "silent.pb", card("denoiser"))
    result = run(tmp_path / "silent.pb", "--set", training_set)
    assert "does not tell its [augmentation]" in str(result.exception)


@pytest.mark.usefixtures("in_this_process")
def test_a_separator_that_does_nothing_leaves_the_second_pulse_in(training_set: Path, tmp_path: Path) -> None:
    from psdbatch.models.complete import freeze_complete
    from psdbatch.models.quiet import tf

    layers = tf.keras.layers
    entry = tf.keras.Input((WINDOW,), name="signal")
    first = layers.Reshape((WINDOW,), name="first")(entry)
    none = layers.Rescaling(0.0, name="second")(entry)
    told = card("separator", configuration={"augmentation": {"pile_up": 1.0, "pile_up_delay": [10, 30]}})
    freeze_complete(tf.keras.Model(entry, [first, none]), tmp_path / "nothing.pb", told)
    result = run(tmp_path / "nothing.pb", "--set", training_set, "--json")
    assert result.exit_code == 0, result.output
    whole = json.loads(result.output)["figures"]["whole"]
    assert whole["gain_db"] == pytest.approx(0, abs=1e-3)
    assert whole["second_gain_db"] == pytest.approx(0, abs=1e-3)
    assert whole["second_charge"]["mean"] == pytest.approx(-1, abs=1e-3)  # all of the second charge is missing
    assert whole["first_charge"]["quantiles"][1] > 0.1  # and lies in the first one
    assert "truth, second pulse" in (tmp_path / "nothing-evaluation" / "report.html").read_text()
