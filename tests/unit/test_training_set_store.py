"""A training set on disk: written whole or not at all, read by ranges, damage noticed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.config import Charge, SignalShape
from psdbatch.errors import TrainingSetError
from psdbatch.results.store import Layout
from psdbatch.training_set.columns import set_columns
from psdbatch.training_set.facts import SetFacts
from psdbatch.training_set.store import open_set
from psdbatch.training_set.writing import SetWriter, write_set

SMALL = Layout(block=64, chunk=16, level=1)
FACTS = SetFacts(
    classes=("gamma", "neutron"),
    samples=12,
    sample_dtype="int16",
    signals=SignalShape(),
    charge=Charge(),
    sources=("beam", "lamp"),
    seed=3,
    provenance={"files": ["a.mfm"]},
)


def columns(n: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    found = {
        column.name: rng.integers(0, 2, (n, *column.shape)).astype(column.dtype)
        for column in set_columns(FACTS.samples, FACTS.sample_dtype)
    }
    found["samples"] = rng.integers(-8000, 8000, (n, FACTS.samples)).astype("int16")
    found["timestamp"] = rng.integers(0, 2**63, n).astype("uint64")
    found["energy"] = np.where(rng.random(n) < 0.5, np.nan, rng.random(n)).astype("float32")
    return found


def test_every_column_reads_back_as_it_was_written(tmp_path: Path) -> None:
    train, test = columns(150), columns(40, seed=1)
    with SetWriter(tmp_path / "set.zarr", FACTS, {"train": 150, "validation": 0, "test": 40}, SMALL) as writer:
        writer.append("test", {name: values[:7] for name, values in test.items()})
        for start in range(0, 150, 13):  # pieces that end inside and across shards
            writer.append("train", {name: values[start : start + 13] for name, values in train.items()})
        writer.append("test", {name: values[7:] for name, values in test.items()})
    stored = open_set(tmp_path / "set.zarr")
    for name, written in (("train", train), ("test", test)):
        part = stored.part(name)
        assert len(part) == len(written["label"])
        read = part.read(0, len(part))
        assert read.keys() == written.keys()
        for column, values in written.items():
            assert read[column].dtype == values.dtype
            np.testing.assert_array_equal(read[column], values)
    piece = stored.part("train").read(60, 70, ("label", "samples"))
    assert set(piece) == {"label", "samples"}
    np.testing.assert_array_equal(piece["samples"], train["samples"][60:70])
    assert len(stored.part("train").read(140, 1000, ["label"])["label"]) == 10
    stored.verify()


def test_facts_say_what_the_set_holds(tmp_path: Path) -> None:
    train = columns(100)
    stored = write_set(tmp_path / "set.zarr", FACTS, {"train": train}, SMALL)
    neutrons = int(train["label"].sum())
    assert stored.facts.counts == {"train": {"gamma": 100 - neutrons, "neutron": neutrons}}
    assert stored.facts.classes == FACTS.classes
    assert stored.facts.signals == FACTS.signals
    assert stored.facts.charge == FACTS.charge
    assert stored.facts.provenance == FACTS.provenance
    assert len(stored.facts.digest) == 64


def test_the_digest_follows_contents_and_meaning_but_not_the_place(tmp_path: Path) -> None:
    def digest(name: str, facts: SetFacts, seed: int) -> str:
        return write_set(tmp_path / name, facts, {"train": columns(50, seed)}, SMALL).facts.digest

    one = digest("one.zarr", FACTS, 0)
    assert digest("two.zarr", FACTS, 0) == one
    assert digest("three.zarr", FACTS, 1) != one
    renamed = SetFacts(**{**vars(FACTS), "classes": ("neutron", "gamma")})
    assert digest("four.zarr", renamed, 0) != one
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("c.*")} for name in ("one.zarr", "two.zarr")
    ]
    assert files[0] == files[1]


def test_a_set_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "set.zarr"

    def interrupted() -> None:
        with SetWriter(path, FACTS, {"train": 50}, SMALL) as writer:
            writer.append("train", columns(50))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with (
        pytest.raises(TrainingSetError, match="50 signals and got 20"),
        SetWriter(path, FACTS, {"train": 50}) as writer,
    ):
        writer.append("train", columns(20))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TrainingSetError, match="no training set"):
        open_set(path)


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    path = tmp_path / "set.zarr"
    script = (
        "import os, sys; from pathlib import Path; from psdbatch.training_set.writing import Staging\n"
        "Staging(Path(sys.argv[1])).__enter__(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=60)
    assert len(list(tmp_path.glob(".set.zarr.*.partial"))) == 1
    with SetWriter(path, FACTS, {"train": 50}, SMALL) as writer:
        assert list(tmp_path.glob(".set.zarr.*.partial")) == [writer.scratch]
        write_set(path, FACTS, {"train": columns(10)}, SMALL)
        assert writer.scratch.exists()
        writer.append("train", columns(20))
        with pytest.raises(TrainingSetError, match="and gets more"):
            writer.append("train", columns(31))
        writer.append("train", columns(30))
        with pytest.raises(TrainingSetError, match="another process has made it"):
            writer.finish()
        shutil.rmtree(path)
    assert len(open_set(path).part("train")) == 50
    assert list(tmp_path.iterdir()) == [path]


def test_missing_cut_and_changed_shards_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "set.zarr"
    write_set(path, FACTS, {"train": columns(150)}, SMALL)
    shard = path / "train" / "samples" / "c.1.0"
    content = shard.read_bytes()
    shard.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    stored = open_set(path)
    with pytest.raises(TrainingSetError, match="not the ones that were written"):
        stored.verify()
    with pytest.raises(TrainingSetError, match="part 'train' cannot be read from signal 64"):
        stored.part("train").read(64, 128)
    shard.write_bytes(content[:-1])
    with pytest.raises(TrainingSetError, match=r"c\.1\.0: has [\d,]+ bytes, had"):
        open_set(path)
    shard.unlink()
    with pytest.raises(TrainingSetError, match=r"c\.1\.0: is missing"):
        open_set(path)


def test_what_is_asked_for_wrongly_is_named(tmp_path: Path) -> None:
    stored = write_set(tmp_path / "set.zarr", FACTS, {"train": columns(10)}, SMALL)
    with pytest.raises(TrainingSetError, match="has no part 'test'"):
        stored.part("test")
    with pytest.raises(TrainingSetError, match="no column 'lable'; did you mean 'label'"):
        stored.part("train").read(0, 1, ["lable"])
    with pytest.raises(TrainingSetError, match="is there already"), SetWriter(stored.path, FACTS, {"train": 1}):
        pass
    wrong = {**columns(10), "label": np.full(10, 2, "uint8")}
    with pytest.raises(TrainingSetError, match="label 2 is none of the 2 classes"):
        write_set(tmp_path / "other.zarr", FACTS, {"train": wrong}, SMALL)
    (tmp_path / "plain.zarr").mkdir()
    (tmp_path / "plain.zarr" / "zarr.json").write_text('{"attributes": {}, "zarr_format": 3, "node_type": "group"}')
    with pytest.raises(TrainingSetError, match="not a training set"):
        open_set(tmp_path / "plain.zarr")
