"""Residuals by channel from tallies: medians, fractions above a threshold, channels that stand out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from psdbatch.monitor.quality import CampaignQuality, campaign_quality, quality_table
from psdbatch.monitor.tally import Tally

Array = np.ndarray[Any, Any]
SIGNALS = 5_000


def tally(residual: Array, channels: int) -> Tally:
    """Of signals that take turns among the channels of board 3."""
    zeros = np.zeros(len(residual), np.float32)
    columns = {
        "board": np.full(len(residual), 3, np.uint16),
        "channel": (np.arange(len(residual)) % channels).astype(np.uint16),
        "flags": np.zeros(len(residual), np.uint16),
        "amplitude": zeros + 100,
        "charge_long": zeros + 1000,
        "charge_short": zeros + 700,
        "label": np.zeros(len(residual), np.uint8),
        "residual": residual.astype(np.float32),
    }
    return Tally.of(columns, 2)


def residuals(channels: int, seed: int = 0) -> Array:
    """Log-normal around 0.01."""
    return np.asarray(0.01 * np.exp(np.random.default_rng(seed).normal(0, 0.3, SIGNALS * channels)))


def judged(values: Array, channels: int, **options: Any) -> CampaignQuality:
    found = campaign_quality({"run_1": tally(values, channels)}, **options)
    assert found is not None
    return found


def test_figures_are_those_of_the_residuals_within_a_bin() -> None:
    values = residuals(4)
    found = judged(values, 4)
    assert found.signals == len(values)
    assert found.median == pytest.approx(0.01, rel=0.02)
    assert found.threshold == pytest.approx(0.01 * np.exp(0.9), rel=0.06)
    assert found.above == pytest.approx((values > found.threshold).mean(), abs=5e-4)
    for number, row in enumerate(found.channels):
        own = values[number::4]
        assert (row.run, row.board, row.channel, row.signals) == ("run_1", 3, number, SIGNALS)
        assert row.mean == pytest.approx(own.mean(), rel=1e-5)
        assert row.median == pytest.approx(np.median(own), rel=0.02)
        assert row.outstanding == ""


def test_a_threshold_of_ones_own_is_used() -> None:
    values = residuals(2)
    found = judged(values, 2, threshold=0.015)
    assert found.threshold == 0.015
    assert found.above == pytest.approx((values > 0.015).mean(), abs=0.01)


def test_a_channel_whose_usual_signals_differ_stands_out() -> None:
    values = residuals(8)
    values[5::8] *= 2
    out = [row.outstanding for row in judged(values, 8).channels]
    assert [bool(reason) for reason in out] == [number == 5 for number in range(8)]
    assert "median 2 x" in out[5]


def test_a_channel_with_many_unusual_signals_stands_out_though_its_median_does_not() -> None:
    values = residuals(8)
    values[2::80] *= 20
    out = [row.outstanding for row in judged(values, 8).channels]
    assert [bool(reason) for reason in out] == [number == 2 for number in range(8)]
    assert "% unusual" in out[2]


def test_channels_with_few_signals_are_not_judged_and_signals_without_residual_not_counted() -> None:
    values = np.concatenate([residuals(2), np.full(60, np.nan)])
    first = tally(values, 2)
    few = tally(np.full(20, 0.5), 1)
    found = campaign_quality({"run_1": first, "run_2": few})
    assert found is not None
    assert found.signals == 2 * SIGNALS + 20
    assert found.channels[-1].outstanding == ""
    assert quality_table(found).row_count == 3


def test_without_residuals_there_is_nothing_to_judge() -> None:
    assert campaign_quality({"run_1": tally(np.full(10, np.nan), 1)}) is None
