"""Figures of auto-encoders, denoisers and separators."""

from __future__ import annotations

import math

import numpy as np
import pytest

from psdbatch.evaluation.errors import EvaluationError
from psdbatch.evaluation.reconstruction import (
    Reconstructed,
    compression,
    distribution,
    gain_db,
    reconstruction,
)

NONE = np.zeros(0)


def reconstructed(n: int = 1000, seed: int = 1) -> Reconstructed:
    """Signals of noise 2 ADC units whose answer is off by 3 (class 0) or 6 (class 1), one of them without an answer."""
    truth = np.arange(n) % 2
    error = np.where(truth == 0, 3.0, 6.0)
    error[0] = math.nan
    amplitude = np.random.default_rng(seed).uniform(10, 1000, n)
    return Reconstructed(truth, amplitude, np.full(n, 2.0), error, np.full(n, 12.0), NONE, NONE, NONE, NONE)


def test_gain_counts_powers() -> None:
    value, sigma = gain_db(np.full(100, 10.0), np.full(100, 1.0))
    assert value == pytest.approx(20)
    assert sigma == 0


def test_gain_scatters_as_stated() -> None:
    random = np.random.default_rng(2)
    found = []
    for _ in range(400):
        before = np.abs(random.normal(5, 1, 200))
        found.append(gain_db(before, before * random.uniform(0.2, 0.6, 200)))
    values, sigmas = np.array(found).T
    assert sigmas.mean() == pytest.approx(values.std(), rel=0.15)


def test_nothing_added_is_nothing_gained() -> None:
    with pytest.raises(EvaluationError, match="nothing was added"):
        gain_db(np.zeros(5), np.ones(5))
    assert gain_db(np.ones(5), np.zeros(5)) == (math.inf, 0.0)


def test_compression_in_numbers_and_in_bits() -> None:
    found = compression(75, 14, 5)
    assert found.ratio == 15
    assert found.bit_ratio == pytest.approx(75 * 14 / (5 * 32))
    with pytest.raises(EvaluationError, match="without a number"):
        compression(75, 14, 0)


def test_distribution_leaves_out_what_is_not_a_number() -> None:
    found = distribution(np.array([1.0, 2.0, 3.0, math.nan]))
    assert found is not None
    assert (found.signals, found.mean, found.quantiles[1]) == (3, 2.0, 2.0)
    assert distribution(np.array([math.nan])) is None


def test_errors_by_class_and_relative_to_the_noise() -> None:
    found = reconstruction("denoiser", reconstructed(), ["gamma", "neutron"], amplitudes=(10, 500, 1000))
    assert found.unanswered == 1
    assert found.notes == ("1 signals have no answer (NaN) and are left out",)
    gamma, neutron = found.by_class
    assert gamma.error is not None
    assert gamma.relative_to_noise is not None
    assert (gamma.error.mean, gamma.error.signals, gamma.relative_to_noise.mean) == (3.0, 499, 1.5)
    assert gamma.gain_db == pytest.approx(20 * math.log10(12 / 3))
    assert neutron.gain_db == pytest.approx(20 * math.log10(12 / 6))
    assert [window.low for window in found.by_amplitude] == [10, 500]
    assert found.by_amplitude[0].error is not None
    assert found.whole.second_error is None


def test_an_empty_window_says_so() -> None:
    found = reconstruction("denoiser", reconstructed(), ["gamma", "neutron"], amplitudes=(10, 1000, 2000))
    assert found.by_amplitude[1].reason == "no signal with an answer"
    assert found.by_amplitude[1].error is None


def test_an_auto_encoder_without_an_output_for_its_bottleneck_is_told() -> None:
    found = reconstruction("autoencoder", reconstructed(), ["gamma", "neutron"])
    assert "the size of the bottleneck is not known" in found.notes[1]


def test_a_separator_has_figures_of_both_pulses() -> None:
    n = 100
    values = np.full(n, 4.0)
    found = Reconstructed(
        np.zeros(n, int),
        np.full(n, 50.0),
        values / 2,
        values,
        3 * values,
        values,
        2 * values,
        values / 40,
        -values / 20,
    )
    whole = reconstruction("separator", found, ["gamma"], amplitudes=(10, 100)).whole
    assert whole.second_gain_db == pytest.approx(20 * math.log10(2))
    assert whole.first_charge is not None
    assert whole.second_charge is not None
    assert (whole.first_charge.mean, whole.second_charge.mean) == pytest.approx((0.1, -0.2))
