"""The engine answers raw batches as the network answers prepared signals, whatever the batch, dtype and shape."""

from __future__ import annotations

import json
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.columns import Flag
from psdbatch.config import Preparation
from psdbatch.errors import ModelError, OutOfMemoryError
from psdbatch.models.engine_settings import EngineSettings
from psdbatch.models.outputs import output_columns
from tests import preparation_reference as reference
from tests.frozen_models import (
    SAMPLES,
    engine_settings,
    expected_probability,
    expected_scores,
    pulses,
    several,
    sigmoid,
    softmax,
)

BATCH = 64
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def settings(folder: Path) -> EngineSettings:
    return engine_settings(folder / "softmax.pb", softmax)


@pytest.fixture(scope="module")
def engine(settings: EngineSettings) -> Any:
    return make(settings)


def make(settings: EngineSettings, batch: int = BATCH) -> Any:
    from psdbatch.models.engine import Engine

    return Engine(settings, batch)


def columns(settings: EngineSettings, n: int) -> dict[str, Array]:
    out = {column.name: column.empty(n) for column in output_columns(settings.facts, settings.source)}
    out |= {name: np.full(n, np.nan, np.float32) for name in ("amplitude", "charge_long", "charge_short")}
    return out | {"flags": np.zeros(n, np.uint16)}


def infer(engine: Any, samples: Array) -> dict[str, Array]:
    out = columns(engine.settings, len(samples))
    engine.infer(samples, out)
    return out


def prepared(settings: EngineSettings, samples: Array) -> tuple[Array, dict[str, Array]]:
    return reference.prepare(
        samples, settings.signals, settings.preparation, settings.charge, settings.pile_up, settings.window
    )


def test_answers_are_those_of_the_network_to_the_prepared_signals(engine: Any) -> None:
    assert engine.compiled
    samples = pulses(BATCH)
    windows, classical = prepared(engine.settings, samples)
    out = infer(engine, samples)
    np.testing.assert_allclose(out["probability"], expected_probability(windows), atol=2e-6)
    np.testing.assert_array_equal(out["label"], out["probability"].argmax(axis=1))
    for name in ("amplitude", "charge_long", "charge_short"):
        np.testing.assert_allclose(out[name], classical[name], rtol=1e-5, atol=0.5)
    np.testing.assert_array_equal(out["flags"], classical["flags"])


def test_the_uncompiled_graph_gives_the_same(settings: EngineSettings, engine: Any) -> None:
    plain = make(replace(settings, xla=False))
    assert not plain.compiled
    samples = pulses(BATCH)
    for name, values in infer(engine, samples).items():
        np.testing.assert_allclose(infer(plain, samples)[name], values, rtol=1e-5, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("n", [1, 2, 63, 64])
def test_short_batches_are_padded_and_nothing_of_the_padding_comes_out(engine: Any, n: int) -> None:
    whole, part = infer(engine, pulses(BATCH)), infer(engine, pulses(BATCH)[:n])
    for name, values in part.items():
        assert len(values) == n
        np.testing.assert_array_equal(values, whole[name][:n], err_msg=name)


def test_scattered_unaligned_and_read_only_samples_give_the_same(engine: Any) -> None:
    samples = pulses(BATCH)
    memory = np.zeros(samples.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + 2
    unaligned = memory[start : start + samples.nbytes].view(np.int16).reshape(samples.shape)
    unaligned[:] = samples
    wide = np.zeros((BATCH, 80), np.int16)
    wide[:, ::2] = samples
    frozen = samples.copy()
    frozen.flags.writeable = False
    expected = infer(engine, samples)["probability"]
    for variant in (unaligned, wide[:, ::2], frozen, samples.astype(np.int32)):
        np.testing.assert_array_equal(infer(engine, variant)["probability"], expected)


def test_aligned_memory_is_handed_over_without_a_copy_and_left_as_it_was(engine: Any) -> None:
    from psdbatch.models.engine import aligned

    samples = aligned(BATCH, 40, "int16")
    assert samples.ctypes.data % 64 == 0
    samples[:] = pulses(BATCH)
    infer(engine, samples)
    np.testing.assert_array_equal(samples, pulses(BATCH))
    assert engine._tensor(samples).numpy().base is None
    before = engine._tensor(samples)
    samples[0, 0] = 77
    assert before.numpy()[0, 0] == 77


def test_bits_are_added_to_flags_that_are_there(engine: Any) -> None:
    samples = pulses(5)
    samples[3, 20] = 0
    out = columns(engine.settings, 5)
    out["flags"][:] = [Flag.DAMAGED, 0, Flag.NO_SAMPLES, Flag.DAMAGED, 0]
    engine.infer(samples, out)
    assert out["flags"][0] & Flag.DAMAGED
    assert out["flags"][3] & Flag.DAMAGED
    assert out["flags"][3] & Flag.SATURATED


def test_columns_nobody_asked_for_are_left_out(engine: Any) -> None:
    out = {"label": np.zeros(3, np.uint8), "flags": np.zeros(3, np.uint16)}
    engine.infer(pulses(3), out)
    np.testing.assert_array_equal(out["label"], infer(engine, pulses(3))["label"])


def test_same_batch_same_bytes_from_any_thread(engine: Any) -> None:
    batches = [pulses(size, seed=seed) for seed in range(6) for size in (BATCH, 17)]
    expected = [infer(engine, batch) for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda number: infer(engine, batches[number % 12]), range(240)))
    for number, out in enumerate(found):
        for name, values in out.items():
            assert values.tobytes() == expected[number % 12][name].tobytes()


def test_a_sigmoid_gives_both_probabilities_and_the_label_at_one_half(folder: Path) -> None:
    engine = make(engine_settings(folder / "sigmoid.pb", sigmoid))
    samples = pulses(BATCH)
    windows, _ = prepared(engine.settings, samples)
    second = 1 / (1 + np.exp(-expected_scores(windows, 1)[:, 0]))
    out = infer(engine, samples)
    np.testing.assert_allclose(out["probability"], np.stack([1 - second, second], axis=1), atol=2e-6)
    np.testing.assert_array_equal(out["label"], out["probability"][:, 1] >= 0.5)


def test_exactly_one_half_is_the_second_class(folder: Path) -> None:
    def build(tf: Any) -> None:
        signal = tf.compat.v1.placeholder("float32", (None, SAMPLES), "signal")
        tf.sigmoid(0.0 * signal[:, :1])

    out = infer(make(engine_settings(folder / "half.pb", build)), pulses(4))
    assert (out["probability"] == 0.5).all()
    assert (out["label"] == 1).all()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_scores_without_activation_get_the_one_of_the_configuration(folder: Path, activation: str) -> None:
    def build(tf: Any) -> None:
        softmax(tf)

    source = {"outputs": ("MatMul_1",), "activation": activation}
    engine = make(engine_settings(folder / "scores.pb", build, source=source))
    samples = pulses(BATCH)
    scores = expected_scores(prepared(engine.settings, samples)[0])
    expected = (
        np.exp(scores) / np.exp(scores).sum(1, keepdims=True) if activation == "softmax" else 1 / (1 + np.exp(-scores))
    )
    np.testing.assert_allclose(infer(engine, samples)["probability"], expected, atol=2e-6)


def test_all_outputs_of_a_network_come_back(folder: Path) -> None:
    engine = make(engine_settings(folder / "several.pb", several))
    samples = pulses(10)
    windows, _ = prepared(engine.settings, samples)
    out = infer(engine, samples)
    assert out["again"].shape == (10, SAMPLES, 1)
    assert out["brightest"].dtype == np.int32
    np.testing.assert_allclose(out["probability"], expected_probability(windows, 3), atol=2e-6)
    np.testing.assert_array_equal(out["label"], out["probability"].argmax(axis=1))


@pytest.mark.parametrize("shape", [(None, SAMPLES, 1), (None, 1, SAMPLES), (None, None), None])
def test_inputs_of_every_usual_shape_are_fed(folder: Path, engine: Any, shape: Any) -> None:
    name = f"shape-{shape}.pb".replace(" ", "")
    preparation = Preparation(length=SAMPLES)
    other = make(engine_settings(folder / name, lambda tf: softmax(tf, shape), preparation=preparation))
    samples = pulses(9)
    np.testing.assert_allclose(infer(other, samples)["probability"], infer(engine, samples)["probability"], atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_inputs_of_every_usual_dtype_are_fed(folder: Path, dtype: str) -> None:
    preparation = Preparation(normalise="none") if dtype == "int32" else Preparation()
    engine = make(engine_settings(folder / f"{dtype}.pb", lambda tf: softmax(tf, dtype=dtype), preparation=preparation))
    windows, _ = prepared(engine.settings, pulses(9))
    expected = expected_scores(np.trunc(windows) if dtype == "int32" else windows.astype(dtype))
    found = infer(engine, pulses(9))
    np.testing.assert_array_equal(found["label"], expected.argmax(axis=1))
    if dtype != "int32":
        np.testing.assert_allclose(found["probability"], expected_probability(windows.astype(dtype)), atol=1e-5)


@pytest.mark.parametrize("xla", [True, False])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64"])
def test_samples_of_every_dtype_are_taken(settings: EngineSettings, engine: Any, dtype: str, xla: bool) -> None:
    other = make(replace(settings, sample_dtype=dtype, xla=xla))
    found, expected = infer(other, pulses(9).astype(dtype)), infer(engine, pulses(9))
    for name in ("probability", "label", "amplitude", "charge_short"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=0.02, err_msg=name)


def test_a_model_with_its_own_preparation_gets_the_raw_samples(folder: Path) -> None:
    def build(tf: Any) -> None:
        raw = tf.compat.v1.placeholder("int16", (None, 40), "raw")
        tf.cast(tf.reduce_max(raw, axis=1), tf.float32, name="top")

    engine = make(engine_settings(folder / "raw.pb", build, preparation=Preparation(enabled=False)))
    samples = pulses(7)
    out = infer(engine, samples)
    np.testing.assert_array_equal(out["top"], samples.max(axis=1))
    np.testing.assert_allclose(out["amplitude"], samples[:, :8].mean(axis=1) - samples.min(axis=1), atol=0.01)


def test_answers_that_are_no_numbers_are_taken_back_and_flagged(folder: Path) -> None:
    def build(tf: Any) -> None:
        signal = tf.compat.v1.placeholder("float32", (None, SAMPLES), "signal")
        top = tf.reduce_max(signal, axis=1, keepdims=True)
        nothing = tf.where(top > 3000, float("nan"), tf.where(top > 2000, float("inf"), 0.0))
        tf.concat([0.5 + nothing, tf.fill(tf.shape(top), 0.5)], axis=1, name="scores")

    preparation = Preparation(normalise="none")
    engine = make(engine_settings(folder / "nan.pb", build, preparation=preparation))
    samples = pulses(BATCH)
    bad = prepared(engine.settings, samples)[0].max(axis=1) > 2000
    assert 0 < bad.sum() < BATCH
    out = infer(engine, samples)
    np.testing.assert_array_equal(out["label"] == 255, bad)
    np.testing.assert_array_equal(np.isnan(out["probability"]), np.stack([bad, bad], axis=1))
    np.testing.assert_array_equal((out["flags"] & Flag.BAD_ANSWER) != 0, bad)
    assert np.isfinite(out["amplitude"]).all()


def test_what_xla_refuses_runs_uncompiled_with_a_message(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def build(tf: Any) -> None:
        signal = tf.compat.v1.placeholder("float32", (None, SAMPLES), "signal")
        tf.compat.v1.disable_control_flow_v2()  # a loop as TensorFlow 1 wrote it: Enter, Merge, Switch, Exit
        try:
            _, last = tf.compat.v1.while_loop(
                lambda number, _: number < 3, lambda number, value: (number + 1, value + 1), [0, signal[:, :1]]
            )
        finally:
            tf.compat.v1.enable_control_flow_v2()
        tf.sigmoid(tf.ensure_shape(last, (None, 1)) - 3, name="neutron")

    with caplog.at_level(logging.WARNING):
        engine = make(engine_settings(folder / "loop.pb", build))
    assert not engine.compiled
    assert [record.name for record in caplog.records] == ["psdbatch.models.engine"]
    assert "loop.pb: XLA does not compile this model" in caplog.text
    windows, classical = prepared(engine.settings, pulses(BATCH))
    out = infer(engine, pulses(BATCH))
    np.testing.assert_allclose(out["probability"][:, 1], 1 / (1 + np.exp(-windows[:, 0])), atol=2e-6)
    np.testing.assert_allclose(out["charge_long"], classical["charge_long"], rtol=1e-5, atol=0.5)


def test_recurrent_networks_are_compiled(folder: Path) -> None:
    from psdbatch.models.freezing import freeze
    from psdbatch.models.quiet import tf

    tf.keras.utils.set_random_seed(2)
    layers = [tf.keras.Input((SAMPLES, 1)), tf.keras.layers.LSTM(3), tf.keras.layers.Dense(1, activation="sigmoid")]
    model = tf.keras.Sequential(layers)
    freeze(model, folder / "lstm.pb")
    engine = make(engine_settings(folder / "lstm.pb", softmax))
    assert engine.compiled
    windows, _ = prepared(engine.settings, pulses(9))
    expected = model(windows[:, :, None]).numpy()[:, 0]
    np.testing.assert_allclose(infer(engine, pulses(9))["probability"][:, 1], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 12}, "takes 20 samples, the signals have only 12"),
        ({"preparation": Preparation(length=30)}, "takes 20 samples, but 'preparation.length' is 30"),
        ({"preparation": Preparation(enabled=False)}, "takes 20 samples and the signals have 40.*'enabled'"),
    ],
)
def test_a_model_of_another_length_is_refused_with_both_lengths_and_the_key(
    settings: EngineSettings, changes: Any, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        make(replace(settings, **changes))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((None, 4, 5), "one row of samples"), ((None, None, 1), "takes any number of samples; set 'length'")],
)
def test_an_input_that_is_no_row_of_samples_is_refused(folder: Path, shape: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make(engine_settings(folder / f"{len(shape)}-{shape[1]}.pb", lambda tf: softmax(tf, shape)))


def test_a_model_that_mixes_signals_is_refused(folder: Path) -> None:
    def build(tf: Any) -> None:
        signal = tf.compat.v1.placeholder("float32", (None, SAMPLES), "signal")
        tf.reshape(signal, (-1, 2), name="pieces")

    with pytest.raises(ModelError, match=r"shape \(640, 2\) for a batch of 64 signals"):
        make(engine_settings(folder / "pieces.pb", build))


def test_a_model_that_cannot_be_evaluated_says_so(folder: Path) -> None:
    def build(tf: Any) -> None:
        signal = tf.compat.v1.placeholder("float32", (None, None), "signal")
        tf.matmul(signal, tf.ones((30, 2)), name="scores")

    with pytest.raises(ModelError, match=r"does not fit|fails on a batch"):
        make(engine_settings(folder / "misfit.pb", build, preparation=Preparation(length=20)))


def test_a_batch_over_the_limit_is_out_of_memory(settings: EngineSettings) -> None:
    with pytest.raises(OutOfMemoryError, match="limit of 10"):
        make(replace(settings, row_limit=10))


def test_memory_that_the_machine_does_not_have_is_out_of_memory(folder: Path) -> None:
    def build(tf: Any) -> None:
        signal = tf.compat.v1.placeholder("float32", (None, SAMPLES), "signal")
        big = tf.random.uniform((2**46,))
        tf.sigmoid(signal[:, :1] + tf.reduce_max(big), name="neutron")

    with pytest.raises(OutOfMemoryError):
        make(engine_settings(folder / "big.pb", build, xla=False))


def test_settings_travel_to_workers_and_facts_to_json(settings: EngineSettings) -> None:
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert json.loads(json.dumps(settings.facts.to_json()))["input"]["name"] == "signal:0"
