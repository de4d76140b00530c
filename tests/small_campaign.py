"""A real, small campaign directory: a plan, an empty store, and made-up answers that are the same every time.

No model and no acquisition file is needed to put the commit protocol, the store and the audit to the test.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from psdbatch.acquisition.format import Scan
from psdbatch.acquisition.index import FileIndex, index_file
from psdbatch.campaign import files
from psdbatch.campaign.audit import Audit, audit
from psdbatch.campaign.commit import Attempt, CommitRecord
from psdbatch.campaign.directory import BlockName, CampaignDirectory
from psdbatch.campaign.extend import extend
from psdbatch.campaign.finalise import Summary, finalise
from psdbatch.campaign.plan import Block, Plan, make_plan
from psdbatch.columns import FLAGS, NO_LABEL, REASONS, Column, Flag, scalar
from psdbatch.config import CampaignConfig
from psdbatch.results.shards import Shard, encode_shard
from psdbatch.results.store import Layout, create_run, create_store, shard_file

LAYOUT = Layout(block=16, chunk=8, level=1)
COLUMNS = (
    Column("probability", "float32", "probability of each class", shape=(2,), dimensions=("class",)),
    scalar("label", "uint8", "most probable class"),
    FLAGS,
)
Values = dict[str, np.ndarray[Any, Any]]


CLASSIFIER = {"path": "/models/network.pb", "classes": ["gamma", "neutron"]}


def configuration(**changes: Any) -> CampaignConfig:
    """A configuration whose blocks are as small as those of ``LAYOUT``; ``changes`` replace whole sections."""
    sections: dict[str, Any] = {
        "campaign": "/campaign",
        "input": {"files": ["/data/*.npy"]},
        "model": {"path": "/models/network.pb"},
        "processing": {"block": LAYOUT.block},
        "results": {"chunk": LAYOUT.chunk},
    }
    return CampaignConfig.model_validate(sections | changes)


def file_index(path: str, signals: int, **changes: Any) -> FileIndex:
    """Index of a made-up file of ``signals`` signals; ``changes`` are those of :class:`FileIndex` and of its scan."""
    scan = Scan(signals=signals, sample_dtype="int16", shortest=75, longest=75, timestamp_unit="10 ns")
    scan = replace(scan, **{name: changes.pop(name) for name in list(changes) if hasattr(scan, name)})
    index = FileIndex(path, 200 * signals + 80, 1_700_000_000_000_000_000, "numpy", {}, "none", True, scan)
    return replace(index, **changes)


@dataclass(frozen=True)
class SmallCampaign:
    """A campaign directory and its plan."""

    directory: CampaignDirectory
    plan: Plan

    def blocks(self) -> list[Block]:
        """All blocks of the plan."""
        return [block for run in self.plan.runs for block in self.plan.blocks(run)]

    def left(self) -> list[Block]:
        """Blocks that are not committed yet."""
        committed = set(self.directory.committed())
        return [block for block in self.blocks() if block.name not in committed]

    def record(self, block: Block) -> dict[str, Any]:
        """What an attempt at ``block`` puts into its record."""
        return record_fields(self.plan, block)

    def attempt(self, block: Block, worker: int = 0) -> CommitRecord:
        """One attempt at ``block``, as a worker makes it; the answers of another ``worker`` differ in the last bits."""
        attempt = Attempt(self.directory, block.name)
        try:
            for path, shard in shards(block, worker):
                attempt.stage(path, shard)
            return attempt.commit(**self.record(block), report={"worker": worker})
        except OSError:
            if self.directory.record(block.name).exists():  # another attempt won and removed this one's staging
                return CommitRecord.read(self.directory.record(block.name))
            attempt.abandon()
            raise

    def go_on(self) -> Summary:
        """Do what is left, and finalise."""
        create(self.directory, self.plan)
        for block in self.left():
            self.attempt(block)
        return finalise(self.directory, self.plan)

    def audit(self) -> Audit:
        """Audit without the acquisition files, which do not exist."""
        return audit(self.directory, self.plan, inputs=False)

    def contents(self) -> dict[str, bytes]:
        """Every file of the store by its path below it."""
        return tree(self.directory.store)

    def staged(self) -> list[Path]:
        """What lies in ``staging``."""
        return sorted(self.directory.staging.iterdir())

    def decoded(self, run: str) -> Values:
        """Columns of a run as zarr reads them."""
        group = zarr.open_group(self.directory.store / run, mode="r")
        return {column.name: np.asarray(group[column.name][:]) for column in COLUMNS}  # type: ignore[index]

    def with_run(self, name: str, *signals: int) -> SmallCampaign:
        """The campaign after a run has been added to it, as another start of the command does."""
        new = make_plan(configuration(model=CLASSIFIER), [*_indexes(self.plan), *_files(name, signals)], "digest")
        grown = SmallCampaign(self.directory, extend(self.plan, new, ()))
        create(self.directory, grown.plan)
        return grown


def small_campaign(
    path: Path, runs: Mapping[str, tuple[int, ...]] | None = None, changes: Mapping[str, Any] | None = None
) -> SmallCampaign:
    """Make a campaign directory; ``runs`` says how many signals the files of each run hold, ``changes`` is for the configuration."""
    runs = runs or {"run_1": (20, 17), "run_2": (16,)}
    plan = make_plan(
        configuration(**({"model": CLASSIFIER} | dict(changes or {}))),
        [index for name, signals in runs.items() for index in _files(name, signals)],
        "digest",
    )
    campaign = SmallCampaign(CampaignDirectory(path), plan)
    create(campaign.directory, plan)
    return campaign


def campaign_of_files(path: Path, runs: Mapping[str, tuple[int, ...]]) -> SmallCampaign:
    """The same with real .npy files in ``path/data``, indexed as the command does it."""
    indexes = []
    for run, counts in runs.items():
        (path / "data" / run).mkdir(parents=True)
        for number, count in enumerate(counts):
            file = path / "data" / run / f"board{number}.npy"
            np.save(file, np.full((count, 75), number, "int16"))
            indexes.append(index_file(file))
    campaign = SmallCampaign(CampaignDirectory(path / "campaign"), make_plan(configuration(), indexes, "digest"))
    create(campaign.directory, campaign.plan)
    return campaign


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """A temporary folder in memory where there is one: thousands of syncs to a real disk would take minutes."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if os.access(shared, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def create(directory: CampaignDirectory, plan: Plan) -> None:
    """Make what a campaign needs before its first block, or what is missing of it."""
    for folder in (directory.path, directory.commits, directory.staging):
        files.make_directory(folder)
    create_store(
        directory.store, {"creator": "psdbatch", "plan_fingerprint": plan.fingerprint, "classes": ["gamma", "neutron"]}
    )
    for run in plan.runs:
        create_run(directory.store, run.name, run.signals, COLUMNS, LAYOUT, {"run": run.name})
    files.replace_durably(directory.plan, plan.to_bytes())


def record_fields(plan: Plan, block: Block) -> dict[str, Any]:
    """What a block's record holds besides its shards; no times, so that two campaigns can be compared."""
    damaged = int((answers(block.name, block.signals)["flags"] != 0).sum())
    return {
        "first": block.first,
        "signals": block.signals,
        "identity": plan.identity(plan.run(block.name.run), block),
        "refused": {REASONS[Flag.DAMAGED]: damaged} if damaged else {},
    }


def answers(block: BlockName, signals: int, worker: int = 0) -> Values:
    """Made-up answers of a block; one signal in nine is damaged."""
    numbers = np.random.default_rng([int(part) for part in block.run.encode()] + [block.number])
    neutron = (numbers.random(signals) + worker * 2.0**-20).astype("float32")
    damaged = numbers.random(signals) < 1 / 9
    probability = np.stack([1 - neutron, neutron], axis=1)
    probability[damaged] = np.nan
    label = np.where(damaged, NO_LABEL, neutron > 0.5).astype("uint8")
    return {"probability": probability, "label": label, "flags": np.where(damaged, Flag.DAMAGED, 0).astype("uint16")}


@cache
def _shards(block: BlockName, signals: int, worker: int) -> tuple[tuple[str, Shard], ...]:
    values = answers(block, signals, worker)
    return tuple(
        (
            shard_file(column, block.number),
            encode_shard(
                values[column.name],
                chunk=LAYOUT.chunk,
                shard=LAYOUT.block,
                level=LAYOUT.level,
                fill_value=column.fill_value(),
            ),
        )
        for column in COLUMNS
    )


def shards(block: Block, worker: int = 0) -> tuple[tuple[str, Shard], ...]:
    """Path below the run's group and content of each of a block's shards."""
    return _shards(block.name, block.signals, worker)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` by its path below it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _files(run: str, signals: tuple[int, ...]) -> list[FileIndex]:
    return [file_index(f"/data/{run}/board{number}.npy", count) for number, count in enumerate(signals)]


def _indexes(plan: Plan) -> list[FileIndex]:
    return [file_index(file.path, file.signals) for run in plan.runs for file in run.files]
