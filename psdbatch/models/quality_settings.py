"""The quality monitor: a second model that reconstructs each signal, and what its residual depends on."""

from __future__ import annotations

from dataclasses import dataclass

from psdbatch.columns import RESIDUAL
from psdbatch.config import Preparation, SignalShape
from psdbatch.errors import ModelError
from psdbatch.models.facts import ModelFacts, TensorFacts
from psdbatch.models.model_input import ModelInput

RESERVED = frozenset([RESIDUAL.name])
"""Names that no output of the campaign's own model may have beside a quality monitor."""


@dataclass(frozen=True)
class QualitySettings:
    """What turns a raw batch into residuals.

    Attributes
    ----------
    facts
        The auto-encoder.
    signals, preparation
        From raw samples to what it is to reconstruct; of a graph that prepares raw signals itself, the same as inside it.
    samples, sample_dtype
        Of the raw signals.
    """

    facts: ModelFacts
    signals: SignalShape
    preparation: Preparation
    samples: int
    sample_dtype: str

    @property
    def input(self) -> ModelInput:
        """What goes into the graph."""
        preparation = self.preparation.model_copy(update={"enabled": False}) if self.inside else self.preparation
        return ModelInput(
            self.facts, self.signals, preparation, self.samples, self.sample_dtype, section="quality.preparation"
        )

    @property
    def inside(self) -> bool:
        """Whether the graph prepares raw signals itself."""
        return self.facts.card is not None and self.facts.card.complete

    @property
    def normalised(self) -> bool:
        """Whether what is reconstructed is in units of the amplitude already."""
        return self.preparation.enabled and self.preparation.normalise == "amplitude"

    @property
    def taken(self) -> int:
        """Raw samples that are looked at, from the first on."""
        return self.input.window if self.inside else self.samples

    @property
    def required(self) -> int:
        """Samples that a signal must have at least for a residual."""
        return self.input.required

    @property
    def window(self) -> int:
        """Samples that are reconstructed.

        Raises
        ------
        ModelError
            The model's input does not fit the configuration or the signals.
        """
        given, card = self.input.window, self.facts.card
        return given if card is None or not card.complete else card.window

    @property
    def reconstruction(self) -> TensorFacts:
        """The output that has the shape of what is to be reconstructed.

        Raises
        ------
        ModelError
            There is none, or several.
        """
        found = [tensor for tensor in self.facts.outputs if _is_signal(tensor, self.window)]
        if len(found) == 1:
            return found[0]
        listed = ", ".join(f"'{tensor.name}' {tensor.shape}" for tensor in found or self.facts.outputs)
        if found:
            raise ModelError(
                f"{self.facts.source}: several outputs have the shape of the signal: {listed}; "
                "name the reconstruction with 'outputs' in [quality]"
            )
        raise ModelError(
            f"{self.facts.source}: no output has the shape of the signal that the model gets, {self.window} samples; outputs: {listed}; "
            "a quality monitor is an auto-encoder, whose output is its input made anew"
        )

    def check(self) -> None:
        """Raise what is wrong with the model, before a worker is asked for.

        Raises
        ------
        ModelError
            The signals are not what the model takes, or it does not reconstruct them.
        """
        _ = self.reconstruction


def _is_signal(tensor: TensorFacts, window: int) -> bool:
    """Whether an output may be a row of ``window`` numbers; a size that is left open shows when the graph is compiled."""
    sizes = [size for size in tensor.shape[1:] if size != 1]
    return tensor.dtype in ("float16", "bfloat16", "float32", "float64") and sizes in ([window], [None])
