"""``training.toml``: from labelled signals to a frozen, evaluated network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from psdbatch.config.campaign import Charge, PileUp, Preparation, SignalShape
from psdbatch.config.cluster import Cluster
from psdbatch.config.network import Augmentation, Network
from psdbatch.config.section import Section, read_configuration, validated
from psdbatch.config.training_set import Source, TrainingSet
from psdbatch.units import Seconds

WINDOW = 75
"""Samples that the network of the talk sees."""


class Optimisation(Section):
    """``[optimisation]``: how the network learns."""

    epochs: int = Field(100, ge=1, description="epochs at most")
    batch: int | Literal["auto"] = Field(
        "auto", description="signals in a step, over all replicas together; 'auto': measured, see docs/training.md"
    )
    optimiser: Literal["sgd", "adam", "adamw"] = Field("adam", description="as Keras names it")
    learning_rate: float = Field(1e-3, gt=0, description="at the start")
    momentum: float = Field(0.0, ge=0, lt=1, description="of 'sgd'")
    loss: str | None = Field(
        None,
        description="a Keras loss; default: that of the network (cross-entropy for classifiers, squares for auto-encoders)",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="'balanced': the classes weigh the same in the loss, however many signals they have"
    )
    patience: int = Field(20, ge=1, description="epochs without a better validation loss before the training stops")
    plateau: int = Field(0, ge=0, description="epochs without improvement before the learning rate is halved; 0: never")
    checkpoint_steps: int = Field(
        1000, ge=1, description="steps between two checkpoints inside an epoch: what a lost worker costs at most"
    )
    xla: bool = Field(True, description="compile the step with XLA where it can")
    seed: int = Field(1, ge=0, description="of weights, order and augmentation")

    @model_validator(mode="after")
    def _even(self) -> Optimisation:
        if self.batch != "auto" and (self.batch < 2 or self.batch % 2):
            raise ValueError(f"'batch' is {self.batch}; it must be an even number (signals are augmented in pairs)")
        return self


class TrainingConfig(Section):
    """A whole ``training.toml``."""

    training: str = Field(description="directory of the training; relative to the configuration file")
    set: TrainingSet = TrainingSet()
    signals: SignalShape = SignalShape()
    preparation: Preparation = Preparation(length=WINDOW)
    charge: Charge = Charge()
    pile_up: PileUp = PileUp()
    network: Network = Network()
    augmentation: Augmentation = Augmentation()
    optimisation: Optimisation = Optimisation()
    replicas: int = Field(
        1, ge=1, description="processes that train one network together, each on its part of every batch"
    )
    wait: Seconds = Field(
        120.0,
        ge=0,
        description="a training starts with fewer replicas if no further worker has come for this time; they join later",
    )
    cluster: Cluster = Cluster()

    @model_validator(mode="before")
    @classmethod
    def _window(cls, values: Any) -> Any:
        """The talk's window, where ``[preparation]`` gives none."""
        section = values.get("preparation") if isinstance(values, dict) else None
        if isinstance(section, dict) and section.get("enabled", True) and "length" not in section:
            return {**values, "preparation": {**section, "length": WINDOW}}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        if self.set.path is None and not self.set.sources:
            raise ValueError("[set] needs at least one table [[set.sources]], or the path of a set that exists")
        if self.preparation.enabled and self.preparation.length is None:
            raise ValueError("[preparation] needs 'length', the samples that the network sees")
        return self


def read_training(path: Path) -> TrainingConfig:
    """Read ``training.toml``; relative paths in it become absolute, counted from its directory.

    Raises
    ------
    ConfigurationError
        The file cannot be read, is not TOML, or says something psdbatch does not know.
    """
    config = validated(TrainingConfig, read_configuration(path, "training"), str(path))
    base = path.absolute().parent
    chosen = config.set.path or str(Path(config.training) / "set.zarr")
    sources = tuple(_absolute(source, base) for source in config.set.sources)
    function = config.network.function
    if function and ".py:" in function:
        function = str(base / function)
    return config.model_copy(
        update={
            "training": str(base / config.training),
            "set": config.set.model_copy(update={"path": str(base / chosen), "sources": sources}),
            "network": config.network.model_copy(update={"function": function}),
            "cluster": config.cluster.located(base),
        }
    )


def _absolute(source: Source, base: Path) -> Source:
    return source.model_copy(
        update={
            "files": source.files and tuple(str(base / pattern) for pattern in source.files),
            "campaign": source.campaign and str(base / source.campaign),
        }
    )
