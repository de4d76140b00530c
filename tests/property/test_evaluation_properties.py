"""What holds for every set of scores and truths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from psdbatch.evaluation.charge_comparison import best_cut
from psdbatch.evaluation.roc import efficiency, roc, thinned
from psdbatch.monitor.shares import share

VALUES = st.one_of(st.integers(-3, 3).map(float), st.floats(-10, 10), st.just(math.nan))  # ties are likely
SIGNALS = st.lists(st.tuples(VALUES, st.booleans()), min_size=2, max_size=60).filter(
    lambda rows: len({truth for _, truth in rows}) == 2
)


def arrays(rows: list[tuple[float, bool]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Scores and truths of the drawn rows."""
    return np.array([score for score, _ in rows]), np.array([truth for _, truth in rows])


@given(SIGNALS)
def test_area_counts_the_pairs(rows: list[tuple[float, bool]]) -> None:
    score, truth = arrays(rows)
    filled = np.where(np.isnan(score), -math.inf, score)
    first, second = filled[truth][:, None], filled[~truth][None, :]
    expected = (first > second).mean() + 0.5 * (first == second).mean()
    assert math.isclose(roc(score, truth).area, expected, abs_tol=1e-12)


@given(SIGNALS)
def test_area_of_the_reversed_score_is_the_rest(rows: list[tuple[float, bool]]) -> None:
    score, truth = arrays(rows)
    score = np.nan_to_num(score)
    assert math.isclose(roc(score, truth).area + roc(-score, truth).area, 1, abs_tol=1e-12)


@given(SIGNALS)
def test_every_operating_point_counts_what_it_says(rows: list[tuple[float, bool]]) -> None:
    score, truth = arrays(rows)
    curve = roc(score, truth)
    for threshold, false, true in zip(curve.threshold, curve.false_positives, curve.true_positives, strict=True):
        called = score >= threshold  # NaN never is
        assert (called & truth).sum() == true
        assert (called & ~truth).sum() == false
    false, true = thinned(curve)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()


@given(SIGNALS, st.floats(0.01, 0.999))
def test_efficiency_is_the_best_of_all_thresholds_allowed(rows: list[tuple[float, bool]], rejection: float) -> None:
    score, truth = arrays(rows)
    found = efficiency(roc(score, truth), rejection)
    best = 0.0
    for threshold in np.append(score[np.isfinite(score)], math.inf):
        called = score >= threshold
        if (called & ~truth).sum() <= (1 - rejection) * (~truth).sum() * (1 + 1e-12):
            best = max(best, (called & truth).sum() / truth.sum())
    assert math.isclose(found.value, best, abs_tol=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_the_value_lies_in_its_interval(total: int, fraction: float) -> None:
    found = share(int(fraction * total), total)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


@given(SIGNALS)
def test_no_cut_beats_the_best_one(rows: list[tuple[float, bool]]) -> None:
    ratio, truth = arrays([(0.0 if math.isnan(score) else score, kind) for score, kind in rows])
    best = ((ratio >= best_cut(ratio, truth)) == truth).sum()
    for cut in np.append(ratio, math.inf):
        assert ((ratio >= cut) == truth).sum() <= best
