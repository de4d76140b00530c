"""``training.toml``: what its documentation and the ready files say is what is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from psdbatch.config.network import Augmentation, Network
from psdbatch.config.training import Optimisation, TrainingConfig, read_training

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("section", [TrainingConfig, Optimisation, Network, Augmentation])
def test_every_key_is_documented(section: type[TrainingConfig]) -> None:
    text = (ROOT / "docs/training.md").read_text()
    for key in section.model_fields:
        assert f"`{key}`" in text or f"**[{key}]**" in text, key


def test_the_documented_defaults_are_the_real_ones() -> None:
    lines = (ROOT / "docs/training.md").read_text().splitlines()
    cells = {parts[1].strip("` "): parts[2].strip() for line in lines if len(parts := line.split("|")) == 5}
    for key, field in Optimisation.model_fields.items():
        if key == "loss":
            continue
        documented = cells[key].strip('`"')
        if isinstance(field.default, bool):
            assert documented == str(field.default).lower(), key
        elif isinstance(field.default, int | float):
            assert float(documented) == field.default, key
        else:
            assert documented == field.default, key
    assert cells["wait"] == f'`"{TrainingConfig.model_fields["wait"].default:.0f} s"`'
    assert cells["replicas"] == str(TrainingConfig.model_fields["replicas"].default)


@pytest.mark.parametrize("path", sorted((ROOT / "jobs/training").glob("*.toml")), ids=lambda path: path.name)
def test_ready_trainings_are_read(path: Path) -> None:
    config = read_training(path)
    assert config.set.sources
    for group in config.cluster.workers:
        assert group.image is not None
        assert Path(group.image).parent == path.parent
        assert group.jobs >= config.replicas


def test_a_window_is_only_needed_where_it_differs_from_the_talk_s(tmp_path: Path) -> None:
    path = tmp_path / "training.toml"
    path.write_text('training = "t"\n[set]\npath = "set.zarr"\n[preparation]\noffset = -8\n')
    assert read_training(path).preparation.length == 75
    path.write_text(path.read_text() + "enabled = false\n")
    assert read_training(path).preparation.length is None
