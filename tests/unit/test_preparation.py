"""Numbers of the preparation that can be checked by hand, and the form that makes it fast."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from psdbatch.columns import Flag
from psdbatch.config import Charge, PileUp, Preparation, SignalShape

SHAPE = SignalShape(baseline=4)
GATES = Charge(align="maximum", offset=-1, short=2, long=4)


def prepare(rows: Any, preparation: Preparation, charge: Charge = GATES, length: int = 4, **more: Any) -> Any:
    from psdbatch.models.preparation import prepare
    from psdbatch.models.quiet import tf

    raw = np.asarray(rows, np.int16)
    window, columns = prepare(
        tf.constant(raw), more.get("signals", SHAPE), preparation, charge, more.get("pile_up", PileUp()), length
    )
    return window.numpy(), {name: values.numpy() for name, values in columns.items()}


PULSE = [1000, 1002, 998, 1000, 950, 900, 940, 980, 1000, 1000]


def test_a_pulse_by_hand() -> None:
    window, columns = prepare([PULSE], Preparation(align="maximum", offset=-2))
    np.testing.assert_allclose(window, [[0.0, 0.5, 1.0, 0.6]], atol=1e-6)
    assert columns["amplitude"] == 100
    assert columns["charge_long"] == 50 + 100 + 60 + 20
    assert columns["charge_short"] == 50 + 100
    assert columns["flags"] == 0


def test_the_threshold_is_the_first_sample_at_or_above_it() -> None:
    for threshold, first in ((0.5, 0.5), (0.51, 1.0), (1.0, 1.0)):
        window, _ = prepare([PULSE], Preparation(align="threshold", threshold=threshold, offset=0))
        assert window[0, 0] == pytest.approx(first)


def test_of_several_maxima_the_first_counts() -> None:
    window, _ = prepare([[1000, 1000, 1000, 1000, 900, 950, 900, 1000]], Preparation(align="maximum", offset=0))
    np.testing.assert_allclose(window, [[1.0, 0.5, 1.0, 0.0]], atol=1e-6)


def test_a_window_that_sticks_out_repeats_the_edges() -> None:
    for align, offset, expected in (
        ("maximum", -7, [0.0, 0.0, 0.0, -0.02]),
        ("maximum", 3, [0.0, 0.0, 0.0, 0.0]),
        ("start", -2, [0.0, 0.0, 0.0, -0.02]),
        ("start", 8, [0.0, 0.0, 0.0, 0.0]),
        ("start", 6, [0.6, 0.2, 0.0, 0.0]),
        ("start", -50, [0.0] * 4),
        ("start", 50, [0.0] * 4),
    ):
        window, _ = prepare([PULSE], Preparation(align=align, offset=offset))
        np.testing.assert_allclose(window, [expected], atol=1e-6, err_msg=f"{align} {offset}")


def test_a_flat_signal_stays_flat_whatever_the_number_of_baseline_samples() -> None:
    for baseline in range(1, 12):
        window, columns = prepare(
            np.full((3, 12), 8001), Preparation(), signals=SignalShape(baseline=baseline), length=12
        )
        assert not window.any()
        assert not columns["amplitude"].any()
        assert not columns["flags"].any()


@pytest.mark.parametrize(("adc_bits", "low", "high"), [(14, 0, 16_383), (12, 0, 4095), (10, 0, 1023)])
def test_a_sample_at_either_end_of_the_range_is_saturated(adc_bits: int, low: int, high: int) -> None:
    rows = np.full((4, 12), high // 2)
    rows[0, 5], rows[1, 5], rows[2, 5], rows[3, 5] = low, high, low + 1, high - 1
    _, columns = prepare(rows, Preparation(), signals=SignalShape(baseline=4, adc_bits=adc_bits))
    np.testing.assert_array_equal(columns["flags"] & Flag.SATURATED, [1, 1, 0, 0])


def test_pile_up_is_a_later_rise_above_both_limits() -> None:
    pile_up = PileUp(rise=2, fraction=0.2, noise=5.0, dead=2)
    quiet, noisy = [1000] * 4, [1010, 990, 1010, 990]  # standard deviation 0 and 10
    tail = [900, 950, 980]
    rows = [
        [*quiet, *tail, 990, 990, 990],  # no second pulse
        [*quiet, *tail, 990, 950, 980],  # rises by 40 of 100
        [*quiet, *tail, 990, 972, 990],  # rises by 18: less than the fraction
        [*noisy, *tail, 990, 950, 980],  # rises by 40: less than five deviations
        [*noisy, *tail, 990, 920, 980],  # rises by 70: more than both
        [*quiet, 900, 990, 900, 950, 980, 990],  # rises by 90 before the dead samples are over
    ]
    _, columns = prepare(rows, Preparation(), pile_up=pile_up)
    np.testing.assert_array_equal(columns["flags"] & Flag.PILE_UP, [0, 2, 0, 0, 2, 0])


@pytest.mark.parametrize("columns", [1, 2, 31, 32, 33, 64, 75, 232])
def test_folded_sums_and_extremes_are_exact(columns: int) -> None:
    from psdbatch.models.folding import largest, smallest, total
    from psdbatch.models.quiet import tf

    values = np.random.default_rng(columns).integers(-30_000, 30_000, (5, columns)).astype(np.int32)
    tensor = tf.constant(values)

    def part(start: int, stop: int) -> Any:
        return tensor[:, start:stop]

    np.testing.assert_array_equal(smallest(part, columns), values.min(axis=1, keepdims=True))
    np.testing.assert_array_equal(largest(part, columns), values.max(axis=1, keepdims=True))
    np.testing.assert_array_equal(total(part, columns), values.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("align", ["start", "threshold", "maximum"])
def test_compiled_preparation_writes_nothing_of_the_size_of_the_signals(align: Any) -> None:
    """A masked copy of the samples in memory made it five times slower."""
    from psdbatch.models.preparation import prepare
    from psdbatch.models.quiet import tf

    preparation, charge = Preparation(align=align, offset=2), Charge(align=align, offset=2)
    function = tf.function(lambda raw: prepare(raw, SHAPE, preparation, charge, PileUp(), 75), jit_compile=True)
    program = function.experimental_get_compiler_ir(tf.zeros((64, 232), tf.int16))(stage="optimized_hlo")
    entry = program[program.index("ENTRY") :]
    made = re.findall(r"= \(?\w+\[64,(\d+)\]\S* (\w+)", entry)
    assert ("232", "parameter") in made
    assert {int(size) for size, instruction in made if instruction != "parameter"} <= {1, 75}
