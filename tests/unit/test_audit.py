"""The audit passes what is right, and finds whatever is not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.campaign import audit_block
from psdbatch.campaign.audit import audit
from psdbatch.campaign.commit import CommitRecord, quarantine
from psdbatch.campaign.directory import BlockName, CampaignDirectory
from psdbatch.campaign.finalise import finalise, read_checksums
from psdbatch.campaign.plan import Plan
from psdbatch.errors import CampaignError
from tests.small_campaign import SmallCampaign, campaign_of_files, folder_in_memory, small_campaign, tree


@pytest.fixture
def finished() -> Iterator[SmallCampaign]:
    with folder_in_memory() as folder:
        campaign = small_campaign(folder / "campaign", {"run_1": (20, 17), "run_2": (16,)})
        campaign.go_on()
        yield campaign


def problem(campaign: SmallCampaign) -> str:
    """The only problem there is."""
    audit = campaign.audit()
    assert not audit.passed
    (found,) = audit.problems
    return found


def test_finished_campaign_passes_and_its_equation_says_why(finished: SmallCampaign) -> None:
    audit = finished.audit()
    assert audit.passed
    assert audit.problems == []
    assert audit.shards == 4 * 3
    labels = np.concatenate([finished.decoded(run)["label"] for run in ("run_1", "run_2")])
    refused = int((labels == 255).sum())
    assert audit.equation() == f"53 signals indexed = {53 - refused} written + {refused} refused, 0 duplicates"
    assert audit.facts()["passed"] is True
    assert json.loads(json.dumps(audit.facts()))["refused"] == {"damaged in the acquisition file": refused}


def test_audit_tells_its_progress_signal_by_signal(finished: SmallCampaign) -> None:
    told: list[int] = []
    audit(finished.directory, finished.plan, inputs=False, done=told.append)
    assert told == [16, 16, 5, 16]


# 1,000 random corruptions

Corruption = Callable[[Path, list[Path], random.Random], dict[Path, bytes | None]]
"""New content of the files that are spoiled; None for a file that is removed."""


def flip_a_bit(path: Path, _: list[Path], chance: random.Random) -> dict[Path, bytes | None]:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return {path: bytes(content)}


def truncate(path: Path, _: list[Path], chance: random.Random) -> dict[Path, bytes | None]:
    content = path.read_bytes()
    return {path: content[: chance.randrange(len(content))]}


def delete(path: Path, _: list[Path], chance: random.Random) -> dict[Path, bytes | None]:
    return {path: None}


def extend(path: Path, _: list[Path], chance: random.Random) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() + chance.choice([b"\0", b"\n", b" ", b"}", chance.randbytes(9)])}


def zero_a_page(path: Path, _: list[Path], chance: random.Random) -> dict[Path, bytes | None]:
    content = path.read_bytes()
    start = chance.randrange(len(content))
    return {path: content[:start] + bytes(len(content) - start)}


def swap_two(path: Path, others: list[Path], chance: random.Random) -> dict[Path, bytes | None]:
    other = chance.choice([other for other in others if other.read_bytes() != path.read_bytes()])
    return {path: other.read_bytes(), other: path.read_bytes()}


CORRUPTIONS: tuple[Corruption, ...] = (flip_a_bit, truncate, delete, extend, zero_a_page, swap_two)


def check_corruptions(campaign: SmallCampaign, count: int, seed: int = 2) -> None:
    """Spoil the campaign in ``count`` ways, each on its own; the audit must find every one."""
    chance = random.Random(seed)
    metadata = sorted(campaign.directory.store.rglob("zarr.json"))
    shards = sorted(campaign.directory.store.rglob("c.*"))
    records = sorted(campaign.directory.commits.rglob("*.json"))
    missed, done = [], 0
    while done < count:
        kind = chance.choices([shards, records, metadata], [6, 2, 2])[0]
        path, corruption = chance.choice(kind), chance.choice(CORRUPTIONS)
        spoiled = corruption(path, kind, chance)
        before = {path: path.read_bytes() for path in spoiled}
        if before == spoiled:
            continue  # there were zeroes already
        done += 1
        for path, content in spoiled.items():
            path.unlink() if content is None else path.write_bytes(content)
        if campaign.audit().passed:
            missed.append(f"{corruption.__name__} in {path}")
        for path, content in before.items():
            path.write_bytes(content)
    assert not missed, missed
    assert campaign.audit().passed


def test_audit_finds_a_thousand_of_a_thousand_corruptions(finished: SmallCampaign) -> None:
    check_corruptions(finished, 1000)


def test_corruptions_find_an_audit_that_compares_no_checksums(
    finished: SmallCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Anything(str):
        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = str.__hash__

    class Digest:
        def hexdigest(self) -> str:
            return Anything()

    monkeypatch.setattr(audit_block.hashlib, "file_digest", lambda content, name: Digest())
    with pytest.raises(AssertionError, match=r"run_1/probability"):
        check_corruptions(finished, 100)


def test_every_flipped_bit_of_the_plan_is_noticed(finished: SmallCampaign) -> None:
    whole = finished.directory.plan.read_bytes()
    for bit in random.Random(1).sample(range(8 * len(whole)), 300):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        finished.directory.plan.write_bytes(damaged)
        try:
            plan = Plan.read(finished.directory.plan)
        except CampaignError:
            continue
        assert plan.fingerprint != finished.plan.fingerprint
        attributes = json.loads((finished.directory.store / "zarr.json").read_bytes())["attributes"]
        assert attributes["plan_fingerprint"] != plan.fingerprint


# What each problem is called


def test_unfinished_block_is_named(finished: SmallCampaign) -> None:
    finished.directory.record(BlockName("run_1", 2)).unlink()
    assert problem(finished) == "block run_1/000002: not finished (5 signals)"


def test_plan_that_is_not_the_stores_is_named(finished: SmallCampaign) -> None:
    other = Plan({**finished.plan.question, "model": {}}, finished.plan.block, finished.plan.runs)
    problems = audit(finished.directory, other, inputs=False).problems
    assert any("plan.json: is not the plan that the store was made for" in text for text in problems)
    assert any("run_1/000000: was computed from something else" in text for text in problems)


def test_files_that_belong_to_no_block_are_named(finished: SmallCampaign) -> None:
    column = finished.directory.store / "run_1" / "label"
    for name in ("c.3", "c.00", "c.0.0", "c.x", "c.0.1b2c.partial"):
        (column / name).write_bytes(b"")
        assert problem(finished) == f"{column / name}: belongs to no block of the plan"
        (column / name).unlink()


def test_record_of_no_block_is_named(finished: SmallCampaign) -> None:
    stray = finished.directory.record(BlockName("run_3", 0))
    stray.parent.mkdir(parents=True)
    stray.write_bytes(finished.directory.record(BlockName("run_1", 0)).read_bytes())
    assert problem(finished) == "block run_3/000000 is committed but not in the plan"


def test_signals_claimed_by_two_records_are_counted(finished: SmallCampaign) -> None:
    first, second = (finished.directory.record(BlockName("run_1", number)) for number in (0, 1))
    second.write_bytes(first.read_bytes())
    audit = finished.audit()
    assert audit.duplicates == 16
    assert not audit.passed


def test_shards_under_a_block_that_was_given_up_are_named(finished: SmallCampaign) -> None:
    block = finished.blocks()[0]
    finished.directory.record(block.name).unlink()
    given_up = {**finished.record(block), "refused": {"the block was given up": block.signals}}
    quarantine(finished.directory, block.name, **given_up, quarantine="three workers died")
    problems = finished.audit().problems
    assert "block run_1/000000: was given up, but the store holds label/c.0" in problems


def test_store_and_record_that_refuse_differently_are_named(finished: SmallCampaign) -> None:
    path = finished.directory.record(BlockName("run_2", 0))
    record = CommitRecord.read(path)
    path.write_bytes(CommitRecord(**{**vars(record), "refused": {"no reason": 1}}).to_bytes())
    assert "run_2/000000: the store refuses" in problem(finished)


def test_unfinished_campaign_does_not_pass() -> None:
    with folder_in_memory() as folder:
        campaign = small_campaign(folder / "campaign")
        for block in campaign.blocks():
            campaign.attempt(block)
        assert "its metadata were never gathered" in problem(campaign)
        finalise(campaign.directory, campaign.plan)
        assert campaign.audit().passed


def test_store_that_vanished_does_not_pass(finished: SmallCampaign) -> None:
    finished.directory.store.rename(finished.directory.path / "elsewhere")
    audit = finished.audit()
    assert not audit.passed
    assert len(audit.problems) >= 12


def test_damaged_metadata_are_not_blessed_by_the_next_pass(finished: SmallCampaign) -> None:
    path = finished.directory.store / "run_1" / "label" / "zarr.json"
    path.write_bytes(path.read_bytes().replace(b"most", b"least"))
    with pytest.raises(CampaignError, match=r"run_1/label/zarr\.json: is not what it was"):
        finalise(finished.directory, finished.plan)
    assert "label/zarr.json: is not what the last pass left" in problem(finished)


def test_damaged_root_metadata_are_made_again(finished: SmallCampaign) -> None:
    before = tree(finished.directory.store)
    path = finished.directory.store / "zarr.json"
    for content in (b"", b"{", b"[]", path.read_bytes()[:-30]):
        path.write_bytes(content)
        finished.go_on()
        assert tree(finished.directory.store) == before


def test_damaged_checksums_of_metadata_are_told(finished: SmallCampaign) -> None:
    finished.directory.metadata.write_bytes(b"[1]")
    with pytest.raises(CampaignError, match=r"metadata\.json: damaged"):
        read_checksums(finished.directory)
    assert "metadata.json: damaged" in problem(finished)


# The acquisition files


@pytest.fixture
def with_files(tmp_path: Path) -> SmallCampaign:
    campaign = campaign_of_files(tmp_path, {"run_1": (20, 17), "run_2": (5,)})
    campaign.go_on()
    return campaign


def file_audit(campaign: SmallCampaign) -> Any:
    return audit(campaign.directory, campaign.plan)


def test_signals_are_counted_again_in_the_acquisition_files(with_files: SmallCampaign) -> None:
    audit = file_audit(with_files)
    assert audit.passed, audit.problems
    assert audit.indexed == 42
    assert audit.inputs_read


def test_acquisition_file_that_grew_shrank_or_vanished_is_named(with_files: SmallCampaign) -> None:
    path = Path(with_files.plan.runs[0].files[1].path)
    np.save(path, np.zeros((18, 75), "int16"))
    audit = file_audit(with_files)
    assert audit.problems == [f"{path}: holds 18 signals now, 17 when it was planned"]
    assert "43 signals indexed ≠" in audit.equation()
    path.unlink()
    audit = file_audit(with_files)
    assert not audit.passed
    assert str(path) in audit.problems[0]


def test_directory_is_all_an_audit_needs(with_files: SmallCampaign) -> None:
    directory = CampaignDirectory(with_files.directory.path)
    assert audit(directory, Plan.read(directory.plan)).passed
