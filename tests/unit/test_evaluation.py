"""The evaluation of a classifier as a whole."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest

from psdbatch.evaluation.errors import EvaluationError
from psdbatch.evaluation.evaluation import Scored, evaluate
from psdbatch.evaluation.windows import amplitude_edges, energy_edges, split
from psdbatch.plain import plain

CLASSES = ("gamma", "neutron")
FEW = (1.0, 3000.0)
"""Edges of one window: fits of many take their time."""


def scored(n: int = 6000, seed: int = 1, network: float = 3.0, charge: float = 2.0) -> Scored:
    """Signals whose separation grows with energy; the network sees more of it than the charge ratio."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, n)
    energy = np.exp(random.uniform(np.log(60), np.log(900), n))
    strength = np.sqrt(energy / 300)
    logit = 2 * network * random.normal(network * strength * (truth - 0.5), 1.0) * strength / network
    probability = 1 / (1 + np.exp(-network * logit))
    ratio = 0.2 + 0.03 * random.normal(charge * strength * (truth - 0.5), 1.0)
    return Scored(np.stack([1 - probability, probability], axis=1), truth, 2 * energy, energy, ratio)


def test_the_better_method_wins_where_it_is_better_and_says_how_sure_that_is() -> None:
    found = evaluate(scored(), CLASSES, scored(seed=2))
    assert found.positive == "neutron"
    assert sum(found.counts) == 6000
    assert found.gain is not None
    assert found.gain.value > 5 * found.gain.sigma
    assert found.charge_accuracy is not None
    assert found.accuracy.value - found.charge_accuracy.value == pytest.approx(found.gain.value)
    assert found.accuracy.value == pytest.approx(np.trace(found.confusion[:, :2]) / 6000)
    low, *_, high = found.by_energy
    assert (low.low, high.high) == (50.0, 1000.0)
    assert low.accuracy is not None
    assert high.accuracy is not None
    assert low.accuracy.value < high.accuracy.value
    assert low.network is not None
    assert low.charge is not None
    assert low.network.area is not None
    assert low.charge.area is not None
    assert low.network.area > low.charge.area
    assert high.network is not None
    assert high.network.merit.value is not None
    assert found.notes == ()


def test_cuts_are_learnt_on_the_other_signals() -> None:
    shifted = scored(seed=2)
    shifted = Scored(shifted.scores, shifted.truth, shifted.amplitude, shifted.energy, shifted.charge_ratio + 10)
    found = evaluate(scored(), CLASSES, shifted, amplitudes=FEW, energies=FEW)
    assert found.charge_accuracy is not None
    assert found.charge_accuracy.value == pytest.approx(0.5, abs=0.03)  # every signal lies below such a cut
    own = evaluate(scored(500), CLASSES, amplitudes=FEW, energies=FEW)
    assert "in its favour" in own.notes[0]


def test_signals_without_an_answer_are_counted_and_count_as_wrong() -> None:
    signals = scored(1000)
    whole = evaluate(signals, CLASSES, amplitudes=FEW, energies=FEW)
    signals.scores[:200, 1] = math.nan
    found = evaluate(signals, CLASSES, amplitudes=FEW, energies=FEW)
    assert found.unanswered == 200
    assert found.confusion[:, 2].sum() == 200
    assert found.accuracy.value < whole.accuracy.value - 0.1
    assert found.by_class[0].network.unanswered == 200
    assert "200 signals have no answer (NaN)" in found.notes[0]


def test_a_single_class_is_refused_by_name() -> None:
    signals = scored(100)
    signals.truth[:] = 0
    with pytest.raises(EvaluationError, match="all 100 signals are of class 'gamma'; an evaluation needs at least two"):
        evaluate(signals, CLASSES)


def test_windows_without_signals_or_with_one_class_say_why_they_have_no_figures() -> None:
    signals = scored(2000)
    signals.truth[signals.energy < 100] = 1
    found = evaluate(signals, CLASSES, energies=(10, 50, 100, 1000), amplitudes=FEW)
    empty, single, full = found.by_energy
    assert (empty.reason, empty.accuracy, empty.counts) == ("no signal", None, (0, 0))
    assert single.accuracy is not None
    assert single.network is not None
    assert single.network.area is None
    assert "only neutrons here" in single.network.reason
    assert full.network is not None
    assert full.network.area is not None


def test_signals_of_unknown_energy_have_no_windows_of_it() -> None:
    signals = scored(500)
    unknown = Scored(signals.scores, signals.truth, signals.amplitude, np.full(500, math.nan), signals.charge_ratio)
    found = evaluate(unknown, CLASSES, amplitudes=FEW)
    assert found.by_energy == ()
    assert found.by_amplitude


def test_more_classes_are_taken_one_against_the_rest_and_without_the_charge_comparison() -> None:
    random = np.random.default_rng(5)
    truth = random.integers(0, 3, 900)
    scores = np.exp(random.normal(3.0 * np.eye(3)[truth], 1.0))
    scores /= scores.sum(axis=1, keepdims=True)
    signals = Scored(scores, truth, random.uniform(10, 100, 900), np.full(900, math.nan), random.random(900))
    found = evaluate(signals, ("gamma", "neutron", "alpha"), amplitudes=FEW)
    assert [one.name for one in found.by_class] == ["gamma", "neutron", "alpha"]
    assert all(one.network.area is not None and one.network.area > 0.95 for one in found.by_class)
    assert found.confusion.shape == (3, 4)
    assert found.charge is None
    assert found.gain is None
    assert found.by_amplitude[0].charge is None


def test_everything_goes_into_json_without_nan() -> None:
    signals = scored(800)
    signals.charge_ratio[:5] = math.nan
    text = json.dumps(plain(evaluate(signals, CLASSES, amplitudes=FEW)), allow_nan=False)
    assert json.loads(text)["classes"] == ["gamma", "neutron"]


def test_default_windows_are_round_numbers_that_ascend() -> None:
    edges = amplitude_edges(np.geomspace(3.3, 14_000, 5000))
    assert len(edges) == 9
    assert all(low < high for low, high in pairwise(edges))
    assert all(float(f"{edge:.2g}") == edge for edge in edges)
    assert len(amplitude_edges([100.0] * 20)) >= 2
    with pytest.raises(EvaluationError, match="no signal has a positive amplitude"):
        amplitude_edges([0.0, -3.0, math.nan])
    assert energy_edges([120.0, 480.0, math.nan]) == (100.0, 150.0, 200.0, 300.0, 500.0)
    assert energy_edges([math.nan]) == ()
    with pytest.raises(EvaluationError, match="must ascend: 10, 5"):
        split([1.0], [10, 5])
