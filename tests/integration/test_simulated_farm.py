"""The benchmark of the coordinator keeps its books: every block once, by workers that only wait."""

from __future__ import annotations

from pathlib import Path

from benchmarks import live
from benchmarks.coordinator import Case, measure, simulate
from benchmarks.ledger import run


def test_every_block_of_a_simulated_farm_is_reported_once(tmp_path: Path) -> None:
    outcome = simulate(Case(workers=20, threads=2, seconds=0.02, blocks=500), tmp_path)
    assert outcome.commits == bytes([1]) * 500
    assert (outcome.failures, outcome.left_over) == (0, 0)
    assert outcome.samples[-1].blocks == 500
    assert len(outcome.gaps) == 500 - 40  # before its first block a thread has no gap


def test_a_case_with_a_limit_ends_early_and_is_measured(tmp_path: Path) -> None:
    row = measure(Case(workers=2, threads=2, seconds=0.02, blocks=100_000, limit=2.0), tmp_path)
    assert 0 < row["blocks"] < 100_000


def test_the_ledger_of_the_benchmark_is_a_real_one(tmp_path: Path) -> None:
    rows = {row["what"].split(" (")[0]: row["of"] for row in run(tmp_path, 0, blocks=1200)}
    assert rows["records: listed at a start"] == 1200
    assert len(list((tmp_path / "ledger-1200" / "commits").glob("*/*/*.json"))) == 1200
    assert len(list((tmp_path / "ledger-1200" / "results.zarr").glob("*/*/c.*"))) == 9 * 1200


def test_numbers_of_the_dashboard_do_not_grow_with_the_blocks(tmp_path: Path) -> None:
    rows = live.run(tmp_path, 0, blocks=1000, traced=True)
    assert [row["blocks"] for row in rows] == [10, 100, 1000]
    grown = rows[2]["Python's memory (MB)"] - rows[1]["Python's memory (MB)"]
    assert grown < 0.5, f"{grown:.2f} MB more after 900 blocks, which are 8 MB of records"
