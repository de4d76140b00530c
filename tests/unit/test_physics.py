"""The physics that a pass leaves behind for those who compare with it: the same as the records', or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from psdbatch.campaign.commit import Attempt
from psdbatch.campaign.finalise import count_records
from psdbatch.campaign.physics import keep_physics, kept_physics
from psdbatch.monitor.tally import Tally
from tests.small_campaign import SmallCampaign, small_campaign


def counted(signals: int) -> Tally:
    tally = Tally.empty(2)
    tally._widen(np.array([1 << 16, 2 << 16 | 3], np.uint32))
    tally.answers[0] = signals, 1, 2
    tally.ratio[1] = signals, 0.25 * signals, 0.1 * signals
    return tally


@pytest.fixture
def campaign(tmp_path: Path) -> SmallCampaign:
    campaign = small_campaign(tmp_path / "campaign")
    for block in campaign.blocks()[:-1]:
        commit(campaign, block, counted(10))
    return campaign


def commit(campaign: SmallCampaign, block: object, tally: Tally) -> None:
    report = {"tally": tally.encode()}
    Attempt(campaign.directory, block.name).commit(**campaign.record(block), report=report)  # type: ignore[attr-defined]


def test_kept_physics_is_that_of_the_records_until_there_are_more(campaign: SmallCampaign) -> None:
    account = count_records(campaign.directory, campaign.plan, physics=True)
    assert kept_physics(campaign.directory, campaign.plan) is None
    keep_physics(campaign.directory, account)
    kept, known = kept_physics(campaign.directory, campaign.plan), account.tally
    assert kept is not None
    assert known is not None
    for name, value in vars(known).items():
        np.testing.assert_array_equal(getattr(kept, name), value)
    commit(campaign, campaign.blocks()[-1], counted(10))
    assert kept_physics(campaign.directory, campaign.plan) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"plan": 1}', '{"plan": "x", "blocks": 3, "tally": "y"}'])
def test_a_damaged_file_counts_as_none(campaign: SmallCampaign, content: str) -> None:
    campaign.directory.physics.write_text(content)
    assert kept_physics(campaign.directory, campaign.plan) is None


def test_counts_of_more_signals_than_a_block_has_survive() -> None:
    many = counted(3 * 2**32)
    again = Tally.decode(many.encode())
    np.testing.assert_array_equal(again.answers, many.answers)
    assert again.answers[0, 0] == 3 * 2**32
    assert "wide" not in counted(2**32 - 1).encode()[:60]
