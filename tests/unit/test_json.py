"""The keys that ``--json`` gives are those documented, for every command."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from psdbatch.acquisition.convert import ConversionSummary
from psdbatch.campaign.audit import Audit
from psdbatch.campaign.finalise import Summary
from psdbatch.cli import cli
from psdbatch.comparison.comparing import compare
from psdbatch.comparison.facts import comparison_facts
from psdbatch.coordination.cancel import Cancellation
from psdbatch.coordination.estimate import Estimate
from psdbatch.coordination.status import Status
from psdbatch.monitor.quality import Quality
from psdbatch.training.coordinator import Summary as TrainingSummary
from psdbatch.training.freeze_request import FrozenFile
from psdbatch.training.status import TrainingStatus
from psdbatch.training_set.store import SetFacts
from tests.campaigns import pulses, write_file
from tests.filled_stores import filled_campaign, measured
from tests.unit.test_model_facts import FACTS

TEXT = (Path(__file__).parents[2] / "docs/interfaces.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", TEXT.partition("## JSON")[2].partition("\n## ")[0], re.MULTILINE))


def fields(*kinds: Any) -> list[str]:
    return [field.name for kind in kinds for field in dataclasses.fields(kind)]


PRINTED: dict[str, Iterable[str]] = {
    "plan": [*fields(Estimate), "fingerprint"],
    "run": fields(Summary),
    "status": fields(Status, TrainingStatus),
    "cancel": fields(Cancellation),
    "audit": Audit().facts(),
    "quality": [*fields(Quality), "threshold", "unread", "runs", "channels", "outstanding", "rows"],
    "convert": fields(ConversionSummary),
    "inspect": FACTS.to_json(),
    "build-set": ["set", "order_plot", *fields(SetFacts)],
    "train": fields(TrainingSummary),
    "freeze": fields(FrozenFile),
}
"""What commands print whose work takes long, from the types of their facts."""


@pytest.mark.parametrize("command", PRINTED)
def test_every_fact_is_documented(command: str) -> None:
    assert not [key for key in PRINTED[command] if f"`{key}`" not in ROWS[command]]


def test_what_commands_print_is_documented(tmp_path: Path) -> None:
    campaign = filled_campaign(tmp_path / "c", {"run_1": [measured(300)]}).path
    path = write_file(tmp_path / "run_1.psdz", pulses(20))
    for line in (
        ("index", path),
        ("convert", path, tmp_path / "other.npz", "--format", "numpy"),
        ("simulate", tmp_path / "more", "--signals", 20),
        ("simulate", tmp_path / "more", "--settings"),
        ("status", campaign),
        ("plot", campaign, "--output", tmp_path / "psd.png"),
        ("report", campaign),
        ("export", campaign, tmp_path / "a.csv"),
        ("diff", campaign, campaign),
    ):
        done = CliRunner().invoke(cli, [*map(str, line), "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        said = json.loads(done.stdout)  # one object and nothing else
        assert not [key for key in said if f"`{key}`" not in ROWS[line[0]]], line[0]
    assert set(comparison_facts(compare(campaign, campaign))) == set(re.findall(r"`(\w+)`", ROWS["diff"]))


def test_every_command_that_prints_json_has_a_row() -> None:
    flagged = [
        name
        for name, command in cli.commands.items()
        if any("--json" in option.opts for option in command.params if isinstance(option, click.Option))
    ]
    assert sorted(ROWS) == sorted(flagged)


def test_an_error_leaves_standard_output_empty(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["status", str(tmp_path), "--json"])
    assert done.exit_code == 1
    assert done.stdout == ""
