"""Quotas, division, choice and shuffle of training sets: what holds for any numbers."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from psdbatch.columns import NO_LABEL
from psdbatch.config.training_set import Cut, Splitting
from psdbatch.training_set.grid import Grid
from psdbatch.training_set.kernels import NONE, draw
from psdbatch.training_set.labels import class_numbers, cut_labels, look_up, within
from psdbatch.training_set.quotas import apportion, class_shares, divide, most, spread
from psdbatch.training_set.shuffle import Buckets
from psdbatch.training_set.splitting import split_runs

COUNTS = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 100_000)), min_size=1, max_size=40)


@settings(deadline=None)
@given(COUNTS, st.floats(0, 1))
def test_quotas_are_exact_and_as_even_as_the_strata_allow(counts: list[int], fraction: float) -> None:
    available = np.array(counts)
    wanted = int(fraction * available.sum())
    take = spread(available, wanted)
    assert take.sum() == wanted
    assert (take >= 0).all()
    assert (take <= available).all()
    unfilled = take[take < available]  # those that could give more differ by one signal at most, and give the most
    if len(unfilled):
        assert unfilled.max() - unfilled.min() <= 1
        assert take.max() <= unfilled.min() + 1


@settings(deadline=None)
@given(COUNTS, st.sampled_from([(0.1, 0.1), (0.0, 0.0), (0.3, 0.0), (0.0, 0.25), (0.45, 0.45), (1 / 3, 1 / 3)]))
def test_division_keeps_every_stratum_and_the_fractions_of_the_whole(
    counts: list[int], fractions: tuple[float, float]
) -> None:
    take = np.array(counts)
    parts = divide(take, fractions)
    assert parts.shape == (len(counts), 3)
    assert (parts >= 0).all()
    assert (parts.sum(axis=1) == take).all()
    for part, fraction in zip((1, 2), fractions, strict=True):
        assert abs(parts[:, part].sum() - fraction * take.sum()) <= 1.5
        assert (abs(parts[:, part] - fraction * take) <= 2.5).all()


@settings(deadline=None)
@given(COUNTS, st.data())
def test_a_mix_is_met_to_a_signal_and_natural_and_even_ones_exactly(counts: list[int], data: st.DataObject) -> None:
    have, names = np.array(counts), [str(number) for number in range(len(counts))]
    total = data.draw(st.integers(0, int(have.sum())))
    natural = class_shares(have, "natural", names)
    assert (abs(apportion(total, natural) - total * natural) < 1).all()
    assert (apportion(total, natural) <= have).all()  # so any number of signals up to all can be had
    assert (most(have, natural) == have).all()
    even = class_shares(have, "even", names)
    assert (apportion(total, even) == total // len(counts) + (np.arange(len(counts)) < total % len(counts))).all()
    assert (most(have, even) == have.min()).all()
    table = {name: data.draw(st.floats(0.01, 100)) for name in names}
    given_shares = class_shares(have, table, names)
    found, wanted = most(have, given_shares), [table[name] for name in names]
    assert (found <= have).all()
    limit = min(count / value for count, value in zip(counts, wanted, strict=True))
    assert np.allclose(found, np.multiply(wanted, limit), atol=1)
    assert apportion(total, given_shares).sum() == total


@st.composite
def draws(draw_value: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    strata = draw_value(st.integers(1, 5))
    codes = np.array(draw_value(st.lists(st.integers(-1, strata - 1), min_size=1, max_size=300)), np.int64)
    available = np.bincount(codes[codes >= 0], minlength=strata)
    take = np.zeros((strata, 3), np.int64)
    for stratum in range(strata):
        total = draw_value(st.integers(0, int(available[stratum])))
        second = draw_value(st.integers(0, total))
        third = draw_value(st.integers(0, total - second))
        take[stratum] = total - second - third, second, third
    return codes, take, draw_value(st.integers(0, 2**63))


@settings(deadline=None)
@given(draws(), st.integers(1, 50))
def test_choice_takes_exactly_the_quotas_however_the_signals_are_cut_into_pieces(
    case: tuple[np.ndarray, np.ndarray, int], piece: int
) -> None:
    codes, take, key = case
    strata = len(take)
    available = np.bincount(codes[codes >= 0], minlength=strata)
    labels = np.arange(strata) % 2
    results = []
    for step in (len(codes), piece):
        some = np.where(codes >= 0, codes, NONE).astype(np.uint32)
        left, wanted = available.copy(), take.copy()
        for first in range(0, len(some), step):
            draw(some[first : first + step], np.arange(strata), labels, left, wanted, np.uint64(key), first)
        assert not left.any()
        assert not wanted.any()
        results.append(some)
    np.testing.assert_array_equal(*results)
    chosen = results[0] != NONE
    assert (codes[chosen] >= 0).all()
    parts = results[0][chosen] & 0xFF
    np.testing.assert_array_equal(results[0][chosen] >> 8, labels[codes[chosen]])
    found = np.zeros_like(take)
    np.add.at(found, (codes[chosen], parts), 1)
    np.testing.assert_array_equal(found, take)


def test_every_signal_of_a_stratum_is_equally_likely_to_be_chosen_and_to_come_into_a_part() -> None:
    chosen = np.zeros((40, 3))
    trials = 4000
    for seed in range(trials):
        codes = np.zeros(40, np.uint32)
        draw(
            codes,
            np.zeros(1, np.int64),
            np.zeros(1, np.int64),
            np.array([40]),
            np.array([[10, 4, 2]]),
            np.uint64(seed * 2654435761 + 1),
            0,
        )
        for part in range(3):
            chosen[:, part] += codes == part
    for part, expected in enumerate((10 / 40, 4 / 40, 2 / 40)):
        spread_of = np.sqrt(expected * (1 - expected) / trials)
        assert (abs(chosen[:, part] / trials - expected) < 4.5 * spread_of).all()


ROW = np.dtype([("file", "u2"), ("number", "u8"), ("key", "u8"), ("payload", "i2", (3,))])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 200), min_size=3, max_size=3),
    st.integers(200, 5000),
    st.integers(0, 2**32),
    st.integers(1, 60),
)
def test_buckets_give_every_row_once_in_the_order_of_the_keys(
    sizes: list[int], memory: int, seed: int, piece: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = sum(sizes)
    whole = np.zeros(rows, ROW)
    whole["number"] = np.arange(rows)
    random = rng.integers(0, 2 ** rng.integers(1, 63), rows, np.uint64)  # few bits: equal keys
    part = np.repeat(np.arange(3, dtype=np.uint64), sizes)
    whole["key"] = random | part << np.uint64(62)
    whole["payload"] = rng.integers(-9, 9, (rows, 3))
    expected = whole[np.lexsort((whole["number"], whole["key"]))]
    with tempfile.TemporaryDirectory() as folder:
        buckets = Buckets(Path(folder), ROW, sizes, memory=memory, bucket=memory // 2)
        mixed = whole[rng.permutation(rows)]  # as threads may bring them
        for first in range(0, rows, piece):
            buckets.add(mixed[first : first + piece])
        found = [(part, piece.copy()) for part, piece in buckets]
        assert list(Path(folder).iterdir()) == []
    np.testing.assert_array_equal(np.concatenate([*(piece for _, piece in found), np.zeros(0, ROW)]), expected)
    for number, size in enumerate(sizes):
        assert sum(len(piece) for part, piece in found if part == number) == size
    assert (buckets.count > 1) == (rows * ROW.itemsize > memory)


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e10, width=32), min_size=1, max_size=200), st.integers(1, 20))
def test_the_fine_grid_puts_every_amplitude_between_its_limits(values: list[float], bins: int) -> None:
    grid, amplitude = Grid(), np.array(values, np.float32)
    place, limits = grid.places(amplitude), grid.limits
    inside = (amplitude >= limits[0]) & (amplitude < limits[-1])
    assert (limits[place[inside]] <= amplitude[inside]).all()
    assert (amplitude[inside] < limits[place[inside] + 1]).all()
    assert (place[amplitude < limits[0]] == 0).all()
    assert (place[amplitude >= limits[-1]] == grid.steps - 1).all()
    first = grid.strata(np.bincount(place, minlength=grid.steps), bins)
    assert first[0] == 0
    assert (np.diff(first) > 0).all()
    assert len(first) <= bins


@settings(deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=60),
    st.lists(st.integers(-50, 50), min_size=2, max_size=8, unique=True),
)
def test_a_value_is_in_the_window_that_holds_it_or_in_none(values: list[float], edges: list[int]) -> None:
    ordered = sorted(edges)
    ranges = [(low, high, number) for number, (low, high) in enumerate(zip(ordered[::2], ordered[1::2], strict=False))]
    for kind in (np.float64, np.int16, np.uint64):
        typed = np.clip(np.nan_to_num(values), 0 if kind is np.uint64 else -60, 60).astype(kind)
        typed = np.array(values) if kind is np.float64 else typed
        expected = [next((n for low, high, n in ranges if low <= value < high), NO_LABEL) for value in typed.tolist()]
        assert within(typed, ranges).tolist() == expected


@settings(deadline=None)
@given(st.lists(st.integers(-3, 300), min_size=1), st.integers(1, 254))
def test_class_numbers_are_those_below_the_number_of_classes(values: list[int], classes: int) -> None:
    expected = [value if 0 <= value < classes else NO_LABEL for value in values]
    assert class_numbers(np.array(values), classes).tolist() == expected


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 2**32 - 1), st.integers(0, 5)), st.lists(st.integers(0, 2**32 - 1)))
def test_look_up_is_a_dictionary(table: dict[int, int], values: list[int]) -> None:
    values = [*values, *table]
    assert look_up(table, np.array(values, np.uint32)).tolist() == [table.get(value, NO_LABEL) for value in values]


@settings(deadline=None)
@given(st.floats(-100, 1e5), st.floats(-0.5, 1.5), st.floats(0, 0.3), st.floats(-1, 1), st.floats(0, 1000))
def test_a_signal_lies_on_one_side_of_the_cut_or_has_no_label(
    long: float, ratio: float, margin: float, curve: float, least: float
) -> None:
    cut = Cut(above="n", below="g", intercept=0.25, slope=1e-6, curve=curve, margin=margin, least_charge=least)
    charge = np.array([long], np.float64)
    label = int(cut_labels(charge, charge * (1 - ratio), cut, 1, 0)[0])
    if long <= 0 or long < least:
        assert label == NO_LABEL
        return
    distance = (long - long * (1 - ratio)) / long - (0.25 + 1e-6 * long + curve / np.sqrt(long))
    if abs(abs(distance) - margin) > 1e-9:
        assert label == (NO_LABEL if abs(distance) <= margin else int(distance > 0))


RUNS = st.dictionaries(
    st.text("abc0123", min_size=1, max_size=6),
    st.dictionaries(st.sampled_from(["beam", "lamp"]), st.integers(1, 10_000), min_size=1),
    min_size=3,
    max_size=25,
)


@settings(deadline=None)
@given(RUNS, st.integers(0, 100))
def test_runs_are_divided_whole_and_no_part_is_left_without(runs: dict[str, dict[str, int]], seed: int) -> None:
    placed = split_runs(runs, Splitting(by="run"), seed)
    assert placed.keys() == runs.keys()
    assert placed == split_runs(dict(reversed(runs.items())), Splitting(by="run"), seed)
    for source in ("beam", "lamp"):
        counts = Counter(placed[run] for run in runs if source in runs[run])
        if len(runs) == sum(counts.values()):  # a source that is in all runs has some in every part
            assert set(counts) == {0, 1, 2}
    equal = split_runs({f"run_{k}": {"beam": 100} for k in range(20)}, Splitting(by="run"), seed)
    assert Counter(equal.values()) == {0: 16, 1: 2, 2: 2}
