"""Label rules: what each says about a signal, and what is wrong with one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from psdbatch.acquisition.signals import Signals
from psdbatch.config.training_set import Cut, Label, Source
from psdbatch.errors import ConfigurationError
from psdbatch.training_set.labels import cut_labels, make_rule
from psdbatch.training_set.pieces import CERTAIN_LABEL, TRUE_LABEL, Piece
from psdbatch.training_set.quantities import Quantities

CLASSES = ("gamma", "neutron")


def piece(
    board: list[int], channel: list[int] | None = None, extra: dict[str, Any] | None = None, **known: Any
) -> Piece:
    signals = Signals.allocate(len(board), 4)
    signals.board[:] = board
    signals.channel[:] = channel or 0
    signals.timestamp[:] = np.arange(len(board), dtype=np.uint64) + np.uint64(2**60)
    signals.extra.update({name: np.asarray(values) for name, values in (extra or {}).items()})
    nothing = np.zeros(len(board), np.float32)
    return Piece(0, signals, Quantities(nothing, nothing, nothing, nothing.astype(np.uint16)), known)


def labels(label: dict[str, Any], signals: Piece, known: tuple[str, ...] = ()) -> list[int]:
    found = make_rule("beam", Label.model_validate(label), CLASSES, known).labels(signals)
    assert found.dtype == np.uint8
    return [int(value) for value in found]


def test_a_name_is_the_class_of_every_signal() -> None:
    assert labels({"name": "neutron"}, piece([1, 2, 3])) == [1, 1, 1]


def test_a_board_names_all_its_channels_and_a_channel_overrides_its_board() -> None:
    rule = {"channels": {"3": "gamma", "3:7": "neutron", "65535:65535": "neutron"}}
    signals = piece([3, 3, 4, 65535, 65535], [0, 7, 7, 65535, 3])
    assert labels(rule, signals) == [0, 1, 255, 1, 255]


def test_numbers_in_a_column_are_classes_and_anything_else_is_none() -> None:
    rule = {"column": "kind"}
    assert labels(rule, piece([0] * 4, extra={"kind": np.array([0, 1, 2, -1], "int32")})) == [0, 1, 255, 255]
    assert labels(rule, piece([0] * 4, extra={"kind": np.array([0.0, 1.0, 0.5, np.nan])})) == [0, 1, 255, 255]
    assert labels(rule, piece([0] * 2, extra={"kind": np.array([True, False])})) == [1, 0]


def test_windows_hold_their_low_edge_and_not_their_high_one() -> None:
    rule = {
        "column": "tof",
        "windows": [{"name": "gamma", "low": 2.0, "high": 4.0}, {"name": "neutron", "low": 4.0, "high": 9.5}],
    }
    times = np.array([1.9, 2.0, 3.99, 4.0, 9.5, np.nan, -1.0])
    assert labels(rule, piece([0] * 7, extra={"tof": times})) == [255, 0, 0, 1, 255, 255, 255]
    whole = np.array([1, 2, 3, 4, 9, 10, 200], "uint8")
    assert labels(rule, piece([0] * 7, extra={"tof": whole})) == [255, 0, 0, 1, 1, 255, 255]


def test_windows_of_time_are_exact_for_64_bit_timestamps() -> None:
    middle = float(2**60)
    rule = {
        "column": "timestamp",
        "windows": [
            {"name": "gamma", "low": -1e300, "high": middle},
            {"name": "neutron", "low": middle, "high": 1e300},
        ],
    }
    signals = piece([0] * 3)
    signals.signals.timestamp[:] = [2**60 - 1, 2**60, 2**64 - 1]  # the first two are one number as floats
    assert labels(rule, signals) == [0, 1, 1]


def test_a_cut_labels_both_sides_of_a_curved_line_outside_its_margin() -> None:
    cut = Cut(above="neutron", below="gamma", intercept=0.1, slope=0.001, curve=1.0, margin=0.02, least_charge=50.0)
    long = np.array([100, 100, 100, 100, 40, 0, -5], np.float32)
    line = 0.1 + 0.1 + 0.1
    ratio = np.array([line + 0.03, line - 0.03, line + 0.01, line - 0.01, 0.9, 0.9, 0.9], np.float32)
    assert cut_labels(long, long * (1 - ratio), cut, 1, 0).tolist() == [1, 0, 255, 255, 255, 255, 255]


def test_truth_and_results_are_matched_by_the_names_of_their_classes() -> None:
    numbers = np.array([0, 1, 2, 255], np.uint8)
    assert labels({"truth": True}, piece([0] * 4, **{TRUE_LABEL: numbers}), ("neutron", "gamma", "pulser")) == [
        1,
        0,
        255,
        255,
    ]
    assert labels({"results": True}, piece([0] * 4, **{CERTAIN_LABEL: numbers}), CLASSES) == [0, 1, 255, 255]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ({"name": "neutorn"}, "'neutorn' is no class of the set (gamma, neutron); did you mean 'neutron'?"),
        ({"channels": {"a": "gamma"}}, "'a' is neither a board ('3') nor a board and channel ('3:0')"),
        ({"channels": {"1:2:3": "gamma"}}, "'1:2:3' is neither"),
        ({"channels": {"70000": "gamma"}}, "'70000' is neither"),
        ({"column": "tof", "windows": [{"name": "gamma", "low": 5, "high": 5}]}, "ends (5.0) before it begins"),
        (
            {
                "column": "tof",
                "windows": [{"name": "gamma", "low": 0, "high": 5}, {"name": "neutron", "low": 4, "high": 9}],
            },
            "the windows of 'gamma' up to 5.0 and of 'neutron' from 4.0 overlap",
        ),
        ({"cut": {"above": "n", "below": "gamma", "intercept": 0.2}}, "'n' is no class of the set"),
        ({"results": True}, "none of its classes (alpha, beta) is in 'set.classes' (gamma, neutron)"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said_with_the_name_of_the_source(label: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        make_rule("beam", Label.model_validate(label), CLASSES, ("alpha", "beta"))
    assert "source 'beam'" in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "label",
    [{}, {"name": "gamma", "truth": True}, {"windows": [{"name": "gamma", "low": 0, "high": 1}], "truth": True}],
)
def test_a_source_has_exactly_one_rule(label: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"exactly|give one rule|name it in 'column'"):
        Source.model_validate({"name": "beam", "files": ["a"], "label": label})
