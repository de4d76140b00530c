"""Residuals by channel from tallies: medians, fractions above a threshold, channels that stand out."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from psdbatch.campaign.commit import Attempt
from psdbatch.campaign.quality import read_quality
from psdbatch.cli import cli
from psdbatch.errors import CampaignError
from psdbatch.monitor.quality import CampaignQuality, campaign_quality
from psdbatch.monitor.quality_lines import quality_lines
from psdbatch.monitor.residuals import Residuals, fraction_above
from psdbatch.monitor.tally import Tally
from tests.small_campaign import SmallCampaign, small_campaign

Array = np.ndarray[Any, Any]
SIGNALS = 5_000


def tally(residual: Array, channels: int) -> Tally:
    """Of signals that take turns among the channels of board 3."""
    zeros = np.zeros(len(residual), np.float32)
    columns = {
        "board": np.full(len(residual), 3, np.uint16),
        "channel": (np.arange(len(residual)) % channels).astype(np.uint16),
        "flags": np.zeros(len(residual), np.uint16),
        "amplitude": zeros + 100,
        "charge_long": zeros + 1000,
        "charge_short": zeros + 700,
        "label": np.zeros(len(residual), np.uint8),
        "residual": residual.astype(np.float32),
    }
    return Tally.of(columns, 2)


def residuals(channels: int, seed: int = 0) -> Array:
    """Log-normal around 0.01."""
    return np.asarray(0.01 * np.exp(np.random.default_rng(seed).normal(0, 0.3, SIGNALS * channels)))


def judged(values: Array, channels: int, **options: Any) -> CampaignQuality:
    found = campaign_quality([Residuals.of("run_1", tally(values, channels))], **options)
    assert found is not None
    return found


def test_figures_are_those_of_the_residuals_within_a_bin() -> None:
    values = residuals(4)
    found = judged(values, 4)
    assert found.whole.signals == len(values)
    assert found.whole.median == pytest.approx(0.01, rel=0.02)
    assert found.threshold == pytest.approx(0.01 * np.exp(0.9), rel=0.06)
    assert found.whole.above == pytest.approx((values > found.threshold).mean(), rel=0.2)
    for number, row in enumerate(found.rows()):
        own = values[number::4]
        assert (row.run, row.board, row.channel, row.signals) == ("run_1", 3, number, SIGNALS)
        assert row.mean == pytest.approx(own.mean(), rel=1e-5)
        assert row.median == pytest.approx(np.median(own), rel=0.02)
        assert row.outstanding == ""


def test_a_threshold_of_ones_own_is_used() -> None:
    values = residuals(2)
    found = judged(values, 2, threshold=0.015)
    assert found.threshold == 0.015
    assert found.whole.above == pytest.approx((values > 0.015).mean(), abs=0.01)


def test_a_channel_whose_usual_signals_differ_stands_out() -> None:
    values = residuals(8)
    values[5::8] *= 2
    out = [row.outstanding for row in judged(values, 8).rows()]
    assert [bool(reason) for reason in out] == [number == 5 for number in range(8)]
    assert "median 2 x" in out[5]


def test_a_channel_with_many_unusual_signals_stands_out_though_its_median_does_not() -> None:
    values = residuals(8)
    values[2::80] *= 20
    out = [row.outstanding for row in judged(values, 8).rows()]
    assert [bool(reason) for reason in out] == [number == 2 for number in range(8)]
    assert "% unusual" in out[2]


def test_channels_with_few_signals_are_not_judged_and_signals_without_residual_not_counted() -> None:
    values = np.concatenate([residuals(2), np.full(60, np.nan)])
    first = tally(values, 2)
    few = tally(np.full(20, 0.5), 1)
    found = campaign_quality([Residuals.of("run_1", first), Residuals.of("run_2", few)])
    assert found is not None
    assert found.whole.signals == 2 * SIGNALS + 20
    assert [*found.rows()][-1].outstanding == ""
    assert [line.split()[:3] for line in quality_lines(found, every=True)][1:4] == [
        ["run_1", "3", "0"],
        ["run_1", "3", "1"],
        ["run_2", "3", "0"],
    ]


def test_without_residuals_there_is_nothing_to_judge() -> None:
    assert campaign_quality([Residuals.of("run_1", tally(np.full(10, np.nan), 1))]) is None


def test_a_fraction_in_the_tail_is_right_to_a_fifth_of_itself() -> None:
    values = 0.01 * np.exp(np.random.default_rng(2).normal(0, 0.2, 2_000_000))
    counts = tally(values, 1).residuals[0]
    for threshold in (0.0123, 0.0161, 0.0184, 0.0205):
        assert fraction_above(counts, threshold) == pytest.approx((values > threshold).mean(), rel=0.2)
    assert fraction_above(counts, 1.0) == 0
    assert fraction_above(counts, 1e-6) == 1


def test_sums_by_run_and_by_channel_are_those_of_the_single_rows() -> None:
    values = residuals(4)
    parts = [Residuals.of(f"run_{run}", tally(values * (1 + 3 * (run == 2)), 4)) for run in range(4)]
    found = campaign_quality(parts)
    assert found is not None
    rows = [*found.rows()]
    assert [(run.run, run.signals, run.channels, run.outstanding) for run in found.runs] == [
        (f"run_{run}", 4 * SIGNALS, 4, 4 * (run == 2)) for run in range(4)
    ]
    for number, channel in enumerate(found.channels):
        mine = [row for row in rows if row.channel == number]
        assert (channel.signals, channel.runs, channel.outstanding) == (4 * SIGNALS, 4, 1)
        assert channel.mean == pytest.approx(np.mean([row.mean for row in mine]))
    assert [row.run for row in found.outstanding()] == ["run_2"] * 4
    lines = [*quality_lines(found, every=False)]
    assert sum("stands out in" in line for line in lines) == 1 + 4
    assert "4 of 16 channels of runs stand out" in lines[-1]


def test_many_runs_of_many_channels_are_held_in_little_memory() -> None:
    one = tally(np.tile(residuals(2000)[:20_000], 1), 2000)
    tracemalloc.start()
    try:
        found = campaign_quality(Residuals.of(f"run_{run}", one) for run in range(40))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found is not None
    assert len(found) == 80_000
    assert peak < 80_000 * 400  # bytes a row; its tally has 512 for the residuals alone


def watched(path: Path) -> SmallCampaign:
    """A campaign with a quality monitor whose first block has no readable tally, and whose third record is damaged."""
    campaign = small_campaign(path, changes={"quality": {"model": "/models/monitor.pb"}})
    for number, block in enumerate(campaign.blocks()):
        text = tally(residuals(1, number)[:500], 4).encode() if number else "damaged"
        Attempt(campaign.directory, block.name).commit(**campaign.record(block), report={"tally": text})
    campaign.directory.record(campaign.blocks()[2].name).write_text("{}")
    return campaign


def test_blocks_without_a_tally_are_counted_and_stop_nothing(tmp_path: Path) -> None:
    campaign = watched(tmp_path / "campaign")
    found = read_quality(campaign.directory, campaign.plan)
    assert (found.whole.signals, found.unread) == (1000, 2)
    assert "2 finished blocks are not in this" in [*quality_lines(found, every=False)][-1]
    for block in (campaign.blocks()[1], campaign.blocks()[3]):
        campaign.directory.record(block.name).write_text("{}")
    with pytest.raises(CampaignError, match="none of 4 finished blocks has a readable tally"):
        read_quality(campaign.directory, campaign.plan)


def test_the_command_prints_sums_or_every_row_and_refuses_no_number(tmp_path: Path) -> None:
    campaign = watched(tmp_path / "campaign")

    def said(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli, ["quality", str(campaign.directory.path), *arguments])
        assert done.exit_code == code, done.output
        return done.output

    few, every = json.loads(said("--json")), json.loads(said("--json", "--all"))
    assert few["outstanding"] == []
    assert [(row["run"], row["channel"]) for row in every["rows"]] == [
        (run, channel) for run in ("run_1", "run_2") for channel in range(4)
    ]
    assert {name: few[name] for name in few if name != "outstanding"} == {
        name: every[name] for name in every if name != "rows"
    }
    assert "Channels, all runs together" in said()
    assert len(said("--all").splitlines()) == 1 + 8 + 2
    assert "is not a residual" in said("--threshold", "nan", code=2)
