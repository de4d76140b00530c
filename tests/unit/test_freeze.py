"""Freezing from every kind of source: what goes into the card, and what is refused with which words."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from psdbatch.config import Charge, Preparation, SignalShape
from psdbatch.errors import PsdbatchError
from psdbatch.monitor.card_rows import card_rows
from psdbatch.training.freeze_request import FreezeRequest, FrozenFile
from tests.campaigns import SAMPLES, WINDOW, write_config

CLASSES = ("gamma", "neutron")


def freeze(source: Path, target: Path, **more: Any) -> FrozenFile:
    from psdbatch.training.freeze import freeze

    return freeze(FreezeRequest(str(source), str(target), **more))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network as ``network.keras``, and the same frozen as ``complete.pb`` and ``bare.pb``."""
    from psdbatch.models.quiet import tf

    path = tmp_path_factory.mktemp("freeze")
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(1)
    layers = [tf.keras.Input((WINDOW,)), tf.keras.layers.Dense(10, activation="relu")]
    layers.append(tf.keras.layers.Dense(2, activation="softmax", name="output_layer"))
    tf.keras.Sequential(layers).save(path / "network.keras")
    freeze(path / "network.keras", path / "complete.pb", samples=SAMPLES, classes=CLASSES)
    freeze(path / "network.keras", path / "bare.pb", bare=True, classes=CLASSES)
    return path


def test_without_a_word_the_card_holds_the_defaults(folder: Path, tmp_path: Path) -> None:
    frozen = freeze(folder / "network.keras", tmp_path / "net.pb", samples=SAMPLES)
    assert frozen.card.task == "unknown"
    assert frozen.card.classes == ()
    assert frozen.card.sample_dtype == "int16"
    assert frozen.card.preparation == Preparation(length=WINDOW)
    assert frozen.card.signals == SignalShape()
    assert frozen.difference < 1e-6
    assert FrozenFile.from_json(frozen.to_json()) == frozen


def test_a_bare_file_with_a_card_becomes_a_complete_one(folder: Path, tmp_path: Path) -> None:
    frozen = freeze(folder / "bare.pb", tmp_path / "net.pb", samples=SAMPLES)
    assert frozen.card.classes == CLASSES
    assert frozen.card.complete
    assert (
        frozen.card.weights_digest == freeze(folder / "network.keras", tmp_path / "b.pb", bare=True).card.weights_digest
    )


def test_wide_samples_get_a_wide_input(folder: Path, tmp_path: Path) -> None:
    frozen = freeze(folder / "network.keras", tmp_path / "net.pb", samples=SAMPLES, signals={"adc_bits": 16})
    assert frozen.card.sample_dtype == "uint16"


def test_a_network_on_raw_samples_needs_no_preparation(folder: Path, tmp_path: Path) -> None:
    frozen = freeze(folder / "network.keras", tmp_path / "net.pb", preparation={"enabled": False})
    assert (frozen.card.samples, frozen.card.preparation.enabled, frozen.card.complete) == (WINDOW, False, True)


def test_a_configuration_gives_preparation_signals_and_classes(folder: Path, tmp_path: Path) -> None:
    config = write_config(
        tmp_path / "campaign.toml",
        "*.mfm",
        folder / "network.keras",
        signals={"polarity": "positive", "sampling_period": "4 ns"},
        preparation={"align": "maximum", "offset": -9},
    )
    card = freeze(
        folder / "network.keras",
        tmp_path / "net.pb",
        config=str(config),
        samples=SAMPLES,
        preparation={"offset": -8},
        signals={"baseline": 10},
    ).card
    assert card.classes == ("gamma", "neutron")
    assert card.signals == SignalShape(polarity="positive", sampling_period="4 ns", baseline=10)
    assert card.preparation == Preparation(align="maximum", offset=-8, length=WINDOW)


def test_a_training_directory_says_everything_itself(folder: Path, tmp_path: Path) -> None:
    directory = training_directory(tmp_path / "training", folder / "network.keras")
    card = freeze(directory, tmp_path / "net.pb").card
    assert (card.classes, card.task) == (("gamma", "neutron"), "classifier")
    assert (card.samples, card.sample_dtype) == (SAMPLES, "int16")
    assert card.preparation == Preparation(align="maximum", length=WINDOW)
    assert card.signals == SignalShape(sampling_period="4 ns")
    assert (card.training["epochs"], card.training["best_epoch"], card.training["val_loss"]) == (3, 2, 0.25)
    assert len(card.training["set"]["digest"]) == 64
    assert card.training["set"]["counts"]["train"] == {"gamma": 10, "neutron": 10}
    assert card.training["seed"] == 5
    assert card.training["frozen_with"]["psdbatch"]
    words = dict(card_rows(card))
    assert words["training"] == "3 epochs, best 2 with validation loss 0.25"
    assert words["trained on"].endswith(card.training["set"]["digest"])
    (directory / "model.keras").unlink()
    with pytest.raises(PsdbatchError, match=r"has no network yet"):
        freeze(directory, tmp_path / "net.pb")


def training_directory(path: Path, network: Path) -> Path:
    """A training directory as a finished training leaves it."""
    from psdbatch.training_set.columns import set_columns
    from psdbatch.training_set.facts import SetFacts
    from psdbatch.training_set.writing import write_set

    path.mkdir()
    config = {
        "training": ".",
        "set": {"path": "set.zarr", "classes": ["gamma", "neutron"]},
        "signals": {"sampling_period": "4 ns"},
        "preparation": {"length": WINDOW, "align": "maximum"},
        "optimisation": {"seed": 5},
    }
    (path / "training.toml").write_text(tomli_w.dumps(config))
    (path / "history.csv").write_text("epoch,loss,val_loss\n1,0.6,0.5\n2,0.3,0.25\n3,0.2,0.26\n")
    shutil.copyfile(network, path / "model.keras")
    made = SetFacts(
        classes=("gamma", "neutron"),
        samples=SAMPLES,
        sample_dtype="int16",
        signals=SignalShape(sampling_period="4 ns"),
        charge=Charge(),
        sources=("beam",),
        seed=1,
    )
    columns = {column.name: np.zeros((20, *column.shape), column.dtype) for column in set_columns(SAMPLES, "int16")}
    columns["label"] = np.arange(20, dtype=np.uint8) % 2
    write_set(path / "set.zarr", made, {"train": columns})
    return path


@pytest.mark.parametrize(
    ("source", "target", "more", "said"),
    [
        ("network.keras", "net.txt", {}, r"a file \*\.pb"),
        ("network.keras", "nowhere/net.pb", {}, "no such directory"),
        ("absent.keras", "net.pb", {}, "there is no such model"),
        ("network.keras", "net.pb", {}, "give --samples"),
        ("complete.pb", "net.pb", {"samples": SAMPLES}, "takes raw signals already"),
        ("bare.pb", "bare.pb", {"samples": SAMPLES}, "are the same file"),
        (
            "network.keras",
            "net.pb",
            {"samples": SAMPLES, "classes": ("gamma",)},
            "net.pb: output 'output_layer:0' answers for 2 classes, 'model.classes' names 1",
        ),
        ("network.keras", "net.pb", {"samples": SAMPLES, "signals": {"polarty": "positive"}}, "mean 'polarity'"),
        ("network.keras", "net.pb", {"samples": SAMPLES, "sample_dtype": "int17"}, "'int17' is no dtype"),
        ("network.keras", "net.pb", {"samples": 60}, "net.pb: .* have only 60"),
        ("network.keras", "net.pb", {"config": "absent.toml"}, "absent.toml: cannot be read"),
    ],
)
def test_what_cannot_be_frozen_is_said_in_words(
    folder: Path, source: str, target: str, more: dict[str, Any], said: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    with pytest.raises(PsdbatchError, match=said):
        freeze(folder / source, folder / target, **more)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_file_that_gives_other_numbers_is_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no tolerance at all even a rounding is too much."""
    from psdbatch.models import verifying

    (tmp_path / "net.pb").write_bytes(b"the one before")
    monkeypatch.setattr(verifying, "TOLERANCE", -1.0)
    with pytest.raises(PsdbatchError, match="it is not kept"):
        freeze(folder / "network.keras", tmp_path / "net.pb", samples=SAMPLES)
    assert (tmp_path / "net.pb").read_bytes() == b"the one before"


def test_every_option_and_every_entry_of_the_card_is_documented() -> None:
    from dataclasses import fields

    from psdbatch.cli.training import freeze as command
    from psdbatch.models.card import ModelCard

    text = (Path(__file__).parents[2] / "docs/models.md").read_text()
    options = {name for option in command.params for name in option.opts if name.startswith("--")} - {"--json"}
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    documented = {word.split()[0] for row in rows for word in row.split("|")[1].replace("`", "").split(", ")}
    assert options == {word for word in documented if word.startswith("--")}
    assert {entry.name for entry in fields(ModelCard)} <= documented
