"""Exports read back by other programs, and the card of a campaign."""

from __future__ import annotations

import base64
import csv
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet
import pytest
import uproot
from click.testing import CliRunner

import psdbatch
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.physics import keep_physics
from psdbatch.cli.results import export as command
from psdbatch.columns import charge_ratio
from psdbatch.errors import CampaignError, ConfigurationError, StorageError
from psdbatch.monitor.tally import Tally
from psdbatch.results import export as module
from psdbatch.results.export import export
from tests.filled_stores import filled_campaign, joined, measured

RUNS = {"run_1": [measured(1500, 1), measured(1100, 2, board=2)], "run_2": [measured(700, 3)]}
ALL = joined([part for parts in RUNS.values() for part in parts])


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled_campaign(tmp_path_factory.mktemp("campaign") / "neda", RUNS).path


def expected() -> dict[str, Any]:
    flat = {name: values for name, values in ALL.items() if name != "probability"}
    return {**flat, "probability_gamma": ALL["probability"][:, 0], "probability_neutron": ALL["probability"][:, 1]}


def test_parquet_holds_every_number_exactly_with_units_and_provenance(campaign: Path, tmp_path: Path) -> None:
    done = export(campaign, tmp_path / "all.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "all.parquet")
    assert {*table.column_names} == {"run", *expected()}
    for name, values in expected().items():
        found = table[name].to_numpy()
        np.testing.assert_array_equal(found, values)
        assert found.dtype == values.dtype
    assert table["run"].to_pylist() == ["run_1"] * 2600 + ["run_2"] * 700
    assert table.schema.field("timestamp").metadata[b"units"] == b"10 ns"
    description = json.loads(table.schema.metadata[b"psdbatch"])
    assert description["results"]["model"]["source"] == "/models/network.pb"
    assert done.counts.selected == 3300
    assert done.bytes == (tmp_path / "all.parquet").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["all.parquet"]


def test_root_tree_holds_every_number_exactly(campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 1000)  # several baskets
    export(campaign, tmp_path / "all.root")
    with uproot.open(tmp_path / "all.root") as file:
        tree = file["signals"]
        for name, values in expected().items():
            np.testing.assert_array_equal(tree[name].array(library="np"), values)
        np.testing.assert_array_equal(tree["run"].array(library="np"), np.repeat([0, 1], [2600, 700]))
        description = json.loads(str(file["description"]))
    assert description["runs"] == ["run_1", "run_2"]
    assert description["columns"]["amplitude"]["unit"] == "ADC units"


def test_csv_holds_a_line_per_signal(campaign: Path, tmp_path: Path) -> None:
    export(campaign, tmp_path / "few.csv", ["timestamp", "charge_ratio"], "label == neutron", "run_2")
    lines = list(csv.DictReader((tmp_path / "few.csv").open()))
    values = RUNS["run_2"][0]
    chosen = values["label"] == 1
    assert [int(line["timestamp"]) for line in lines] == values["timestamp"][chosen].tolist()
    ratio = charge_ratio(values["charge_long"], values["charge_short"])[chosen]
    np.testing.assert_array_equal([float(line["charge_ratio"]) for line in lines], ratio)


@pytest.mark.parametrize("kind", ["parquet", "root", "csv"])
def test_nothing_selected_is_an_empty_table(campaign: Path, tmp_path: Path, kind: str) -> None:
    done = export(campaign, tmp_path / f"none.{kind}", ["amplitude", "probability"], "amplitude < 0", time_order=True)
    assert (done.counts.selected, done.counts.rejected) == (0, 3300 - done.counts.untimed)
    if kind == "root":
        assert uproot.open(tmp_path / "none.root")["signals"].num_entries == 0
    if kind == "parquet":
        assert pyarrow.parquet.read_table(tmp_path / "none.parquet").num_rows == 0


def test_time_order_is_that_of_the_file(campaign: Path, tmp_path: Path) -> None:
    done = export(campaign, tmp_path / "t.parquet", ["timestamp", "board"], run="run_1", time_order=True)
    table = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    part = joined(RUNS["run_1"])
    timed = part["timestamp"][part["timestamp"] > 0]
    np.testing.assert_array_equal(table["timestamp"].to_numpy(), np.sort(timed))
    assert done.counts.untimed == 2600 - len(timed) > 0


def test_failed_export_leaves_the_old_file_and_nothing_else(
    campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.root").write_bytes(b"old")
    real = module.regrouped

    def full(pieces: Any, signals: int) -> Any:
        yield next(real(pieces, signals))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "regrouped", full)
    with pytest.raises(StorageError, match=r"a\.root: cannot be written: No space"):
        export(campaign, tmp_path / "a.root")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.root": b"old"}


def test_wrong_requests_are_refused(campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, message in (
        ("a.parqet", "did you mean 'parquet'"),
        ("a", "formats: parquet"),
        ("no/a.csv", "does not exist"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            export(campaign, tmp_path / name)
    monkeypatch.setitem(sys.modules, "uproot", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'psdbatch\[export\]'"):
        export(campaign, tmp_path / "a.root")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_of_the_user_s_is_refused_before_anything_is_read(
    campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "open_stream", None)
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "circle.csv").symlink_to("circle.csv")
    (tmp_path / "metadata.csv").symlink_to(campaign / "results.zarr/zarr.json")
    (tmp_path / "far.csv").symlink_to("nowhere/far.csv")
    before = {path: path.read_bytes() for path in campaign.rglob("*.json")}
    for target, message in (
        (tmp_path / "pipe.csv", "pipe.csv: is no regular file"),
        (tmp_path / "folder.csv", "folder.csv: is a directory"),
        (tmp_path / "circle.csv", "circle.csv: cannot be followed"),
        (tmp_path / "far.csv", "its directory does not exist"),
        (tmp_path / "metadata.csv", "lies inside the campaign"),
        (campaign / "results.zarr/zarr.json", "lies inside the campaign"),
        (campaign / "results.zarr/run_1/new.csv", "lies inside the campaign"),
        (campaign / "plan.json", "name a file outside of it"),
    ):
        for given in (campaign, campaign / "results.zarr"):
            with pytest.raises(ConfigurationError, match=message):
                export(given, target, format="csv")
    assert (tmp_path / "pipe.csv").is_fifo()
    assert before == {path: path.read_bytes() for path in campaign.rglob("*.json")}


def test_a_link_is_written_through(campaign: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch/a.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("scratch/a.csv")
    done = export(campaign, tmp_path / "link.csv", ["label"], run="run_2")
    assert (tmp_path / "link.csv").is_symlink()
    assert len((tmp_path / "scratch/a.csv").read_text().splitlines()) == 701
    assert done.bytes == (tmp_path / "scratch/a.csv").stat().st_size
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["a.csv"]


def test_what_killed_exports_left_is_removed_and_nothing_else(campaign: Path, tmp_path: Path) -> None:
    left, held = (tmp_path / f".a[1].csv.{letter * 32}.partial" for letter in "0f")
    kept = {held, tmp_path / f".b.csv.{'0' * 32}.partial", tmp_path / ".a[1].csv.swp", tmp_path / "a[1].csv"}
    for path in (left, *kept):
        path.write_text("half")
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # another export at work
        export(campaign, tmp_path / "a[1].csv", ["label"], run="run_2")
    assert {*tmp_path.iterdir()} == kept


def test_command_prints_facts(campaign: Path, tmp_path: Path) -> None:
    arguments = [str(campaign), str(tmp_path / "n.parquet"), "--columns", "amplitude, board", "--run", "run_1"]
    done = CliRunner().invoke(command, [*arguments, "--select", "label == neutron", "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["columns"] == ["amplitude", "board"]
    assert facts["signals"] == 2600 == facts["selected"] + facts["rejected"]
    plain = CliRunner().invoke(command, arguments)
    assert "2,600 signals" in plain.stdout


# A campaign shows itself


def test_campaign_shows_itself_without_reading_records(campaign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: CampaignDirectory) -> None:
        raise AssertionError("the summary says it all")

    monkeypatch.setattr(CampaignDirectory, "committed", refuse)
    refused = int((ALL["label"] == 255).sum())
    shown = psdbatch.open_campaign(campaign)
    for text in (repr(shown), shown._repr_html_()):
        assert f"3,300 = {3300 - refused:,} written + {refused:,} refused + 0 missing" in text
        assert all(word in text for word in ("neda", "finished", "gamma, neutron", "run_2", "/models/network.pb"))
    assert len(shown.table(["label"])) == sum(piece.signals for piece in shown.iterate(["label"])) == 3300
    assert shown.results("run_2").sizes["signal"] == 700


def test_unfinished_campaign_says_so_and_html_is_escaped(tmp_path: Path) -> None:
    directory = filled_campaign(tmp_path / "<b>&", {"run_1": RUNS["run_1"]}, left={1})
    html = psdbatch.open_campaign(directory.path)._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "<b>&" not in html
    assert "1,024 missing" in html
    assert "2 of 3 finished" in html
    with pytest.raises(CampaignError, match="is not a campaign directory"):
        psdbatch.open_campaign(tmp_path)


def test_campaign_shows_its_physics_as_the_last_pass_left_it(tmp_path: Path) -> None:
    directory = filled_campaign(tmp_path / "c", RUNS)
    shown = psdbatch.open_campaign(directory.path)
    assert "<img" not in shown._repr_html_()
    tally = Tally.of(ALL, 2)
    counted = {"tally": tally, "plan": shown.plan, "totals": {"finished": shown.plan.count_blocks()}}
    keep_physics(directory, SimpleNamespace(**counted))  # type: ignore[arg-type]
    gamma, neutron = (int((ALL["label"] == k).sum()) for k in (0, 1))
    total = gamma + neutron
    words = f"gamma {gamma:,} ({100 * gamma / total:.2f} %), neutron {neutron:,} ({100 * neutron / total:.2f} %)"
    assert words in repr(shown)
    html = shown._repr_html_()
    assert words in html
    picture = base64.b64decode(html.partition("base64,")[2].partition("'")[0])
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    counted["totals"] = {"finished": 2}  # as an earlier pass left it
    keep_physics(directory, SimpleNamespace(**counted))  # type: ignore[arg-type]
    assert "gamma, neutron" in repr(shown)
    assert "<img" not in shown._repr_html_()


@pytest.mark.parametrize(
    ("finished", "missing", "state"),
    [
        (2, 0, "sample of 0.01 finished (2 of 2 blocks); 'psdbatch run' without --sample does the rest"),
        (1, 1024, "sample of 0.01 unfinished (1 of 2 blocks); 'psdbatch run --sample 0.01' goes on"),
    ],
)
def test_campaign_tells_what_a_sample_has_come_to(tmp_path: Path, finished: int, missing: int, state: str) -> None:
    directory = filled_campaign(tmp_path / "c", {"run_1": RUNS["run_1"]}, left={1})
    summary = json.loads(directory.summary.read_bytes())
    summary["sample"] = {"fraction": 0.01, "blocks": 2, "signals": 2048, "finished": finished, "missing": missing}
    directory.summary.write_text(json.dumps(summary))
    assert f"state      {state}" in repr(psdbatch.open_campaign(directory.path))


def test_reading_never_imports_tensorflow() -> None:
    code = "import psdbatch, sys; psdbatch.open_campaign; psdbatch.read_table; psdbatch.iterate; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
