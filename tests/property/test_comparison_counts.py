"""Counts of a comparison against a slow reference that looks at one signal after another."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psdbatch.columns import NO_LABEL, Flag
from psdbatch.comparison import pairing
from psdbatch.comparison.agreement import AMPLITUDES, RATIOS, WINDOWS
from psdbatch.comparison.comparing import Comparison, compare
from tests.stores import Values, answers, write_store

NAMES = ("gamma", "neutron", "pile-up")


@st.composite
def classes(draw: st.DrawFn) -> tuple[str, ...]:
    found = draw(st.permutations(NAMES))
    return tuple(found[: draw(st.integers(2, 3))])


@st.composite
def two_stores(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same signals answered twice, in blocks of different sizes, some unfinished; odd amplitudes among them."""
    runs = {f"run_{k}": draw(st.integers(1, 60)) for k in range(draw(st.integers(1, 2)))}
    sides = []
    for seed in range(2):
        names, block = draw(classes()), draw(st.sampled_from([8, 16, 64]))
        values = {run: answers(n, 10 * n, 0.0, len(names)) for run, n in runs.items()}
        for run, n in runs.items():
            other = answers(n, draw(st.integers(0, 50)), draw(st.sampled_from([0.0, 0.3])), len(names))
            values[run] |= {name: other[name] for name in ("probability", "label", "flags")}
            if seed == 0:
                odd = draw(st.lists(st.sampled_from([math.nan, -3.0, 0.0, 1.0, 1e10, 3e12, math.inf]), max_size=n))
                values[run]["amplitude"][: len(odd)] = odd
                values[run]["charge_long"][n // 2 : n // 2 + 1] = draw(st.sampled_from([0.0, -1.0, 500.0]))
        blocks = [(run, number) for run, n in runs.items() for number in range(-(-n // block))]
        left = draw(st.lists(st.sampled_from(blocks), max_size=2))
        sides.append({"runs": values, "block": block, "chunk": 8, "classes": names, "unfinished": set(left)})
    return sides[0], sides[1]


def slow(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Counter[Any]]:
    """Everything counted one signal after another."""
    found: dict[str, Counter[Any]] = {name: Counter() for name in ("states", "amplitude", "run", "channel", "psd")}
    for run, values in a["runs"].items():
        for k in range(len(values["label"])):
            names = [_answer(side, run, k) for side in (a, b)]
            found["states"][tuple(name if name in ("refused", "unfinished") else "answered" for name in names)] += 1
            if {"refused", "unfinished"} & {*names}:
                continue
            amplitude = float(values["amplitude"][k])
            window = len(WINDOWS) + 1 if math.isnan(amplitude) else sum(edge <= amplitude for edge in WINDOWS)
            found["amplitude"][window, *names] += 1
            found["run"][run, *names] += 1
            channel = int(values["board"][k]), int(values["channel"][k])
            found["channel"][channel, "compared"] += 1
            found["channel"][channel, "agreeing"] += names[0] == names[1]
            long, short = float(values["charge_long"][k]), float(values["charge_short"][k])
            if long > 0 and math.isfinite(amplitude):
                cell = (_bin(AMPLITUDES, amplitude), _bin(RATIOS, (long - short) / long))
                found["psd"]["same" if names[0] == names[1] else names[0], *cell] += 1
    return found


def _answer(side: dict[str, Any], run: str, k: int) -> str:
    if (run, k // side["block"]) in side["unfinished"]:
        return "unfinished"
    label = int(side["runs"][run]["label"][k])
    return "refused" if label == NO_LABEL else str(side["classes"][label])


def _bin(edges: Any, value: float) -> int:
    return min(max(sum(bool(edge <= value) for edge in edges) - 1, 0), len(edges) - 2)


def check(found: Comparison, expected: dict[str, Counter[Any]]) -> None:
    agreement, names = found.agreement, found.agreement.classes
    states = {"answered": 0, "refused": 1, "unfinished": 2}
    for (one, other), count in expected["states"].items():
        assert agreement.states[states[one], states[other]] == count
    assert agreement.states.sum() == sum(expected["states"].values())
    place = {name: k for k, name in enumerate(names)}
    for (window, one, other), count in expected["amplitude"].items():
        assert agreement.by_amplitude[window, place[one], place[other]] == count
    assert agreement.compared == sum(expected["amplitude"].values())
    for (run, one, other), count in expected["run"].items():
        assert agreement.by_run[run][place[one], place[other]] == count
    channels = {
        (int(key) >> 16, int(key) & 0xFFFF): counts.tolist()
        for key, counts in zip(agreement.by_channel.channel, agreement.by_channel.counts, strict=True)
    }
    wanted = {key for key, _ in expected["channel"]}
    assert channels == {key: [expected["channel"][key, what] for what in ("compared", "agreeing")] for key in wanted}
    for (kind, amplitude, ratio), count in expected["psd"].items():
        assert agreement.psd[place.get(kind, len(names)), amplitude, ratio] == count
    assert agreement.psd.sum() == sum(expected["psd"].values())


@settings(max_examples=30, deadline=None)
@given(two_stores())
def test_counts_by_position_are_those_of_the_slow_reference(stores: tuple[dict[str, Any], dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        a, b = (write_store(Path(folder) / name, **side) for name, side in zip("ab", stores, strict=True))
        size = pairing.PIECE
        try:
            pairing.PIECE = 24  # several pieces, which do not fit the blocks
            found = compare(a, b)
        finally:
            pairing.PIECE = size
    check(found, slow(*stores))
    count = found.accounting
    assert count["signals"] == count["compared"] + count["only_a"] + count["only_b"] + count["neither"]
    assert count["signals"] == sum(len(values["label"]) for values in stores[0]["runs"].values())


HITS = st.tuples(st.integers(0, 6), st.integers(1, 2), st.integers(0, 1))


def of_hits(hits: list[tuple[int, int, int]], seed: int) -> Values:
    values = answers(len(hits), seed, 0.2)
    for column, name in enumerate(("timestamp", "board", "channel")):
        values[name] = np.array([hit[column] for hit in hits]).astype(values[name].dtype)
    values["timestamp"] *= np.uint64(2**61)  # times that need all 64 bits
    return values


@settings(max_examples=50, deadline=None)
@given(st.lists(HITS, min_size=1, max_size=40), st.lists(HITS, min_size=1, max_size=40), st.sampled_from([7, 1 << 24]))
def test_hits_find_their_partner_once(
    hits_a: list[tuple[int, int, int]], hits_b: list[tuple[int, int, int]], held: int
) -> None:
    sides = {"a": of_hits(hits_a, 1), "b": of_hits(hits_b, 2)}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        a, b = (write_store(Path(folder) / name, {"run_1": sides[name]}, block=16, chunk=8) for name in "ab")
        patch.setattr(pairing, "PIECE", 8)
        patch.setattr(pairing.pairs_by_hit, "__defaults__", (held,))
        found = compare(a, b, match="hit")
    lost = {name: sides[name]["timestamp"] == 0 for name in "ab"}
    for name in "ab":
        lost[name] &= sides[name]["flags"] == Flag.DAMAGED
    known_a, known_b = (
        [(k, hit) for k, hit in enumerate(hits) if not lost[name][k]] for name, hits in (("a", hits_a), ("b", hits_b))
    )
    first_a, first_b = ({hit: k for k, hit in reversed(known)} for known in (known_a, known_b))
    confusion: Counter[tuple[int, int]] = Counter()
    refused = 0
    for hit in first_a.keys() & first_b.keys():
        labels = int(sides["a"]["label"][first_a[hit]]), int(sides["b"]["label"][first_b[hit]])
        if NO_LABEL in labels:
            refused += 1
        else:
            confusion[labels] += 1
    assert {cell: count for cell, count in np.ndenumerate(found.agreement.confusion) if count} == confusion
    partners = len(first_a.keys() & first_b.keys())
    assert found.agreement.states[:2, :2].sum() == partners == sum(confusion.values()) + refused
    assert found.agreement.states.sum() == len(known_a) + len(known_b) - partners
    assert found.aside.repeated_b == len(known_b) - len(first_b)
    assert found.aside.repeated_a == sum(hit in first_b for _, hit in known_a) - partners
    assert (found.aside.lost_a, found.aside.lost_b) == (lost["a"].sum(), lost["b"].sum())
