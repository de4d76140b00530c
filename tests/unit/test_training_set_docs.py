"""The documentation of training sets names every key, and its examples are true."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from psdbatch.config.training import TrainingConfig
from psdbatch.config.training_set import Cut, Label, Source, Splitting, TrainingSet, Window
from psdbatch.training_set.columns import set_columns

TEXT = (Path(__file__).parents[2] / "docs/training-set.md").read_text()


@pytest.mark.parametrize("section", [TrainingSet, Source, Label, Window, Cut, Splitting])
def test_every_key_is_documented(section: type) -> None:
    for key in section.model_fields:
        assert f"`{key}`" in TEXT or f"`{key} = " in TEXT, key


def test_the_example_is_a_valid_configuration() -> None:
    example = TEXT.split("```toml\n")[1].split("```")[0]
    config = TrainingConfig.model_validate(tomllib.loads(example))
    assert [source.name for source in config.set.sources] == ["beam", "least certain", "simulation"]
    assert config.set.signals == 140_000


def test_every_column_is_documented() -> None:
    for column in set_columns(75, "int16"):
        assert f"`{column.name}`" in TEXT, column.name
