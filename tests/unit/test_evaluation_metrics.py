"""Figures of a classifier: counting, ROC, efficiency, calibration, charge comparison."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from psdbatch.evaluation.charge_comparison import best_cut, learn_cuts
from psdbatch.evaluation.classification import (
    accuracy,
    calibration,
    checked_scores,
    compare,
    confusion_matrix,
    decisions,
    evidence,
)
from psdbatch.evaluation.counting import paired_difference
from psdbatch.evaluation.errors import EvaluationError
from psdbatch.evaluation.roc import efficiency, roc, thinned
from psdbatch.monitor.shares import ShareError, share

Array = NDArray[Any]


def two_gaussians(n: int, distance: float, seed: int = 1) -> tuple[Array, Array]:
    """Scores around 0 (gammas) and ``distance`` (neutrons), and the truth."""
    random = np.random.default_rng(seed)
    truth = random.random(n) < 0.4
    return random.normal(distance * truth), truth


def brute_area(score: Array, truth: Array) -> float:
    """Every pair looked at."""
    first, second = score[truth][:, None], score[~truth][None, :]
    return float((first > second).mean() + 0.5 * (first == second).mean())


# Known values of Wilson's interval: Brown, Cai and DasGupta, Stat. Sci. 16 (2001) 101, formula (4), by hand.
@pytest.mark.parametrize(
    ("count", "total", "low", "high"), [(0, 10, 0.0, 1 / 11), (10, 10, 10 / 11, 1.0), (5, 10, 0.349242, 0.650756)]
)
def test_wilson_interval_of_one_sigma(count: int, total: int, low: float, high: float) -> None:
    found = share(count, total)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-5)


def test_wilson_interval_covers_the_truth_as_often_as_it_says() -> None:
    """On the average over true fractions: for a single one coverage jumps, because counts are whole numbers."""
    random = np.random.default_rng(5)
    truths = random.uniform(0.01, 0.99, 20_000)
    found = [share(int(count), 200) for count in random.binomial(200, truths)]
    covered = np.mean([entry.low <= truth <= entry.high for entry, truth in zip(found, truths, strict=True)])
    assert covered == pytest.approx(0.683, abs=0.02)


def test_no_signals_have_no_fraction() -> None:
    with pytest.raises(ShareError, match="no signals"):
        share(0, 0)


def test_difference_of_two_methods_on_the_same_signals_scatters_as_stated() -> None:
    random = np.random.default_rng(3)
    found = []
    for _ in range(600):
        shared = random.random(1000) < 0.85  # signals easy for both
        first, second = shared | (random.random(1000) < 0.4), shared | (random.random(1000) < 0.3)
        found.append(paired_difference(int((first & ~second).sum()), int((second & ~first).sum()), 1000))
    assert np.mean([entry.value for entry in found]) == pytest.approx(0.015, abs=0.001)
    assert np.mean([entry.sigma for entry in found]) == pytest.approx(np.std([entry.value for entry in found]), rel=0.1)


def test_area_and_its_uncertainty_are_those_of_repeated_measurements() -> None:
    repeated = [roc(*two_gaussians(400, 1.5, seed)) for seed in range(300)]
    expected = 0.5 * (1 + math.erf(1.5 / 2))  # two unit Gaussians at distance d: Phi(d / sqrt(2))
    areas = [curve.area for curve in repeated]
    assert np.mean(areas) == pytest.approx(expected, abs=0.003)
    assert np.mean([curve.area_sigma for curve in repeated]) == pytest.approx(np.std(areas), rel=0.12)


def test_unanswered_signals_count_as_not_called_neutrons() -> None:
    curve = roc([0.9, math.nan, 0.2, math.nan], [True, True, False, False])
    assert curve.unanswered == 2
    assert curve.true_rate[-1] == 0.5  # the neutron without an answer is lost at every threshold
    assert curve.area == pytest.approx((1 + 1 + 0 + 0.5) / 4)


def test_efficiency_where_at_least_the_wanted_gammas_are_rejected() -> None:
    score = np.concatenate([np.arange(1000), np.arange(1000) + 900.0])  # gammas 0..999, neutrons 900..1899
    truth = np.repeat([False, True], 1000)
    found = efficiency(roc(score, truth), 0.99)
    assert found.gammas_beyond == 10
    assert found.rejected == pytest.approx(0.99)
    assert found.value == pytest.approx(0.91)  # neutrons from 990 on
    assert found.low < 0.91 - 0.009 < found.value < 0.91 + 0.008 < found.high  # wider than the binomial alone
    assert not found.few
    assert efficiency(roc(score, truth), 0.999).few


def test_ties_never_let_too_many_gammas_through() -> None:
    score = np.array([0.0] * 90 + [1.0] * 10 + [1.0] * 100)
    truth = np.repeat([False, True], 100)
    assert efficiency(roc(score, truth), 0.95).value == 0.0
    assert efficiency(roc(score, truth), 0.90).value == 1.0


def test_efficiency_scatters_as_stated() -> None:
    found = [efficiency(roc(*two_gaussians(3000, 2.0, seed)), 0.99) for seed in range(150)]
    scatter = np.std([entry.value for entry in found])
    stated = np.mean([(entry.high - entry.low) / 2 for entry in found])
    assert stated == pytest.approx(scatter, rel=0.25)


@pytest.mark.parametrize("present", [True, False])
def test_a_single_class_has_no_separation(present: bool) -> None:
    with pytest.raises(EvaluationError, match=f"only {'neutrons' if present else 'gammas'} here \\(3 signals\\)"):
        roc([0.1, 0.2, 0.3], [present] * 3)


def test_thinned_curve_stays_on_the_curve_and_keeps_its_ends() -> None:
    curve = roc(*two_gaussians(50_000, 2.0))
    false, true = thinned(curve, 100)
    assert len(false) <= 205
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    points = set(zip(curve.false_rate, curve.true_rate, strict=True))
    assert all(point in points for point in zip(false, true, strict=True))
    assert np.trapezoid(true, false) == pytest.approx(curve.area, abs=0.003)


def test_confusion_counts_signals_without_an_answer_in_their_own_column() -> None:
    scores, truth = checked_scores([[0.8, 0.2], [0.3, 0.7], [math.nan, 0.5], [0.6, 0.4]], [0, 1, 1, 1], 2)
    decided = decisions(scores)
    assert decided.tolist() == [0, 1, -1, 0]
    assert confusion_matrix(truth, decided, 2).tolist() == [[1, 0, 0], [1, 1, 1]]
    assert accuracy(truth, decided).value == 0.5


def test_comparison_of_two_methods_counts_where_they_differ() -> None:
    truth = np.array([0, 1, 1, 0])
    found = compare(truth, np.array([0, 1, 1, 1]), np.array([1, 1, 0, 1]))
    assert (found.only_first, found.only_second, found.value) == (2, 0, 0.5)


def test_evidence_keeps_the_order_where_scores_crowd_at_one() -> None:
    small = np.array([1e-30, 1e-20, 1e-10, 0.4])
    found = evidence(np.stack([small, 1 - small], axis=1), 1)
    assert (np.diff(found) < 0).all()
    assert found[0] == pytest.approx(30 * math.log(10))
    assert np.isfinite(evidence(np.array([[0.0, 1.0], [1.0, 0.0]]), 1)).all()
    assert np.isnan(evidence(np.array([[math.nan, math.nan]]), 1)).all()


@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        ([[0.5, 0.5]], [2], "a truth of 2 is none of the 2 classes"),
        ([[0.5, 0.5, 0.0]], [0], "do not fit 2 classes"),
        (np.zeros((0, 2)), np.zeros(0), "no signal to evaluate"),
    ],
)
def test_scores_that_do_not_belong_to_the_truth_are_refused(scores: Any, truth: Any, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        checked_scores(scores, truth, 2)


def test_calibrated_scores_have_the_error_of_chance_and_others_a_larger_one() -> None:
    random = np.random.default_rng(4)
    probability = random.random(30_000)
    truth = random.random(30_000) < probability
    good = calibration(probability, truth)
    assert good.expected_error == pytest.approx(good.expected_by_chance, rel=0.5)
    assert all(abs(entry.mean_score - entry.observed.value) < 0.05 for entry in good.bins)
    sharp = calibration(probability**3 / (probability**3 + (1 - probability) ** 3), truth)
    assert sharp.expected_error > 0.08 > 5 * good.expected_error
    assert sharp.largest_error is not None
    assert sharp.largest_error > 0.15


def test_scores_that_are_no_probabilities_are_not_calibrated() -> None:
    with pytest.raises(EvaluationError, match="no probabilities; set 'activation'"):
        calibration([-3.0, 2.0], [True, False])
    with pytest.raises(EvaluationError, match="no signal has a score"):
        calibration([math.nan], [True])


def test_best_cut_decides_as_many_right_as_any_other() -> None:
    ratio, truth = two_gaussians(500, 1.0)
    right = ((ratio >= best_cut(ratio, truth)) == truth).sum()
    everywhere = np.append(ratio, [math.inf])
    assert right == max(((ratio >= cut) == truth).sum() for cut in everywhere)


def test_each_window_gets_its_own_cut_and_one_of_a_single_class_that_of_all() -> None:
    ratio = np.array([0.1, 0.2, 1.1, 1.2, 5.0, 6.0])
    truth = np.array([False, True, False, True, True, True])
    place = np.array([1, 1, 3, 3, 5, 5])
    cuts = learn_cuts(ratio, truth, place, [0, 2, 4, 6])
    assert cuts.cuts[:2] == pytest.approx([0.15, 1.15])
    assert cuts.cuts[2] == best_cut(ratio, truth)
    assert cuts.neutrons([0.16, 0.16, math.nan, 0.0], [1, 3, 3, -9]).tolist() == [True, False, False, False]
