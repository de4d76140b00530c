"""Training sets from real files, campaigns and simulation: what is in them, how they repeat, what is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.acquisition.index import index_file, open_signals
from psdbatch.acquisition.signals import Signals
from psdbatch.campaign import files
from psdbatch.columns import NO_LABEL, Flag
from psdbatch.config.training import TrainingConfig
from psdbatch.errors import ConfigurationError, PsdbatchError, TrainingSetError
from psdbatch.monitor.set_tables import source_table
from psdbatch.simulation.files import load_truth, simulate_run, truth_path
from psdbatch.simulation.settings import Simulation
from psdbatch.training.feeding import class_weights
from psdbatch.training_set import survey
from psdbatch.training_set.build import build_set
from psdbatch.training_set.store import StoredSet, open_set
from psdbatch.training_set.survey import NO_RULE, OUTSIDE, SHORTER, UNCERTAIN
from tests.campaigns import pulses, write_file
from tests.small_campaign import SmallCampaign, campaign_of_files, tree
from tests.training_sets import identities, row_of

Make = Callable[..., TrainingConfig]
SIMULATION = {"signals": 3000, "boards": 2, "channels": 2, "seed": 4, "neutrons": 0.4}
SIMULATED = {"name": "sim", "simulation": SIMULATION, "label": {"truth": True}}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Configuration of a set in ``tmp_path``; keywords are those of [set], sections in capitals replace whole ones."""

    def configuration(*sources: dict[str, Any], path: str = "set.zarr", **settings: Any) -> TrainingConfig:
        sections = {name.lower(): settings.pop(name) for name in list(settings) if name.isupper()}
        wanted = {"path": str(tmp_path / path), "sources": list(sources) or [SIMULATED], "bins": 3, **settings}
        return TrainingConfig.model_validate({"training": str(tmp_path), "set": wanted, **sections})

    return configuration


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of two files with truth, and what a pattern may take with them."""
    folder = tmp_path_factory.mktemp("simulated")
    for run in (1, 2, 3):
        simulate_run(folder, Simulation(**{**SIMULATION, "signals": 400}), run, 2, "packets")
    return folder


def all_rows(stored: StoredSet) -> dict[str, np.ndarray]:
    parts = [stored.part(name).read(0, 10**9) for name in stored.parts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_signals_of_files_are_found_again_by_file_and_number(make: Make, simulated: Path) -> None:
    source = {"name": "beam", "files": [str(simulated / "run_*" / "*")], "label": {"truth": True}}  # truths too
    stored = build_set(make(source))
    listed = stored.facts.provenance["files"]
    assert len(listed) == 6
    rows = all_rows(stored)
    for number, file in enumerate(listed):
        index = index_file(Path(file["path"]))
        assert (file["bytes"], file["modified_ns"], file["signals"]) == (index.size, index.modified_ns, 400)
        whole = Signals.allocate(400, index.scan.longest, index.scan.sample_dtype)
        with open_signals(index) as reader:
            reader.read(whole)
        truth = load_truth(truth_path(Path(file["path"])))
        here = rows["file"] == number
        places = rows["number"][here].astype(int)
        assert here.sum() > 50
        np.testing.assert_array_equal(rows["samples"][here], whole.samples[places])
        for name in ("timestamp", "board", "channel"):
            np.testing.assert_array_equal(rows[name][here], getattr(whole, name)[places])
        np.testing.assert_array_equal(rows["label"][here], truth.label[places])
        np.testing.assert_array_equal(rows["energy"][here], truth.energy[places])
        saturated = (rows["flags"][here] & int(Flag.SATURATED)) != 0
        np.testing.assert_array_equal(saturated, truth.saturated[places])
    assert {file["run"] for file in listed} == {"run_0001", "run_0002", "run_0003"}


def test_classes_are_even_strata_too_and_parts_have_their_fractions_and_no_signal_twice(make: Make) -> None:
    stored = build_set(make(signals=1000, channels=False, split={"validation": 0.2, "test": 0.1}))
    assert stored.facts.counts == {
        "train": {"gamma": 350, "neutron": 350},
        "validation": {"gamma": 100, "neutron": 100},
        "test": {"gamma": 50, "neutron": 50},
    }
    rows = all_rows(stored)
    assert len(identities(rows)) == 1000
    strata = stored.facts.provenance["strata"]
    edges = [-np.inf, *strata["edges"][1:-1], np.inf]
    for number, name in enumerate(strata["class"]):
        low, high = edges[strata["amplitude"][number] : strata["amplitude"][number] + 2]
        inside = (
            (rows["amplitude"] >= low)
            & (rows["amplitude"] < high)
            & (rows["label"] == ["gamma", "neutron"].index(name))
        )
        taken = sum(strata[part][number] for part in ("train", "validation", "test"))
        assert inside.sum() == taken
    for name in ("gamma", "neutron"):  # a stratum gives all it has, or as many as the others
        of_class = [number for number, found in enumerate(strata["class"]) if found == name]
        taken = {n: sum(strata[part][n] for part in ("train", "validation", "test")) for n in of_class}
        others = [taken[number] for number in of_class if taken[number] < strata["available"][number]]
        assert max(others) - min(others) <= 1
        assert max(taken.values()) == max(others)


def test_without_a_number_every_class_gives_as_many_as_the_rarest_has(make: Make) -> None:
    stored = build_set(make())
    source = stored.facts.provenance["sources"][0]
    rarest = min(source["labelled"].values())
    total = {name: sum(part[name] for part in stored.facts.counts.values()) for name in ("gamma", "neutron")}
    assert total == {"gamma": rarest, "neutron": rarest}


def test_classes_come_in_the_mix_that_is_asked_for_and_weights_make_up_for_it(make: Make) -> None:
    natural = build_set(make(mix="natural", path="natural.zarr"))
    labelled = natural.facts.provenance["sources"][0]["labelled"]
    total = {name: sum(part[name] for part in natural.facts.counts.values()) for name in labelled}
    assert total == labelled  # all there are
    assert labelled["gamma"] > 1.2 * labelled["neutron"]
    weights = class_weights(dict(natural.facts.counts["train"]), natural.facts.classes, "balanced")
    assert weights[1] / weights[0] == pytest.approx(labelled["gamma"] / labelled["neutron"], rel=0.02)
    table = build_set(make(mix={"neutron": 1, "gamma": 9}, signals=1000, path="table.zarr"))
    assert table.facts.counts["train"] == {"gamma": 720, "neutron": 80}
    assert table.facts.counts["test"] == {"gamma": 90, "neutron": 10}
    with pytest.raises(TrainingSetError, match=r"'set\.mix' is 'even', was 'natural'"):
        build_set(make(path="natural.zarr"))


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"gamma": 1, "neutrons": 1}, "'mix' names 'neutrons', which is no class .* did you mean 'neutron'"),
        ({"gamma": 1}, "'mix' gives class 'neutron' no signals"),
        ({"gamma": 1, "neutron": 0}, "'mix' gives class 'neutron' no signals"),
        ("uneven", "mix"),
    ],
)
def test_a_mix_that_makes_no_sense_is_refused(make: Make, mix: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(mix=mix)


def test_a_mix_for_which_a_class_is_too_rare_is_refused_with_what_there_is(make: Make) -> None:
    with pytest.raises(
        TrainingSetError, match=r"class 'neutron' has .* 1,800 are wanted .* ask for 1,[23]\d\d at most"
    ):
        build_set(make(mix={"neutron": 9, "gamma": 1}, signals=2000))


def test_parts_are_mixed_over_sources_files_and_classes(make: Make, simulated: Path) -> None:
    source = {"name": "beam", "files": [str(simulated / "run_*" / "*.psdz")], "label": {"truth": True}}
    ordered = {**SIMULATED, "simulation": {**SIMULATION, "order": "by class"}}
    train = build_set(make(source, ordered, signals=2000)).part("train").read(0, 10**6)
    half = len(train["label"]) // 2
    for column, values in (("label", (0, 1)), ("source", (0, 1)), ("file", range(7))):
        for value in values:
            first, second = ((part == value).sum() for part in (train[column][:half], train[column][half:]))
            assert abs(int(first) - int(second)) < 5 * np.sqrt(first + second + 1)
    order = np.argsort(np.lexsort((train["number"], train["file"])))
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.1


def test_the_same_seed_gives_the_same_bytes_whatever_the_pieces_and_another_one_others(
    make: Make, simulated: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = {"name": "beam", "files": [str(simulated / "run_*" / "*.psdz")], "label": {"truth": True}}
    one = build_set(make(source, SIMULATED, path="one.zarr"))
    monkeypatch.setattr(survey, "PIECE_BYTES", 100 * 464)
    monkeypatch.setattr("psdbatch.training_set.build.THREADS", 1)
    monkeypatch.setattr("psdbatch.training_set.shuffle.Buckets.__init__.__defaults__", (100_000, 60_000))
    monkeypatch.setattr("psdbatch.training_set.choose.GAP", 2)
    two = build_set(make(source, SIMULATED, path="two.zarr"))
    assert one.facts.digest == two.facts.digest
    assert tree(one.path) == tree(two.path)
    other = build_set(make(source, SIMULATED, path="three.zarr", seed=2))
    assert other.facts.digest != one.facts.digest
    assert identities(all_rows(other)) != identities(all_rows(one))
    other.verify()


def test_a_set_that_exists_is_used_again_and_not_written_again(make: Make, tmp_path: Path) -> None:
    config = make()
    stored = build_set(config)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set.zarr").rglob("*")}
    again = build_set(config)
    assert again.facts == stored.facts
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "set.zarr").rglob("*")}
    only = TrainingConfig.model_validate({"training": str(tmp_path), "set": {"path": str(stored.path)}})
    assert build_set(only).facts == stored.facts


def test_a_set_of_something_else_is_refused_with_every_difference(make: Make, simulated: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(simulated, data)
    source = {"name": "beam", "files": [str(data / "run_*" / "*.psdz")], "label": {"truth": True}}
    build_set(make(source, seed=1))
    with pytest.raises(TrainingSetError) as refused:
        build_set(make({**source, "label": {"name": "gamma"}}, seed=2, signals=100))
    for said in ("'set.seed' is 2, was 1", "'set.signals' is 100, was None", "'set.sources[1].label.truth' is False"):
        assert said in str(refused.value)
    with pytest.raises(TrainingSetError, match=r"'charge\.short' is 12, was 10"):
        build_set(make(source, CHARGE={"short": 12}))
    file = data / "run_0002" / "part_001.psdz"
    os.utime(file, ns=(1, 1))
    with pytest.raises(TrainingSetError, match=r"part_001\.psdz was modified"):
        build_set(make(source))
    file.unlink()
    build_set(make(source))  # the set holds its signals
    shutil.copy(simulated / "run_0001" / "part_000.psdz", data / "run_0001" / "part_009.psdz")
    with pytest.raises(TrainingSetError, match=r"has 1 files more, such as .*part_009\.psdz"):
        build_set(make(source))


def test_an_interrupted_build_leaves_no_set_and_the_next_one_is_the_same(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = build_set(make(path="whole.zarr"))

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "write":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_set(make(), stop)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["whole.order.png", "whole.zarr"]
    stored = build_set(make())
    assert stored.facts.digest == whole.facts.digest


def test_whole_runs_go_into_one_part_each(make: Make, simulated: Path) -> None:
    source = {"name": "beam", "files": [str(simulated / "run_*" / "*.psdz")], "label": {"truth": True}}
    stored = build_set(make(source, split={"by": "run", "validation": 0.3, "test": 0.3}))
    runs = [set(stored.part(part).read(0, 10**6, ["run"])["run"].tolist()) for part in ("train", "validation", "test")]
    assert sorted(run for part in runs for run in part) == [0, 1, 2]
    names = stored.facts.provenance["runs"]
    for part, of_part in zip(("train", "validation", "test"), runs, strict=True):
        listed = {
            stored.facts.provenance["files"][file]["run"]
            for file in set(stored.part(part).read(0, 10**6)["file"].tolist())
        }
        assert listed == {names[run] for run in of_part}
    with pytest.raises(TrainingSetError, match="1 run cannot be divided over train, validation, test"):
        build_set(make(SIMULATED, path="other.zarr", split={"by": "run"}))


def test_a_campaign_gives_labels_and_its_least_certain_signals(make: Make, tmp_path: Path) -> None:
    campaign = measured_campaign(tmp_path)
    answers = {run: campaign.decoded(run) for run in ("run_1", "run_2")}
    source = {"name": "first pass", "campaign": str(campaign.directory.path), "certainty": [0.0, 0.8]}
    stored = build_set(
        make({**source, "label": {"results": True}}, bins=1, channels=False, split={"validation": 0, "test": 0})
    )
    rows = all_rows(stored)
    listed = stored.facts.provenance["files"]
    offsets = {listed[0]["path"]: 0, listed[1]["path"]: 120, listed[2]["path"]: 0}
    for number in range(len(rows["label"])):
        file = listed[rows["file"][number]]
        place = int(rows["number"][number]) + offsets[file["path"]]
        assert answers[file["run"]]["label"][place] == rows["label"][number]
        assert answers[file["run"]]["probability"][place].max() <= 0.8
        assert row_of(Path(file["path"]), int(rows["number"][number])).tolist() == rows["samples"][number].tolist()
    certain = np.concatenate([found["probability"].max(axis=1) for found in answers.values()])
    expected = int(((certain <= 0.8) & np.isfinite(certain)).sum())
    left_out = stored.facts.provenance["sources"][0]["left_out"]
    assert left_out[UNCERTAIN] == len(certain) - expected
    assert sum(stored.facts.provenance["sources"][0]["labelled"].values()) == expected
    everything = build_set(
        make({**source, "certainty": [0, 1], "label": {"results": True}}, path="all.zarr", channels=False)
    )
    labels = np.concatenate([found["label"] for found in answers.values()])
    assert everything.facts.provenance["sources"][0]["left_out"] == {NO_RULE: int((labels == NO_LABEL).sum())}


def measured_campaign(tmp_path: Path) -> SmallCampaign:
    """A finished campaign over three real files of pulses."""
    campaign = campaign_of_files(tmp_path / "earlier", {"run_1": (120, 90), "run_2": (150,)})
    for run in campaign.plan.runs:
        for number, file in enumerate(run.files):
            np.save(file.path, pulses(file.signals, seed=number, samples=75).samples)
            os.utime(file.path, ns=(file.modified_ns, file.modified_ns))
            files.make_directory(campaign.directory.index)
            files.replace_durably(campaign.directory.index / file.index, index_file(Path(file.path)).to_bytes())
    campaign.go_on()
    return campaign


def test_a_campaign_that_went_on_or_whose_files_changed_is_noticed(make: Make, tmp_path: Path) -> None:
    campaign = measured_campaign(tmp_path)
    source = {"name": "first pass", "campaign": str(campaign.directory.path), "label": {"results": True}}
    build_set(make(source, channels=False))
    next(campaign.directory.commits.rglob("*.json")).unlink()
    with pytest.raises(TrainingSetError, match=r"has \d+ finished blocks, had \d+"):
        build_set(make(source, channels=False))
    os.utime(campaign.plan.runs[0].files[0].path, ns=(5, 5))
    with pytest.raises(TrainingSetError, match=r"was modified .*; the results of .* are about the file as it was"):
        build_set(make(source, channels=False, path="other.zarr"))


def test_damaged_short_and_unlabelled_signals_are_left_out_and_counted(make: Make, tmp_path: Path) -> None:
    signals = pulses(1000)
    rng = np.random.default_rng(2)
    kind = rng.integers(0, 3, 1000)
    kind[:2] = 0, 1
    flags = np.zeros(1000, np.uint16)
    flags[100:110] = Flag.DAMAGED
    flags[105:130] |= np.uint16(Flag.NO_SAMPLES)
    length = np.full(1000, signals.samples.shape[1])
    length[200:250] = 50
    np.savez(tmp_path / "run_1.npz", samples=signals.samples, kind=kind, flags=flags, length=length)
    source = {"name": "beam", "files": [str(tmp_path / "run_1.npz")], "label": {"column": "kind"}}
    edges = [500.0, 2000.0, 20_000.0]
    stored = build_set(make(source, energies=edges, channels=False))
    rows = all_rows(stored)
    good = (flags == 0) & (length == signals.samples.shape[1])
    assert not set(rows["number"].tolist()) - set(np.flatnonzero(good & (kind < 2)).tolist())
    np.testing.assert_array_equal(rows["label"], kind[rows["number"].astype(int)])
    assert (rows["amplitude"] >= 500).all()
    left_out = stored.facts.provenance["sources"][0]["left_out"]
    assert left_out.pop(OUTSIDE) > 0
    assert left_out == {
        "damaged in the acquisition file": 10,
        "recorded without samples": 20,
        SHORTER: 50,
        NO_RULE: int((good & (kind == 2)).sum()),
    }


def test_channels_of_a_real_file_are_two_classes(make: Make, shared_data: Path, tmp_path: Path) -> None:
    source = {
        "name": "compass",
        "files": [str(shared_data / "compass" / "compass_test_data.BIN")],
        "label": {"channels": {"0:0": "gamma", "0:1": "neutron"}},
    }
    shape = {"sampling_period": "2 ns", "polarity": "positive"}
    stored = build_set(make(source, SIGNALS=shape, split={"validation": 0.2, "test": 0.2}))
    assert (stored.facts.samples, stored.facts.sample_dtype) == (1000, "uint16")
    assert sum(sum(part.values()) for part in stored.facts.counts.values()) == 102
    assert stored.facts.counts["test"]["gamma"] in (10, 11)
    rows = all_rows(stored)
    np.testing.assert_array_equal(rows["label"], rows["channel"])
    assert sorted(rows["number"].tolist()) == list(range(102))
    one = row_of(Path(source["files"][0]), 17)
    assert rows["samples"][rows["number"] == 17][0].tolist() == one.tolist()
    with pytest.raises(TrainingSetError, match=r"sampled every 2 ns, but 'signals.sampling_period' is 5 ns"):
        build_set(make(source, path="other.zarr"))


def test_an_ordered_source_is_told_in_words_and_in_a_picture(make: Make, tmp_path: Path) -> None:
    stretches = [{"fraction": 0.75, "neutrons": 0.0}, {"fraction": 0.25, "neutrons": 1.0}]
    ordered = {**SIMULATED, "name": "beam", "simulation": {**SIMULATION, "order": stretches}}
    stored = build_set(make(ordered, SIMULATED))
    assert len(stored.facts.provenance["alarms"]) == 1
    assert stored.facts.provenance["alarms"][0].startswith("source 'beam' is ordered by class")
    assert (tmp_path / "set.order.png").stat().st_size > 10_000
    positions = np.array(stored.facts.provenance["sources"][0]["positions"])
    assert positions[:74, 1].sum() == 0
    assert positions[76:, 0].sum() == 0


def npz(path: Path, **columns: Any) -> dict[str, Any]:
    np.savez(path, **columns)
    return {"files": [str(path)]}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"signals": 5000}, "class 'neutron' has 1,203 signals with a label and in a stratum, 2,500 are wanted"),
        ({"signals": 900, "shortfall": "error", "bins": 8}, "its quota is"),
        ({"classes": ["gamma", "neutron", "alpha"]}, "no source gives a signal of class 'alpha'"),
        ({"classes": ["gamma", "proton"]}, "no source gives a signal of class 'proton'"),
        ({"signals": 4}, "part 'validation' gets no signal of class 'gamma'"),
    ],
)
def test_what_cannot_be_met_is_said_with_numbers(
    make: Make, settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingSetError) as refused:
        build_set(make(**settings))
    assert said in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_quota_names_the_stratum_that_is_short_and_how_many_it_has(make: Make, tmp_path: Path) -> None:
    config = make(signals=400, shortfall="error", energies=[100.0, 1000.0, 3000.0, 15_000.0], channels=False)
    with pytest.raises(
        TrainingSetError, match=r"stratum 'neutron', amplitude 3,000 to 1.5e\+04 has [\d]+ signals, its quota is 66"
    ):
        build_set(config)
    even = build_set(make(shortfall="error", energies=[100.0, 1000.0, 3000.0, 15_000.0], channels=False))
    strata = even.facts.provenance["strata"]
    taken = [sum(strata[part][number] for part in even.parts) for number in range(6)]
    assert set(taken) == {min(strata["available"])}


def test_sources_that_do_not_fit_are_named(make: Make, tmp_path: Path, simulated: Path) -> None:
    rows = pulses(200).samples
    label = {"label": {"name": "gamma"}}
    short = {"name": "short", **npz(tmp_path / "a.npz", samples=rows[:, :80]), **label}
    wide = {"name": "wide", **npz(tmp_path / "b.npz", samples=rows.astype("int32")), **label}
    plain = {"name": "plain", **npz(tmp_path / "c.npz", samples=rows, tof=np.arange(200.0)), **label}
    cases: list[tuple[list[dict[str, Any]], str]] = [
        ([plain, short], r"a\.npz \(source 'short'\): samples 80, but 96 in .*c\.npz \(source 'plain'\)"),
        ([plain, wide], r"sample dtype int32, but int16 in"),
        ([plain, {**plain, "name": "twice"}], r"c\.npz: is in source 'plain' and in source 'twice'"),
        ([{**plain, "label": {"column": "toff"}}], r"has no column 'toff' .*did you mean 'tof'\?"),
        ([{**plain, "label": {"truth": True}}], r"c\.npz\.truth\.npz is not there"),
        ([{**plain, "label": {"name": "gama"}}], r"'gama' is no class of the set .*did you mean 'gamma'\?"),
        ([{**plain, "files": [str(tmp_path / "no_*")]}], r"source 'plain': 'files': no file matches"),
        (
            [{**SIMULATED, "simulation": {"signal": 5}}],
            r"source 'sim': 'simulation': unknown key 'signal'; did you mean 'signals'\?",
        ),
        (
            [{**plain, "label": {"column": "tof", "windows": [{"name": "gamma", "low": -9, "high": -1}]}}],
            r"its rule \(windows of column 'tof': 'gamma' -9 to -1\) labels none of its 200 signals: 200 without a label",
        ),
    ]
    for sources, said in cases:
        with pytest.raises(PsdbatchError, match=said):
            build_set(make(*sources))
        assert not (tmp_path / "set.zarr").exists()
    with pytest.raises(
        TrainingSetError, match="no source gives a signal of class 'neutron'; a classifier cannot learn"
    ):
        build_set(make(plain))


def test_one_class_alone_may_be_a_set_of_its_own(make: Make, tmp_path: Path) -> None:
    plain = {"name": "plain", **npz(tmp_path / "c.npz", samples=pulses(200).samples), "label": {"name": "pulse"}}
    stored = build_set(make(plain, classes=["pulse"]))
    assert {part: classes["pulse"] for part, classes in stored.facts.counts.items()} == {
        "train": 160,
        "validation": 20,
        "test": 20,
    }


def test_a_truth_of_other_length_and_a_file_that_changes_meanwhile_are_refused(
    make: Make, simulated: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(simulated, data)
    source = {"name": "beam", "files": [str(data / "run_*" / "*.psdz")], "label": {"truth": True}}
    write_file(data / "run_0003" / "part_001.psdz", pulses(401, samples=232))

    with pytest.raises(TrainingSetError, match=r"knows 400 signals, .*part_001\.psdz holds 401"):
        build_set(make(source))
    (data / "run_0003" / "part_001.psdz").unlink()

    def touch(stage: str, done: int, total: int) -> None:
        if stage == "survey" and done == total:
            os.utime(data / "run_0001" / "part_000.psdz", ns=(7, 7))

    with pytest.raises(TrainingSetError, match=r"part_000\.psdz: was modified .* since the training set was begun"):
        build_set(make(source), touch)
    with pytest.raises(TrainingSetError, match="no training set"):
        open_set(tmp_path / "set.zarr")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"energies": [5.0, 3.0]}, "ascending"),
        ({"energies": [5.0]}, "two at least"),
        ({"classes": ["gamma", "gamma"]}, "two classes are named 'gamma'"),
        ({"sources": [SIMULATED, SIMULATED]}, "two sources are named 'sim'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Make, settings: dict[str, Any], said: str) -> None:
    with pytest.raises((ConfigurationError, ValueError), match=said):
        make(**settings)


def test_the_table_of_sources_says_which_files_got_which_rule(make: Make, simulated: Path) -> None:
    sources = [
        {"name": "source", "files": [str(simulated / "run_0001" / "*.psdz")], "label": {"name": "gamma"}},
        {"name": "beam", "files": [str(simulated / "run_000[23]" / "*.psdz")], "label": {"channels": {"0": "neutron"}}},
    ]
    files = [index.name for index in sorted((simulated / "run_0001").glob("*.psdz"))]
    table = source_table(build_set(make(*sources)).facts)
    cells = {str(column.header): [str(cell) for cell in column.cells] for column in table.columns}
    assert cells["rule"] == ["every signal is 'gamma'", "channels 0: 'neutron'"]
    assert cells["files"][0] == ", ".join(files)
    assert cells["files"][1].startswith("4: ")
