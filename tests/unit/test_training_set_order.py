"""The alarm of sources that are ordered by class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from psdbatch.training_set.order import find_order, order_alarm, order_plot

CLASSES = ("gamma", "neutron")


def counted(labels: np.ndarray, stretches: int = 100) -> tuple[np.ndarray, list[int]]:
    """Table of class against position, and pairs of neighbours, of a source with these labels."""
    positions = np.zeros((stretches, 2), np.int64)
    np.add.at(positions, (np.arange(len(labels)) * stretches // len(labels), labels), 1)
    return positions, [len(labels) - 1, int((np.diff(labels) == 0).sum())]


@pytest.mark.parametrize("signals", [60, 300, 2_000, 200_000])
def test_first_gammas_then_neutrons_is_an_alarm_with_both_fractions(signals: int) -> None:
    labels = (np.arange(signals) >= 0.75 * signals).astype(int)
    alarm = order_alarm("beam", CLASSES, *counted(labels))
    assert alarm is not None
    assert alarm.startswith("source 'beam' is ordered by class")
    assert (
        "100 % 'gamma' between 0 and 10 % of its length, 0 % 'gamma' between 80 and 90 % of its length, 75 % on"
        in alarm
    )


@pytest.mark.parametrize("neutrons", [0.5, 0.3, 0.01, 0.0005])
@pytest.mark.parametrize("signals", [40, 1_000, 100_000])
def test_mixed_sources_are_no_alarm(signals: int, neutrons: float) -> None:
    rng = np.random.default_rng(8)
    for _ in range(20):
        labels = (rng.random(signals) < neutrons).astype(int)
        assert order_alarm("beam", CLASSES, *counted(labels)) is None


def test_a_source_of_one_class_is_not_ordered() -> None:
    assert order_alarm("lamp", CLASSES, *counted(np.zeros(1000, int))) is None


def test_a_drift_of_the_mix_is_an_alarm_only_if_it_is_large() -> None:
    rng = np.random.default_rng(3)
    place = np.arange(200_000) / 200_000
    small = (rng.random(200_000) < 0.48 + 0.04 * place).astype(int)
    large = (rng.random(200_000) < 0.2 + 0.6 * place).astype(int)
    assert order_alarm("beam", CLASSES, *counted(small)) is None
    alarm = order_alarm("beam", CLASSES, *counted(large))
    assert alarm is not None
    assert "between 90 and 100 %" in alarm


def test_short_stretches_of_one_class_are_found_by_neighbours() -> None:
    labels = (np.arange(100_000) // 37 % 2).astype(int)
    positions, neighbours = counted(labels)
    order = find_order(positions, neighbours)
    assert not order.by_position
    assert order.by_neighbour
    alarm = order_alarm("beam", CLASSES, positions, neighbours)
    assert alarm is not None
    assert "stretches of 37 signals" in alarm


def test_strength_is_one_for_perfect_order_and_chance_is_a_probability() -> None:
    perfect = find_order(*counted((np.arange(50_000) >= 25_000).astype(int)))
    assert perfect.strength == pytest.approx(1, abs=0.01)
    assert perfect.stickiness == pytest.approx(1, abs=0.001)
    rng = np.random.default_rng(11)
    chances = [find_order(*counted(rng.integers(0, 2, 20_000))).chance for _ in range(300)]
    assert 0.4 < float(np.mean(chances)) < 0.6  # mixed sources: evenly spread
    assert sum(chance < 0.1 for chance in chances) < 60


def test_the_plot_shows_every_source(tmp_path: Path) -> None:
    ordered = counted((np.arange(4000) >= 3000).astype(int))[0]
    empty = np.zeros_like(ordered)
    empty[5] = 3, 4
    path = tmp_path / "plots" / "order.png"
    order_plot(path, CLASSES, {"beam": ordered, "lamp": empty}, ["beam"])
    from matplotlib.image import imread

    picture = imread(path)
    assert picture.shape[1] > 1000
    blue, red = (
        np.abs(picture[:, :, :3] - np.array(colour) / 255).sum(axis=2) < 0.05
        for colour in ((68, 119, 170), (204, 51, 17))
    )
    assert blue.sum() > 200
    assert red.sum() > 200
