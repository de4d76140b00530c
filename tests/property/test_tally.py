"""Tallies against counting signal by signal."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from psdbatch.columns import Flag
from psdbatch.monitor.tally import (
    AMPLITUDES,
    FLAGGED,
    RATIOS,
    RESIDUALS,
    Tally,
    amplitude_edges,
    ratio_edges,
    residual_edges,
)

Columns = dict[str, NDArray[Any]]

real = st.floats(-10, 200_000, width=32) | st.just(math.nan) | st.just(math.inf)
signal = st.tuples(
    st.sampled_from([0, 3, 300, 65_535]),
    st.integers(0, 3) | st.just(65_535),
    st.sampled_from([0, 1, 1, 255]),
    st.integers(0, 63),
    real,
    real,
    real,
    st.floats(0, 10, width=32) | st.just(math.nan),
)
NAMES = ("board", "channel", "label", "flags", "amplitude", "charge_long", "charge_short", "residual")
DTYPES = ("uint16", "uint16", "uint8", "uint16", "float32", "float32", "float32", "float32")


def columns_of(signals: list[tuple[Any, ...]]) -> Columns:
    values = list(zip(*signals, strict=True)) or [()] * len(NAMES)
    return {name: np.array(values[k], DTYPES[k]) for k, name in enumerate(NAMES)}


def bin_of(value: float, edges: NDArray[Any]) -> int:
    return int(np.clip(np.searchsorted(edges, value, side="right") - 1, 0, len(edges) - 2))


def slowly(signals: list[tuple[Any, ...]], classes: int) -> dict[str, Counter[Any]]:
    """The same counts, one signal after another."""
    found: dict[str, Counter[Any]] = {name: Counter() for name in ("psd", "answers", "flagged", "residuals")}
    for board, channel, label, flags, amplitude, long, short, residual in signals:
        place, answer = (board, channel), min(label, classes)
        found["answers"][place, answer] += 1
        for position, flag in enumerate((Flag.SATURATED, Flag.PILE_UP)):
            found["flagged"][place, position] += bool(flags & flag)
        if long > 0 and all(map(math.isfinite, (long, short, amplitude))):
            ratio = (long - short) / long
            found["psd"][answer, bin_of(amplitude, amplitude_edges()), bin_of(ratio, ratio_edges())] += 1
        if math.isfinite(residual):
            found["residuals"][place, bin_of(residual, residual_edges())] += 1
    return found


def assert_counts(tally: Tally, found: dict[str, Counter[Any]]) -> None:
    def counted(array: NDArray[Any]) -> Counter[Any]:
        places = list(zip(tally.boards.tolist(), tally.channels.tolist(), strict=True))
        return Counter({(places[row], k): int(array[row, k]) for row, k in zip(*np.nonzero(array), strict=True)})

    assert counted(tally.answers) == +found["answers"]
    assert counted(tally.flagged) == +found["flagged"]
    assert counted(tally.residuals) == +found["residuals"]
    psd = {tuple(int(k) for k in place): int(tally.psd[tuple(place)]) for place in np.argwhere(tally.psd)}
    assert psd == dict(found["psd"])


@settings(max_examples=60, deadline=None)
@given(st.lists(signal, max_size=60), st.sampled_from([0, 2]))
def test_counts_are_those_of_counting_one_by_one(signals: list[tuple[Any, ...]], classes: int) -> None:
    tally = Tally.of(columns_of(signals), classes)
    assert tally.signals == len(signals)
    assert_counts(tally, slowly(signals, classes))
    assert tally.ratio[:, 0].sum() == tally.amplitude[:, 0].sum() == tally.psd.sum()
    assert tally.residual[:, 0].sum() == tally.residuals.sum()


@settings(max_examples=40, deadline=None)
@given(st.lists(signal, max_size=40), st.lists(signal, max_size=40))
def test_a_sum_of_tallies_is_the_tally_of_the_sum_and_survives_its_text(
    first: list[tuple[Any, ...]], second: list[tuple[Any, ...]]
) -> None:
    total = Tally.empty(2)
    for part in (first, second):
        total.add(Tally.decode(Tally.of(columns_of(part), 2).encode()))
    whole = Tally.of(columns_of(first + second), 2)
    for name in ("psd", "channel", "answers", "flagged", "residuals"):
        np.testing.assert_array_equal(getattr(total, name), getattr(whole, name))
    np.testing.assert_allclose(total.ratio, whole.ratio, rtol=1e-12)
    np.testing.assert_allclose(total.amplitude, whole.amplitude, rtol=1e-12)
    np.testing.assert_allclose(total.residual, whole.residual, rtol=1e-12)


def test_moments_are_those_of_the_ratios() -> None:
    rng = np.random.default_rng(1)
    long = rng.uniform(100, 5000, 3000).astype(np.float32)
    short = (long * rng.uniform(0.6, 0.95, 3000)).astype(np.float32)
    channel = rng.integers(0, 2, 3000).astype(np.uint16)
    plain = np.zeros(3000, np.uint16)
    tally = Tally.of(
        {
            "board": plain,
            "channel": channel,
            "flags": plain,
            "amplitude": long,
            "charge_long": long,
            "charge_short": short,
        },
        0,
    )
    for row in (0, 1):
        ratio = 1 - short[channel == row].astype(float) / long[channel == row]
        np.testing.assert_allclose(tally.ratio[row], [len(ratio), ratio.sum(), (ratio**2).sum()], rtol=1e-6)
        height = long[channel == row].astype(float)
        np.testing.assert_allclose(tally.amplitude[row], [len(height), height.sum(), (height**2).sum()], rtol=1e-12)
    assert tally.psd.shape == (1, AMPLITUDES, RATIOS)
    assert tally.residuals.shape == (2, RESIDUALS)
    assert len(FLAGGED) == tally.flagged.shape[1]


@pytest.mark.parametrize(
    "spoil", [lambda text: text[:-40], lambda text: text.replace('"form":2', '"form":7'), lambda _: "{}"]
)
def test_a_damaged_text_is_refused(spoil: Any) -> None:
    text = Tally.of(columns_of([(1, 2, 0, 0, 10.0, 50.0, 40.0, 0.1)]), 2).encode()
    with pytest.raises(ValueError, match=r"damaged|form|buffer|padding|base64"):
        Tally.decode(spoil(text))
