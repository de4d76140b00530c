"""The quality monitor: one call gives both models' answers, and the residual is that of NumPy and of the evaluation."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.columns import Flag
from psdbatch.config import Preparation, SignalShape
from psdbatch.errors import ModelError
from psdbatch.models.engine_settings import EngineSettings
from tests import preparation_reference as reference
from tests.frozen_models import SAMPLES, engine_settings, expected_probability, pulses, softmax, write_graph
from tests.quality_models import expected_reconstruction, expected_residual, quality_settings, write_autoencoder

BATCH = 64
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def settings(folder: Path) -> EngineSettings:
    return engine_settings(folder / "softmax.pb", softmax)


def windows(settings: EngineSettings, samples: Array) -> Array:
    """What the quality monitor is to reconstruct, in NumPy."""
    quality = settings.quality
    assert quality is not None
    rest = (settings.charge, settings.pile_up, quality.window)
    return reference.prepare(samples, quality.signals, quality.preparation, *rest)[0]


def infer(settings: EngineSettings, samples: Array, batch: int = BATCH) -> dict[str, Array]:
    from psdbatch.golden.answers import empty_answers
    from psdbatch.models.engine import Engine

    out = empty_answers(settings, len(samples))
    Engine(settings, batch).infer(samples, out)
    return out


@pytest.mark.parametrize("xla", [True, False])
@pytest.mark.parametrize(
    ("length", "preparation"),
    [
        (SAMPLES, Preparation()),
        (16, Preparation(align="maximum", offset=-7)),
        (30, Preparation(align="start", offset=5)),
    ],
)
def test_residual_is_the_root_mean_square_of_what_is_left(
    folder: Path, settings: EngineSettings, length: int, preparation: Preparation, xla: bool
) -> None:
    path = write_autoencoder(folder / f"autoencoder-{length}.pb", length)
    both = replace(settings, xla=xla, quality=quality_settings(path, preparation))
    samples = pulses(BATCH)
    out = infer(both, samples)
    expected = expected_residual(windows(both, samples))
    assert expected.min() > 0.01
    np.testing.assert_allclose(out["residual"], expected, rtol=1e-4, atol=1e-6)
    assert out["residual"].dtype == np.float32
    alone = infer(replace(settings, xla=xla), samples)
    assert "residual" not in alone
    for name, values in alone.items():
        np.testing.assert_allclose(out[name], values, rtol=1e-6, atol=1e-6, err_msg=name)


def test_windows_that_are_not_normalised_have_a_residual_in_amplitudes_all_the_same(
    folder: Path, settings: EngineSettings
) -> None:
    """The auto-encoder is linear: ten times the signal, ten times what is left."""
    path = write_autoencoder(folder / "autoencoder.pb", SAMPLES)
    samples = pulses(BATCH)
    normalised = infer(replace(settings, quality=quality_settings(path)), samples)
    plain = infer(replace(settings, quality=quality_settings(path, Preparation(normalise="none"))), samples)
    np.testing.assert_allclose(plain["residual"], normalised["residual"], rtol=1e-3)


def test_a_signal_without_height_has_a_residual_of_zero(folder: Path, settings: EngineSettings) -> None:
    path = write_autoencoder(folder / "flat.pb", SAMPLES)
    out = infer(replace(settings, quality=quality_settings(path)), np.full((3, 40), 14_000, np.int16))
    np.testing.assert_array_equal(out["residual"], 0)


@pytest.mark.parametrize("shape", [(None, SAMPLES, 1), (None, 1, SAMPLES)])
def test_a_reconstruction_of_any_usual_shape_is_taken(folder: Path, settings: EngineSettings, shape: Any) -> None:
    path = write_autoencoder(folder / f"shape-{shape[1]}.pb", SAMPLES, shape=shape)
    both = replace(settings, quality=quality_settings(path))
    samples = pulses(9)
    np.testing.assert_allclose(
        infer(both, samples)["residual"], expected_residual(windows(both, samples)), rtol=1e-4, atol=1e-6
    )


def test_an_answer_that_is_no_number_is_a_residual_of_nan_and_no_refusal(
    folder: Path, settings: EngineSettings
) -> None:
    def build(tf: Any) -> None:
        signal = tf.compat.v1.placeholder("float32", (None, SAMPLES), "signal")
        late = tf.reduce_mean(signal[:, 10:], axis=1, keepdims=True)
        tf.multiply(signal, tf.where(late > 0.3, float("inf"), 1.0), name="again")

    both = replace(settings, quality=quality_settings(write_graph(folder / "inf.pb", build)))
    samples = pulses(BATCH)
    bad = windows(both, samples)[:, 10:].mean(axis=1) > 0.3
    assert 0 < bad.sum() < BATCH
    out = infer(both, samples)
    np.testing.assert_array_equal(np.isnan(out["residual"]), bad)
    assert (out["flags"] & Flag.BAD_ANSWER == 0).all()
    assert (out["label"] != 255).all()


def test_one_network_that_xla_refuses_leaves_both_uncompiled_and_both_right(
    folder: Path, settings: EngineSettings, caplog: pytest.LogCaptureFixture
) -> None:
    def build(tf: Any) -> None:
        signal = tf.compat.v1.placeholder("float32", (None, SAMPLES), "signal")
        tf.compat.v1.disable_control_flow_v2()  # a loop as TensorFlow 1 wrote it
        try:
            _, last = tf.compat.v1.while_loop(
                lambda number, _: number < 2, lambda number, value: (number + 1, value + 0.5), [0, signal]
            )
        finally:
            tf.compat.v1.enable_control_flow_v2()
        tf.ensure_shape(last, (None, SAMPLES), name="one_more")

    both = replace(settings, quality=quality_settings(write_graph(folder / "loop.pb", build)))
    samples = pulses(BATCH)
    with caplog.at_level(logging.WARNING):
        out = infer(both, samples)
    assert "XLA does not compile this model with" in caplog.text
    np.testing.assert_allclose(out["residual"], 1.0, rtol=1e-5)
    prepared = reference.prepare(
        samples, settings.signals, settings.preparation, settings.charge, settings.pile_up, 20
    )[0]
    np.testing.assert_allclose(out["probability"], expected_probability(prepared), atol=2e-6)


def test_a_complete_graph_gets_raw_samples_and_is_compared_with_its_own_preparation(
    folder: Path, settings: EngineSettings
) -> None:
    """Its baseline is that of its card, not the campaign's."""
    from psdbatch.models.card import ModelCard
    from psdbatch.models.complete import freeze_complete
    from psdbatch.models.quiet import tf

    tf.keras.utils.set_random_seed(3)
    entry = tf.keras.Input((16,))
    again = tf.keras.layers.Dense(16, name="reconstruction")(tf.keras.layers.Dense(3, name="code")(entry))
    model = tf.keras.Model(entry, [again, tf.keras.layers.Dense(2, name="more")(again)])
    preparation = Preparation(align="maximum", offset=-5, length=16)
    card = ModelCard((), "autoencoder", True, 36, "int16", SignalShape(baseline=4), preparation, ())
    freeze_complete(model, folder / "complete.pb", card)
    quality = quality_settings(folder / "complete.pb", preparation, signals=SignalShape(baseline=4))
    assert (quality.inside, quality.window, quality.taken) == (True, 16, 36)
    both = replace(settings, quality=quality)
    samples = pulses(BATCH)
    prepared = windows(both, samples[:, :36])
    left = model(prepared.astype(np.float32))[0].numpy() - prepared
    np.testing.assert_allclose(infer(both, samples)["residual"], np.sqrt(np.mean(left**2, axis=1)), rtol=1e-4)


def test_the_evaluation_of_an_auto_encoder_finds_the_same(folder: Path, settings: EngineSettings) -> None:
    from psdbatch.evaluation.reconstructing import error_left

    path = write_autoencoder(folder / "same.pb", SAMPLES)
    both = replace(settings, quality=quality_settings(path))
    samples = pulses(BATCH)
    prepared = windows(both, samples)
    out = infer(both, samples)
    error = error_left(prepared, expected_reconstruction(prepared), out["amplitude"][:, None])
    np.testing.assert_allclose(out["residual"] * out["amplitude"], error, rtol=1e-4)


def test_an_output_of_the_model_named_residual_makes_room(folder: Path, settings: EngineSettings) -> None:
    def build(tf: Any) -> None:
        signal = tf.compat.v1.placeholder("float32", (None, SAMPLES), "signal")
        tf.reduce_max(signal, axis=1, name="residual")

    path = write_autoencoder(folder / "room.pb", SAMPLES)
    other = engine_settings(folder / "own-residual.pb", build)
    both = replace(other, quality=quality_settings(path))
    samples = pulses(9)
    out = infer(both, samples)
    np.testing.assert_allclose(out["model_residual"], 1.0, atol=1e-3)
    np.testing.assert_allclose(out["residual"], expected_residual(windows(both, samples)), rtol=1e-4)
    np.testing.assert_allclose(infer(other, samples)["residual"], 1.0, atol=1e-3)


@pytest.mark.parametrize(
    ("length", "options", "changes", "said"),
    [
        (50, {}, {}, "takes 50 samples, the signals have only 40"),
        (
            SAMPLES,
            {},
            {"preparation": Preparation(length=30)},
            "takes 20 samples, but 'quality.preparation.length' is 30",
        ),
        (SAMPLES, {}, {"preparation": Preparation(enabled=False)}, r"'enabled' in \[quality.preparation\]"),
        (SAMPLES, {}, {"outputs": ("code",)}, "no output has the shape of the signal that the model gets, 20 samples"),
        (3, {}, {"outputs": ("code", "reconstruction")}, r"several outputs .*'outputs' in \[quality\]"),
    ],
)
def test_what_is_no_auto_encoder_for_these_signals_is_refused_with_the_reason(
    folder: Path, settings: EngineSettings, length: int, options: Any, changes: Any, said: str
) -> None:
    path = write_autoencoder(folder / f"bad-{length}.pb", length, **options)
    with pytest.raises(ModelError, match=said):
        replace(settings, quality=quality_settings(path, **changes)).check()


def test_an_output_whose_length_is_left_open_is_refused_when_it_is_compiled(
    folder: Path, settings: EngineSettings
) -> None:
    def build(tf: Any) -> None:
        signal = tf.compat.v1.placeholder("float32", (None, None), "signal")
        tf.multiply(signal[:, 1:], 2.0, name="shorter")

    path = write_graph(folder / "open.pb", build)
    both = replace(settings, quality=quality_settings(path, Preparation(length=SAMPLES)))
    both.check()
    with pytest.raises(ModelError, match=r"'shorter:0' has shape .* for signals of 20 samples"):
        infer(both, pulses(3))


def test_a_preparation_that_both_models_need_is_compiled_once(folder: Path, settings: EngineSettings) -> None:
    from psdbatch.models.inference import inference
    from psdbatch.models.quiet import tf

    def windows_cut(quality: Any) -> int:
        function = tf.function(
            inference(replace(settings, quality=quality)),
            input_signature=[tf.TensorSpec((BATCH, 40), "int16")],
            jit_compile=True,
            autograph=False,
        )
        program = function.experimental_get_compiler_ir(tf.constant(pulses(BATCH)))(stage="optimized_hlo")
        return str(program).count(" gather(")

    path = write_autoencoder(folder / "shared.pb", SAMPLES)
    counts = [
        windows_cut(quality)
        for quality in (None, quality_settings(path), quality_settings(path, Preparation(align="maximum")))
    ]
    assert counts == [1, 1, 2]


def test_workers_must_agree_with_the_reference_about_the_residual_too(folder: Path, settings: EngineSettings) -> None:
    from psdbatch.golden.agreement import compare
    from psdbatch.golden.answers import answers_here, empty_answers
    from psdbatch.models.batching import BatchedEngine

    both = replace(settings, quality=quality_settings(write_autoencoder(folder / "agreed.pb", SAMPLES)))
    reference_answers = answers_here(both, pulses(32))
    assert "residual" in reference_answers.answers

    def differences(asked: EngineSettings) -> dict[str, float]:
        found = compare(BatchedEngine(asked, BATCH), reference_answers, empty_answers(asked, BATCH), 1e-4)
        return {entry.column: entry.distance for entry in found}

    assert max(differences(both).values()) <= 1
    other = replace(both, quality=quality_settings(folder / "agreed.pb", Preparation(offset=-4)))
    wrong = differences(other)
    assert wrong.pop("residual") > 1
    assert max(wrong.values()) <= 1
