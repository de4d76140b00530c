"""The commit protocol: one winner, whole or not at all, on the disk when it says so.

Each promise is a check that is also run against a protocol with one rule switched off, and must then fail.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from psdbatch.campaign import files
from psdbatch.campaign.commit import Attempt, CommitRecord, StoredShard, publish, published, quarantine
from psdbatch.campaign.directory import BlockName, CampaignDirectory
from psdbatch.campaign.finalise import finalise
from psdbatch.campaign.plan import Block
from psdbatch.columns import NO_LABEL
from psdbatch.errors import CampaignError
from tests.actors import Actor, Stage
from tests.faults import Operations, copy_tree, operations
from tests.power_cut import ForgetfulDisk, Image, write_image
from tests.small_campaign import SmallCampaign, create, folder_in_memory, record_fields, shards, small_campaign, tree


@pytest.fixture
def fast() -> Iterator[Path]:
    with folder_in_memory() as folder:
        yield folder


@pytest.fixture
def campaign(fast: Path) -> SmallCampaign:
    return small_campaign(fast / "campaign", {"run_1": (20,)})


# One attempt, and two


def test_committed_block_is_in_the_store_and_nothing_is_left(campaign: SmallCampaign) -> None:
    block = campaign.blocks()[0]
    record = campaign.attempt(block)
    for path, shard in shards(block):
        assert (campaign.directory.store / "run_1" / path).read_bytes() == b"".join(shard.parts)
    assert CommitRecord.read(campaign.directory.record(block.name)) == replace(record, refusals=())
    assert published(campaign.directory, record)
    assert campaign.staged() == []


def test_second_attempt_gets_the_record_of_the_first_and_leaves_nothing(campaign: SmallCampaign) -> None:
    block = campaign.blocks()[0]
    first = campaign.attempt(block, worker=1)
    before = campaign.contents()
    assert campaign.attempt(block, worker=2).to_bytes() == first.to_bytes()
    assert campaign.contents() == before
    assert campaign.staged() == []


def test_zombie_whose_staging_was_removed_has_lost(campaign: SmallCampaign) -> None:
    block = campaign.blocks()[0]
    zombie = Attempt(campaign.directory, block.name)
    for path, shard in shards(block, worker=1):
        zombie.stage(path, shard)
    winner = campaign.attempt(block, worker=2)
    assert zombie.commit(**campaign.record(block)).attempt == winner.attempt
    assert campaign.staged() == []


def test_attempt_may_begin_while_others_are_being_removed(campaign: SmallCampaign) -> None:
    block = campaign.blocks()[0]
    with operations(Stage()):
        late = Actor(lambda: campaign.attempt(block, worker=1))
        late.step()
        late.step()  # staging/BLOCK is made, staging/BLOCK/ATTEMPT is not
        assert campaign.directory.attempts(block.name).is_dir()
        winner = campaign.attempt(block, worker=2)
        assert not campaign.directory.attempts(block.name).exists()
        late.finish()
    assert late.error is None
    assert late.result.attempt == winner.attempt
    assert campaign.staged() == []


def test_quarantine_loses_against_an_attempt_that_committed_meanwhile(campaign: SmallCampaign) -> None:
    block = campaign.blocks()[0]
    with operations(Stage()):
        coordinator = Actor(
            lambda: quarantine(
                campaign.directory, block.name, **campaign.record(block), quarantine="three workers died"
            )
        )
        for _ in range(6):
            coordinator.step()
        record = campaign.attempt(block)
        coordinator.finish()
    assert coordinator.error is None
    assert coordinator.result.attempt == record.attempt


def test_quarantined_block_reads_as_no_answer(campaign: SmallCampaign) -> None:
    block = campaign.blocks()[0]
    given_up = {**campaign.record(block), "refused": {"the block was given up": block.signals}}
    quarantine(campaign.directory, block.name, **given_up, quarantine="three workers died")
    summary = campaign.go_on()
    assert (campaign.decoded("run_1")["label"][: block.signals] == NO_LABEL).all()
    assert (summary.quarantined, summary.missing) == (1, 0)
    audit = campaign.audit()
    assert audit.passed, audit.problems
    assert audit.refused["block given up: three workers died"] == block.signals


def test_publishing_again_changes_nothing(campaign: SmallCampaign) -> None:
    record = campaign.attempt(campaign.blocks()[0])
    before = campaign.contents()
    publish(campaign.directory, record)
    publish(campaign.directory, record)
    assert campaign.contents() == before


def test_attempt_that_does_not_know_whether_it_won_keeps_its_shards(campaign: SmallCampaign) -> None:
    """The link was made, its reply lost, and the file system does not say for a while: as networks have it."""

    class Silent(Operations):
        silent = False

        def operate(self, name: str, real: Any, *args: Any, **kwargs: Any) -> Any:
            if name == "link":
                real(*args)
                self.silent = True
            if self.silent:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(*args, **kwargs)

    block = campaign.blocks()[0]
    attempt = Attempt(campaign.directory, block.name)
    for path, shard in shards(block):
        attempt.stage(path, shard)
    with operations(Silent()), pytest.raises(OSError, match="Input/output error"):
        attempt.commit(**campaign.record(block))
    attempt.abandon()
    campaign.go_on()
    assert campaign.audit().passed
    assert CommitRecord.read(campaign.directory.record(block.name)).attempt == attempt.name
    assert campaign.staged() == []


def test_link_with_a_lost_reply_counts_as_made(tmp_path: Path) -> None:
    class ReplyLost(Operations):
        def operate(self, name: str, real: Any, *args: Any, **kwargs: Any) -> Any:
            real_result = real(*args, **kwargs)
            if name == "link":
                raise OSError(errno.EIO, "reply lost")
            return real_result

    (tmp_path / "record").write_text("mine")
    with operations(ReplyLost()):
        assert files.link_once(tmp_path / "record", tmp_path / "target")
    assert files.link_once(tmp_path / "record", tmp_path / "target")
    (tmp_path / "other").write_text("other")
    assert not files.link_once(tmp_path / "other", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "mine"


# The record


def record() -> CommitRecord:
    return CommitRecord(
        run="run_1",
        block=3,
        first=48,
        signals=16,
        identity="0123",
        attempt="ab",
        shards=(StoredShard("label/c.3", 12, "ff"),),
        refused={"damaged in the acquisition file": 2},
        refusals=({"first": 50, "signals": 2, "reason": 'a, "sha256": "quoted" one'},),
        report={"seconds": {"read": 0.5}},
    )


def test_record_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(record().to_bytes())
    assert CommitRecord.read(path) == record()
    assert record().written == 14


def test_every_flipped_bit_and_every_cut_of_a_record_is_noticed(fast: Path) -> None:
    path, whole = fast / "record.json", record().to_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(CampaignError, match=r"record\.json"):
            CommitRecord.read(path)
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(CampaignError, match=r"record\.json"):
            CommitRecord.read(path)
    path.write_bytes(whole + b"\n")
    with pytest.raises(CampaignError, match="damaged commit record"):
        CommitRecord.read(path)


# Every interleaving of two attempts


def attempt_with_one_shard(campaign: SmallCampaign, worker: int) -> CommitRecord:
    """An attempt as short as it can be, so that all interleavings can be tried."""
    block = campaign.blocks()[0]
    path, shard = next((path, shard) for path, shard in shards(block, worker) if path.startswith("probability"))
    attempt = Attempt(campaign.directory, block.name)
    try:
        attempt.stage(path, shard)
        return attempt.commit(**record_fields(campaign.plan, block), report={"worker": worker})
    except OSError:
        if campaign.directory.record(block.name).exists():
            return CommitRecord.read(campaign.directory.record(block.name))
        attempt.abandon()
        raise


def check_one_record(campaign: SmallCampaign, before: bytes | None) -> bytes | None:
    """The record, which is whole and, once there, always the same."""
    path = campaign.directory.record(campaign.blocks()[0].name)
    if not path.exists():
        assert before is None
        return None
    found = path.read_bytes()
    CommitRecord.read(path)
    assert before is None or found == before, "the record changed"
    return found


def check_end(campaign: SmallCampaign) -> None:
    """The store holds the shard of the record that counts; nothing is left."""
    block = campaign.blocks()[0]
    record = CommitRecord.read(campaign.directory.record(block.name))
    stored = campaign.directory.store / "run_1" / record.shards[0].path
    own = dict(shards(block, record.report["worker"]))[record.shards[0].path]
    assert stored.read_bytes() == b"".join(own.parts), "the shard is not that of the record"
    assert campaign.staged() == []


def play(template: SmallCampaign, folder: Path, schedule: tuple[int, ...]) -> tuple[Any, list[int]]:
    """Play one schedule from the start; the state it leads to, and who of the two can go on.

    Wherever a schedule ends, both are killed and somebody
    else goes on.
    """
    campaign = SmallCampaign(CampaignDirectory(folder), template.plan)
    copy_tree(template.directory.path, folder)
    with operations(Stage(coarse=True)):
        actors = [Actor(lambda worker=worker: attempt_with_one_shard(campaign, worker)) for worker in (0, 1)]
        seen = None
        for who in schedule:
            actors[who].step()
            seen = check_one_record(campaign, seen)
        able = [who for who in (0, 1) if not actors[who].done]
        state = mirrored_state(folder, actors)
        for actor in actors:
            actor.kill()
            assert actor.error is None, actor.error
            if actor.result is not None:
                assert actor.result.to_bytes() == seen, "an attempt was told another record than the one that counts"
    if able:
        attempt_with_one_shard(campaign, worker=2)
        check_one_record(campaign, seen)
        publish(campaign.directory, CommitRecord.read(campaign.directory.record(campaign.blocks()[0].name)))
    check_end(campaign)
    shutil.rmtree(folder)
    return state, able


def mirrored_state(folder: Path, actors: list[Actor]) -> Any:
    """What both have seen, and the files; the same if the two change their parts, for they play by the same rules."""
    files = [(path.relative_to(folder).parts, path.stat().st_nlink) for path in folder.rglob("*")]
    return min(_state(files, *pair) for pair in (actors, actors[::-1]))


def _state(files: list[tuple[tuple[str, ...], int]], first: Actor, second: Actor) -> Any:
    makers = {name: str(number) for number, actor in enumerate((first, second)) for name in actor.made[1:2]}
    named = sorted((tuple(makers.get(part, part) for part in parts), links) for parts, links in files)
    return (*first.history, str(first.done)), (*second.history, str(second.done)), tuple(named)


def check_all_interleavings(campaign: SmallCampaign, folder: Path) -> int:
    """Try every order of the operations of two attempts, once from each state they can reach; how many states."""
    reached: set[Any] = set()
    ways: list[tuple[int, ...]] = [()]
    while ways:
        schedule = ways.pop(len(ways) // 2 if len(ways) % 2 else -1)
        state, able = play(campaign, folder, schedule)
        if state not in reached:
            reached.add(state)
            ways += [(*schedule, who) for who in able]
    return len(reached)


@pytest.fixture
def bare(fast: Path, campaign: SmallCampaign) -> SmallCampaign:
    """The directories that an attempt with one shard needs, and no more."""
    bare = SmallCampaign(CampaignDirectory(fast / "bare"), campaign.plan)
    bare.directory.staging.mkdir(parents=True)
    bare.directory.record(campaign.blocks()[0].name).parent.mkdir(parents=True)
    (bare.directory.store / "run_1" / "probability").mkdir(parents=True)
    return bare


def test_every_interleaving_of_two_attempts_has_one_winner(bare: SmallCampaign, fast: Path) -> None:
    assert check_all_interleavings(bare, fast / "played") > 300


def test_interleavings_find_a_link_that_overwrites(
    bare: SmallCampaign, fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overwrite(source: Path, target: Path) -> bool:
        files.rename(source, target)
        return True

    monkeypatch.setattr(files, "link_once", overwrite)
    with pytest.raises(AssertionError):
        check_all_interleavings(bare, fast / "played")


def test_interleavings_find_a_link_that_looks_first(
    bare: SmallCampaign, fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_then_leap(source: Path, target: Path) -> bool:
        if target.exists():
            return False
        files.rename(source, target)
        return True

    monkeypatch.setattr(files, "link_once", look_then_leap)
    with pytest.raises(AssertionError):
        check_all_interleavings(bare, fast / "played")


# Power cuts


def check_power_cuts(campaign: SmallCampaign, folder: Path, seeds: int = 3) -> int:
    """Cut the power behind every operation of a whole campaign; how many different disks were left.

    What had been committed by then stays committed with the same record, and the campaign goes on to the same store.
    Once it is finished it is finished: then nothing is left to do.
    """
    images: dict[frozenset[tuple[str, bytes | None]], tuple[Image, dict[BlockName, bytes]]] = {}
    committed: dict[BlockName, bytes] = {}

    def cut() -> None:
        for seed in range(seeds):
            image = disk.after_the_cut(seed)
            known = images.get(frozenset(image.items()))
            if known is None or len(known[1]) < len(committed):
                images[frozenset(image.items())] = image, dict(committed)

    disk = ForgetfulDisk(campaign.directory.path, cut)
    with operations(disk):
        create(campaign.directory, campaign.plan)
        for block in campaign.blocks():
            campaign.attempt(block)
            committed[block.name] = campaign.directory.record(block.name).read_bytes()
        finalise(campaign.directory, campaign.plan)
    final = campaign.contents()
    for number, (image, promised) in enumerate(images.values()):
        with restored(image, folder / str(number), campaign) as left:
            check_resumed(left, promised, final)
    for seed in range(seeds):
        with restored(disk.after_the_cut(seed), folder / "finished", campaign) as left:
            audit = left.audit()
            assert audit.passed, audit.problems
    return len(images)


@contextmanager
def restored(image: Image, folder: Path, campaign: SmallCampaign) -> Iterator[SmallCampaign]:
    """The campaign as it is found when the power is back."""
    write_image(image, folder)
    yield SmallCampaign(CampaignDirectory(folder), campaign.plan)
    shutil.rmtree(folder)


def check_resumed(left: SmallCampaign, promised: dict[BlockName, bytes], final: dict[str, bytes]) -> None:
    for name, content in promised.items():
        path = left.directory.record(name)
        assert path.exists() and path.read_bytes() == content, f"the commit of {name} is lost"  # noqa: PT018
    try:
        left.go_on()
    except CampaignError as error:
        raise AssertionError(f"cannot go on: {error}") from error
    assert left.contents() == final
    assert left.staged() == []
    audit = left.audit()
    assert audit.passed, audit.problems


def test_commit_outlives_a_power_cut_behind_any_operation(campaign: SmallCampaign, fast: Path) -> None:
    (fast / "cuts").mkdir()
    assert check_power_cuts(campaign, fast / "cuts") > 50


def test_new_run_outlives_a_power_cut_behind_any_operation(campaign: SmallCampaign, fast: Path) -> None:
    campaign.go_on()
    (fast / "cuts").mkdir()
    appended = campaign.with_run("run_2", 5)
    shutil.rmtree(campaign.directory.store / "run_2")  # to be made again with the power cut behind every operation
    assert check_power_cuts(appended, fast / "cuts", seeds=2) > 50


@pytest.mark.parametrize("forgotten", ["sync_file", "sync_directory"])
def test_power_cuts_find_a_missing_sync(
    forgotten: str, campaign: SmallCampaign, fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fast / "cuts").mkdir()
    monkeypatch.setattr(files, forgotten, lambda path: None)
    with pytest.raises(AssertionError):
        check_power_cuts(campaign, fast / "cuts")


# File systems that are full, gone, or not writable


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A small file system in memory at ``folder``."""
    folder.mkdir()
    answer = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        pytest.skip(f"mounting is not permitted here: {answer.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "1m") as disk:
        campaign = small_campaign(disk / "campaign", {"run_1": (100,)})
        first, *others = campaign.blocks()
        campaign.attempt(first)
        refused = 0
        for left in range(15):  # pages of memory
            (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - 4096 * left))
            refused += fails_for_want_of_room(campaign, others[0])
            (disk / "ballast").unlink()
        assert refused > 2
        campaign.go_on()
        audit = campaign.audit()
        assert audit.passed, audit.problems
        assert campaign.staged() == []


def fails_for_want_of_room(campaign: SmallCampaign, block: Block) -> bool:
    """Try a block on a full disk; whether that failed, and then as it should."""
    try:
        campaign.attempt(block)
    except OSError as error:
        code = error.errno
    else:
        return False
    assert code == errno.ENOSPC
    assert not campaign.directory.record(block.name).exists()
    assert not any((campaign.directory.store / "run_1" / path).exists() for path, _ in shards(block))
    return True


def test_read_only_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "1m") as disk:
        campaign = small_campaign(disk / "campaign", {"run_1": (40,)})
        campaign.attempt(campaign.blocks()[0])
        before = tree(disk)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(OSError, match="Read-only file system"):
            campaign.attempt(campaign.blocks()[1])
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        assert tree(disk) == before
        campaign.go_on()
        assert campaign.audit().passed


def test_vanished_campaign_is_not_begun_anew(campaign: SmallCampaign) -> None:
    """An unmounted disk leaves an empty directory behind; a commit into that would be lost on the next mount."""
    block = campaign.blocks()[0]
    attempt = Attempt(campaign.directory, block.name)
    path, shard = shards(block)[0]
    attempt.stage(path, shard)
    shutil.rmtree(campaign.directory.path)
    with pytest.raises(FileNotFoundError):
        attempt.stage(*shards(block)[1])
    with pytest.raises(FileNotFoundError):
        attempt.commit(**campaign.record(block))
    with pytest.raises(FileNotFoundError):
        Attempt(campaign.directory, block.name)
    assert not campaign.directory.path.exists()


# Single operations


def test_tree_is_removed_whoever_else_removes_it(tmp_path: Path) -> None:
    class Rival(Operations):
        def operate(self, name: str, real: Any, *args: Any, **kwargs: Any) -> Any:
            if name in ("unlink", "rmdir"):
                real(*args)  # the other one was faster
            return real(*args, **kwargs)

    for folder in ("a/b", "c"):
        (tmp_path / "tree" / folder).mkdir(parents=True)
        (tmp_path / "tree" / folder / "file").write_text("x")
    with operations(Rival()):
        files.remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    files.remove_tree(tmp_path / "tree")


def test_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    class Full(Operations):
        def operate(self, name: str, real: Any, *args: Any, **kwargs: Any) -> Any:
            if name == "fsync":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **kwargs)

    (tmp_path / "plan.json").write_text("old")
    with operations(Full()), pytest.raises(OSError, match="No space left"):
        files.replace_durably(tmp_path / "plan.json", b"new")
    assert tree(tmp_path) == {"plan.json": b"old"}
    files.replace_durably(tmp_path / "plan.json", b"new")
    assert tree(tmp_path) == {"plan.json": b"new"}


def test_new_file_never_replaces_another(tmp_path: Path) -> None:
    files.write_durably(tmp_path / "file", [b"one ", b"two"])
    with pytest.raises(FileExistsError):
        files.write_file(tmp_path / "file", [b"three"])
    assert (tmp_path / "file").read_bytes() == b"one two"


def test_short_writes_are_gone_on_with(tmp_path: Path) -> None:
    class Short(Operations):
        def operate(self, name: str, real: Any, *args: Any, **kwargs: Any) -> Any:
            if name == "write":
                args = (args[0], bytes(args[1])[:3])
            return real(*args, **kwargs)

    with operations(Short()):
        files.write_file(tmp_path / "file", [b"0123456789", b"", b"abcdefg"])
    assert (tmp_path / "file").read_bytes() == b"0123456789abcdefg"
