"""A commit, a publication, a finalisation, a creation: stopped at every single file operation, and gone on with."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.finalise import finalise
from psdbatch.errors import CampaignError
from tests.faults import DEADLY, Counting, Fault, Faulty, copy_tree, die_at_event, in_a_process, operations
from tests.small_campaign import SmallCampaign, folder_in_memory, small_campaign

RUNS = {"run_1": (9, 4)}
KILLED = -9


@pytest.fixture(scope="module")
def fast() -> Iterator[Path]:
    with folder_in_memory() as folder:
        yield folder


@pytest.fixture(scope="module")
def planned(fast: Path) -> SmallCampaign:
    """A campaign that is planned, and nothing more."""
    return small_campaign(fast / "planned", RUNS)


@pytest.fixture(scope="module")
def linked(fast: Path, planned: SmallCampaign) -> SmallCampaign:
    """A campaign whose worker was killed when its block was committed and not one shard was in the store."""
    campaign = copy_of(planned, fast / "linked")
    counting = Counting()
    with operations(counting):
        copy = copy_of(planned, fast / "counted")
        copy.attempt(copy.blocks()[0])
    at = counting.names.index("link") + 1
    assert in_a_process(lambda: _attempt(campaign, Faulty(at, Fault.KILLED))) == KILLED
    assert list(campaign.directory.committed())
    assert shard_names(campaign) == set()
    return campaign


@pytest.fixture(scope="module")
def finished(fast: Path, planned: SmallCampaign) -> SmallCampaign:
    """The same campaign, never interrupted."""
    campaign = copy_of(planned, fast / "finished")
    campaign.go_on()
    assert campaign.audit().passed
    return campaign


def copy_of(campaign: SmallCampaign, path: Path) -> SmallCampaign:
    copy_tree(campaign.directory.path, path)
    return SmallCampaign(CampaignDirectory(path), campaign.plan)


def shard_names(campaign: SmallCampaign) -> set[str]:
    return {name for name in campaign.contents() if not name.endswith("zarr.json")}


def assert_nothing_half_done(campaign: SmallCampaign, finished: SmallCampaign) -> None:
    """What readers see is whole: a record that can be read, shards that a record knows, each with its final bytes."""
    names = list(campaign.directory.committed())
    records = [CommitRecord.read(campaign.directory.record(name)) for name in names]
    known = {f"{record.run}/{shard.path}" for record in records for shard in record.shards}
    final = finished.contents()
    assert shard_names(campaign) <= known
    assert all(content == final[name] for name, content in campaign.contents().items() if name in known)


def assert_as_never_interrupted(campaign: SmallCampaign, finished: SmallCampaign) -> None:
    """The store is byte for byte that of the campaign that nobody stopped; nothing else is left."""
    assert campaign.contents() == finished.contents()
    assert campaign.directory.metadata.read_bytes() == finished.directory.metadata.read_bytes()
    assert campaign.staged() == []
    assert facts(campaign) == facts(finished)
    audit = campaign.audit()
    assert audit.passed, audit.problems


def facts(campaign: SmallCampaign) -> list[dict[str, Any]]:
    """Commit records but for the name of the winning attempt."""
    records = (CommitRecord.read(campaign.directory.record(name)) for name in sorted(campaign.directory.committed()))
    return [{**vars(record), "attempt": ""} for record in records]


def _attempt(campaign: SmallCampaign, faulty: Faulty) -> None:
    with operations(faulty):
        campaign.attempt(campaign.blocks()[0])


def _finalise(campaign: SmallCampaign, faulty: Faulty) -> None:
    with operations(faulty):
        finalise(campaign.directory, campaign.plan)


def strike(campaign: SmallCampaign, work: Callable[[SmallCampaign, Faulty], None], at: int, fault: Fault) -> bool:
    """Do ``work`` with the fault; whether there is an operation of that number.

    A process that the fault does not kill must report it as an OSError of that kind, or have got over it.
    """
    faulty = Faulty(at, fault)
    if fault in DEADLY:
        code = in_a_process(lambda: work(campaign, faulty))
        assert code in (0, KILLED)
        return code == KILLED
    assert reported(campaign, faulty, work) in (None, errno.ENOSPC if fault is Fault.ENOSPC else errno.EIO)
    return faulty.done > at


def reported(campaign: SmallCampaign, faulty: Faulty, work: Callable[[SmallCampaign, Faulty], None]) -> int | None:
    try:
        work(campaign, faulty)
    except OSError as error:
        return error.errno
    return None


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_attempt_stopped_at_any_operation_is_made_good(
    fault: Fault, planned: SmallCampaign, finished: SmallCampaign, fast: Path
) -> None:
    at = 0
    while True:
        campaign = copy_of(planned, fast / f"attempt-{fault.name}-{at}")
        struck = strike(campaign, _attempt, at, fault)
        assert_nothing_half_done(campaign, finished)
        campaign.go_on()
        assert_as_never_interrupted(campaign, finished)
        if not struck:
            break
        at += 1
    assert at > 60  # a commit of three shards has that many operations


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_publication_by_another_process_stopped_at_any_operation_is_made_good(
    fault: Fault, linked: SmallCampaign, finished: SmallCampaign, fast: Path
) -> None:
    at = 0
    while True:
        campaign = copy_of(linked, fast / f"finalise-{fault.name}-{at}")
        before = facts(campaign)
        struck = strike(campaign, _finalise, at, fault)
        assert_nothing_half_done(campaign, finished)
        assert facts(campaign) == before
        campaign.go_on()
        assert_as_never_interrupted(campaign, finished)
        if not struck:
            break
        at += 1
    assert at > 30


def kill_at_every_event(
    work: Callable[[Path], Any], prepared: Callable[[Path], None], check: Callable[[Path], None], fast: Path
) -> int:
    """Kill ``work`` in front of each file operation that any library makes in the campaign; how many there were."""
    at = 0
    while True:
        folder = Path(tempfile.mkdtemp(dir=fast)) / "campaign"
        prepared(folder)

        def child(folder: Path = folder, at: int = at) -> None:
            die_at_event(at, folder)
            work(folder)

        code = in_a_process(child)
        assert code in (0, KILLED)
        check(folder)
        shutil.rmtree(folder.parent)
        if code == 0:
            return at
        at += 1


def test_creation_of_a_campaign_killed_anywhere_is_made_good(finished: SmallCampaign, fast: Path) -> None:
    def check(folder: Path) -> None:
        campaign = small_campaign(folder, RUNS)
        campaign.go_on()
        assert_as_never_interrupted(campaign, finished)
        assert not list(folder.glob("*.partial"))

    assert kill_at_every_event(lambda folder: small_campaign(folder, RUNS), lambda folder: None, check, fast) > 40


def test_finalisation_killed_anywhere_is_made_good(linked: SmallCampaign, finished: SmallCampaign, fast: Path) -> None:
    def check(folder: Path) -> None:
        campaign = SmallCampaign(CampaignDirectory(folder), linked.plan)
        campaign.go_on()
        assert_as_never_interrupted(campaign, finished)

    killed = kill_at_every_event(
        lambda folder: finalise(CampaignDirectory(folder), linked.plan),
        lambda folder: copy_tree(linked.directory.path, folder),
        check,
        fast,
    )
    assert killed > 20


def test_campaign_killed_between_any_two_blocks_equals_uninterrupted(fast: Path) -> None:
    runs = {"run_1": (20, 17), "run_2": (16,), "run_3": (1, 70)}
    whole = small_campaign(fast / "whole", runs)
    whole.go_on()
    for stop in range(len(whole.blocks())):
        campaign = small_campaign(fast / f"stopped-{stop}", runs)

        def work(campaign: SmallCampaign = campaign, stop: int = stop) -> None:
            for block in campaign.blocks()[:stop]:
                campaign.attempt(block)
            with operations(Faulty(7 * stop, Fault.KILLED)):
                campaign.attempt(campaign.blocks()[stop])

        assert in_a_process(work) == KILLED
        campaign.go_on()
        assert_as_never_interrupted(campaign, whole)


def test_appended_run_leaves_finished_blocks_alone(planned: SmallCampaign, fast: Path) -> None:
    campaign = copy_of(planned, fast / "appended")
    campaign.go_on()
    before = campaign.contents()
    status = {path: path.stat().st_mtime_ns for path in campaign.directory.commits.rglob("*.json")}
    grown = campaign.with_run("run_2", 33)
    assert not grown.audit().passed
    grown.go_on()
    assert grown.audit().passed
    after = grown.contents()
    assert {name: content for name, content in after.items() if name in before and name != "zarr.json"} == {
        name: content for name, content in before.items() if name != "zarr.json"
    }
    assert all(path.stat().st_mtime_ns == modified for path, modified in status.items())


def test_finished_campaign_started_again_changes_nothing(planned: SmallCampaign, fast: Path) -> None:
    campaign = copy_of(planned, fast / "again")
    campaign.go_on()
    before = {path: path.stat().st_mtime_ns for path in campaign.directory.store.rglob("*")}
    campaign.go_on()
    assert {path: path.stat().st_mtime_ns for path in campaign.directory.store.rglob("*")} == before


def test_lost_shard_is_told_and_never_papered_over(planned: SmallCampaign, fast: Path) -> None:
    campaign = copy_of(planned, fast / "lost")
    campaign.go_on()
    (campaign.directory.store / "run_1/label/c.0").unlink()
    with pytest.raises(CampaignError, match=r"label/c\.0: lost"):
        campaign.go_on()
    assert not campaign.audit().passed
