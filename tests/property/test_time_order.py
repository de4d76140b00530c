"""Time order across files is what a stable sort of the whole run gives, for any files and any local disorder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psdbatch.columns import FLAGS, TIMESTAMP, Flag, scalar
from psdbatch.errors import CampaignError
from psdbatch.results import time_order
from psdbatch.results.contents import Contents
from psdbatch.results.extract import make_extract
from psdbatch.results.store import Layout
from psdbatch.results.time_order import OrderedStream
from tests.filled_stores import Values, write_store
from tests.small_campaign import folder_in_memory

COLUMNS = (TIMESTAMP, scalar("number", "uint32", "place in the run"), FLAGS)
LAYOUT = Layout(block=32, chunk=8, level=1)

files = st.lists(st.lists(st.integers(0, 60), max_size=70), min_size=1, max_size=5).filter(lambda lists: any(lists))


def lateness(times: list[int]) -> int:
    """The largest number of signals with a greater timestamp before any one signal."""
    return max((sum(earlier > time for earlier in times[:k]) for k, time in enumerate(times)), default=0)


def values(lists: list[list[int]]) -> list[Values]:
    starts = np.cumsum([0, *map(len, lists)])
    return [
        {
            "timestamp": np.array(times, np.uint64) + np.uint64(2**60),
            "number": np.arange(start, start + len(times), dtype=np.uint32),
            "flags": np.zeros(len(times), np.uint16),
        }
        for times, start in zip(lists, starts, strict=False)
    ]


def ordered(store: Path, window: int, size: int, select: str | None = None) -> Values:
    stream = OrderedStream(make_extract(Contents(store), ["timestamp", "number"], select), window, size)
    pieces = list(stream)
    found = {name: np.concatenate([piece[name] for piece in pieces]) for name in ("timestamp", "number")}
    assert stream.counts.selected == len(found["number"])
    return found


@pytest.fixture(autouse=True)
def _small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_order, "READ", 8)


@settings(deadline=None, max_examples=60)
@given(lists=files, size=st.integers(1, 40), extra=st.integers(0, 10))
def test_any_disorder_inside_the_window_is_sorted_stably(lists: list[list[int]], size: int, extra: int) -> None:
    window = max(map(lateness, lists)) + extra
    with folder_in_memory() as folder:
        store = write_store(folder / "results.zarr", {"run_1": values(lists)}, COLUMNS, LAYOUT)
        found = ordered(store, window, size)
    times = np.array([time for times in lists for time in times], np.uint64) + np.uint64(2**60)
    order = np.argsort(times, kind="stable")
    np.testing.assert_array_equal(found["number"], order)
    np.testing.assert_array_equal(found["timestamp"], times[order])


@settings(deadline=None, max_examples=40)
@given(lists=files, window=st.integers(0, 8))
def test_more_disorder_than_the_window_is_an_error_or_does_no_harm(lists: list[list[int]], window: int) -> None:
    with folder_in_memory() as folder:
        store = write_store(folder / "results.zarr", {"run_1": values(lists)}, COLUMNS, LAYOUT)
        try:
            found = ordered(store, window, 16)
        except CampaignError:
            assert max(map(lateness, lists)) > window
        else:
            assert np.all(np.diff(found["timestamp"].astype(np.int64)) >= 0)
            assert sorted(found["number"]) == list(range(sum(map(len, lists))))


def test_a_signal_that_is_too_late_is_named(tmp_path: Path) -> None:
    parts = values([[*range(40, 80), 3], [5, 6]])
    store = write_store(tmp_path / "results.zarr", {"run_1": parts}, COLUMNS, LAYOUT)
    with pytest.raises(
        CampaignError, match=r"board0.npy: the timestamp 1152921504606846979 .* number 40 .* more than 4 "
    ):
        ordered(store, 4, 16)
    assert ordered(store, 40, 16)["number"].tolist() == [40, 41, 42, *range(40)]


@settings(deadline=None, max_examples=30)
@given(lists=files, size=st.integers(1, 40))
def test_a_selection_is_sorted_as_well(lists: list[list[int]], size: int) -> None:
    parts = values(lists)
    chosen = np.concatenate([part["timestamp"] for part in parts]) >= 2**60 + 30
    if not chosen.any():
        return
    with folder_in_memory() as folder:
        store = write_store(folder / "results.zarr", {"run_1": parts}, COLUMNS, LAYOUT)
        found = ordered(store, max(map(lateness, lists)), size, f"timestamp >= {2**60 + 30}")
    times = np.concatenate([part["timestamp"] for part in parts])
    order = np.argsort(times, kind="stable")
    np.testing.assert_array_equal(found["number"], order[chosen[order]])


def test_files_that_follow_one_another_are_not_open_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = values([list(range(50 * number, 50 * number + 50)) for number in range(6)])
    store = write_store(tmp_path / "results.zarr", {"run_1": parts}, COLUMNS, LAYOUT)
    streams: list[time_order._FileStream] = []
    held: list[int] = []
    real = time_order._in_order

    class Recorded(time_order._FileStream):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            streams.append(self)

    def counting(parts: list[Values]) -> Values:
        held.append(sum(len(stream.time) > 0 for stream in streams))
        return real(parts)

    monkeypatch.setattr(time_order, "_FileStream", Recorded)
    monkeypatch.setattr(time_order, "_in_order", counting)
    found = ordered(store, 2, 16)
    np.testing.assert_array_equal(found["number"], np.arange(300))
    assert len(streams) == 6
    assert 1 <= max(held) <= 2


def test_signals_without_a_time_are_left_out_and_counted(tmp_path: Path) -> None:
    parts = values([[5, 7, 9], [4, 6, 8]])
    parts[1]["timestamp"][1], parts[1]["flags"][1] = 0, Flag.DAMAGED
    parts[0]["flags"][2] = Flag.DAMAGED  # its time is known
    store = write_store(tmp_path / "results.zarr", {"run_1": parts}, COLUMNS, LAYOUT)
    stream = OrderedStream(make_extract(Contents(store), ["number"]), 1, 8)
    assert np.concatenate([piece["number"] for piece in stream]).tolist() == [3, 0, 1, 5, 2]
    assert vars(stream.counts) == {"signals": 6, "selected": 5, "rejected": 0, "unfinished": 0, "untimed": 1}


def test_runs_follow_one_another(tmp_path: Path) -> None:
    later, earlier = values([[50, 40]]), values([[7, 3]])
    store = write_store(tmp_path / "results.zarr", {"run_1": later, "run_2": earlier}, COLUMNS, LAYOUT)
    pieces = list(OrderedStream(make_extract(Contents(store), ["timestamp"]), 5, 8))
    assert [piece.run for piece in pieces] == ["run_1", "run_2"]
    assert [(piece["timestamp"] - np.uint64(2**60)).tolist() for piece in pieces] == [[40, 50], [3, 7]]
