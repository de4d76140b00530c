"""The campaign that another one is compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from psdbatch.campaign.plan import make_plan, question
from psdbatch.campaign.reference import open_reference
from psdbatch.config import read_config
from psdbatch.errors import ConfigurationError
from tests.small_campaign import configuration, file_index, small_campaign


def test_reference_changes_neither_plan_nor_blocks() -> None:
    plain, watched = configuration(), configuration(monitor={"reference": "/other"})
    assert question(plain, "digest") == question(watched, "digest")
    plans = [make_plan(config, [file_index("/data/run_1/a.npy", 40)], "digest") for config in (plain, watched)]
    assert plans[0].fingerprint == plans[1].fingerprint
    identities = [[plan.identity(run, block) for run in plan.runs for block in plan.blocks(run)] for plan in plans]
    assert identities[0] == identities[1]


def test_path_counts_from_the_configuration_file(tmp_path: Path) -> None:
    text = (
        'campaign = "c"\ninput = { files = ["*.npy"] }\nmodel = { path = "n.pb" }\nmonitor = { reference = "../old" }\n'
    )
    (tmp_path / "campaign.toml").write_text(text)
    assert read_config(tmp_path / "campaign.toml").monitor.reference == str(tmp_path / "../old")


def test_no_reference() -> None:
    assert open_reference(configuration()) is None


def test_missing_reference_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'monitor.reference': .*nowhere.*not a campaign directory"):
        open_reference(configuration(monitor={"reference": str(tmp_path / "nowhere")}))


def test_campaign_is_not_its_own_reference() -> None:
    with pytest.raises(ConfigurationError, match="this campaign itself"):
        open_reference(configuration(monitor={"reference": "/campaign"}))


def test_reference_without_physics_is_refused(tmp_path: Path) -> None:
    small = small_campaign(tmp_path / "old")
    small.go_on()
    with pytest.raises(ConfigurationError, match="none of its finished blocks tells its physics"):
        open_reference(configuration(monitor={"reference": str(tmp_path / "old")}))


def test_damaged_reference_is_refused(tmp_path: Path) -> None:
    small = small_campaign(tmp_path / "old")
    small.go_on()
    small.directory.plan.write_text("{")
    with pytest.raises(ConfigurationError, match=r"cannot be used: .*damaged"):
        open_reference(configuration(monitor={"reference": str(tmp_path / "old")}))
