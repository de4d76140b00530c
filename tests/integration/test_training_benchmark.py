"""The benchmark of trainings runs, on very few signals; what it measures is not looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import training


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="compares one core with two")
def test_the_benchmark_trains_the_same_network_in_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "EPOCHS", 2)
    monkeypatch.setattr(training, "HIDDEN", [16])
    rows = training.run(tmp_path, 200)
    assert [(row["processes"], row["cores"]) for row in rows] == [(1, 1), (1, 2), (2, 2)]
    assert rows[0]["times as fast"] == 1
    assert all(row["seconds of an epoch"] > 0 for row in rows)
    losses = [float(row["last validation loss"]) for row in rows]
    assert losses == pytest.approx([losses[0]] * 3, abs=2e-5)
