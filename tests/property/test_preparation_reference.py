"""The preparation in the graph gives the numbers of the plain NumPy one, compiled or not, for every configuration."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psdbatch.config import Charge, PileUp, Preparation, SignalShape
from tests import preparation_reference as reference

ROWS = 12
Settings = tuple[SignalShape, Preparation, Charge, PileUp, int]


def make(samples: int, align: str = "threshold", gates: str = "threshold", **more: Any) -> tuple[int, Settings]:
    shape = SignalShape(polarity=more.get("polarity", "negative"), baseline=more.get("baseline", 8))
    offset = more.get("offset", -3)
    return samples, (
        shape,
        Preparation(
            align=align,
            offset=offset,
            threshold=more.get("threshold", 0.2),
            normalise=more.get("normalise", "amplitude"),
        ),
        Charge(align=gates, offset=more.get("gate", -3), short=more.get("short", 5), long=more.get("long", 20)),
        PileUp(rise=more.get("rise", 4), dead=more.get("dead", 3), noise=more.get("noise", 8.0)),
        more.get("length", 30),
    )


CONFIGURATIONS = {
    "static slices": make(75, "start", "start", offset=5, gate=8),
    "thresholds": make(75),
    "maxima, upwards": make(75, "maximum", "maximum", polarity="positive"),
    "window behind the end": make(40, "maximum", offset=20),
    "window before the start": make(40, "start", "start", offset=-7, gate=-9),
    "window around everything": make(20, "start", offset=-4, length=40, gate=-4, long=40),
    "no baseline, no normalisation": make(33, baseline=0, polarity="positive", normalise="none"),
    "baseline over all samples": make(33, baseline=50, threshold=1.0),
    "longer than several pieces": make(232, length=75, long=60),
    "shorter than a piece": make(7, "threshold", length=7, long=6, rise=2, dead=0),
    "rise longer than the signal": make(16, "maximum", rise=16, length=16),
}


@cache
def compiled(name: str, dtype: str) -> Any:
    from psdbatch.models.preparation import prepare
    from psdbatch.models.quiet import tf

    samples, given_settings = CONFIGURATIONS[name]
    function = tf.function(lambda raw: prepare(raw, *given_settings), jit_compile=True)
    return function.get_concrete_function(tf.TensorSpec((ROWS, samples), dtype))


@st.composite
def signals(draw: st.DrawFn, samples: int, dtype: str = "int16") -> np.ndarray[Any, Any]:
    """Pulses, steps, flat lines, single spikes at the ends, saturation and noise over the whole ADC range."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = np.full((ROWS, samples), draw(st.sampled_from([0, 1, 8000, 14_000, 16_383])), np.int64)
    axis = np.arange(samples)
    for number in range(ROWS):
        kind = draw(st.sampled_from(["flat", "noise", "pulse", "two pulses", "spike", "step", "clipped"]))
        place = draw(st.sampled_from([0, samples - 1, samples // 2, int(rng.integers(samples))]))
        sign = draw(st.sampled_from([-1, 1]))
        height = int(rng.integers(0, 9000))
        pulse = np.where(axis >= place, height * np.exp(-(axis - place) / rng.uniform(1, 30)), 0)
        if kind == "noise":
            rows[number] = rng.integers(0, 16_384, samples)
        elif kind in ("pulse", "two pulses"):
            rows[number] += np.rint(sign * pulse + rng.normal(0, 3, samples)).astype(int)
        elif kind == "spike":
            rows[number, place] += sign * height
        elif kind == "step":
            rows[number, place:] += sign * height
        elif kind == "clipped":
            rows[number] += (sign * 3 * pulse).astype(int)
        if kind == "two pulses":
            rows[number] += np.rint(sign * np.roll(pulse, samples // 4)).astype(int)
    return rows.clip(0, 16_383).astype(dtype)


def agree(found: Any, expected: Any, raw: np.ndarray[Any, Any], samples: int) -> None:
    window, columns = found
    expected_window, expected_columns = expected
    small = 1e-6 * max(1.0, float(np.abs(raw).max()))  # float32 keeps 7 digits of the baseline
    scale = small / np.maximum(1.0, expected_columns["amplitude"])[:, None] + 1e-6
    if np.abs(expected_window).max() > 2 or (expected_columns["amplitude"] <= 0).any():
        # what the rounding of the baseline makes of height / amplitude, where the amplitude is hardly more than that
        rounding = small * (1 + np.abs(expected_window)) / np.maximum(expected_columns["amplitude"], small)[:, None]
        scale = np.maximum(rounding, max(small, 1e-2))
    assert window.shape == expected_window.shape
    assert window.numpy().dtype == np.float32
    assert (np.abs(window.numpy() - expected_window) <= scale).all()
    for name in ("amplitude", "charge_long", "charge_short"):
        np.testing.assert_allclose(
            columns[name].numpy(), expected_columns[name], rtol=2e-6, atol=small * samples, err_msg=name
        )
    assert columns["flags"].numpy().dtype == np.uint16
    np.testing.assert_array_equal(columns["flags"].numpy(), expected_columns["flags"])


def test_an_amplitude_below_one_agrees_within_the_rounding_of_the_baseline() -> None:
    """Found by chance: 32 samples of 8000 behind one of 8010, whose mean float32 knows to 0.0005 only."""
    from psdbatch.models.quiet import tf

    samples, given_settings = CONFIGURATIONS["baseline over all samples"]
    raw = np.full((ROWS, samples), 8000, np.int16)
    raw[4, 0] = 8010
    found = compiled("baseline over all samples", "int16")(tf.constant(raw))
    agree(found, reference.prepare(raw, *given_settings), raw, samples)


@pytest.mark.parametrize("name", CONFIGURATIONS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_compiled_preparation_equals_the_reference(name: str, data: st.DataObject) -> None:
    samples, given_settings = CONFIGURATIONS[name]
    raw = data.draw(signals(samples))
    from psdbatch.models.quiet import tf

    agree(compiled(name, "int16")(tf.constant(raw)), reference.prepare(raw, *given_settings), raw, samples)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32", "int64", "float32", "float64"])
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_samples_of_every_kind_give_the_same(dtype: str, data: st.DataObject) -> None:
    samples, given_settings = CONFIGURATIONS["thresholds"]
    raw = data.draw(signals(samples))
    raw = (raw // 64).astype(dtype) if dtype == "uint8" else raw.astype(dtype)
    from psdbatch.models.quiet import tf

    agree(compiled("thresholds", dtype)(tf.constant(raw)), reference.prepare(raw, *given_settings), raw, samples)


@st.composite
def configurations(draw: st.DrawFn) -> tuple[int, Settings]:
    short = draw(st.integers(1, 30))
    return make(
        draw(st.integers(2, 90)),
        draw(st.sampled_from(["start", "threshold", "maximum"])),
        draw(st.sampled_from(["start", "threshold", "maximum"])),
        polarity=draw(st.sampled_from(["negative", "positive"])),
        baseline=draw(st.sampled_from([0, 1, 2, 8, 16, 64])),
        normalise=draw(st.sampled_from(["amplitude", "none"])),
        threshold=draw(st.sampled_from([0.1, 0.2, 0.25, 0.5, 1.0])),
        offset=draw(st.integers(-100, 100)),
        gate=draw(st.integers(-100, 100)),
        short=short,
        long=short + draw(st.integers(1, 90)),
        rise=draw(st.integers(1, 20)),
        dead=draw(st.integers(0, 20)),
        noise=draw(st.sampled_from([0.0, 4.5])),
        length=draw(st.integers(1, 100)),
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_uncompiled_preparation_equals_the_reference_for_any_configuration(data: st.DataObject) -> None:
    from psdbatch.models.preparation import prepare
    from psdbatch.models.quiet import tf

    samples, given_settings = data.draw(configurations())
    raw = data.draw(signals(samples))
    agree(prepare(tf.constant(raw), *given_settings), reference.prepare(raw, *given_settings), raw, samples)


def test_preparation_switched_off_hands_the_raw_samples_on_and_still_measures() -> None:
    from psdbatch.models.preparation import prepare
    from psdbatch.models.quiet import tf

    raw = np.full((ROWS, 40), 14_000, np.int16)
    raw[:, 20:30] -= 500
    window, columns = prepare(tf.constant(raw), SignalShape(), Preparation(enabled=False), Charge(), PileUp(), 40)
    np.testing.assert_array_equal(window.numpy(), raw)
    assert (columns["amplitude"].numpy() == 500).all()
    assert (columns["charge_long"].numpy() == 5000).all()
