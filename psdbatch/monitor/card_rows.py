"""A model card in words."""

from __future__ import annotations

from psdbatch.config import Preparation
from psdbatch.models.card import ModelCard


def card_rows(card: ModelCard | None) -> list[tuple[str, str]]:
    """Name and value of everything that a card says; one row that tells if there is none."""
    if card is None:
        return [("card", "none: the file does not say what its classes and its preparation are")]
    takes = "raw signals" if card.complete else "prepared windows"
    signals = card.signals
    rows = [
        ("task", card.task),
        ("classes", ", ".join(card.classes) or "not named"),
        ("takes", f"{takes} of {card.samples} samples, {card.sample_dtype}"),
        (
            "made for signals",
            f"{signals.sampling_period:g} ns, {signals.adc_bits} bits, {signals.polarity} pulses, baseline of {signals.baseline} samples",
        ),
        ("preparation" if card.complete else "needs preparation", preparation_words(card.preparation)),
        ("weights", card.weights_digest),
    ]
    training = card.training
    if "set" in training:
        rows.append(("trained on", f"set {training['set']['digest']}"))
    if "epochs" in training:
        rows.append(
            (
                "training",
                f"{training['epochs']} epochs, best {training['best_epoch']} with validation loss {training['val_loss']:.4g}",
            )
        )
    if "frozen_with" in training:
        rows.append(
            ("frozen with", ", ".join(f"{name} {version}" for name, version in training["frozen_with"].items()))
        )
    return rows


def preparation_words(preparation: Preparation) -> str:
    """What happens to a raw signal before the network sees it."""
    if not preparation.enabled:
        return "none"
    point = {
        "start": "the first sample",
        "threshold": f"{preparation.threshold:g} of the amplitude",
        "maximum": "the maximum",
    }[preparation.align]
    divided = "divided by the amplitude" if preparation.normalise == "amplitude" else "not normalised"
    return f"{preparation.length} samples from {preparation.offset:+d} of {point} on, {divided}"
