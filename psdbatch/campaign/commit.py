"""Commit of a block: staged whole, linked once, then renamed into the store.

1. An attempt writes its shards and its record below ``staging/BLOCK/ATTEMPT/`` and syncs them to the disk.
2. ``link(record, commits/BLOCK.json)`` decides: the first attempt wins, whoever it is.  No lock, no coordinator.
3. The winner renames its shards into the store.  If it dies in between, the record says where they lie: anyone can
   finish (:func:`publish`), any number of times.
4. What is left of other attempts is removed.  An attempt whose staging disappears has lost: its block is committed.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from psdbatch.campaign import files
from psdbatch.campaign.directory import BlockName, CampaignDirectory
from psdbatch.errors import CampaignError
from psdbatch.results.shards import Shard

RECORD_VERSION = 1


@dataclass(frozen=True)
class StoredShard:
    """A shard as committed: its path below the run's group, its size and its checksum."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class CommitRecord:
    """The truth about a finished block; written last, never changed.

    Attributes
    ----------
    run, block, first, signals
        Which signals of the run.
    identity
        Digest of everything the answers depend on (:meth:`psdbatch.campaign.plan.Plan.identity`).
    attempt
        Name of the winning attempt's directory.
    shards
        What the block added to the store; none if the block is quarantined.
    refused
        Signals without an answer by reason; all others were written.
    refusals
        Where they are: ``{"first", "signals", "reason"}``, and file, offset and bytes where these are known.
    quarantine
        Why the whole block was given up, or None.
    report
        Timings, worker, device and versions of the winning attempt.
    """

    run: str
    block: int
    first: int
    signals: int
    identity: str
    attempt: str
    shards: tuple[StoredShard, ...]
    refused: Mapping[str, int] = field(default_factory=dict)
    refusals: tuple[Mapping[str, Any], ...] = ()
    quarantine: str | None = None
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> BlockName:
        """The block's name."""
        return BlockName(self.run, self.block)

    @property
    def written(self) -> int:
        """Signals with an answer."""
        return self.signals - sum(self.refused.values())

    def to_bytes(self) -> bytes:
        """The record as a line of JSON, whose last entry is the SHA-256 of the line without that entry."""
        body = json.dumps({"version": RECORD_VERSION, **asdict(self)}).encode()
        return _with_checksum(body[:-1])

    @classmethod
    def read(cls, path: Path) -> CommitRecord:
        """Read a commit record.

        Raises
        ------
        CampaignError
            The file is damaged, or not a commit record of this version.
        """
        line = path.read_bytes()
        try:
            content = json.loads(line)
            if content.pop("version") != RECORD_VERSION:
                raise CampaignError(f"{path}: commit record of another version of psdbatch")
            if _with_checksum(line.rpartition(_CHECKSUM)[0]) != line:
                raise ValueError("its checksum is wrong")
            del content["sha256"]
            shards = tuple(StoredShard(**shard) for shard in content.pop("shards"))
            return cls(**{**content, "shards": shards, "refusals": tuple(content["refusals"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CampaignError(
                f"{path}: damaged commit record ({error}); remove it and run again to redo the block"
            ) from error


class Attempt:
    """One attempt at a block: a directory of its own that no other attempt writes to."""

    def __init__(self, campaign: CampaignDirectory, block: BlockName) -> None:
        self.campaign = campaign
        self.block = block
        self.name = uuid.uuid4().hex
        self.path = campaign.attempts(block) / self.name
        self._shards: list[StoredShard] = []
        self._undecided = False
        while not self._make_directory():
            pass

    def _make_directory(self) -> bool:
        """Whether it was made; not where the block's other attempts are just being removed, and the parent with them."""
        try:
            files.make_below(self.campaign.staging, self.path.parent.name, self.name)
        except FileNotFoundError:
            if not self.campaign.staging.is_dir():
                raise
            return False
        return True

    def stage(self, path: str, shard: Shard) -> None:
        """Write a shard that belongs at ``path`` below the run's group; :meth:`commit` syncs it."""
        files.write_file(self.path / _staged_name(path), shard.parts)
        self._shards.append(StoredShard(path, shard.bytes, shard.sha256))

    def commit(self, **record: Any) -> CommitRecord:
        """Make this attempt the block's, unless another one is already; return the record that counts.

        Parameters
        ----------
        **record
            The fields of :class:`CommitRecord` that the attempt does not know itself.
        """
        mine = CommitRecord(
            run=self.block.run,
            block=self.block.number,
            attempt=self.name,
            shards=tuple(self._shards),
            **record,
        )
        target = self.campaign.record(self.block)
        try:
            won = self._link(mine, target)
        except FileNotFoundError:
            if not target.exists():
                raise
            won = False  # the winner has removed the staging of all others
        if won:
            publish(self.campaign, mine)
            return mine
        self.abandon()
        return CommitRecord.read(target)

    def _link(self, mine: CommitRecord, target: Path) -> bool:
        """Have everything on the disk, then try to be the block's attempt; whether it is."""
        for shard in self._shards:  # after all are written, so that the disk takes them together
            files.sync_file(self.path / _staged_name(shard.path))
        path = self.path / "record.json"
        files.write_durably(path, [mine.to_bytes()])
        files.sync_directory(self.path)
        files.make_below(self.campaign.commits, *target.parent.relative_to(self.campaign.commits).parts)
        self._undecided = True
        won = files.link_once(path, target)
        self._undecided = won
        files.sync_directory(target.parent)
        return won

    def abandon(self) -> None:
        """Remove what this attempt has staged.

        Not so where the link was tried and nobody knows whether it was made: these may be the block's only shards.
        They go when the block is published.
        """
        if not self._undecided:
            files.remove_tree(self.path)
            files.remove_directory(self.path.parent)


def quarantine(campaign: CampaignDirectory, block: BlockName, **record: Any) -> CommitRecord:
    """Commit ``block`` without any shard: all its places read as "no answer"."""
    return Attempt(campaign, block).commit(**record)


def publish(campaign: CampaignDirectory, record: CommitRecord) -> None:
    """Bring the shards of a committed block into the store and remove what its attempts left.

    May be called by anyone, at the same time and again.

    Raises
    ------
    CampaignError
        A shard is neither staged nor in the store.
    """
    attempts = campaign.attempts(record.name)
    folders = set()
    for shard in record.shards:
        staged = attempts / record.attempt / _staged_name(shard.path)
        target = campaign.store / record.run / shard.path
        try:
            files.rename(staged, target)
        except FileNotFoundError:
            if not target.exists():
                raise CampaignError(
                    f"{target}: lost: neither in the store nor staged; remove {campaign.record(record.name)} and run again"
                ) from None
        folders.add(target.parent)
    for folder in sorted(folders):
        files.sync_directory(folder)
    files.remove_tree(attempts)


def published(campaign: CampaignDirectory, record: CommitRecord) -> bool:
    """Whether all shards of ``record`` are in the store and nothing is left of its attempts."""
    store = campaign.store / record.run
    return all((store / shard.path).exists() for shard in record.shards) and not campaign.attempts(record.name).exists()


_CHECKSUM = b', "sha256": "'


def _with_checksum(body: bytes) -> bytes:
    """``body``, an unclosed JSON object, with its checksum as last entry."""
    return body + _CHECKSUM + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


def _staged_name(path: str) -> str:
    return path.replace("/", "_")
