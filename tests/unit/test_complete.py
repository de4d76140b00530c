"""A complete frozen graph answers raw signals as the network answers prepared ones, and the engine knows what it takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.config import Charge, ModelSource, PileUp, Preparation, SignalShape
from psdbatch.errors import ModelError
from psdbatch.models.card import ModelCard, card_of
from psdbatch.models.engine_settings import EngineSettings
from tests import preparation_reference as reference
from tests.frozen_models import SAMPLES as WINDOW
from tests.frozen_models import engine_settings, pulses, several, softmax, write_graph

RAW = 40
BATCH = 64
SIGNALS = SignalShape(baseline=8)


def card(**changes: Any) -> ModelCard:
    made = ModelCard(
        classes=("gamma", "neutron"),
        task="classifier",
        complete=True,
        samples=RAW,
        sample_dtype="int16",
        signals=SIGNALS,
        preparation=Preparation(length=WINDOW),
        outputs=(),
    )
    return replace(made, **changes)


def keras_model(shape: tuple[int, ...] = (WINDOW,), seed: int = 1) -> Any:
    from psdbatch.models.quiet import tf

    tf.keras.backend.clear_session()  # names of layers count from 1 again
    tf.keras.utils.set_random_seed(seed)
    layers = tf.keras.layers
    first = layers.Conv1D(3, 5, activation="relu") if len(shape) > 1 else layers.Dense(5, activation="relu")
    last = layers.Dense(2, activation="softmax", name="output_layer")
    return tf.keras.Sequential([tf.keras.Input(shape), first, layers.Flatten(), last])


def plain(path: Path, raw: np.ndarray[Any, Any], output: str = "output_layer") -> np.ndarray[Any, Any]:
    """Answers of the file as TensorFlow alone gives them."""
    from psdbatch.models.quiet import tf

    graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default() as loaded, tf.compat.v1.Session(graph=loaded) as session:
        tf.graph_util.import_graph_def(graph, name="")
        return np.asarray(session.run(f"{output}:0", {"signal:0": raw}))


def prepared(raw: np.ndarray[Any, Any], made: ModelCard) -> np.ndarray[Any, Any]:
    return reference.prepare(raw, made.signals, made.preparation, Charge(short=4, long=20), PileUp(), made.window)[0]


def described(path: Path, samples: int = RAW, sample_dtype: str = "int16", **changes: Any) -> EngineSettings:
    settings = engine_settings(path, softmax, preparation=Preparation(enabled=False))
    source = settings.source.model_copy(update={"classes": ("gamma", "neutron")})
    return replace(settings, source=source, samples=samples, sample_dtype=sample_dtype, **changes)


def engine(settings: EngineSettings) -> Any:
    from psdbatch.models.engine import Engine

    return Engine(settings, BATCH)


def answers(settings: EngineSettings, raw: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: values.numpy()[: len(raw)] for name, values in engine(settings).run(raw).items()}


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from psdbatch.models.complete import freeze_complete

    path = tmp_path_factory.mktemp("complete") / "net.pb"
    freeze_complete(keras_model(), path, card())
    return path


@pytest.mark.parametrize("align", ["start", "threshold", "maximum"])
@pytest.mark.parametrize("polarity", ["negative", "positive"])
def test_raw_signals_get_the_answers_of_windows_prepared_by_hand(tmp_path: Path, align: Any, polarity: Any) -> None:
    from psdbatch.models.complete import freeze_complete

    model = keras_model()
    made = card(
        preparation=Preparation(align=align, offset=3, length=WINDOW),
        signals=SignalShape(baseline=8, polarity=polarity),
    )
    freeze_complete(model, tmp_path / "net.pb", made)
    raw = pulses(50) if polarity == "negative" else (16_383 - pulses(50)).astype(np.int16)
    expected = model(prepared(raw, made)).numpy()
    assert np.ptp(expected) > 0.1  # else everything would be equal
    np.testing.assert_allclose(plain(tmp_path / "net.pb", raw), expected, atol=1e-5)


@pytest.mark.parametrize(("dtype", "bits"), [("uint16", 16), ("int32", 14), ("float32", 14)])
def test_other_kinds_of_samples_are_taken(tmp_path: Path, dtype: str, bits: int) -> None:
    from psdbatch.models.complete import freeze_complete

    model = keras_model((WINDOW, 1))
    made = card(sample_dtype=dtype, signals=SignalShape(baseline=8, adc_bits=bits))
    freeze_complete(model, tmp_path / "net.pb", made)
    raw = (pulses(30).astype(np.int64) * (4 if bits == 16 else 1)).astype(dtype)
    expected = model(prepared(raw, made)[:, :, None]).numpy()
    np.testing.assert_allclose(plain(tmp_path / "net.pb", raw), expected, atol=1e-5)


def test_the_card_in_the_file_is_filled_in(tmp_path: Path) -> None:
    from psdbatch.models.complete import freeze_complete, write_bare
    from psdbatch.models.loading import keras_network
    from psdbatch.models.quiet import tf

    written = freeze_complete(keras_model(), tmp_path / "net.pb", card())
    graph = tf.compat.v1.GraphDef.FromString((tmp_path / "net.pb").read_bytes())
    assert card_of(graph) == written
    assert (written.complete, written.outputs) == (True, ("output_layer",))
    bare = write_bare(keras_network(keras_model()), tmp_path / "bare.pb", card())
    assert (bare.complete, bare.samples, bare.sample_dtype) == (False, WINDOW, "float32")
    assert bare.weights_digest == written.weights_digest
    other = freeze_complete(keras_model(seed=2), tmp_path / "other.pb", card())
    assert other.weights_digest != written.weights_digest


def test_the_same_network_has_the_same_weights_in_every_kind_of_file(tmp_path: Path) -> None:
    from psdbatch.models.freezing import freeze
    from psdbatch.models.loading import load_network
    from psdbatch.models.quiet import tf

    model = keras_model()
    model.save(tmp_path / "net.keras")
    tf.saved_model.save(model, str(tmp_path / "saved"))
    freeze(model, tmp_path / "frozen.pb")
    digests = {load_network(tmp_path / name).weights_digest for name in ("net.keras", "saved", "frozen.pb")}
    assert len(digests) == 1


def test_the_preparation_brings_only_operations_that_tensorflow_2_14_knows_too(complete: Path, tmp_path: Path) -> None:
    """All of them are older than TensorFlow 2.0, where the preparation's gather got its batch dimensions."""
    from psdbatch.models.complete import freeze_complete
    from psdbatch.models.quiet import tf

    found = set()
    for align in ("start", "threshold", "maximum"):
        for normalise in ("amplitude", "none"):
            preparation = Preparation(align=align, length=WINDOW, offset=-15, normalise=normalise)
            freeze_complete(keras_model(), tmp_path / "net.pb", card(preparation=preparation))
            graph = tf.compat.v1.GraphDef.FromString((tmp_path / "net.pb").read_bytes())
            found |= {node.op for node in graph.node}
            assert not graph.library.function
    assert found <= {
        "AddV2", "BiasAdd", "Cast", "Ceil", "ConcatV2", "Const", "ExpandDims", "Floor", "GatherV2", "Greater", "GreaterEqual",
        "Identity", "LessEqual", "MatMul", "Max", "Maximum", "Min", "Minimum", "Mul", "NoOp", "Pack", "Placeholder", "Range",
        "RealDiv", "Relu", "Reshape", "SelectV2", "Shape", "Softmax", "StridedSlice", "Sub", "Sum", "Tile",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preparation": Preparation(length=30)}, "takes 20 samples, but 'preparation.length' is 30"),
        ({"preparation": Preparation(enabled=False)}, "takes 20 samples, but without preparation it would get 40"),
        ({"samples": 12}, "the raw signals have only 12"),
        ({"sample_dtype": "S4"}, "are no numbers"),
        ({"signals": SignalShape(adc_bits=16)}, "samples of 16 bits do not fit into int16"),
    ],
)
def test_a_card_that_does_not_fit_the_network_is_refused(tmp_path: Path, changes: Any, said: str) -> None:
    from psdbatch.models.complete import freeze_complete

    with pytest.raises(ModelError, match=said):
        freeze_complete(keras_model(), tmp_path / "net.pb", card(**changes))
    assert not (tmp_path / "net.pb").exists()


def test_verifying_finds_no_difference_where_there_is_none(complete: Path) -> None:
    from psdbatch.models.loading import keras_network
    from psdbatch.models.verifying import verify

    assert verify(keras_network(keras_model()), complete, card(outputs=("output_layer",))) < 1e-6


@pytest.mark.parametrize("what", ["weights", "preparation"])
def test_verifying_finds_other_weights_and_another_preparation(complete: Path, what: str) -> None:
    from psdbatch.models.loading import keras_network
    from psdbatch.models.verifying import verify

    network = keras_network(keras_model(seed=2 if what == "weights" else 1))
    made = card(outputs=("output_layer",))
    if what == "preparation":
        made = replace(made, preparation=Preparation(length=WINDOW, offset=-4))
    with pytest.raises(ModelError, match="differs from the network that it was made from by"):
        verify(network, complete, made)


def test_a_slightly_wrong_weight_is_found(tmp_path: Path) -> None:
    from psdbatch.models.complete import freeze_complete
    from psdbatch.models.loading import keras_network
    from psdbatch.models.verifying import largest_difference

    model = keras_model()
    made = freeze_complete(model, tmp_path / "net.pb", card())
    weights = model.get_weights()
    weights[0][7, 2] += 1e-3
    model.set_weights(weights)
    assert largest_difference(keras_network(model), tmp_path / "net.pb", made) > 1e-5


@pytest.mark.parametrize("xla", [True, False])
def test_the_engine_answers_as_with_preparation_outside(complete: Path, tmp_path: Path, xla: bool) -> None:
    from psdbatch.models.freezing import freeze

    freeze(keras_model(), tmp_path / "bare.pb")
    outside = engine_settings(tmp_path / "bare.pb", softmax, preparation=card().preparation, xla=xla)
    inside = described(complete, xla=xla)
    raw = pulses(BATCH)
    one, other = answers(inside, raw), answers(outside, raw)
    assert inside.required == outside.required == WINDOW
    for name, values in other.items():
        np.testing.assert_allclose(one[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_compiler_computes_only_once_what_classical_quantities_and_preparation_share(
    complete: Path, tmp_path: Path
) -> None:
    """The compiled program is no longer than that of a bare file with the preparation outside."""
    from psdbatch.models.freezing import freeze
    from psdbatch.models.inference import inference
    from psdbatch.models.quiet import tf

    freeze(keras_model(), tmp_path / "bare.pb")
    outside = engine_settings(tmp_path / "bare.pb", softmax, preparation=card().preparation)

    def program(settings: EngineSettings) -> str:
        signature = [tf.TensorSpec((BATCH, RAW), "int16")]
        function = tf.function(inference(settings), input_signature=signature, jit_compile=True, autograph=False)
        return str(function.experimental_get_compiler_ir(tf.zeros((BATCH, RAW), tf.int16))(stage="optimized_hlo"))

    one, other = (program(settings) for settings in (described(complete), outside))
    assert other.count(" fusion(") > 0
    assert one.count(" fusion(") <= other.count(" fusion(")
    assert one.count(" reduce(") <= other.count(" reduce(")


def test_longer_signals_are_cut_to_what_the_model_takes(complete: Path) -> None:
    raw = pulses(BATCH, samples=60)
    np.testing.assert_allclose(
        answers(described(complete, samples=60), raw)["probability"], plain(complete, raw[:, :RAW]), atol=1e-5
    )


def test_samples_of_another_integer_type_are_taken_where_they_fit(complete: Path) -> None:
    raw = pulses(BATCH)
    settings = described(complete, sample_dtype="uint16")
    np.testing.assert_allclose(answers(settings, raw.astype(np.uint16))["probability"], plain(complete, raw), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples": 39}, "made for signals of 40 samples, these have only 39"),
        ({"sample_dtype": "float32"}, "takes samples of int16, the signals hold float32"),
        ({"sample_dtype": "uint16", "signals": SignalShape(adc_bits=16)}, "hold uint16 of 16 bits"),
        ({"preparation": Preparation()}, "prepares raw signals itself"),
    ],
)
def test_signals_that_do_not_fit_are_refused_with_both_values(complete: Path, changes: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        _ = replace(described(complete), **changes).window


def test_a_graph_of_the_first_tensorflow_gets_a_preparation_and_a_card(tmp_path: Path) -> None:
    from psdbatch.models.complete import write_complete
    from psdbatch.models.loading import load_network
    from psdbatch.models.quiet import tf
    from psdbatch.models.verifying import verify

    network = load_network(write_graph(tmp_path / "old.pb", several))
    made = write_complete(network, tmp_path / "new.pb", card(classes=("a", "b", "c")))
    assert verify(network, tmp_path / "new.pb", made) < 1e-6
    assert sorted(made.outputs) == ["Again", "brightest", "output_layer"]
    raw = pulses(20)
    for output, answer in zip(network.names, network.call(tf.constant(prepared(raw, made))), strict=True):
        np.testing.assert_allclose(plain(tmp_path / "new.pb", raw, output), answer.numpy(), atol=1e-5)


def test_recurrent_networks_are_frozen_with_their_loops(tmp_path: Path) -> None:
    from psdbatch.models.complete import freeze_complete
    from psdbatch.models.loading import keras_network
    from psdbatch.models.quiet import tf
    from psdbatch.models.verifying import verify

    layers = [tf.keras.Input((WINDOW, 1)), tf.keras.layers.LSTM(3), tf.keras.layers.Dense(1, "sigmoid", name="neutron")]
    model = tf.keras.Sequential(layers)
    made = freeze_complete(model, tmp_path / "net.pb", card())
    assert verify(keras_network(model), tmp_path / "net.pb", made) < 1e-6
    assert engine(described(tmp_path / "net.pb")).compiled


def test_outputs_given_as_a_dictionary_keep_their_names(tmp_path: Path) -> None:
    from psdbatch.models.complete import freeze_complete
    from psdbatch.models.quiet import tf

    signal = tf.keras.Input((WINDOW,))
    one, two = (tf.keras.layers.Dense(units)(signal) for units in (1, 2))
    model = tf.keras.Model(signal, {"zebra": one, "ant": two})
    made = freeze_complete(model, tmp_path / "net.pb", card())
    assert made.outputs == ("ant", "zebra")
    raw = pulses(5)
    expected = model(prepared(raw, made))
    for name in made.outputs:
        np.testing.assert_allclose(plain(tmp_path / "net.pb", raw, name), expected[name].numpy(), atol=1e-4)


def test_freezing_twice_gives_the_same_bytes(complete: Path, tmp_path: Path) -> None:
    from psdbatch.models.complete import freeze_complete

    freeze_complete(keras_model(), tmp_path / "again.pb", card())
    assert (tmp_path / "again.pb").read_bytes() == complete.read_bytes()


def test_a_complete_graph_is_described_with_its_input(complete: Path) -> None:
    from psdbatch.models.frozen import describe_graph

    facts = describe_graph(complete, ModelSource(path=str(complete)), "")
    assert (facts.input.name, facts.input.dtype, facts.input.shape) == ("signal:0", "int16", (None, RAW))
    assert facts.card is not None
