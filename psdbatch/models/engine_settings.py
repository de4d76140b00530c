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
        taken, name = self._taken(), self.facts.source
        if not self.preparation.enabled:
            if taken is not None and taken != self.samples:
                raise ModelError(
                    f"{name}: the model takes {taken} samples and the signals have {self.samples}, which 'preparation.enabled = false' "
                    "hands on as they are; set 'enabled' in [preparation] to true, or use another model"
                )
            return self.samples
        asked = self.preparation.length
        if taken is not None and asked is not None and asked != taken:
            raise ModelError(
                f"{name}: the model takes {taken} samples, but 'preparation.length' is {asked}; leave 'length' out or set it to {taken}"
            )
        window = asked or taken
        if window is None:
            raise ModelError(f"{name}: the model takes any number of samples; set 'length' in [preparation]")
        if window > self.samples:
            key = "set 'length' in [preparation] to fewer" if taken is None else "use a model for shorter signals"
            raise ModelError(f"{name}: the model takes {window} samples, the signals have only {self.samples}; {key}")
        return window

    def _taken(self) -> int | None:
        """Samples that the model's input takes, None for any number; dimensions of 1 beside them do not count."""
        row = self.facts.input.shape[1:]
        sizes = [size for size in row if size != 1]
        if len(sizes) > 1:
            raise ModelError(
                f"{self.facts.source}: the input '{self.facts.input.name}' has shape {self.facts.input.shape}; "
                "a signal is one row of samples: (batch, samples), (batch, samples, 1) or (batch, 1, samples)"
            )
        return sizes[0] if sizes else 1

    @property
    def required(self) -> int:
        """Samples that a signal must have at least."""
        fixed = self.preparation.enabled and self.preparation.align == "start"
        return min(self.samples, self.window + max(0, self.preparation.offset) if fixed else self.window)
