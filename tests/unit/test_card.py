"""The model card travels in the graph and says the same when it comes out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from psdbatch.config import ModelSource, Preparation, SignalShape
from psdbatch.errors import ModelError
from psdbatch.models.card import NODE, ModelCard, add_card, card_of
from tests.frozen_models import SAMPLES, softmax, write_graph

CARD = ModelCard(
    classes=("γ", "neutron"),
    task="classifier",
    complete=True,
    samples=232,
    sample_dtype="uint16",
    signals=SignalShape(sampling_period="4 ns", adc_bits=15, polarity="positive", baseline=0),
    preparation=Preparation(align="maximum", offset=-3, length=75),
    outputs=("output_layer",),
    training={"set": "a1b2", "epochs": 3, "losses": [0.5, 0.25]},
    weights_digest="c3d4",
)


def graph_def(path: Path) -> Any:
    from psdbatch.models.quiet import tf

    return tf.compat.v1.GraphDef.FromString(path.read_bytes())


def test_a_card_comes_out_of_a_graph_as_it_went_in(tmp_path: Path) -> None:
    graph = graph_def(write_graph(tmp_path / "net.pb", softmax))
    assert card_of(graph) is None
    add_card(graph, CARD)
    again = type(graph).FromString(graph.SerializeToString())
    assert card_of(again) == CARD
    assert card_of(again).window == 75


def test_a_second_card_takes_the_place_of_the_first(tmp_path: Path) -> None:
    graph = graph_def(write_graph(tmp_path / "net.pb", softmax))
    add_card(graph, CARD)
    nodes = len(graph.node)
    add_card(graph, replace(CARD, classes=("a", "b")))
    assert len(graph.node) == nodes
    assert card_of(graph).classes == ("a", "b")


def test_tensorflow_takes_the_card_for_a_constant_string(tmp_path: Path) -> None:
    from psdbatch.models.quiet import tf

    graph = graph_def(write_graph(tmp_path / "net.pb", softmax))
    add_card(graph, CARD)
    with tf.Graph().as_default() as loaded:
        tf.graph_util.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=loaded) as session:
            assert session.run(f"{NODE}:0") == CARD.to_bytes()


def test_what_describes_a_graph_tells_its_card(tmp_path: Path) -> None:
    from psdbatch.models.describe import describe
    from psdbatch.models.facts import ModelFacts

    path = write_graph(tmp_path / "net.pb", softmax)
    graph = graph_def(path)
    add_card(graph, replace(CARD, complete=False, samples=SAMPLES))
    path.write_bytes(graph.SerializeToString())
    facts = describe(ModelSource(path=str(path)), tmp_path)
    assert facts.card == card_of(graph)
    assert ModelFacts.read(tmp_path / "model.json").card == facts.card
    assert [output.name for output in facts.outputs] == ["output_layer:0"]


def test_facts_written_before_there_were_cards_are_read(tmp_path: Path) -> None:
    import json

    from psdbatch.models.describe import describe
    from psdbatch.models.facts import ModelFacts

    facts = describe(ModelSource(path=str(write_graph(tmp_path / "net.pb", softmax))), tmp_path)
    record = json.loads((tmp_path / "model.json").read_text())
    del record["card"]
    assert ModelFacts.from_json(record) == facts


def test_a_later_entry_of_a_card_does_no_harm() -> None:
    assert ModelCard.from_json({**CARD.to_json(), "colour": "blue"}) == CARD


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 99}, "version 99"),
        ({"signals": {"polarity": "sideways"}}, "signals: 'polarity'"),
        ({"classes": None}, "cannot be read"),
    ],
)
def test_a_card_that_cannot_be_read_is_an_error(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    import json

    graph = graph_def(write_graph(tmp_path / "net.pb", softmax))
    add_card(graph, CARD)
    tensor = next(node for node in graph.node if node.name == NODE).attr["value"].tensor
    tensor.string_val[0] = json.dumps({**CARD.to_json(), **changes}).encode()
    with pytest.raises(ModelError, match=said) as refused:
        card_of(graph, "net.pb")
    assert "net.pb" in str(refused.value)


def test_cards_need_no_tensorflow() -> None:
    code = "import sys, psdbatch.models.card; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
