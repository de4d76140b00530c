"""Everything that a compiled engine depends on."""

from __future__ import annotations

from dataclasses import dataclass

from psdbatch.config import Charge, ModelSource, PileUp, Preparation, SignalShape
from psdbatch.models.facts import ModelFacts
from psdbatch.models.model_input import ModelInput
from psdbatch.models.quality_settings import RESERVED, QualitySettings


@dataclass(frozen=True)
class EngineSettings:
    """What turns a raw batch into answers.

    ``samples`` and ``sample_dtype`` are those of the raw signals; ``row_limit``, if set, makes the engine refuse larger
    batches as if the device had no room for them.  ``quality`` adds the residual of a second model to the answers.
    """

    facts: ModelFacts
    source: ModelSource
    signals: SignalShape
    preparation: Preparation
    charge: Charge
    pile_up: PileUp
    samples: int
    sample_dtype: str
    xla: bool = True
    row_limit: int | None = None
    quality: QualitySettings | None = None

    @property
    def window(self) -> int:
        """Samples that the model gets; of a model with its own preparation, raw ones.

        Raises
        ------
        ModelError
            The model's input does not fit the configuration or the signals.
        """
        return self._input.window

    @property
    def required(self) -> int:
        """Samples that a signal must have at least."""
        return self._input.required

    @property
    def reserved(self) -> frozenset[str]:
        """Names that the model's outputs may not have."""
        return RESERVED if self.quality is not None else frozenset()

    @property
    def _input(self) -> ModelInput:
        return ModelInput(self.facts, self.signals, self.preparation, self.samples, self.sample_dtype)

    def check(self) -> None:
        """Raise what does not fit, before a worker is asked for.

        Raises
        ------
        ModelError
            The signals are not what the model or the quality monitor takes.
        """
        _ = self.window
        if self.quality is not None:
            self.quality.check()
