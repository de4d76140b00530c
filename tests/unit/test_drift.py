"""Alarms where a channel differs, and none where it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from psdbatch.monitor.drift import Drift, comparable, compare, significance
from psdbatch.monitor.drift_watch import MOST_RUNS, DriftWatch, Reference
from psdbatch.monitor.tally import Tally

NAMES = ("gamma", "neutron")


def tally(signals: int, seed: int, change: Any = None, boards: int = 2, channels: int = 8) -> Tally:
    """Of signals whose columns ``change`` may alter."""
    chance = np.random.default_rng(seed)
    label = (chance.random(signals) < 0.2).astype("uint8")
    ratio = 0.14 + 0.1 * label + chance.normal(0, 0.03, signals)
    columns = {
        "board": chance.integers(1, boards + 1, signals).astype("uint16"),
        "channel": chance.integers(0, channels, signals).astype("uint16"),
        "label": label,
        "flags": np.zeros(signals, "uint16"),
        "amplitude": np.full(signals, 500, "float32"),
        "charge_long": np.full(signals, 1000, "float32"),
        "charge_short": (1000 * (1 - ratio)).astype("float32"),
    }
    if change is not None:
        change(columns)
        kept = columns.pop("kept", np.ones(signals, bool))
        columns = {name: values[kept] for name, values in columns.items()}
    return Tally.of(columns, 2)


def there(columns: dict[str, Any], board: int, channel: int) -> Any:
    return (columns["board"] == board) & (columns["channel"] == channel)


def found(alarms: list[Drift]) -> set[tuple[int, int, str]]:
    return {(alarm.board, alarm.channel, alarm.what) for alarm in alarms}


@pytest.mark.parametrize("seed", range(20))
def test_same_detector_raises_no_alarm(seed: int) -> None:
    assert compare(tally(20_000, seed), tally(50_000, 1000 + seed), NAMES) == []


def test_rare_classes_of_small_channels_raise_no_alarm() -> None:
    """With 100 signals and a class of 1 % a few signals more are chance."""
    chance = np.random.default_rng(1)
    one = Tally.empty(2)
    one._widen(np.arange(1000, dtype=np.uint32))
    reference = Tally.empty(2)
    reference._widen(np.arange(1000, dtype=np.uint32))
    rare = chance.binomial(100, 0.01, 1000)
    one.answers[:] = np.stack([100 - rare, rare, np.zeros(1000, int)], axis=1)
    reference.answers[:] = [9900, 100, 0]
    assert compare(one, reference, NAMES) == []


def test_more_neutrons_in_one_channel() -> None:
    def change(columns: dict[str, Any]) -> None:
        columns["label"][there(columns, 2, 3)] |= np.random.default_rng(0).random(there(columns, 2, 3).sum()) < 0.2

    assert found(compare(tally(200_000, 1, change), tally(200_000, 2), NAMES)) == {(2, 3, "fraction of neutron")}
    assert compare(tally(200_000, 1, change), tally(200_000, 2), None) == []  # other classes: nothing to compare


def test_longer_tails_in_one_channel() -> None:
    def change(columns: dict[str, Any]) -> None:
        columns["charge_short"][there(columns, 1, 0)] -= 20

    (alarm,) = compare(tally(200_000, 1, change), tally(200_000, 2), NAMES)
    assert (alarm.board, alarm.channel, alarm.kind) == (1, 0, "charge ratio")
    assert alarm.value - alarm.reference == pytest.approx(0.02, abs=0.003)


def test_a_lower_gain_and_more_saturated_signals_in_one_channel() -> None:
    chance = np.random.default_rng(4)

    def spread(columns: dict[str, Any]) -> None:
        columns["amplitude"] = chance.gamma(2.0, 300.0, len(columns["amplitude"])).astype("float32")

    def worse(columns: dict[str, Any]) -> None:
        spread(columns)
        columns["amplitude"][there(columns, 1, 4)] *= 0.85
        columns["flags"][there(columns, 2, 6)] |= np.where(
            chance.random(there(columns, 2, 6).sum()) < 0.1, 1, 0
        ).astype("uint16")

    alarms = compare(tally(200_000, 1, worse), tally(200_000, 2, spread), NAMES)
    assert found(alarms) == {(1, 4, "mean amplitude"), (2, 6, "fraction saturated")}


def test_channels_are_counted_that_can_be_compared() -> None:
    few = tally(1_000, 1)
    assert comparable(few, tally(200_000, 2)) == 0
    assert comparable(tally(20_000, 1), tally(200_000, 2)) == 16


def test_significant_but_small_differences_do_not_matter() -> None:
    def change(columns: dict[str, Any]) -> None:
        columns["charge_short"] -= 5  # 0.005 in the charge ratio, 20 standard deviations in each channel

    assert compare(tally(2_000_000, 1, change), tally(2_000_000, 2), NAMES) == []


def test_signals_without_an_answer() -> None:
    def change(columns: dict[str, Any]) -> None:
        columns["label"][there(columns, 1, 5)] = 255

    kinds = found(compare(tally(200_000, 1, change), tally(200_000, 2), NAMES))
    assert (1, 5, "fraction without an answer") in kinds


def test_silent_and_new_channels() -> None:
    def change(columns: dict[str, Any]) -> None:
        columns["kept"] = ~there(columns, 1, 7)

    full, without = tally(200_000, 1), tally(200_000, 2, change)
    (silent,) = compare(without, full, NAMES)
    assert (silent.kind, silent.board, silent.channel, silent.value) == ("silent", 1, 7, 0)
    assert silent.reference == pytest.approx(200_000 / 16 * 7 / 8, rel=0.1)  # its board is smaller without it
    (new,) = compare(full, without, NAMES)
    assert (new.kind, new.board, new.channel) == ("new", 1, 7)


def test_a_board_whose_files_have_not_come_yet_is_not_silent() -> None:
    def change(columns: dict[str, Any]) -> None:
        columns["kept"] = columns["board"] == 1

    half, full = tally(200_000, 1, change), tally(200_000, 2)
    assert compare(half, full, NAMES) == []
    assert {alarm.board for alarm in compare(half, full, NAMES, complete=True)} == {2}


def test_nothing_compared_with_nothing() -> None:
    assert compare(Tally.empty(2), Tally.empty(2), NAMES) == []
    assert compare(Tally.empty(0), tally(1000, 1), None) == []


def test_more_comparisons_need_larger_differences() -> None:
    assert significance(1) == pytest.approx(5.0)
    assert significance(200) == pytest.approx(5.9, abs=0.1)


def drifting(columns: dict[str, Any]) -> None:
    columns["charge_short"][there(columns, 1, 2)] -= 50


def test_a_run_that_drifts_alone_is_told_even_when_many_others_came_after_it() -> None:
    reference = Reference.of("old", tally(200_000, 0), NAMES, NAMES)
    watch, total = DriftWatch(reference, NAMES, several=True), Tally.empty(2)
    for number in range(3 * MOST_RUNS):
        block = tally(4_000, 10 + number, drifting if number == 1 else None)
        watch.add(f"run_{number}", block)
        total.add(block)
    assert {(alarm.run, alarm.drift.board, alarm.drift.channel) for alarm in watch.alarms(total)} == {("run_1", 1, 2)}
    (facts,) = [alarm.facts() for alarm in watch.alarms(total)]
    assert (facts["run"], facts["kind"], facts["what"]) == ("run_1", "charge ratio", "mean charge ratio")


def test_what_all_runs_show_is_told_once() -> None:
    reference = Reference.of("old", tally(200_000, 0), NAMES, NAMES)
    watch, total = DriftWatch(reference, NAMES, several=True), Tally.empty(2)
    for number in range(3):
        watch.add(f"run_{number}", tally(20_000, number, drifting))
        total.add(tally(20_000, number, drifting))
    assert [(alarm.run, alarm.drift.channel) for alarm in watch.alarms(total)] == [("", 2)]


def test_nothing_is_compared_with_a_reference_that_is_not_read() -> None:
    watch = DriftWatch(Reference("old", "being read"), NAMES, several=True)
    watch.add("run_1", tally(20_000, 1, drifting))
    assert watch.alarms(tally(20_000, 1, drifting)) == []
    assert Reference.of("old", None, NAMES, NAMES).state == "none of its blocks tells its physics"
    assert "a, b" in Reference.of("old", tally(10, 0), ("a", "b"), NAMES).state
