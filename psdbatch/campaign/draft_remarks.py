"""What a draft of ``campaign.toml`` says about files and model, and which keys follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from psdbatch.acquisition.first_look import FirstLook
from psdbatch.acquisition.index import FileIndex
from psdbatch.config import ModelSource, SignalShape
from psdbatch.models.card import ModelCard
from psdbatch.models.facts import ModelFacts
from psdbatch.models.outputs import answers
from psdbatch.units import say_nanoseconds

SURE = 0.95
"""Fraction of the signals that must go in one direction before nobody is asked to look."""


@dataclass
class Findings:
    """What goes into the file.

    Attributes
    ----------
    signals
        Keys of ``[signals]``.
    remarks
        Lines of comment by dotted key.
    shown
        Values of keys that stay commented out.
    cautions
        What a person should look into: the key that settles it, and why.
    """

    signals: dict[str, Any] = field(default_factory=dict)
    remarks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    cautions: list[tuple[str, str]] = field(default_factory=list)

    def caution(self, key: str, words: str) -> None:
        """Somebody should look at ``key``; empty: at the files."""
        self.cautions.append((key, words))


def findings(indexes: Sequence[FileIndex], look: FirstLook, model: ModelFacts) -> Findings:
    """Everything that files, some signals and the model say."""
    said = Findings()
    _sampling_period(said, indexes, model.card)
    _damage(said, indexes)
    if look.signals:
        _digitiser(said, look, model.card)
        _adc_bits(said, look, model.card)
    else:
        said.caution("", "no signal with samples was found in the files that were looked at")
    _model(said, model)
    _preparation(said, model, max(index.scan.longest for index in indexes))
    return said


def _damage(said: Findings, indexes: Sequence[FileIndex]) -> None:
    damaged = [index for index in indexes if index.scan.damage]
    if damaged:
        first = damaged[0]
        said.caution(
            "",
            f"{len(damaged)} of the {len(indexes)} files that were looked at are damaged, the first of them in {len(first.scan.damage):,} places: "
            f"psdbatch index --show {first.path}",
        )


def _sampling_period(said: Findings, indexes: Iterable[FileIndex], card: ModelCard | None) -> None:
    """Files that say it are right; else the card, else the default, which somebody must look at."""
    periods = sorted({index.scan.sampling_period_ns for index in indexes if index.scan.sampling_period_ns is not None})
    key = "signals.sampling_period"
    if len(periods) == 1:
        said.signals["sampling_period"] = say_nanoseconds(periods[0])
        said.remarks[key] = ("as the files say",)
    elif periods:
        listed = ", ".join(map(say_nanoseconds, periods))
        said.remarks[key] = (f"the files do not agree: {listed}; make one campaign for each",)
        said.caution("signals.sampling_period", f"the sampling periods of the files differ: {listed}")
    elif card is None:
        said.remarks[key] = ("the files do not say it: look it up",)
        said.caution(
            "signals.sampling_period",
            f"the files do not say their sampling period; {say_nanoseconds(SignalShape().sampling_period)} is assumed",
        )


def _digitiser(said: Findings, look: FirstLook, card: ModelCard | None) -> None:
    """Polarity and baseline from estimates; what a card says stays with the card, and what it contradicts is told."""
    estimate = f"estimated from {look.pulses:,} pulses: {look.agreement:.0%} of them go {_way(look.polarity)}"
    if not look.pulses:
        estimate = f"none of {look.signals:,} signals holds a pulse above the noise"
    if card is not None:
        its = card.signals.polarity
        said.remarks["signals"] = ("what is not said here comes from the model's card",)
        said.remarks["signals.polarity"] = (f"the model's card says {its}", estimate)
        said.shown["signals.polarity"] = its
        said.shown["signals.adc_bits"], said.shown["signals.baseline"] = card.signals.adc_bits, card.signals.baseline
        if look.pulses and its != look.polarity:
            said.caution(
                "signals.polarity",
                f"the model's card says that pulses are {its}, but {look.agreement:.0%} go {_way(look.polarity)}",
            )
        return
    said.remarks["signals.polarity"] = (estimate,)
    if not look.pulses:
        said.caution("signals.polarity", f"{estimate}: polarity and baseline are not known")
        return
    said.signals["polarity"] = look.polarity
    if look.agreement < SURE:
        said.caution(
            "signals.polarity",
            f"polarity '{look.polarity}' is uncertain: only {look.agreement:.0%} of the pulses go {_way(look.polarity)}",
        )
    _baseline(said, look)


def _adc_bits(said: Findings, look: FirstLook, card: ModelCard | None) -> None:
    if card is not None:
        return
    default = SignalShape().adc_bits
    span = f"samples lie between {look.lowest:g} and {look.highest:g}"
    if look.adc_bits is None:
        said.remarks["signals.adc_bits"] = (f"{span}: not as an ADC gives them, so that nothing can be said",)
    elif look.adc_bits > default:
        said.signals["adc_bits"] = look.adc_bits
        said.remarks["signals.adc_bits"] = (f"estimated: {span}",)
    else:
        said.remarks["signals.adc_bits"] = (f"{span}: {look.adc_bits} bits at least",)
        if look.adc_bits < default:
            said.caution(
                "signals.adc_bits",
                f"{span}: if the digitiser has fewer than {default} bits, say so in 'adc_bits', else saturated signals are not found",
            )


def _baseline(said: Findings, look: FirstLook) -> None:
    usual = SignalShape().baseline
    said.remarks["signals.baseline"] = (f"estimated: 95 % of the larger pulses begin after sample {look.quiet}",)
    if look.quiet >= usual:
        return
    said.signals["baseline"] = max(1, look.quiet)
    said.caution(
        "signals.baseline",
        f"only {look.quiet} samples precede 95 % of the pulses: 'baseline' is set to {max(1, look.quiet)}",
    )


def _model(said: Findings, model: ModelFacts) -> None:
    source = ModelSource(path=model.source)
    said.remarks["model.path"] = (
        f"takes {_tensor(model.input)}; gives {', '.join(map(_tensor, model.outputs))}; {model.parameters:,} parameters",
    )
    if model.card is not None:
        if model.card.classes:
            said.shown["model.classes"] = list(model.card.classes)
            said.remarks["model.classes"] = ("the model's card names them",)
        return
    found = answers(model, source)
    if found.scores is None:
        said.remarks["model.classifier"] = ("no output of rank 2: the model does not classify",)
        return
    said.shown["model.classes"] = list(found.classes)
    said.remarks["model.classes"] = (f"the model does not say what its {len(found.classes)} classes are: name them",)
    said.caution(
        "model.classes", f"the model has {len(found.classes)} classes without names: give them in 'model.classes'"
    )
    if found.scores.operation not in ("Softmax", "Sigmoid"):
        wanted = "sigmoid" if found.binary else "softmax"
        said.remarks["model.activation"] = (
            f"the class scores come from '{found.scores.operation}': is '{wanted}' missing?",
        )
        said.caution(
            "model.activation",
            f"the class scores are no probabilities ('{found.scores.operation}'); see 'model.activation'",
        )


def _preparation(said: Findings, model: ModelFacts, samples: int) -> None:
    card = model.card
    if card is not None and (card.complete or not card.preparation.enabled):
        said.remarks["preparation"] = ("the model prepares raw signals itself: nothing to say here",)
    elif card is not None:
        said.remarks["preparation"] = ("what is not said here comes from the model's card",)
        its = card.preparation.model_dump(mode="json", exclude_none=True)
        said.shown.update({f"preparation.{key}": value for key, value in its.items()})
    else:
        sizes = [size for size in model.input.shape[1:] if size is not None]
        told = f"the model takes {max(sizes)} samples" if sizes else "the model does not say how many samples it takes"
        said.remarks["preparation"] = (
            f"{told}, the signals have {samples}; prepare them here as in the model's training",
        )


def _way(polarity: str) -> str:
    return "down" if polarity == "negative" else "up"


def _tensor(tensor: Any) -> str:
    return f"{tensor.label} ({', '.join('any' if size is None else str(size) for size in tensor.shape)})"
