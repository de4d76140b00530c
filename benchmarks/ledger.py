"""What plan and commit records of many blocks cost the coordinator: bytes, seconds, memory.

The plan has runs of a thousand blocks and a hundred files; the records are as large as real ones.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.coordinator import COLUMNS, make_big_plan, make_record
from psdbatch.campaign.commit import CommitRecord, published
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.finalise import count_records, records, summarise
from psdbatch.campaign.plan import Plan, chains
from psdbatch.coordination.status import read_status
from psdbatch.processing.process import block_task
from psdbatch.results.store import shard_path

BLOCKS = 100_000
SHARDED = 10_000
"""Blocks whose shards are there as well, nine files for each."""


def run(directory: Path, signals: int, blocks: int = BLOCKS) -> list[dict[str, Any]]:
    """One row for each thing that the coordinator does with a plan or with the ledger."""
    campaign = CampaignDirectory(directory / f"ledger-{blocks}")
    campaign.commits.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []

    def timed(what: str, work: Callable[[], Any], number: int = blocks) -> Any:
        before, started = _memory(), time.perf_counter()
        result = work()
        seconds = time.perf_counter() - started
        row = {"what": what, "of": number, "seconds": seconds, "microseconds each": seconds / number * 1e6}
        rows.append({**row, "memory grew by (MB)": (_memory() - before) / 1e6})
        return result

    plan: Plan = timed("plan: made from indexes in memory", lambda: make_big_plan(blocks))
    content = timed("plan: written", plan.to_bytes)
    campaign.plan.write_bytes(content)
    rows[-1]["what"] += f" ({sum(len(run.files) for run in plan.runs):,} files, {len(content) / 1e6:.1f} MB)"
    plan = timed("plan: read", lambda: Plan.read(campaign.plan))
    timed("plan: blocks counted off", lambda: sum(1 for _ in chains(plan, set())))
    timed("plan: tasks made", lambda: _write_records(campaign, plan, write=False))
    timed("records: written by workers, unsynced (not the coordinator's)", lambda: _write_records(campaign, plan))
    committed = timed("records: listed at a start", lambda: set(campaign.committed()))
    timed("plan: blocks left, all committed", lambda: sum(1 for _ in chains(plan, committed)))
    timed("records: read and added up at the end", lambda: summarise(count_records(campaign, plan)))
    timed("records: status", lambda: read_status(campaign))
    sharded = _make_shards(campaign, plan, min(SHARDED, blocks))
    timed(
        "shards: seen to be in the store at the end",
        lambda: [published(campaign, record) for record in sharded],
        len(sharded),
    )
    return rows


def _write_records(campaign: CampaignDirectory, plan: Plan, write: bool = True) -> None:
    for run_, chain in chains(plan, set()):
        task = block_task(campaign, plan, run_, chain)
        if write:
            path = campaign.record(chain[0].name)
            if chain[0].name.number % 1000 == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make_record(task, time.time()).to_bytes())


def _make_shards(campaign: CampaignDirectory, plan: Plan, blocks: int) -> list[CommitRecord]:
    found: list[CommitRecord] = []
    for record in records(campaign, plan):
        folder = campaign.store / record.run
        for name, more in COLUMNS.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / shard_path(name, record.block, more)).touch()
        found.append(record)
        if len(found) == blocks:
            break
    return found


def _memory() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    import argparse

    from benchmarks.__main__ import table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    options = parser.parse_args()
    print(table(run(options.directory, 0, options.blocks)))
