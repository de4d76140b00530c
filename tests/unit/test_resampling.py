"""Pulses on another time scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psdbatch.evaluation.errors import EvaluationError
from psdbatch.evaluation.resampling import resampled, width_at_half


def test_width_of_a_triangle() -> None:
    assert width_at_half([0, 0, 1, 2, 3, 4, 3, 2, 1, 0]) == pytest.approx(4.0)
    assert width_at_half(np.exp(-0.5 * (np.arange(200) - 100.3) ** 2 / 81)) == pytest.approx(9 * 2.3548, rel=0.01)


@pytest.mark.parametrize("pulse", [[0, 0, 0], [1, 2, 3], [3, 2, 1], [-1, -2, -1]])
def test_what_is_no_pulse_has_no_width(pulse: list[float]) -> None:
    with pytest.raises(EvaluationError, match="does not come down"):
        width_at_half(pulse)


@given(st.floats(0.2, 5), st.floats(-3, 3))
def test_a_straight_line_stays_one(step: float, first: float) -> None:
    line = 3.0 + 2.0 * np.arange(400)
    found = resampled(line[None], step, 40, first + 5)[0]
    middle = first + 5 + step * (np.arange(40) + 0.5)
    np.testing.assert_allclose(found, 3.0 + 2.0 * middle, rtol=1e-9)


def test_the_charge_is_kept() -> None:
    pulse = np.zeros((1, 300))
    pulse[0, 100:180] = np.random.default_rng(1).random(80)
    for step in (0.5, 1.7, 4.0):
        assert step * resampled(pulse, step, int(300 / step)).sum() == pytest.approx(pulse.sum())


def test_beyond_the_ends_the_edge_samples_go_on() -> None:
    found = resampled([[1.0, 1.0, 5.0, 5.0]], 1.0, 8, -2.0)[0]
    assert found[:2].tolist() == [1.0, 1.0]
    assert found[-2:].tolist() == [5.0, 5.0]
    with pytest.raises(EvaluationError, match="cannot be 0 times"):
        resampled([[1.0, 2.0]], 0.0, 3)
