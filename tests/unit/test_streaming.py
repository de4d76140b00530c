"""Reading piece by piece: everything in its place, unfinished blocks left out, damage named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from psdbatch import iterate, open_results, read_table
from psdbatch.columns import scalar
from psdbatch.errors import CampaignError, ConfigurationError, OutOfMemoryError
from psdbatch.results import table
from psdbatch.results.contents import Contents
from psdbatch.results.decoding import StoredColumn
from psdbatch.results.extract import Piece, ahead
from psdbatch.results.streaming import open_stream
from tests.filled_stores import COLUMNS, joined, measured, write_store

RUNS = {"run_1": [measured(1500, 1), measured(1100, 2)], "run_2": [measured(700, 3)]}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "results.zarr", RUNS)


def together(pieces: list[Piece]) -> dict[str, Any]:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


@pytest.mark.parametrize("size", [1, 256, 300, 1000, 10**6])
def test_pieces_of_any_size_hold_every_signal_once(store: Path, size: int) -> None:
    pieces = list(iterate(store, size=size))
    assert all(piece.signals <= max(size, 256) for piece in pieces)
    for run, parts in RUNS.items():
        found, expected = together([piece for piece in pieces if piece.run == run]), joined(parts)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)
            assert found[name].dtype == values.dtype


@pytest.mark.parametrize(("first", "count"), [(0, 1), (255, 2), (256, 256), (1000, 24), (700, 300)])
def test_any_range_of_a_block_is_what_zarr_reads(store: Path, first: int, count: int) -> None:
    run = Contents(store, "run_1").runs[0]
    for name, array in run.arrays.items():
        column = run.open(name)
        assert isinstance(column, StoredColumn)
        np.testing.assert_array_equal(column.read(first, count), array[first : first + count])


def test_only_needed_chunks_are_decompressed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from psdbatch.results import decoding

    sizes: list[int] = []
    real = decoding._read
    monkeypatch.setattr(decoding, "_read", lambda file, at, size: sizes.append(size) or real(file, at, size))
    column = Contents(store, "run_1").runs[0].open("amplitude")
    assert column is not None
    whole = column.read(0, 1024)
    read = sum(sizes)
    sizes.clear()
    wanted = np.zeros(1024, bool)
    wanted[[300, 310, 1000]] = True
    np.testing.assert_array_equal(column.read(0, 1024, wanted)[wanted], whole[wanted])
    assert sum(sizes) < 0.7 * read


def test_selection_that_chooses_nothing_reads_only_its_own_columns(store: Path) -> None:
    for shard in (store / "run_1/charge_long").glob("c.*"):
        shard.write_bytes(b"")
    assert list(iterate(store, ["charge_long"], "amplitude < 0", "run_1")) == []
    with pytest.raises(CampaignError, match="damaged"):
        list(iterate(store, ["charge_long"], "amplitude > 0", "run_1"))


def test_unfinished_blocks_are_left_out_and_counted(tmp_path: Path) -> None:
    store = write_store(tmp_path / "results.zarr", {"run_1": RUNS["run_1"]}, absent={1})
    (store / "run_1/flags/c.2").unlink()  # a block that is just being published
    stream = open_stream(Contents(store), ["signal", "flags", "probability"], "label == neutron", numbers=True)
    found = together(list(stream))
    chosen = np.flatnonzero(joined(RUNS["run_1"])["label"] == 1)
    np.testing.assert_array_equal(found["signal"], chosen[chosen < 1024])
    assert vars(stream.counts) == {
        "signals": 2600,
        "selected": len(found["signal"]),
        "rejected": 1024 - len(found["signal"]),
        "unfinished": 2600 - 1024,
        "untimed": 0,
    }


@pytest.mark.parametrize("place", [3, -10])
def test_damaged_shard_is_named(store: Path, place: int) -> None:
    shard = store / "run_1/amplitude/c.1"
    content = bytearray(shard.read_bytes())
    content[place] ^= 0x40
    shard.write_bytes(content)
    with pytest.raises(CampaignError, match=r"amplitude/c\.1: damaged \(the checksum of"):
        list(iterate(store, ["amplitude"]))
    shard.write_bytes(content[:40])
    with pytest.raises(CampaignError, match="cut short"):
        list(iterate(store, ["amplitude"]))


def test_arrays_of_other_programs_are_read_too(store: Path) -> None:
    group = zarr.open_group(store / "run_1", mode="a")
    energy = np.arange(2600, dtype=np.float32)
    group.create_array("energy", data=energy, chunks=(100,), dimension_names=("signal",))
    found = together(list(iterate(store, ["energy", "label"], "energy > 50 and label == gamma", "run_1")))
    label = joined(RUNS["run_1"])["label"]
    np.testing.assert_array_equal(found["energy"], energy[(energy > 50) & (label == 0)])


@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_opening_gives_what_zarr_opens(store: Path, gathered: bool) -> None:
    group = zarr.open_group(store / "run_1", mode="a")
    group.create_array("energy", data=np.arange(2600.0), chunks=(100,), attributes={"units": "keV"})
    group.create_group("more").create_array("inner", data=np.zeros(3))
    if gathered:
        zarr.consolidate_metadata(store)
        (store / "run_2/label/zarr.json").unlink()  # one read tells it all
    found = Contents(store)
    assert found.attributes == dict(zarr.open_group(store, mode="r").attrs)
    assert [run.name for run in found.runs] == ["run_1", "run_2"]
    run = found.runs[0]
    assert run.attributes == dict(group.attrs)
    assert run.arrays.keys() == {*group.array_keys()}
    for name, array in group.arrays():
        assert repr(run.arrays[name].metadata) == repr(array.metadata)  # a fill value that is not a number equals none
        np.testing.assert_array_equal(run.arrays[name][:10], array[:10])


@pytest.mark.parametrize("content", ['{"zarr_format": 3, ', "[]"])
def test_damaged_metadata_is_named(store: Path, content: str) -> None:
    (store / "run_2/label/zarr.json").write_text(content)
    with pytest.raises(CampaignError, match=r"run_2/label/zarr\.json: damaged"):
        iterate(store, ["label"])


def test_columns_of_some_runs_are_filled_in_the_others(tmp_path: Path) -> None:
    columns = [*COLUMNS, scalar("energy", "uint16", "")]
    with_energy = {**measured(300, 1), "energy": np.arange(300, dtype=np.uint16)}
    store = write_store(tmp_path / "results.zarr", {"run_1": [measured(200, 2)], "run_2": [with_energy]}, columns)
    pieces = list(iterate(store, ["energy"]))
    assert [piece["energy"].tolist() for piece in pieces] == [[0] * 200, [*range(300)]]


def test_other_units_in_another_run_are_refused_where_they_are_asked_for(tmp_path: Path) -> None:
    other = [scalar("timestamp", "uint64", "", "1 ps"), *COLUMNS[3:]]
    store = write_store(tmp_path / "results.zarr", {"run_1": [measured(20)]})
    write_store(store, {"run_2": [measured(20)]}, other)
    with pytest.raises(CampaignError, match="'timestamp' has another unit"):
        iterate(store, ["timestamp"])
    assert sum(piece.signals for piece in iterate(store, ["board"])) == 40


def test_unknown_column_and_run_are_refused(store: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'amplitude'"):
        iterate(store, ["amplitud"])
    with pytest.raises(CampaignError, match="did you mean 'run_1'"):
        iterate(store, run="run_11")
    with pytest.raises(ConfigurationError, match="no columns"):
        iterate(store, [])


def test_leaving_early_ends_the_threads(store: Path) -> None:
    done: list[int] = []
    for number in ahead(lambda k: done.append(k) or k, range(10_000), threads=2):
        if number == 3:
            break
    assert max(done) < 10


# A table in memory


def test_table_has_a_column_per_number_and_a_run(store: Path) -> None:
    found = read_table(store)
    assert [*found.columns][:6] == ["run", "timestamp", "board", "channel", "label", "probability_gamma"]
    assert found["run"].value_counts().to_dict() == {"run_1": 2600, "run_2": 700}
    np.testing.assert_array_equal(found.timestamp, open_results(store).timestamp.values)
    assert found.timestamp.dtype == np.uint64
    assert found.attrs["units"]["timestamp"] == "10 ns"
    one = read_table(store, ["amplitude", "charge_ratio"], "label == neutron", "run_2")
    assert [*one.columns] == ["amplitude", "charge_ratio"]
    assert len(one) == (RUNS["run_2"][0]["label"] == 1).sum()
    assert len(read_table(store, ["amplitude"], "amplitude < 0")) == 0


def test_table_that_does_not_fit_says_how_large_it_is(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Little:
        available = 100_000

    monkeypatch.setattr(table.psutil, "virtual_memory", lambda: Little)
    with pytest.raises(OutOfMemoryError, match=r"would need 116 kB, and 100 kB of memory are free.*iterate"):
        read_table(store)
    with pytest.raises(OutOfMemoryError, match="would need"):
        read_table(store, select="amplitude > 0")
    assert len(read_table(store, ["label"])) == 3300
