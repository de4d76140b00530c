"""What a model takes of raw signals: how many samples, and whether the signals have them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from psdbatch.config import Preparation, SignalShape
from psdbatch.errors import ModelError
from psdbatch.models.card import ModelCard
from psdbatch.models.facts import ModelFacts


@dataclass(frozen=True)
class ModelInput:
    """A model before signals of one kind.

    Attributes
    ----------
    facts
        The model.
    signals, preparation
        The digitiser, and what happens before the model; not enabled: it gets raw samples.
    samples, sample_dtype
        Of the raw signals.
    section
        Where ``preparation`` stands in ``campaign.toml``, for messages.
    """

    facts: ModelFacts
    signals: SignalShape
    preparation: Preparation
    samples: int
    sample_dtype: str
    section: str = "preparation"

    @property
    def window(self) -> int:
        """Samples that the model gets; of a model with its own preparation, raw ones.

        Raises
        ------
        ModelError
            The model's input does not fit the configuration or the signals.
        """
        taken, name, section = self._taken(), self.facts.source, self.section
        if self._complete is not None:
            return self._cut(self._complete)
        if self.facts.card is not None and self.facts.card.complete:
            raise ModelError(f"{name}: the model prepares raw signals itself; set 'enabled' in [{section}] to false")
        if not self.preparation.enabled:
            if taken is not None and taken != self.samples:
                raise ModelError(
                    f"{name}: the model takes {taken} samples and the signals have {self.samples}, which '{section}.enabled = false' "
                    f"hands on as they are; set 'enabled' in [{section}] to true, or use another model"
                )
            return self.samples
        asked = self.preparation.length
        if taken is not None and asked is not None and asked != taken:
            raise ModelError(
                f"{name}: the model takes {taken} samples, but '{section}.length' is {asked}; leave 'length' out or set it to {taken}"
            )
        window = asked or taken
        if window is None:
            raise ModelError(f"{name}: the model takes any number of samples; set 'length' in [{section}]")
        if window > self.samples:
            key = f"set 'length' in [{section}] to fewer" if taken is None else "use a model for shorter signals"
            raise ModelError(f"{name}: the model takes {window} samples, the signals have only {self.samples}; {key}")
        return window

    @property
    def required(self) -> int:
        """Samples that a signal must have at least."""
        if self._complete is None:
            return min(self.samples, _needed(self.preparation, self.window))
        return min(self.samples, _needed(self._complete.preparation, self._complete.window))

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
    def _complete(self) -> ModelCard | None:
        """The card of a graph that takes raw signals and prepares them itself."""
        card = self.facts.card
        return card if card is not None and card.complete and not self.preparation.enabled else None

    def _cut(self, card: ModelCard) -> int:
        """Samples of each signal that a complete graph gets: as many as it was made for, from the first on."""
        if card.samples > self.samples:
            raise ModelError(
                f"{self.facts.source}: the model was made for signals of {card.samples} samples, these have only {self.samples}; "
                f"freeze it for them: psdbatch freeze ... --samples {self.samples}"
            )
        kept, given = np.dtype(card.sample_dtype), np.dtype(self.sample_dtype)
        whole = np.issubdtype(kept, np.integer) and np.issubdtype(given, np.integer)
        if not (np.can_cast(given, kept) or (whole and 2**self.signals.adc_bits - 1 <= np.iinfo(kept).max)):
            raise ModelError(
                f"{self.facts.source}: the model takes samples of {kept}, the signals hold {given} of {self.signals.adc_bits} bits, "
                f"which do not fit; freeze it for them: psdbatch freeze ... --sample-dtype {given}"
            )
        return card.samples


def _needed(preparation: Preparation, window: int) -> int:
    """Samples that a window needs of a signal."""
    fixed = preparation.enabled and preparation.align == "start"
    return window + max(0, preparation.offset) if fixed else window
