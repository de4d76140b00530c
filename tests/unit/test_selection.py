"""Conditions: what they choose is what NumPy chooses, and what they refuse they explain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from psdbatch.columns import Flag, charge_ratio
from psdbatch.errors import CampaignError, ConfigurationError
from psdbatch.results.contents import Contents
from psdbatch.results.selection import parse_selection
from psdbatch.results.streaming import iterate
from tests.filled_stores import Values, joined, measured, write_store

PARTS = [measured(1500, 1, board=1), measured(1100, 2, board=3)]
VALUES = joined(PARTS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store") / "results.zarr", {"run_1": PARTS})


def saturated(values: Values) -> Any:
    return (values["flags"] & Flag.SATURATED) != 0


CONDITIONS: dict[str, Callable[[Values], Any]] = {
    "label == 1 and amplitude > 500 and not saturated": lambda v: (
        (v["label"] == 1) & (v["amplitude"] > 500) & ~saturated(v)
    ),
    "label == neutron": lambda v: v["label"] == 1,
    "label != 'neutron'": lambda v: v["label"] != 1,
    "gamma == label": lambda v: v["label"] == 0,
    "label in (gamma, no_answer)": lambda v: (v["label"] == 0) | (v["label"] == 255),
    "label not in [neutron]": lambda v: v["label"] != 1,
    "board == 3 & channel in (1, 2)": lambda v: (v["board"] == 3) & np.isin(v["channel"], [1, 2]),
    "board == 3 && ~saturated || channel == 7": lambda v: ((v["board"] == 3) & ~saturated(v)) | (v["channel"] == 7),
    "!(board == 3) | saturated": lambda v: (v["board"] != 3) | saturated(v),
    "1000 < amplitude <= 3e3": lambda v: (v["amplitude"] > 1000) & (v["amplitude"] <= 3000),
    "probability_neutron >= 0.9": lambda v: v["probability"][:, 1] >= np.float32(0.9),
    "charge_ratio > 0.22": lambda v: charge_ratio(v["charge_long"], v["charge_short"]) > 0.22,
    "charge_long - charge_short > 2 * 10**3": lambda v: (
        v["charge_long"].astype(float) - v["charge_short"].astype(float) > 2000
    ),
    "channel - 5 > 0": lambda v: v["channel"].astype(int) > 5,
    "channel + 65535 == 65540": lambda v: v["channel"] == 5,
    "amplitude / (channel - 3) < 0": lambda v: (v["channel"] < 3) & (v["amplitude"] > 0),
    f"timestamp <= {int(VALUES['timestamp'][7])}": lambda v: v["timestamp"] <= v["timestamp"][7],
    f"timestamp == {int(VALUES['timestamp'][8])}": lambda v: v["timestamp"] == v["timestamp"][8],
    f"timestamp - {int(VALUES['timestamp'][8])} == 0": lambda v: v["timestamp"] == v["timestamp"][8],
    "timestamp > -1": lambda v: np.ones(len(v["label"]), bool),
    "signal < 1200 and signal % 2 == 1": lambda v: np.isin(np.arange(len(v["label"])), np.arange(1, 1200, 2)),
    "damaged": lambda v: v["label"] == 255,
    "saturated == 0": lambda v: ~saturated(v),
    "saturated != damaged": lambda v: saturated(v) != (v["label"] == 255),
    "timestamp * 10 > 0": lambda v: v["timestamp"] > 0,
    "timestamp * 1e19 > 0": lambda v: v["timestamp"] > 0,
    "timestamp % 1000 == 7": lambda v: v["timestamp"] % 1000 == 7,
    "-channel < -5": lambda v: v["channel"] > 5,
    "+channel > 5": lambda v: v["channel"] > 5,
    "amplitude > 1e9": lambda v: np.zeros(len(v["label"]), bool),
}


@pytest.mark.parametrize("text", CONDITIONS)
def test_condition_chooses_what_numpy_chooses(store: Path, text: str) -> None:
    expected = np.flatnonzero(CONDITIONS[text](VALUES))
    pieces = list(iterate(store, ["signal", "timestamp", "probability"], text, size=500))
    if not len(expected):
        assert pieces == []
        return
    found = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    np.testing.assert_array_equal(found["signal"], expected)
    np.testing.assert_array_equal(found["timestamp"], VALUES["timestamp"][expected])
    np.testing.assert_array_equal(found["probability"], VALUES["probability"][expected])


REFUSED = {
    "amplitud > 5": "no column 'amplitud'; did you mean 'amplitude'",
    "amplitude > 5 and saturatd": "did you mean 'saturated'",
    "label == neutrons": "did you mean 'neutron'",
    "label == 'neutrons'": "did you mean 'neutron'",
    "neutron": "'neutron' is a class; write label == neutron",
    "amplitude > neutron": "is a class",
    "amplitude": "is a number, not a condition",
    "amplitude + 1": "is a number, not a condition",
    "amplitude and label == 1": "is a number, not a condition",
    "not amplitude": "is a number, not a condition",
    "saturated + 1 > 0": "is a condition, not a number",
    "probability > 0.5": "several numbers per signal; name one of them: probability_gamma, probability_neutron",
    "flags == saturated": "'saturated' is a condition, which is true or false; write it alone, or 'not saturated'",
    "(amplitude > 3) == 2": "'amplitude > 3' is a condition",
    "saturated in (1, 2)": "'saturated' is a condition",
    "label == (channel == 1)": "'channel == 1' is a condition",
    "timestamp - 18446744073709551615 > 0": "'timestamp - 18446744073709551615' holds a whole number beyond 2",
    f"channel * {10**400} > 5": "holds a whole number beyond 2",
    "": "is empty; leave it out",
    "  ": "is empty; leave it out",
    "probability[neutron] > 0.5": "write probability_neutron",
    "probability['neutron'] > 0.5": "write probability_neutron",
    "probability[1] > 0.5": "write probability_gamma or probability_neutron",
    "run == run_1": "'run' cannot be used here: choose runs with --run",
    "run_1 == run": "'run_1' cannot be used here: choose runs with --run",
    "amplitude = 5": "cannot be read",
    "amplitude >": "cannot be read",
    "1 < 2": "compares two numbers",
    "label is 1": "write ==",
    "channel in 3": "stands a list",
    "channel in (board, 2)": "numbers behind it",
    "amplitude > 1/0": "division by zero",
    "label == True": "not a number",
    "__import__('os').system('true') == 0": "cannot be used here",
    "amplitude.size > 3": "cannot be used here",
    "label[0] == 1": "cannot be used here",
    "(lambda: 1) == label": "cannot be used here",
    "[x for x in (1, 2)] == label": "cannot be used here",
    "amplitude > f'{label}'": "cannot be used here",
    "amplitude > 1j": "not a number",
    "flags << 3 == 8": "cannot be used here",
    "amplitude > " + "-" * 3000 + "1": "nested|cannot be read",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_condition_is_refused_with_a_reason(store: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=REFUSED[text]):
        parse_selection(text, Contents(store))


def test_calculating_with_huge_timestamps_is_refused_and_comparing_is_exact(tmp_path: Path) -> None:
    values = {"timestamp": np.array([2**64 - 1, 2**64 - 2], np.uint64)}
    store = write_store(tmp_path / "results.zarr", {"run_1": [values]})
    (piece,) = iterate(store, select=f"timestamp == {2**64 - 1}")
    assert piece["timestamp"].tolist() == [2**64 - 1]
    with pytest.raises(CampaignError, match="compare it alone"):
        list(iterate(store, select="timestamp - 1 > 0"))


def test_whole_numbers_are_never_wrapped_around(tmp_path: Path) -> None:
    values = {"timestamp": np.array([2**63 - 1, 2**62, 1], np.uint64), "channel": np.array([1, 2, 3], np.uint16)}
    store = write_store(tmp_path / "results.zarr", {"run_1": [values]})
    (piece,) = iterate(store, select="timestamp - channel == 2**62 - 2")
    assert piece["timestamp"].tolist() == [2**62]
    for text in ("timestamp + channel > 0", "-2 - timestamp < 0", "timestamp + timestamp > 0"):
        with pytest.raises(CampaignError, match=r"holds a whole number beyond 2\*\*63"):
            list(iterate(store, select=text))
    for text in ("1.0 * timestamp + channel > 0", "timestamp * timestamp > 0", "timestamp * 3 > 0"):
        assert sum(piece.signals for piece in iterate(store, select=text)) == 3


def test_an_empty_selection_does_not_mean_everything(store: Path) -> None:
    with pytest.raises(ConfigurationError, match="is empty"):
        iterate(store, ["label"], "")


CLASSES = ("label", "and", "fast neutron", "amplitude")


@pytest.mark.parametrize("number", range(len(CLASSES)))
def test_a_class_of_any_name_can_be_selected(tmp_path: Path, number: int) -> None:
    values = {"label": np.repeat(np.arange(4, dtype=np.uint8), 5), "amplitude": np.zeros(20, np.float32)}
    store = write_store(tmp_path / "results.zarr", {"run_1": [values]})
    zarr.open_group(store, mode="a").attrs["classes"] = list(CLASSES)
    for text in (f"label == '{CLASSES[number]}'", f"'{CLASSES[number]}' == label"):
        (piece,) = iterate(store, select=text)
        assert piece["label"].tolist() == [number] * 5
    (piece,) = iterate(store, select="label == amplitude")
    assert piece["label"].tolist() == [3] * 5
    for text in ("label == and", "label == fast neutron"):
        with pytest.raises(ConfigurationError, match="is quoted: label == '"):
            iterate(store, select=text)


def test_huge_powers_take_no_time(store: Path) -> None:
    assert list(iterate(store, ["label"], "amplitude > 10**10**10")) == []


def test_named_values_of_other_columns_can_be_written(tmp_path: Path) -> None:
    from psdbatch.columns import scalar

    kind = scalar("online", "uint8", "", flag_values=[0, 4], flag_meanings="unknown fast_neutron")
    store = write_store(tmp_path / "results.zarr", {"run_1": [{"online": np.array([0, 4, 4], np.uint8)}]}, [kind])
    for text in ("online == fast_neutron", "online == 'fast neutron'", "online != unknown"):
        assert sum(piece.signals for piece in iterate(store, select=text)) == 2
