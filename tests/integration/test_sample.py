"""A canary: a sample of the blocks first, the whole later, as if it had been done at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from psdbatch.campaign.audit import audit
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.prepare import open_campaign
from psdbatch.campaign.sample import SampleState, choose_sample
from psdbatch.coordination.status import read_status
from psdbatch.results.reading import open_results
from tests import campaigns


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, one of them a gzip file that can only be read from its start; 15 blocks."""
    import gzip

    path = tmp_path_factory.mktemp("sample")
    campaigns.write_file(path / "data/run_1.psdz", campaigns.pulses(4000))
    plain = campaigns.write_file(path / "run_2.mfm", campaigns.pulses(3500, seed=2), "mfm")
    (path / "data/run_2.mfm.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return path


def config(folder: Path, name: str) -> Path:
    network = folder / "network.pb"
    if not network.exists():
        campaigns.write_network(network)
    return campaigns.write_config(
        folder / f"{name}.toml", str(folder / "data/*"), network, name, processing={"block": 500}
    )


@pytest.fixture(scope="module")
def at_once(folder: Path) -> Path:
    """The campaign done in one pass."""
    campaigns.psdbatch("run", config(folder, "at_once"))
    return folder / "at_once"


def test_a_sample_continued_to_the_whole_equals_one_pass(folder: Path, at_once: Path) -> None:
    path = config(folder, "sampled")
    directory = folder / "sampled"
    first = campaigns.facts("run", path, "--sample", "0.3")
    sample = choose_sample(open_campaign(directory)[1], 0.3)
    assert first["sample"] == {"fraction": 0.3, "blocks": 4, "signals": 2000, "finished": 4, "missing": 0}
    assert (first["finished"], first["blocks"], first["missing"]) == (4, 15, 5500)
    found = {str(record.relative_to(directory / "commits")) for record in directory.glob("commits/*/*/*.json")}
    assert found == {f"{name.run}/000000/{name.number:09d}.json" for name in sample.blocks}
    assert max(name.number for name in sample.blocks if name.run == "run_2") > 0  # inside the gzip file

    state = read_status(CampaignDirectory(directory))
    assert state.summary is not None
    assert state.summary.sample == SampleState(**first["sample"])
    told = campaigns.psdbatch("status", directory).stdout
    assert "sample of 0.3" in told
    assert "5,500 signals are left for a start without --sample" in told
    audited = audit(*open_campaign(directory))
    assert (audited.indexed, audited.written, audited.duplicates) == (7500, 2000, 0)
    assert all("not finished" in problem for problem in audited.problems)

    before = {path: path.read_bytes() for path in directory.glob("commits/*/*/*.json")}
    whole = campaigns.facts("run", path)
    assert (whole["finished"], whole["missing"], whole["sample"]) == (15, 0, None)
    assert {path: path.read_bytes() for path in before} == before

    assert campaigns.store_digests(directory) == campaigns.store_digests(at_once)
    assert audit(*open_campaign(directory)).passed
    started = [
        json.loads(line).get("sample")
        for line in (directory / "journal.jsonl").read_text().splitlines()
        if json.loads(line)["event"] == "started"
    ]
    assert started == [0.3, None]


def test_diff_of_two_models_with_other_blocks_and_one_unfinished(folder: Path, at_once: Path) -> None:
    other = campaigns.write_network(folder / "other.pb", (6, 4))
    path = campaigns.write_config(
        folder / "other.toml",
        str(folder / "data/*"),
        other,
        "other",
        processing={"block": 400},
        results={"chunk": 200},
        model={"classes": ["neutron", "gamma"]},
    )
    campaigns.psdbatch("run", path, "--sample", "0.5")
    table = folder / "changed.csv"
    found = campaigns.facts(
        "diff", at_once, folder / "other", "--output", folder / "compared", "--select-changed", table
    )

    names = (("gamma", "neutron"), ("neutron", "gamma"))
    expected: dict[tuple[str, str], int] = {}
    compared = 0
    for run in ("run_1", "run_2"):
        a, b = (open_results(directory, run).label.values for directory in (at_once, folder / "other"))
        for one, two in zip(a, b, strict=True):
            if 255 not in (one, two):
                compared += 1
                cell = names[0][one], names[1][two]
                expected[cell] = expected.get(cell, 0) + 1
    count = found["accounting"]
    assert count == {"signals": 7500, "compared": compared, "only_a": 7500 - compared, "only_b": 0, "neither": 0}
    assert 0 < compared < 7500
    classes = found["classes"]
    assert {
        (classes[row], classes[column]): number
        for row, numbers in enumerate(found["confusion"])
        for column, number in enumerate(numbers)
        if number
    } == expected
    changed = sum(number for (one, two), number in expected.items() if one != two)
    assert len(table.read_text().splitlines()) == changed + 1
    assert (folder / "compared/comparison.html").stat().st_size > 10_000
