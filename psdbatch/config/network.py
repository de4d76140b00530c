"""``[network]`` and ``[augmentation]`` of ``training.toml``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from psdbatch.config.section import Section


class Network(Section):
    """``[network]``: a network of the collection, or one of the user's own function."""

    name: str | None = Field(None, description="name in the collection; default: 'dense', the network of the talk")
    function: str | None = Field(
        None,
        description="'FILE.py:FUNCTION' or 'package.module:FUNCTION', called with samples, classes and the options; returns a Keras model",
    )
    task: Literal["classifier", "autoencoder", "denoiser", "separator", "variational"] | None = Field(
        None, description="what the model of 'function' is trained for; default: 'classifier'"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="options of the network")

    @model_validator(mode="after")
    def _one(self) -> Network:
        if self.name and self.function:
            raise ValueError("give 'name' or 'function', not both")
        if self.task and not self.function:
            raise ValueError("'task' belongs to a 'function'; a network of the collection has its own")
        return self


class Augmentation(Section):
    """``[augmentation]``: what is changed at random in each signal each time it is used for training."""

    noise: float = Field(0.0, ge=0, description="rms of added Gaussian noise, ADC units")
    shift: int = Field(0, ge=0, description="the signal is moved by up to this many samples, either way")
    gain: float = Field(0.0, ge=0, lt=1, description="the height is changed by up to this fraction, either way")
    pile_up: float = Field(
        0.0, ge=0, le=1, description="fraction of signals to which another one of the batch is added, later"
    )
    pile_up_delay: tuple[int, int] = Field((10, 100), description="least and largest delay of the added pulse, samples")

    @model_validator(mode="after")
    def _ordered(self) -> Augmentation:
        least, largest = self.pile_up_delay
        if not 0 < least <= largest:
            raise ValueError(f"pile_up_delay is [least, largest], at least 1 sample, not [{least}, {largest}]")
        return self
