"""Prepared campaigns with networks of every kind, for the golden batch and the examination of workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.model import CampaignModels
from psdbatch.campaign.prepare import Campaign, prepare
from psdbatch.config import CampaignConfig, read_config
from tests.campaigns import SAMPLES, WINDOW, pulses, write_config, write_file
from tests.frozen_models import write_graph

Build = Callable[[Any], None]


def scores(tf: Any, size: float = 1.0, seed: int = 1) -> Any:
    """Scores of a dense network for two classes, before the softmax; ``size`` 0: undecided about everything."""
    rng = np.random.default_rng(seed)
    signal = tf.compat.v1.placeholder("float32", (None, WINDOW), "signal")
    hidden = tf.nn.relu(
        tf.matmul(signal, tf.constant(rng.normal(0, 0.2, (WINDOW, 8)).astype(np.float32))), name="hidden"
    )
    return tf.matmul(hidden, tf.constant((size * rng.normal(0, 1, (8, 2))).astype(np.float32)))


def classifier(tf: Any) -> None:
    tf.nn.softmax(scores(tf), name="output_layer")


def other_classifier(tf: Any) -> None:
    tf.nn.softmax(scores(tf, seed=2), name="output_layer")


def undecided(tf: Any) -> None:
    tf.nn.softmax(scores(tf, 0.0), name="output_layer")


def poisoned(tf: Any) -> None:
    """Answers NaN for signals with a long tail."""
    found = scores(tf)
    signal = tf.compat.v1.get_default_graph().get_tensor_by_name("signal:0")
    tail = tf.reduce_mean(signal[:, 40:70], axis=1, keepdims=True)
    tf.nn.softmax(found + tf.math.log(tf.where(tail > 0.03, -1.0, 1.0)), name="output_layer")


def several(tf: Any) -> None:
    """Classes, an image of the signal, and an integer decision."""
    classifier(tf)
    hidden = tf.compat.v1.get_default_graph().get_tensor_by_name("hidden:0")
    tf.reshape(tf.tile(hidden, (1, 3)), (-1, 24, 1), name="again")
    tf.argmax(hidden, axis=1, name="brightest", output_type=tf.int32)


def regression(tf: Any) -> None:
    """An energy in large units, and no classes."""
    tf.multiply(scores(tf), 5000.0, name="energy")


def prepared(
    folder: Path,
    build: Build = classifier,
    runs: Mapping[str, int] | None = None,
    name: str = "campaign",
    **sections: Any,
) -> Campaign:
    """A campaign ready to run: ``runs`` of 3000 signals with so many samples each; ``sections`` as for ``write_config``."""
    for number, (run, samples) in enumerate(({"run_1": SAMPLES} if runs is None else runs).items()):
        path = folder / f"data/{run}.psdz"
        if not path.exists():
            write_file(path, pulses(3_000, number, samples))
    network = folder / f"{build.__name__}.pb"
    if not network.exists():
        write_graph(network, build)
    sections = {"model": {"classes": ["gamma", "neutron"]}, "processing": {"block": 1000, "batch": 300}, **sections}
    path = write_config(folder / f"{name}.toml", f"{folder}/data/*", network, campaign=name, **sections)
    if build is regression:
        path.write_text(
            path.read_text()
            .replace("[model]", "[model]\nclassifier = false")
            .replace('classes = [\n    "gamma",\n    "neutron",\n]', "")
        )
    return prepare(read_config(path), described_here)


def described_here(config: CampaignConfig, directory: CampaignDirectory) -> CampaignModels:
    """Facts of the models, in this process: the tests have TensorFlow loaded."""
    from psdbatch.models.describe import describe

    folders = [Path(f"{config.campaign}-{name}") for name in ("model", "quality")]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        (folder / "question").write_text("made by a test")
    quality = config.quality and describe(config.quality.source, folders[1])
    return CampaignModels(describe(config.model, folders[0]), quality)
