"""What a training set says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psdbatch.config import Charge, SignalShape
from psdbatch.results.store import Layout

PARTS = ("train", "validation", "test")
"""What learns, what chooses the best epoch, what judges."""


@dataclass(frozen=True)
class SetFacts:
    """Facts of a training set, kept in the attributes of its store.

    Attributes
    ----------
    classes
        Class names; a label is an index into them.
    samples, sample_dtype
        Samples of every signal, and their dtype.
    signals
        The digitiser.
    charge
        Gates of ``charge_long`` and ``charge_short``.
    sources
        Names of the sources, in the order of column ``source``.
    seed
        What the choice and the order were drawn with.
    provenance
        Files, rules, strata and versions, as plain values.
    counts
        Signals of each class in each part, ``{part: {class: signals}}``.
    digest
        SHA-256 over all contents and what they mean: two sets with the same one hold the same signals in the same order.
    """

    classes: tuple[str, ...]
    samples: int
    sample_dtype: str
    signals: SignalShape
    charge: Charge
    sources: tuple[str, ...]
    seed: int
    provenance: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    digest: str = ""

    def meaning(self) -> dict[str, Any]:
        """What the values in the store mean, without where they came from."""
        return {
            "classes": list(self.classes),
            "samples": self.samples,
            "sample_dtype": self.sample_dtype,
            "signals": self.signals.model_dump(mode="json"),
            "charge": self.charge.model_dump(mode="json"),
            "sources": list(self.sources),
        }

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary; :meth:`from_json` is its inverse."""
        counts = {part: dict(classes) for part, classes in self.counts.items()}
        return {
            **self.meaning(),
            "seed": self.seed,
            "counts": counts,
            "digest": self.digest,
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> SetFacts:
        """Facts from what :meth:`to_json` made."""
        return cls(
            classes=tuple(record["classes"]),
            samples=record["samples"],
            sample_dtype=record["sample_dtype"],
            signals=SignalShape.model_validate(record["signals"]),
            charge=Charge.model_validate(record["charge"]),
            sources=tuple(record["sources"]),
            seed=record["seed"],
            provenance=record["provenance"],
            counts=record["counts"],
            digest=record["digest"],
        )


LAYOUT = Layout(block=65_536, chunk=4_096, level=1)
"""A chunk is the least that a reader decompresses, about 2 MB of samples; a shard of 16 chunks is one file."""
