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


def test_a_sample_continued_to_the_whole_equals_one_pass(folder: Path) -> None:
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

    at_once = config(folder, "at_once")
    campaigns.psdbatch("run", at_once)
    assert campaigns.store_digests(directory) == campaigns.store_digests(folder / "at_once")
    assert audit(*open_campaign(directory)).passed
    started = [
        json.loads(line).get("sample")
        for line in (directory / "journal.jsonl").read_text().splitlines()
        if json.loads(line)["event"] == "started"
    ]
    assert started == [0.3, None]
