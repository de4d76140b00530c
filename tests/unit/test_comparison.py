"""Comparing two stores: what is refused, what is told, what is exported; answers recorded online."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import uproot
from click.testing import CliRunner

from psdbatch.cli.comparison import diff
from psdbatch.columns import Flag
from psdbatch.comparison import comparing, pairing, plots
from psdbatch.comparison.comparing import OnlineRequest, compare
from psdbatch.comparison.errors import ComparisonError
from psdbatch.comparison.facts import comparison_facts
from psdbatch.comparison.pages import comparison_directory, write_comparison
from psdbatch.comparison.pairing import Match
from psdbatch.comparison.tables import accounting
from psdbatch.errors import CampaignError, ConfigurationError, PsdbatchError, StorageError
from psdbatch.results import csv_file, extract
from psdbatch.results.streaming import iterate
from psdbatch.results.table_file import MODULES
from tests.stores import Values, answers, refuse, write_store

MATCHES: tuple[Match, ...] = ("position", "hit")


def two(folder: Path, n: int = 200) -> tuple[Path, Path]:
    """Two stores with other answers to the same signals, in blocks of different sizes."""
    a, b = answers(n), answers(n)
    fresh = answers(n, 5)
    b |= {name: fresh[name] for name in ("probability", "label", "flags")}
    return write_store(folder / "a", {"run_1": a}), write_store(folder / "b", {"run_1": b}, block=48, chunk=24)


def test_the_first_signal_that_is_another_one_is_named(tmp_path: Path) -> None:
    a, other = answers(200), answers(200)
    other["timestamp"][[150, 170]] += np.uint64(1)
    write_store(tmp_path / "a", {"run_1": a})
    write_store(tmp_path / "b", {"run_1": other}, block=80)
    with pytest.raises(ComparisonError, match=r"run 'run_1': signal 150 is timestamp .*'--match hit'"):
        compare(tmp_path / "a", tmp_path / "b")
    found = compare(tmp_path / "a", tmp_path / "b", match="hit")
    assert found.agreement.states[:2, :2].sum() == 198
    assert found.agreement.states[3].sum() == found.agreement.states[:, 3].sum() == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": {"run_1": answers(150)}}, "200 signals in A, 150 in B"),
        ({"runs": {"run_2": answers(200)}}, "no run in common"),
        ({"classes": ("alpha", "beta")}, "not one in common"),
        ({"unit": "1 ps"}, "timestamps in units of"),
        ({"runs": {"run_1": {k: v for k, v in answers(200).items() if k != "label"}}}, "holds no 'label'"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    a = write_store(tmp_path / "a", {"run_1": answers(200)})
    b = write_store(tmp_path / "b", **({"runs": {"run_1": answers(200)}} | change))  # type: ignore[arg-type]
    with pytest.raises(PsdbatchError, match=message):
        compare(a, b)


def test_runs_that_cannot_be_compared_are_refused_before_any_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = write_store(tmp_path / "a", {"run_1": answers(50), "run_2": answers(70)})
    b = write_store(tmp_path / "b", {"run_1": answers(50), "run_2": answers(71)})
    monkeypatch.setattr(comparing, "_pairs", None)
    with pytest.raises(ComparisonError, match="run 'run_2': 70 signals in A, 71 in B"):
        compare(a, b)


def test_many_runs_are_read_by_the_same_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {f"run_{number}": answers(20, number) for number in range(5)}
    store = write_store(tmp_path / "a", runs)
    pools: list[ThreadPoolExecutor] = []

    class Counted(ThreadPoolExecutor):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            pools.append(self)

    for module in (extract, pairing):
        monkeypatch.setattr(module, "ThreadPoolExecutor", Counted)
    for match in MATCHES:
        assert [*compare(store, store, match=match).agreement.by_run] == [*runs]
    assert [piece.run for piece in iterate(store)] == [*runs]
    assert len(pools) == 3


def test_runs_of_one_side_only_are_told_and_not_counted(tmp_path: Path) -> None:
    a = write_store(tmp_path / "a", {"run_1": answers(50), "run_2": answers(70)})
    b = write_store(tmp_path / "b", {"run_1": answers(50)})
    found = compare(a, b)
    assert found.accounting["signals"] == 50
    assert "run 'run_2' is in A only: its 70 signals are not counted here" in found.notes
    assert compare(a, b, run="run_1").notes == []
    with pytest.raises(CampaignError, match="no run 'run_2'"):
        compare(a, b, run="run_2")


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_changed_signals_are_written_with_both_answers(tmp_path: Path, ending: str) -> None:
    a, b = two(tmp_path)
    path = tmp_path / f"changed.{ending}"
    found = compare(a, b, changed=path)
    table = pyarrow.parquet.read_table(path) if ending == "parquet" else pyarrow.csv.read_csv(path)
    rows = table.to_pylist()
    assert len(rows) == found.agreement.compared - found.agreement.agreeing > 10
    one = answers(200)
    for row in rows:
        k = row["signal"]
        assert (row["run"], row["timestamp"], row["board"]) == ("run_1", one["timestamp"][k], one["board"][k])
        assert row["label_a"] == ("gamma", "neutron")[one["label"][k]] != row["label_b"]
        assert row["probability_a_neutron"] == pytest.approx(one["probability"][k, 1])
        assert (row["probability_b_neutron"] > 0.5) == (row["label_b"] == "neutron")
    assert {entry.name for entry in tmp_path.iterdir()} == {"a", "b", path.name}  # nothing partial is left


def test_changed_signals_carry_units_provenance_and_names_as_exports_do(tmp_path: Path) -> None:
    names = ("gamma", "fast neutron")
    one, other = answers(200, refused=0.0), answers(150, 5, refused=0.0)
    order = np.random.default_rng(1).permutation(200)[:150]
    moved = {name: one[name][order] for name in one} | {name: other[name] for name in ("probability", "label")}
    a = write_store(tmp_path / "a", {"run_1": one}, classes=names)
    b = write_store(tmp_path / "b", {"run_1": moved}, classes=names)
    for ending in ("parquet", "root"):
        found = compare(a, b, match="hit", changed=tmp_path / f"changed.{ending}")
    changed = found.agreement.compared - found.agreement.agreeing
    assert changed > 10
    table = pyarrow.parquet.read_table(tmp_path / "changed.parquet")
    assert table.schema.field("timestamp").metadata[b"units"] == b"10 ns"
    description = json.loads(table.schema.metadata[b"psdbatch"])
    assert description["match"] == "hit"
    assert description["b"]["classes"] == [*names]
    for row in table.to_pylist():
        assert order[row["signal_b"]] == row["signal"]
        assert row["probability_b_fast_neutron"] == other["probability"][row["signal_b"], 1]
    with uproot.open(tmp_path / "changed.root") as file:
        tree, described = file["signals"], json.loads(str(file["description"]))
        label = tree["label_a"].array(library="np")
        np.testing.assert_array_equal(tree["signal"].array(library="np"), table["signal"].to_numpy())
    words = described["columns"]["label_a"]["words"]
    assert [words[k] for k in label] == table["label_a"].to_pylist()


@pytest.mark.parametrize("ending", MODULES)
def test_the_command_writes_changed_signals_in_every_format(tmp_path: Path, ending: str) -> None:
    a, b = two(tmp_path)
    path = tmp_path / f"changed.{ending}"
    done = CliRunner().invoke(diff, [str(a), str(b), "--select-changed", str(path)])
    assert done.exit_code == 0, done.output
    assert re.search(rf"^\d+ changed signals: {re.escape(str(path))}$", done.stdout, re.MULTILINE)
    assert path.stat().st_size > 1000


def test_what_cannot_be_written_is_refused_before_anything_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = two(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(comparing, "_pairs", None)
    for path, message in (
        (tmp_path / "folder.csv", "folder.csv: is a directory"),
        (b / "results.zarr/zarr.csv", "lies inside the campaign"),
        (tmp_path / "changed.json", "formats: parquet, root, csv"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            compare(a, b, changed=path)
    with pytest.raises(StorageError, match="file/below: cannot be written: Not a directory"):
        comparison_directory(tmp_path / "file/below")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "folder.csv", "file"}


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, f"Cannot write to '{tmp_path}/.changed.csv.0123.partial'")

    a, b = two(tmp_path)
    monkeypatch.setattr(csv_file, "record_batch", full)
    with pytest.raises(StorageError, match=r"changed\.csv: cannot be written: No space left on device$"):
        compare(a, b, changed=tmp_path / "changed.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_the_page_and_the_facts_say_the_same(tmp_path: Path) -> None:
    found = compare(*two(tmp_path))
    page = write_comparison(found, tmp_path / "out")
    assert page.read_text().count("<svg") == 5
    assert json.loads((tmp_path / "out/comparison.json").read_text()) == json.loads(json.dumps(comparison_facts(found)))
    largest = comparison_facts(found)["probability"]["neutron"]
    one, other = (zarr_column(tmp_path / name, "probability")[:, 1] for name in "ab")
    difference = other.astype(float) - one
    assert largest["largest_size"] == pytest.approx(np.nanmax(np.abs(difference)))
    assert largest["signal"] == int(np.nanargmax(np.abs(difference)))
    assert largest["mean"] == pytest.approx(np.nanmean(difference))


def zarr_column(path: Path, name: str) -> np.ndarray:  # type: ignore[type-arg]
    import zarr

    return np.asarray(zarr.open_group(path / "results.zarr/run_1", mode="r")[name][:])  # type: ignore[index]


def with_compressed(n: int) -> tuple[Values, np.ndarray]:  # type: ignore[type-arg]
    """Raw frames, then compressed frames of the same hits in another order but for the last ten; the online value."""
    raw = answers(n, refused=0.0)
    order = np.random.default_rng(3).permutation(n)[:-10]
    both = {name: np.concatenate([values, values[order]]) for name, values in raw.items()}
    refuse(both, np.arange(len(both["label"])) >= n, Flag.NO_SAMPLES)
    value = np.random.default_rng(4).integers(0, 65536, n).astype("uint16")
    both["online_network"] = np.concatenate([np.zeros(n, "uint16"), value[order]])
    known = np.zeros(n, bool)
    known[order] = True
    return both, np.where(known, value.astype(int), -1)


def test_signals_that_have_lost_their_hit_are_counted_once_and_beside_the_others(tmp_path: Path) -> None:
    values = answers(200, refused=0.0)
    lost = np.arange(200) % 9 == 4
    refuse(values, lost, Flag.DAMAGED)
    for name in ("timestamp", "board", "channel"):
        values[name][lost] = 0
    a = write_store(tmp_path / "a", {"run_1": values}, unfinished={("run_1", 2)})
    found = compare(a, a, match="hit")
    damaged = int(lost[:128].sum() + lost[192:].sum())
    assert found.agreement.compared == found.agreement.agreeing == 136 - damaged
    assert found.accounting["signals"] == 136 - damaged + 2 * 64  # nothing is known of the block that is not there
    assert (found.aside.lost_a, found.aside.lost_b, found.aside.repeated_a) == (damaged, damaged, 0)
    assert ("without a hit in B", f"{damaged} signals so damaged that time, board and channel are lost") in accounting(
        found
    )


@pytest.mark.parametrize("threshold", [None, 10_000.0])
def test_online_answers_are_found_by_their_hit(tmp_path: Path, threshold: float | None) -> None:
    both, value = with_compressed(200)
    store = write_store(tmp_path / "both", {"run_1": both})
    found = compare(store, None, OnlineRequest(threshold=threshold))
    label, known = both["label"][:200], value >= 0
    online = value >= (32768 if threshold is None else threshold)
    expected = [[np.sum(known & (label == a) & (online == b)) for b in (0, 1)] for a in (0, 1)]
    assert found.agreement.confusion.tolist() == expected
    assert (found.aside.a, found.aside.b) == (190, 200)
    assert found.accounting == {"signals": 200, "compared": 190, "only_a": 10, "only_b": 0, "neither": 0}

    raw_only = write_store(tmp_path / "raw", {"run_1": {k: v[:200] for k, v in both.items() if k != "online_network"}})
    again = compare(raw_only, store, OnlineRequest(threshold=threshold))
    assert again.agreement.confusion.tolist() == expected


def test_the_trigger_s_decision_stands_beside_the_samples(tmp_path: Path) -> None:
    values = answers(100)
    values["neutron_trigger"] = (np.arange(100) % 2).astype("uint8")
    found = compare(write_store(tmp_path / "a", {"run_1": values}), None, OnlineRequest())
    assert found.match == "position"
    answered = values["label"] < 2
    assert found.agreement.agreeing == np.sum(answered & (values["label"] == np.arange(100) % 2))


def test_an_agreement_that_says_nothing_is_remarked(tmp_path: Path) -> None:
    values = answers(100)
    for value, words in (
        (0, "every signal is gamma: 'neutron_trigger' lies below 1"),
        (1, "neutron: .* from 1 on for"),
    ):
        values["neutron_trigger"] = np.full(100, value, "uint8")
        store = write_store(tmp_path / str(value), {"run_1": values})
        (note,) = compare(store, None, OnlineRequest()).notes
        assert re.search(words, note)
    assert compare(store, store / "results.zarr").notes == ["A and B are the same store"]
    with pytest.raises(ComparisonError, match="a threshold of nan"):
        compare(store, None, OnlineRequest(threshold=float("nan")))


def test_plots_of_many_channels_stay_small_and_legible(tmp_path: Path) -> None:
    a, b = answers(4000, 1, refused=0.0), answers(4000, 2, refused=0.0)
    for values in (a, b):
        values["timestamp"] = a["timestamp"]
        values["board"] = np.arange(4000, dtype="uint16") // 16
        values["channel"] = np.arange(4000, dtype="uint16") % 500 * 130
        values["amplitude"] = 10 ** np.linspace(0, 6, 4000, dtype="float32")
    found = compare(*(write_store(tmp_path / name, {"run_1": values}) for name, values in (("a", a), ("b", b))))
    assert len(plots.channel_plot(found)) < 200_000
    for svg in (plots.channel_plot(found), plots.amplitude_plot(found)):
        for line in labels_of_an_axis(svg):
            assert 3 <= len(line) <= 20
            gaps = [right - left for (left, _), (right, _) in pairwise(line)]
            widths = [5.5 * (len(one) + len(other)) / 2 for (_, one), (_, other) in pairwise(line)]
            assert all(gap > width for gap, width in zip(gaps, widths, strict=True))


def labels_of_an_axis(svg: str) -> list[list[tuple[float, str]]]:
    """Horizontal position and text of the numbers on one height of a plot, by height and axes."""
    found: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for axes, part in enumerate(re.split(r'<g id="[^"]*axes_', svg)[1:]):
        for x, y, text in re.findall(
            r'text-anchor: middle[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>([\d.e+]+)</text>', part
        ):
            found.setdefault((str(axes), y), []).append((float(x), text))
    return [line for line in found.values() if len(line) > 1]


def test_a_store_without_online_answers_says_what_it_holds_and_how_to_get_them(tmp_path: Path) -> None:
    store = write_store(tmp_path / "a", {"run_1": answers(20)})
    with pytest.raises(
        ComparisonError, match=r"holds no answer of an online network; columns: timestamp, .*frames = 'all'"
    ):
        compare(store, None, OnlineRequest())
    with pytest.raises(ComparisonError, match="holds no column 'amplitud'; did you mean 'amplitude'"):
        compare(store, None, OnlineRequest("amplitud"))
