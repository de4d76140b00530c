"""The examples of docs/results.md run, in order, and give what the values say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from psdbatch.cli.results import export
from psdbatch.columns import Flag
from tests.filled_stores import filled_campaign, joined, measured

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
RUNS = {"run_0041": [measured(2500, 1)], "run_0042": [measured(2000, 2, board=1), measured(2000, 3, board=2)]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs")
    filled_campaign(path / "my-campaign", RUNS)
    return path


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_python_examples_run_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found: dict[str, Any] = {}
    blocks = examples("python")
    assert len(blocks) == 8
    seen: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, example {number + 1}", "exec"), found)
        seen |= {name: found[name] for name in ("neutrons",) if name in found and number == 1}
    values, run = joined([part for parts in RUNS.values() for part in parts]), joined(RUNS["run_0042"])
    saturated = (values["flags"] & Flag.SATURATED) != 0
    assert seen["neutrons"] == ((values["label"] == 1) & ~saturated).sum() == len(found["neutrons"])
    chosen = (run["label"] == 1) & (run["amplitude"] > 500) & ((run["flags"] & Flag.SATURATED) == 0)
    assert len(found["table"]) == chosen.sum()
    whole = np.isfinite(values["charge_long"]) & ~saturated
    assert found["histogram"].sum() == pytest.approx(whole.sum(), rel=1e-3)
    assert found["found"].value > 1
    order = np.argsort(run["timestamp"], kind="stable")
    time, board = run["timestamp"][order], run["board"][order].astype(int)
    near = (np.diff(time) < 10) & (np.diff(board) != 0) & (time[1:] > 0) & (time[:-1] > 0)
    assert found["pairs"] == near.sum() > 0
    assert found["unit"] == "10 ns"
    assert found["provenance"]["classes"] == ["gamma", "neutron"]
    assert len(found["amplitude"]) == (run["timestamp"] > 0).sum()
    assert found["meaning"].startswith("largest sample")
    np.testing.assert_allclose(found["ratio"].mean(), 0.28, atol=0.01)


def test_commands_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    lines = [line for block in examples("sh") for line in block.splitlines()]
    assert len(lines) == 2
    for line in lines:
        program, name, *arguments = shlex.split(line)
        assert (program, name) == ("psdbatch", "export")
        done = CliRunner().invoke(export, arguments)
        assert done.exit_code == 0, done.output
        assert (folder / arguments[1]).exists()


def test_every_condition_of_the_table_can_be_read(folder: Path) -> None:
    from psdbatch.results.contents import Contents
    from psdbatch.results.selection import parse_selection

    table = PAGE.read_text().split("## Conditions")[1].split("## Stores")[0]
    conditions = [
        text
        for row in re.findall(r"^\| [a-z].*? \| (.*) \|$", table, re.MULTILINE)
        for text in re.findall(r"`(.*?)`", row)
    ]
    assert len(conditions) >= 12
    for text in conditions:
        if text not in ("label == 'fast neutron'",):
            parse_selection(text, Contents(folder / "my-campaign"))
