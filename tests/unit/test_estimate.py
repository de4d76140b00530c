"""The estimate of a plan: what it says afterwards, and where it keeps silent."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from psdbatch.campaign.expectation import keep_estimate
from psdbatch.coordination.estimate import Estimate, compare
from psdbatch.monitor.tables import estimate_table
from tests.small_campaign import small_campaign

HERE = Estimate(2, 3, 53, 4, 0, 60, (1.0, 2.0), (10.0, 20.0), (1e9, 2e9))
ELSEWHERE = replace(HERE, caution="time and memory were measured on this machine")


@pytest.mark.parametrize(("expected", "compared"), [(HERE, ["bytes", "seconds", "memory"]), (ELSEWHERE, ["bytes"])])
def test_what_was_measured_on_another_machine_is_not_compared(
    tmp_path: Path, expected: Estimate, compared: list[str]
) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    summary = replace(campaign.go_on(), processed=campaign.plan.signals)
    keep_estimate(campaign.plan, expected.facts())
    assert [name for name, _, _ in compare(campaign.plan, summary)] == compared
    assert compare(campaign.plan, replace(summary, processed=1)) == []


def test_the_table_says_where_it_was_measured() -> None:
    said = io.StringIO()
    Console(file=said, width=200).print(estimate_table(ELSEWHERE))
    assert "time and memory were measured on this machine" in said.getvalue()
