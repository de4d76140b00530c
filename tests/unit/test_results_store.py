"""The store: made whole or not at all, readable at any moment, opened by others without this package."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from psdbatch.columns import FLAGS, NO_LABEL, TIMESTAMP, Column, scalar
from psdbatch.errors import CampaignError
from psdbatch.results import store as store_module
from psdbatch.results.reading import open_results
from psdbatch.results.runs import StoreMetadata
from psdbatch.results.store import (
    Layout,
    consolidate,
    create_run,
    create_store,
    read_metadata,
    shard_file,
)
from tests.faults import Counting, operations
from tests.small_campaign import COLUMNS, SmallCampaign, answers, small_campaign, tree

LAYOUT = Layout(block=16, chunk=8, level=1)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "results.zarr"
    create_store(path, {"creator": "psdbatch", "classes": ["gamma", "neutron"]})
    return path


@pytest.fixture
def finished(tmp_path: Path) -> SmallCampaign:
    campaign = small_campaign(tmp_path / "campaign", {"run_1": (20, 17), "run_2": (16,)})
    campaign.go_on()
    return campaign


def test_absent_shards_read_as_no_answer(store: Path) -> None:
    create_run(store, "run_1", 40, [*COLUMNS, TIMESTAMP], LAYOUT, {})
    group = zarr.open_group(store / "run_1", mode="r")
    assert np.isnan(group["probability"][:]).all()
    assert (group["label"][:] == NO_LABEL).all()
    assert (group["flags"][:] == 0).all()
    assert (group["timestamp"][:] == 0).all()
    assert group["probability"].shape == (40, 2)


def test_block_is_exactly_one_file_of_each_array(finished: SmallCampaign) -> None:
    files = {name for name in finished.contents() if not name.endswith("zarr.json")}
    assert files == {
        f"{block.name.run}/{shard_file(column, block.name.number)}" for block in finished.blocks() for column in COLUMNS
    }
    assert shard_file(COLUMNS[0], 3) == "probability/c.3.0"


def test_zarr_array_written_by_zarr_lies_in_the_same_files(store: Path) -> None:
    """zarr itself, writing the same values, makes the same chunk keys."""
    create_run(store, "run_1", 37, COLUMNS, LAYOUT, {})
    group = zarr.open_group(store / "run_1", mode="r+")
    for column in COLUMNS:
        group[column.name][:] = np.ones((37, *column.shape), column.dtype)
        written = {path.name for path in (store / "run_1" / column.name).glob("c.*")}
        assert written == {Path(shard_file(column, block)).name for block in range(3)}


def test_xarray_opens_a_run_with_names_and_units(store: Path) -> None:
    energy = scalar("energy", "float32", "deposited energy", "keV", gate_samples=60)
    create_run(store, "run_1", 20, [COLUMNS[0], energy], LAYOUT, {"run": "run_1"})
    dataset = xarray.open_zarr(store, group="run_1", consolidated=False)
    assert dict(dataset.sizes) == {"signal": 20, "class": 2}
    assert dataset.energy.attrs == {"long_name": "deposited energy", "units": "keV", "gate_samples": 60}
    assert dataset.attrs["run"] == "run_1"


def test_results_open_lazily_run_by_run_or_all_together(finished: SmallCampaign) -> None:
    path = finished.directory.path
    assert StoreMetadata(finished.directory.store).runs() == ["run_1", "run_2"]
    one = open_results(path, "run_1")
    assert one.label.chunks == ((16, 16, 5),)
    everything = open_results(path)
    assert everything.sizes["signal"] == 53
    assert list(everything["class"].values) == ["gamma", "neutron"]
    expected = np.concatenate([answers(block.name, block.signals)["label"] for block in finished.blocks()])
    np.testing.assert_array_equal(everything.label.values, expected)
    np.testing.assert_array_equal(everything.run.values, np.repeat([0, 1], [37, 16]))


def test_runs_with_other_columns_keep_their_integers_and_other_units_are_refused(store: Path) -> None:
    ticks = scalar("timestamp", "uint64", "", "10 ns")
    create_run(store, "run_1", 40, [ticks, scalar("energy", "uint16", "")], LAYOUT, {})
    create_run(store, "run_2", 20, [ticks], LAYOUT, {})
    both = open_results(store)
    assert (both.energy.dtype, both.timestamp.dtype, both.sizes["signal"]) == (np.uint16, np.uint64, 60)
    create_run(store, "run_3", 20, [scalar("timestamp", "uint64", "", "1 ps")], LAYOUT, {})
    with pytest.raises(CampaignError, match="'timestamp' in different units"):
        open_results(store)


def test_chosen_runs_are_read_block_by_block_in_other_processes_too(store: Path) -> None:
    energy = scalar("energy", "float32", "deposited energy", "keV")
    for number, signals in enumerate((40, 0, 7, 33)):
        columns = [TIMESTAMP, *COLUMNS] if number != 2 else [TIMESTAMP, *COLUMNS, energy]
        create_run(store, f"run_{number}", signals, columns, LAYOUT, {"run": f"run_{number}", "shared": 1})
        group = zarr.open_group(store / f"run_{number}", mode="r+")
        group["timestamp"][:] = np.arange(signals, dtype=np.uint64) + np.uint64(1000 * number + 2**60)
        if number == 2:
            group["energy"][:] = 2.5
    some = open_results(store, ["run_0", "run_1", "run_2", "run_3"])
    assert some.timestamp.chunks == ((16, 16, 8, 7, 16, 16, 1),)
    assert some.energy.attrs == {"long_name": "deposited energy", "units": "keV"}
    assert some.attrs["shared"] == 1
    assert "run" not in some.attrs
    assert some.attrs["runs"] == ["run_0", "run_1", "run_2", "run_3"]
    there = some.compute(scheduler="processes", num_workers=1)
    expected = np.concatenate(
        [np.arange(n, dtype=np.uint64) + np.uint64(1000 * k + 2**60) for k, n in ((0, 40), (2, 7), (3, 33))]
    )
    np.testing.assert_array_equal(there.timestamp, expected)
    np.testing.assert_array_equal(there.run, np.repeat([0, 2, 3], [40, 7, 33]))
    assert np.isnan(there.energy[:40]).all()
    assert (there.energy[40:47] == 2.5).all()
    assert (there.label == NO_LABEL).all()
    assert open_results(store, ["run_3"]).sizes["signal"] == 33
    assert open_results(store, "run_1").timestamp.compute().shape == (0,)


def test_store_opens_without_this_package_and_with_one_read(finished: SmallCampaign) -> None:
    root = zarr.open_consolidated(finished.directory.store)
    assert {name for name, _ in root.members(max_depth=None)} >= {"run_1/label", "run_2/flags"}
    assert root.attrs["creator"] == "psdbatch"


# Making it


def test_run_that_is_there_is_left_alone(store: Path) -> None:
    create_run(store, "run_1", 40, COLUMNS, LAYOUT, {"first": True})
    (store / "run_1/label/c.0").write_bytes(b"shard")
    before = tree(store)
    create_run(store, "run_1", 40, COLUMNS, LAYOUT, {"first": False})
    assert tree(store) == before


def test_run_made_by_many_at_once_is_made_once(store: Path) -> None:
    errors: list[BaseException] = []

    def make() -> None:
        try:
            create_run(store, "run_1", 40, COLUMNS, LAYOUT, {})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(path.name for path in store.parent.iterdir()) == ["results.zarr"]
    assert sorted(name for name in tree(store) if "run_1" in name) == [
        "run_1/flags/zarr.json",
        "run_1/label/zarr.json",
        "run_1/probability/zarr.json",
        "run_1/zarr.json",
    ]


def test_what_was_left_of_a_run_is_removed_but_not_of_another(store: Path) -> None:
    left, other = (store.with_name(f"results.zarr.{'0' * 32}.{run}.partial") for run in ("run_1", "x.run_1"))
    for folder in (left, other):
        (folder / "label").mkdir(parents=True)
    create_run(store, "run_1", 40, COLUMNS, LAYOUT, {})
    assert not left.exists()
    assert other.exists()


def test_run_is_on_the_disk_before_it_has_its_name(store: Path, tmp_path: Path) -> None:
    class Order(Counting):
        def __init__(self) -> None:
            super().__init__()
            self.synced: list[str] = []

        def operate(self, name, real, *args, **kwargs):  # type: ignore[no-untyped-def]
            if name == "open":
                self.synced.append(str(args[0]))
            if name == "rename":
                aside = Path(args[0])
                self.unsynced = {str(path) for path in (aside, *aside.rglob("*"))} - set(self.synced)
            return super().operate(name, real, *args, **kwargs)

    order = Order()
    with operations(order):
        create_run(store, "run_1", 40, COLUMNS, LAYOUT, {})
    assert order.unsynced == set()
    assert order.synced[-1] == str(store)
    assert order.names.count("fsync") == len(order.synced) == 4 + 4 + 1


def test_read_only_folder_is_an_error(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store_module.os, "rename", refuse)
    with pytest.raises(PermissionError):
        create_run(store, "run_1", 40, COLUMNS, LAYOUT, {})
    assert sorted(path.name for path in store.parent.iterdir()) == ["results.zarr"]


def test_attributes_are_set_and_kept(store: Path) -> None:
    create_run(store, "run_1", 40, COLUMNS, LAYOUT, {})
    consolidate(store, read_metadata(store))
    gathered = (store / "zarr.json").read_bytes()
    create_store(store, {"creator": "psdbatch", "classes": ["gamma", "neutron"]})
    assert (store / "zarr.json").read_bytes() == gathered
    create_store(store, {"creator": "psdbatch", "classes": ["gamma", "neutron"], "new": 1})
    root = zarr.open_group(store, mode="r")
    assert root.attrs["new"] == 1
    assert sorted(root.group_keys()) == ["run_1"]


def test_new_run_can_be_seen_before_metadata_are_gathered_again(finished: SmallCampaign) -> None:
    finished.with_run("run_3", 4)
    assert StoreMetadata(finished.directory.store).runs() == ["run_1", "run_2", "run_3"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"zarr_format": 3}'])
def test_damaged_root_is_made_again(store: Path, content: bytes) -> None:
    (store / "zarr.json").write_bytes(content)
    create_store(store, {"creator": "psdbatch"})
    assert dict(zarr.open_group(store, mode="r").attrs) == {"creator": "psdbatch"}


def test_gathered_metadata_are_those_of_zarr(store: Path) -> None:
    create_run(store, "run_1", 40, COLUMNS, LAYOUT, {"run": "run_1"})
    assert consolidate(store, read_metadata(store)) == read_metadata(store)
    ours = json.loads((store / "zarr.json").read_bytes())
    with pytest.warns(UserWarning, match="Consolidated metadata"):
        zarr.consolidate_metadata(store, zarr_format=3)
    assert json.loads((store / "zarr.json").read_bytes()) == ours
    assert sorted(path.name for path in store.parent.iterdir()) == ["results.zarr"]


def test_run_without_signals_can_be_made_and_read(store: Path) -> None:
    create_run(store, "run_1", 0, [FLAGS, Column("label", "uint8", "class")], LAYOUT, {})
    assert zarr.open_group(store / "run_1", mode="r")["label"][:].shape == (0,)
