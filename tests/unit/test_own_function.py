"""The file of a user's own network function: found without running it, kept, and refused once it has changed."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from psdbatch.config.training import TrainingConfig, read_training
from psdbatch.errors import TrainingError
from psdbatch.networks.own import file_of
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.origin import origin_of_training
from psdbatch.training.own_function import check_function
from psdbatch.training.prepare import check_directory, write_directory
from tests.trainings import write_training

FUNCTION = "def small(samples, classes):\n    ...\n"


@pytest.fixture
def begun(tmp_path: Path) -> tuple[TrainingDirectory, TrainingConfig]:
    """A training with a function in ``own.py`` that has begun."""
    (tmp_path / "own.py").write_text(FUNCTION)
    path = write_training(tmp_path / "training.toml", tmp_path / "set.zarr", network={"function": "own.py:small"})
    config = read_training(path)
    directory = TrainingDirectory(Path(config.training))
    write_directory(directory, config, "digest")
    return directory, config


def test_the_file_s_digest_and_a_copy_are_kept(begun: tuple[TrainingDirectory, TrainingConfig]) -> None:
    directory, config = begun
    digest = hashlib.sha256(FUNCTION.encode()).hexdigest()
    assert json.loads(directory.identity.read_bytes())["function"] == digest
    assert directory.function.read_text() == FUNCTION
    assert origin_of_training(directory, config).training["function_sha256"] == digest
    check_directory(directory, config)


def test_a_changed_file_is_refused_and_the_old_one_brought_back_is_not(
    begun: tuple[TrainingDirectory, TrainingConfig],
) -> None:
    directory, config = begun
    own = directory.path.parent / "own.py"
    own.write_text(FUNCTION + "# wider\n")
    was, now = (hashlib.sha256(text.encode()).hexdigest()[:12] for text in (FUNCTION, FUNCTION + "# wider\n"))
    with pytest.raises(TrainingError) as refusal:
        check_directory(directory, config)
    said = str(refusal.value)
    assert said.startswith(f"{own}: the file of 'network.function' has changed")
    assert f"SHA-256 {now}, was {was}" in said
    assert f"{directory.function} is the file as it was" in said
    own.write_bytes(directory.function.read_bytes())
    check_function(directory, config)


def test_a_network_of_the_collection_has_no_file(tmp_path: Path) -> None:
    config = read_training(write_training(tmp_path / "training.toml", tmp_path / "set.zarr"))
    directory = TrainingDirectory(Path(config.training))
    write_directory(directory, config, "digest")
    check_function(directory, config)
    assert not directory.function.exists()
    assert "function_sha256" not in origin_of_training(directory, config).training


def test_an_installed_function_s_file_is_found_and_nothing_of_it_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "laboratory" / "networks"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("raise AssertionError('was run')\n")
    (package / "pulse.py").write_text("raise AssertionError('was run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert file_of("laboratory.networks.pulse:small") == package / "pulse.py"
    assert file_of("laboratory.networks:small") == package / "__init__.py"
    assert "laboratory" not in sys.modules
    for nowhere in ("laboratory.nothing:small", "laboratory.networks.pulse.deep:small", "nowhere:small", "math:sqrt"):
        assert file_of(nowhere) is None
