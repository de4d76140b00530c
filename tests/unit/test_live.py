"""What the dashboard's numbers come to: every block once, earlier passes too, and blocks that were given up with their files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import BlockName
from psdbatch.coordination.live import Live
from psdbatch.coordination.pace import WINDOW, Pace
from psdbatch.errors import CampaignError
from tests.small_campaign import SmallCampaign, small_campaign


@pytest.fixture
def campaign(tmp_path: Path) -> SmallCampaign:
    return small_campaign(tmp_path / "campaign")


def live_of(campaign: SmallCampaign, earlier: list[CommitRecord | None]) -> Live:
    """``None`` among the records of earlier passes: one that is damaged."""
    plan = campaign.plan
    names = [BlockName("run_1", number) for number in range(len(earlier))]

    def read(name: BlockName) -> CommitRecord:
        record = earlier[name.number]
        if record is None:
            raise CampaignError("damaged")
        return record

    sizes = {"signals": plan.signals, "blocks": plan.count_blocks()}
    return Live(plan, "small", ("gamma", "neutron"), **sizes, earlier=names, read=read)


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_earlier_passes_and_news_are_added_up_once(campaign: SmallCampaign) -> None:
    first, *others = [campaign.attempt(block) for block in campaign.blocks()]
    live = live_of(campaign, [first])
    with live:
        for record in others:
            live.finished(record)
        live.failed("tcp://10.0.0.7:1", "disk full")
        until(lambda: live.view.done == campaign.plan.signals)
        view = live.view
    refused = sum(sum(record.refused.values()) for record in (first, *others))
    assert view.blocks == {"waiting": 0, "in flight": 0, "finished": 4, "quarantined": 0}
    assert (view.written, sum(view.refused.values())) == (view.signals - refused, refused)
    assert (view.failed_attempts, view.unread) == (1, 0)
    assert [(entry.worker, entry.reason) for entry in view.failures] == [("tcp://10.0.0.7:1", "disk full")]
    assert {run.name: (run.signals, run.done) for run in view.runs} == {
        run.name: (run.signals, run.signals) for run in campaign.plan.runs
    }
    assert [run.name for run in view.runs] == [run.name for run in campaign.plan.runs]


def test_a_damaged_record_of_an_earlier_pass_costs_itself_alone(campaign: SmallCampaign) -> None:
    first, second, *others = [campaign.attempt(block) for block in campaign.blocks()]
    live = live_of(campaign, [first, None, *others])
    with live:
        until(lambda: live.view.unread == 0)
    assert live.view.done == campaign.plan.signals - second.signals
    assert (live.view.unreadable, live.view.state) == (1, "stopped")


def test_the_last_view_holds_all_news_and_tells_how_it_ended(campaign: SmallCampaign) -> None:
    records = [campaign.attempt(block) for block in campaign.blocks()]
    live = live_of(campaign, [])
    with live:
        for record in records:
            live.finished(record)
    assert (live.view.state, live.view.end, live.view.done) == ("finished", "", campaign.plan.signals)
    cut = live_of(campaign, [])

    def interrupted() -> None:
        with cut:
            cut.finished(records[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (cut.view.state, cut.view.end) == ("stopped", "interrupted")
    assert cut.view.done == records[0].signals


def test_a_campaign_without_news_has_stalled_only_while_there_are_workers(campaign: SmallCampaign) -> None:
    live = live_of(campaign, [])
    live.jobs = lambda: {"v100": {"running": 1}}
    record = campaign.attempt(campaign.blocks()[0])
    now = time.time()
    live.add(replace(record, report={"started": now - 20, "finished": now, "group": "v100"}), now)
    assert not live.look().stalled
    live.add(replace(record, report={"started": now - 70, "finished": now - 50, "group": "v100"}), now - 50)
    assert not live.look().stalled  # blocks take twenty seconds
    live.add(replace(record, report={"started": now - 120, "finished": now - 100, "group": "v100"}), now - 100)
    view = live.look()
    assert (view.stalled, view.left) == (True, None)
    live.jobs = lambda: {"v100": {"pending": 1}}
    assert not live.look().stalled


def test_quarantined_blocks_name_their_files(campaign: SmallCampaign) -> None:
    """The second block of the first run holds signals of both of its files."""
    block = campaign.blocks()[1]
    record = replace(campaign.attempt(block), quarantine="the worker died", shards=())
    live = live_of(campaign, [])
    live.add(record)
    (entry,) = live.look().quarantined
    assert (entry.block, entry.reason) == ("run_1/000001", "the worker died")
    assert entry.files == ("/data/run_1/board0.npy", "/data/run_1/board1.npy")
    assert live.look().blocks == {"waiting": 3, "in flight": 0, "finished": 0, "quarantined": 1}


def test_damaged_physics_of_a_block_is_left_out(campaign: SmallCampaign) -> None:
    record = campaign.attempt(campaign.blocks()[0])
    live = live_of(campaign, [])
    live.add(replace(record, report={"tally": '{"form":1,"classes":2,"channels":1}broken'}))
    assert live.look().tally is None
    assert live.look().done == record.signals


def test_pace_counts_the_time_of_the_first_blocks_and_falls_when_nothing_comes() -> None:
    pace = Pace()
    assert pace.rate(0.0) == 0
    pace.add(now=1010.0, started=1000.0, signals=5000)
    assert pace.rate(1010.0) == 500
    assert pace.rate(1020.0) == 250
    assert pace.rate(1010.0 + 2 * WINDOW) == 0


def test_pace_of_blocks_that_take_long_is_theirs() -> None:
    pace = Pace()
    for number in range(1, 11):
        pace.add(now=600.0 * number, started=600.0 * (number - 1), signals=1_000_000)
        assert pace.rate(600.0 * number) == pytest.approx(1_000_000 / 600, rel=0.34)
    assert pace.rate(6500.0) > 1000  # the next block is under way
    assert pace.rate(9000.0) == 0


def test_a_board_without_a_block_of_its_own_has_no_time_of_its_own(campaign: SmallCampaign) -> None:
    live = live_of(campaign, [])
    first, second, *_ = campaign.blocks()
    for block, boards in ((first, {"1": 8, "2": 8}), (second, {"1": 16})):
        live.add(replace(campaign.attempt(block), report={"seconds": {"read": 1.0}, "boards": boards}))
    view = live.look()
    assert {number: board.shared for number, board in view.boards.items()} == {1: False, 2: True}
