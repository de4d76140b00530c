"""Everything that a compiled engine depends on."""

from __future__ import annotations

from dataclasses import dataclass

from psdbatch.config import Charge, ModelSource, PileUp, Preparation, SignalShape
from psdbatch.errors import ModelError
from psdbatch.models.facts import ModelFacts


@dataclass(frozen=True)
class EngineSettings:
    """What turns a raw batch into answers.

    ``samples`` and ``sample_dtype`` are those of the raw signals; ``row_limit``, if set, makes the engine refuse larger
    batches as if the device had no room for them.
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

    @property
    def window(self) -> int:
        """Samples that the model gets.

        Raises
        ------
        ModelError
            The model's input does not fit the configuration or the signals.
        """
        facts, asked = self.facts, self.preparation.length
        sizes = [size for size in facts.input.shape[1:] if size != 1]
        if len(sizes) > 1:
            raise ModelError(
                f"{facts.source}: the input '{facts.input.name}' has shape {facts.input.shape}; a signal is one row of samples"
            )
        taken = sizes[0] if sizes else 1
        if not self.preparation.enabled:
            asked = self.samples
        if taken is not None and asked is not None and asked != taken:
            what = f"'preparation.length' is {asked}" if self.preparation.enabled else f"signals have {asked} samples"
            raise ModelError(f"{facts.source}: the model takes {taken} samples, but {what}")
        window = asked or taken
        if window is None:
            raise ModelError(f"{facts.source}: the model takes any number of samples; set 'length' in [preparation]")
        if window > self.samples:
            raise ModelError(
                f"{facts.source}: the model takes {window} samples, the signals have only {self.samples}; "
                "set 'length' in [preparation] or use another model"
            )
        return window

    @property
    def required(self) -> int:
        """Samples that a signal must have at least."""
        fixed = self.preparation.enabled and self.preparation.align == "start"
        return min(self.samples, self.window + max(0, self.preparation.offset) if fixed else self.window)
