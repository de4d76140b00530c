"""What docs/evaluation.md and docs/public-data.md say is what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from psdbatch.acquisition.text import TextOptions
from psdbatch.cli.evaluation import evaluate
from psdbatch.config import validated
from psdbatch.config.training import TrainingConfig, read_training
from psdbatch.config.training_set import Source

DOCS = Path(__file__).parents[2] / "docs"
JOBS = Path(__file__).parents[2] / "jobs" / "training"


def test_every_option_of_the_command_is_in_the_table() -> None:
    table = re.findall(r"^\| (`--.*?) \|", (DOCS / "evaluation.md").read_text(), re.MULTILINE)
    documented = {name for row in table for name in re.findall(r"`(--[a-z-]+)`", row)}
    assert documented == {name for parameter in evaluate.params for name in parameter.opts if name.startswith("--")}


def test_every_option_of_text_files_is_in_the_table() -> None:
    text = (DOCS / "public-data.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert documented == list(TextOptions.model_fields)


def blocks() -> list[str]:
    """TOML examples of the page."""
    return re.findall(r"```toml\n(.*?)```", (DOCS / "public-data.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(3))
def test_the_examples_are_valid(number: int) -> None:
    assert len(blocks()) == 3
    content = tomllib.loads(blocks()[number])
    if "training" in content:
        config = validated(TrainingConfig, content, "example")
        sources = list(config.set.sources)
    else:
        sources = [validated(Source, source, "example") for source in content["set"]["sources"]]
    for source in sources:
        if source.format == "text":
            validated(TextOptions, source.options, "example")


def test_the_training_at_low_energy_covers_its_windows_without_a_gap() -> None:
    config = read_training(JOBS / "low-energy.toml")
    simulations = [source.simulation for source in config.set.sources]
    assert all(simulations)
    ranges = [(s["lowest_energy"], s["highest_energy"]) for s in simulations if s]
    assert ranges[0][0] == 30
    assert ranges[-1][1] == 2000
    assert [low for low, _ in ranges[1:]] == [high for _, high in ranges[:-1]]
