"""What a campaign takes from the card of its model, and which contradictions are refused."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest
import tomli_w

from psdbatch.campaign.card import with_card
from psdbatch.config import CampaignConfig, Preparation, SignalShape, validated
from psdbatch.errors import ConfigurationError
from psdbatch.models.card import ModelCard
from psdbatch.models.facts import ModelFacts, TensorFacts

CARD = ModelCard(
    classes=("gamma", "neutron"),
    task="classifier",
    complete=True,
    samples=232,
    sample_dtype="int16",
    signals=SignalShape(sampling_period="4 ns", adc_bits=12, polarity="positive", baseline=20),
    preparation=Preparation(align="maximum", offset=-7, length=75),
    outputs=("output_layer",),
)
BARE = replace(CARD, complete=False, samples=75, sample_dtype="float32")


def filled(card: ModelCard | None, **sections: Any) -> tuple[CampaignConfig, tuple[str, ...]]:
    return with_card(configuration(**sections), facts(card))


def configuration(**sections: Any) -> CampaignConfig:
    model = {"path": "psd.pb", **sections.pop("model", {})}
    return validated(
        CampaignConfig, {"campaign": "out", "input": {"files": ["*.mfm"]}, "model": model, **sections}, "campaign.toml"
    )


def facts(card: ModelCard | None) -> ModelFacts:
    tensor = TensorFacts("signal:0", "int16", (None, 232), "Placeholder")
    return ModelFacts("psd.pb", "0", "psd.pb", "0", tensor, (tensor,), {}, 0, card)


def test_without_a_card_the_configuration_stays_as_it_is() -> None:
    config = configuration(signals={"baseline": 3})
    assert with_card(config, facts(None)) == (config, ())


def test_what_is_not_said_comes_from_the_card() -> None:
    config, notes = filled(CARD)
    assert config.model.classes == ("gamma", "neutron")
    assert config.signals == CARD.signals
    assert config.preparation == CARD.preparation.model_copy(update={"enabled": False})
    assert notes == ("classes from the model's card: gamma, neutron", "the model prepares raw signals itself")


def test_a_bare_file_gets_the_preparation_that_it_needs() -> None:
    config, notes = filled(BARE, preparation={"offset": -7})
    assert config.preparation == CARD.preparation
    assert "preparation from the model's card" in notes


@pytest.mark.parametrize("card", [CARD, BARE])
def test_a_campaign_that_was_filled_in_and_written_down_stays_the_same(card: ModelCard) -> None:
    config, _ = filled(card)
    text = tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
    again = validated(CampaignConfig, tomllib.loads(text), "campaign.toml")
    assert with_card(again, facts(card))[0].model_dump() == config.model_dump()


def test_the_same_said_twice_is_no_contradiction() -> None:
    config, _ = filled(
        CARD,
        model={"classes": ["gamma", "neutron"]},
        signals={"sampling_period": "4 ns", "polarity": "positive"},
        preparation={"enabled": False, "align": "maximum"},
    )
    assert config.signals == CARD.signals


@pytest.mark.parametrize(
    ("card", "sections", "said"),
    [
        (CARD, {"model": {"classes": ["neutron", "gamma"]}}, ["'neutron', 'gamma'", "'gamma', 'neutron'"]),
        (CARD, {"signals": {"polarity": "negative"}}, ["'signals.polarity' is negative", "with positive"]),
        (CARD, {"signals": {"sampling_period": "5 ns"}}, ["'signals.sampling_period' is 5.0", "with 4.0"]),
        (CARD, {"preparation": {"enabled": True}}, ["'preparation.enabled' is true", "takes raw signals"]),
        (CARD, {"preparation": {"offset": -5}}, ["'preparation.offset' is -5", "with -7"]),
        (BARE, {"preparation": {"length": 80}}, ["'preparation.length' is 80", "with 75"]),
        (BARE, {"preparation": {"enabled": False}}, ["'preparation.enabled' is False", "with True"]),
        (BARE, {"signals": {"baseline": 16}}, ["'signals.baseline' is 16", "with 20"]),
        (
            replace(CARD, preparation=CARD.preparation.model_copy(update={"normalise": "none"})),
            {"signals": {"adc_bits": 14}},
            ["'signals.adc_bits' is 14", "with 12"],
        ),
    ],
)
def test_contradictions_are_refused_with_both_values(card: ModelCard, sections: Any, said: list[str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        filled(card, **sections)
    for words in (*said, "psd.pb"):
        assert words in str(refused.value)


@pytest.mark.parametrize(("key", "value", "other"), [("baseline", 16, 20), ("adc_bits", 14, 12)])
def test_harmless_differences_are_told_and_kept(key: str, value: int, other: int) -> None:
    config, notes = filled(CARD, signals={key: value})
    assert getattr(config.signals, key) == value
    assert config.signals.polarity == "positive"
    assert any(f"'signals.{key}' is {value}, the model was made with {other}" in note for note in notes)


def test_a_network_that_does_not_classify_is_not_made_to() -> None:
    card = replace(CARD, task="autoencoder", classes=())
    config, notes = filled(card)
    assert config.model.classifier is False
    assert "the model is no classifier but for the task 'autoencoder'" in notes
    assert filled(card, model={"classifier": "code"})[0].model.classifier == "code"


def test_a_network_that_wants_raw_samples_gets_them_whatever_file_it_is_in() -> None:
    for card in (CARD, BARE):
        raw = replace(card, preparation=Preparation(enabled=False, length=232))
        assert filled(raw)[0].preparation.enabled is False
