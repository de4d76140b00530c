"""Facts and columns of a model are known without TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.model import find_models, keep_models, kept_models
from psdbatch.config import ModelSource
from psdbatch.errors import ModelError
from psdbatch.models.facts import ModelFacts, TensorFacts
from psdbatch.models.outputs import output_columns
from tests.small_campaign import configuration

SCORES = TensorFacts("output_layer:0", "float32", (None, 3), "Softmax")
FACTS = ModelFacts(
    path="/models/model.pb",
    digest="ab" * 32,
    source="/models/network.keras",
    source_digest="cd" * 32,
    input=TensorFacts("signal:0", "float32", (None, 75), "Placeholder"),
    outputs=(SCORES,),
    operations={"MatMul": 3},
    parameters=814,
)


def columns(*outputs: TensorFacts, **source: Any) -> Any:
    return output_columns(replace(FACTS, outputs=outputs), ModelSource(path="network.keras", **source))


def tensor(name: str, *shape: int | None, dtype: str = "float32") -> TensorFacts:
    return TensorFacts(name, dtype, (None, *shape), "Identity")


def test_nothing_that_the_coordinator_needs_imports_tensorflow() -> None:
    names = "facts", "outputs", "engine_settings", "describing", "batching", "batch_size"
    imports = "; ".join(f"import psdbatch.models.{name}" for name in names)
    subprocess.run([sys.executable, "-c", f"{imports}; import sys; sys.exit('tensorflow' in sys.modules)"], check=True)


def test_facts_survive_the_disk(tmp_path: Path) -> None:
    facts = replace(FACTS, path=str(tmp_path / "model.pb"), outputs=(SCORES, tensor("again:0", 75, 1)))
    facts.write(tmp_path / "model.json")
    assert ModelFacts.read(tmp_path / "model.json") == facts


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"digest": 1}'])
def test_damaged_facts_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.json"):
        ModelFacts.read(tmp_path / "model.json")


def test_softmax_gives_probability_and_label() -> None:
    probability, label = columns(SCORES, classes=("gamma", "neutron", "pile up"))
    assert (probability.name, probability.dtype, probability.shape) == ("probability", "float32", (3,))
    assert probability.dimensions == ("class",)
    assert probability.attributes["classes"] == ["gamma", "neutron", "pile up"]
    assert (label.name, label.dtype, label.shape) == ("label", "uint8", ())
    assert label.attributes == {
        "flag_values": [0, 1, 2, 255],
        "flag_meanings": "gamma neutron pile_up no_answer",
    }


def test_one_number_stands_for_two_classes() -> None:
    probability, label = columns(tensor("p:0", 1))
    assert probability.shape == (2,)
    assert label.attributes["flag_values"] == [0, 1, 255]


def test_every_further_output_is_a_column_of_its_own_shape() -> None:
    found = columns(
        SCORES, tensor("decoder/Again:0", 75, 1), tensor("count:0", dtype="int32"), tensor("e:0", 4, dtype="bfloat16")
    )
    assert [(column.name, column.dtype, column.shape) for column in found[2:]] == [
        ("again", "float32", (75, 1)),
        ("count", "int32", ()),
        ("e", "float32", (4,)),
    ]
    assert found[2].dimensions == ("again_0", "again_1")


def test_columns_never_share_a_name() -> None:
    names = [
        "a/label:0",
        "b/label:0",
        "amplitude:0",
        "timestamp:0",
        "split:0",
        "split:1",
        "Split:0",
        "model_label:0",
        "..:0",
    ]
    found = [column.name for column in columns(*(tensor(name) for name in names), classifier=False)]
    assert len({*found}) == len(names)
    assert not {*found} & {"label", "amplitude", "timestamp", "flags", "probability"}
    assert {"split", "split_1"} < {*found}


def test_the_classifier_is_the_named_output() -> None:
    found = columns(tensor("again:0", 75), SCORES, classifier="output_layer")
    assert [column.name for column in found] == ["probability", "label", "again"]


def test_a_model_need_not_classify() -> None:
    assert [column.name for column in columns(tensor("again:0", 75), classifier=False)] == ["again"]
    assert [column.name for column in columns(tensor("again:0", 75, 1))] == ["again"]


@pytest.mark.parametrize(
    ("outputs", "source", "message"),
    [
        ([SCORES], {"classes": ("gamma", "neutron")}, "answers for 3 classes.*names 2"),
        ([SCORES], {"classes": ("gamma", "gamma", "neutron")}, "a class twice"),
        ([SCORES], {"classifier": "output_lawyer"}, "did you mean 'output_layer"),
        ([tensor("again:0", 75, 1)], {"classifier": "again"}, "two dimensions"),
        ([tensor("again:0", 400)], {}, "400 numbers per signal.*'classifier'"),
        ([tensor("open:0", None)], {}, "how many classes"),
        ([SCORES, tensor("open:0", None, 2)], {}, "only the batch dimension may be open"),
        ([SCORES, tensor("text:0", dtype="string")], {}, "type string"),
        ([tensor("again:0", 75, 1)], {"classes": ("gamma", "neutron")}, "no output of rank 2"),
    ],
)
def test_outputs_that_do_not_fit_are_explained(outputs: Any, source: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        columns(*outputs, **source)


def test_each_campaign_names_the_model_that_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(source: ModelSource, folder: Path) -> ModelFacts:
        (folder / "model.pb").write_bytes(b"frozen")
        replace(FACTS, source=source.path).write(folder / "model.json")
        return ModelFacts.read(folder / "model.json")

    monkeypatch.setattr("psdbatch.campaign.model.describe_in_subprocess", describe)
    for name in ("first", "copy"):
        model, directory = tmp_path / f"{name}.pb", CampaignDirectory(tmp_path / name)
        model.write_bytes(b"the same bytes")
        directory.path.mkdir()
        config = configuration(model={"path": str(model)})
        found = find_models(config, directory)
        keep_models(found, directory)
        assert found.model.source == str(model)
        assert kept_models(config, directory).model.source == str(model)
        assert find_models(config, directory).model.path == str(directory.model / "model.pb")
