"""What one coordinator can lead: real scheduler, dispatcher, plan and records; workers that only wait.

The workers are Dask's own, hundreds in one process, connected over the loopback; instead of treating a block they wait
for as long as one would take, and answer with a commit record as large as a real one.  No file is touched.

``python -m benchmarks.coordinator --workers 1000 --blocks 1000000 --seconds 2`` measures one case.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import logging
import math
import multiprocessing
import os
import random
import resource
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import dask
import numpy as np
from distributed import Client, LocalCluster, Worker, get_worker
from rich.console import Console

from benchmarks.__main__ import table
from psdbatch.acquisition.format import Scan
from psdbatch.acquisition.index import FileIndex
from psdbatch.campaign.commit import CommitRecord, StoredShard
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.journal import Journal
from psdbatch.campaign.plan import Plan, chains, make_plan
from psdbatch.cluster.settings import SETTINGS
from psdbatch.config import CampaignConfig
from psdbatch.coordination.coordinator import give_up
from psdbatch.coordination.dispatch import Dispatcher
from psdbatch.coordination.witness import Witness
from psdbatch.monitor.progress import Progress
from psdbatch.monitor.tally import Tally
from psdbatch.processing.process import BlockTask, block_task

BLOCK = 1 << 20  # signals
BLOCKS_PER_RUN = 1000
FILES_PER_RUN = 100
COLUMNS = {"timestamp": 0, "board": 0, "channel": 0, "amplitude": 0, "charge_long": 0, "charge_short": 0}
COLUMNS |= {"probability": 1, "label": 0, "flags": 0}

WORKER_SETTINGS = {
    # What every worker does for itself, and on a machine of its own: here it would be done a thousand times over.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "10s",
    "distributed.admin.system-monitor.interval": "60s",
}


@dataclass(frozen=True)
class Case:
    """What to simulate.

    Attributes
    ----------
    workers, threads
        Worker processes of the farm, and blocks that each of them treats at a time.
    seconds
        Time that a block takes; single ones scatter by half of it either way.
    blocks
        Blocks of the plan.
    limit
        Seconds after which no more blocks are handed out, counted from when all workers are there.
    hosts
        Real processes that the simulated workers share.
    """

    workers: int = 10
    threads: int = 2
    seconds: float = 0.1
    blocks: int = 5000
    limit: float = math.inf
    hosts: int = 2


@dataclass(frozen=True)
class Sample:
    """State of the coordinator's process at ``time`` (s), after so many ``blocks``: CPU (s), memory (bytes)."""

    time: float
    blocks: int
    cpu: float
    memory: int


@dataclass
class Outcome:
    """What happened.

    Attributes
    ----------
    commits
        How often each block was reported as committed.
    failures
        Attempts that failed.
    samples
        Taken ten times a second.
    delays
        By how much (s) the event loop was late, as often.
    gaps
        Seconds that worker threads stood idle between two blocks: every one of them, as reported with the later block.
    left_over
        Tasks without an end.
    """

    commits: bytearray
    failures: int = 0
    samples: list[Sample] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    left_over: int = 0

    @property
    def done(self) -> int:
        """Blocks committed once or more."""
        return len(self.commits) - self.commits.count(0)


class CountingWitness(Witness):
    """The coordinator's witness, counting for the benchmark as well."""

    def count_in(self, outcome: Outcome) -> None:
        """Count in ``outcome``."""
        self.outcome = outcome
        self.sampled = random.Random(0)

    def committed(self, record: CommitRecord) -> None:
        """Count the block; keep a sample of the idle times."""
        super().committed(record)
        self.outcome.commits[int(record.run[4:]) * BLOCKS_PER_RUN + record.block] += 1
        gap = record.report["gap"]
        if gap is not None and (len(self.outcome.gaps) < 1000 or self.sampled.random() < 0.02):
            self.outcome.gaps.append(gap)

    def failed(self, *what: Any) -> None:
        """Count the failure."""
        super().failed(*what)
        self.outcome.failures += 1


def make_big_plan(blocks: int) -> Plan:
    """A plan of so many blocks in runs of a thousand blocks and a hundred files."""
    sections = {
        "campaign": "/campaign",
        "input": {"files": ["/data/*.psdz"]},
        "model": {"path": "/models/network.pb"},
        "processing": {"block": BLOCK},
    }
    config = CampaignConfig.model_validate(sections)
    return make_plan(config, _indexes(blocks), hashlib.sha256(b"network").hexdigest())


def _indexes(blocks: int) -> Iterator[FileIndex]:
    for run in range(-(-blocks // BLOCKS_PER_RUN)):
        left = min(BLOCKS_PER_RUN, blocks - run * BLOCKS_PER_RUN) * BLOCK
        for file in range(FILES_PER_RUN):
            signals = left // (FILES_PER_RUN - file)  # no multiple of a block: most blocks lie in one or two files
            left -= signals
            scan = Scan(signals=signals, sample_dtype="int16", shortest=75, longest=75, timestamp_unit="10 ns")
            path = f"/data/experiment/run_{run:04d}/board_{file:03d}.psdz"
            yield FileIndex(path, 90 * signals, 1_700_000_000_000_000_000, "packets", {}, "none", True, scan)


def make_record(task: BlockTask, started: float, gap: float | None = None) -> CommitRecord:
    """A record as a block of nine columns leaves it, about 9 kB as a file, most of it the tally."""
    (block,), (identity,) = task.blocks, task.identities
    zeros = {name: f"{name}/c.{block.name.number}" + ".0" * more for name, more in COLUMNS.items()}
    shards = tuple(
        StoredShard(path, 2_345_678, hashlib.sha256(f"{block.name}{path}".encode()).hexdigest())
        for path in zeros.values()
    )
    report = {
        "started": round(started, 3),
        "finished": round(time.time(), 3),
        "seconds": {"open": 0.012345, "read": 0.171234, "infer": 0.272345, "encode": 0.063456, "write": 0.012345},
        "boards": {str(board): block.signals // 8 for board in range(8)},
        "host": "ccwsge0123",
        "pid": 123456,
        "device": "Tesla V100-PCIE-32GB",
        "batch": 65536,
        "versions": {
            "psdbatch": "0.1.0",
            "tensorflow": "2.14.1",
            "numpy": "1.26.4",
            "zarr": "3.1.0",
            "python": "3.11.9",
        },
        "peak_memory": 1_026_000_000,
        "gap": gap,
        "tally": _tally(),
    }
    return CommitRecord(
        run=block.name.run,
        block=block.name.number,
        first=block.first,
        signals=block.signals,
        identity=identity,
        attempt="0123456789abcdef",
        shards=shards,
        report=report,
    )


@cache
def _tally() -> str:
    """Counts of a block of 128 channels."""
    rng = np.random.default_rng(1)
    neutron = rng.random(BLOCK) < 0.3
    amplitude = 50 * (1 + rng.pareto(1.5, BLOCK))
    ratio = 0.15 + 0.1 * neutron + rng.normal(0, 1, BLOCK) / np.sqrt(amplitude)
    columns = {
        "board": rng.integers(0, 8, BLOCK).astype(np.uint16),
        "channel": rng.integers(0, 16, BLOCK).astype(np.uint16),
        "label": neutron.astype(np.uint8),
        "flags": (rng.random(BLOCK) < 0.01).astype(np.uint16),
        "amplitude": amplitude.astype(np.float32),
        "charge_long": (20 * amplitude).astype(np.float32),
        "charge_short": (20 * amplitude * (1 - ratio)).astype(np.float32),
    }
    return Tally.of(columns, classes=2).encode()


_free: dict[str, deque[float]] = {}
"""Since when each worker's idle threads have been idle."""


def wait_like_a_block(task: BlockTask, seconds: float) -> list[CommitRecord]:
    """A worker's work."""
    idle = _free.setdefault(get_worker().address, deque())
    gap = time.perf_counter() - idle.popleft() if idle else None
    started = time.time()
    time.sleep(seconds * random.uniform(0.5, 1.5))
    record = make_record(task, started, gap)
    idle.append(time.perf_counter())
    return [record]


def serve(address: str, workers: int, threads: int, name: str) -> None:
    """Be so many workers until the scheduler goes."""

    async def live() -> None:
        started = [
            Worker(address, nthreads=threads, name=f"{name}-{number}", memory_limit=0, dashboard=False)
            for number in range(workers)
        ]
        for some in range(0, workers, 20):  # a listening socket has room for so many that wait
            await asyncio.gather(*started[some : some + 20])
        await asyncio.gather(*(worker.finished() for worker in started))

    logging.getLogger("distributed").setLevel(logging.ERROR)
    with dask.config.set(SETTINGS | WORKER_SETTINGS):
        asyncio.run(live())


@contextmanager
def simulated_farm(case: Case) -> Iterator[tuple[LocalCluster, Client]]:
    """The coordinator's scheduler and client, and the workers of ``case``."""
    with (
        dask.config.set(SETTINGS),
        LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=50) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        spawn = multiprocessing.get_context("spawn")
        hosts = min(case.hosts, case.workers)
        shares = [case.workers // hosts + (host < case.workers % hosts) for host in range(hosts)]
        processes = [
            spawn.Process(target=serve, args=(cluster.scheduler_address, share, case.threads, f"host{host}"))
            for host, share in enumerate(shares)
        ]
        for process in processes:
            process.start()
        try:
            client.wait_for_workers(case.workers, timeout=60 + case.workers)
            yield cluster, client
        finally:
            for process in processes:
                process.terminate()
                process.join()


def simulate(case: Case, directory: Path, plan: Plan | None = None) -> Outcome:
    """Lead the workers of ``case`` through its plan."""
    plan = plan or make_big_plan(case.blocks)
    outcome = Outcome(bytearray(case.blocks))
    campaign = CampaignDirectory(directory)
    progress = Progress(Console(file=io.StringIO()))
    progress.begin(plan.signals, 0)
    witness = CountingWitness(Journal(campaign.journal), progress, left=plan.count_blocks())
    witness.count_in(outcome)
    with simulated_farm(case) as (cluster, client):
        end = time.monotonic() + case.limit

        def tasks() -> Iterator[BlockTask]:
            for run, chain in chains(plan, set()):
                if time.monotonic() > end:
                    return
                yield block_task(campaign, plan, run, chain)

        def threads() -> int:  # as a cluster of jobs counts them
            return sum(worker["nthreads"] for worker in list(cluster.scheduler_info["workers"].values()))

        dispatcher = Dispatcher(
            client=client,
            threads=threads,
            attempts=3,
            backoff=1.0,
            watcher=witness,
            quarantine=lambda task, failures: give_up(campaign, plan, task, failures, witness),
            work=partial(wait_like_a_block, seconds=case.seconds),
        )
        watching = asyncio.run_coroutine_threadsafe(_watch(outcome), cluster.loop.asyncio_loop)
        outcome.left_over = len(dispatcher.run(tasks()))
        watching.cancel()
        outcome.samples.append(_sample(outcome))
    return outcome


async def _watch(outcome: Outcome) -> None:
    while True:
        outcome.samples.append(_sample(outcome))
        due = time.perf_counter() + 0.1
        await asyncio.sleep(0.1)
        outcome.delays.append(time.perf_counter() - due)


def _sample(outcome: Outcome) -> Sample:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Sample(time.perf_counter(), outcome.done, time.process_time(), pages * resource.getpagesize())


def measure(case: Case, directory: Path) -> dict[str, Any]:
    """One row: pace and costs between the first and the last tenth of what was done."""
    outcome = simulate(case, directory)
    if (
        outcome.failures
        or outcome.left_over
        or max(outcome.commits) > 1
        or outcome.done < case.blocks * (not _limited(case))
    ):
        raise RuntimeError(f"{case}: {outcome.failures} failures, {outcome.left_over} left over, {outcome.done} done")
    first, last = _steady(outcome)
    blocks, wall = last.blocks - first.blocks, last.time - first.time
    pace, possible = blocks / wall, case.workers * case.threads / case.seconds
    return {
        "workers": case.workers,
        "threads": case.workers * case.threads,
        "block (s)": case.seconds,
        "blocks": outcome.done,
        "workers could do (blocks/s)": possible,
        "done (blocks/s)": pace,
        "threads busy": pace / possible,
        "coordinator's CPU (ms per block)": (last.cpu - first.cpu) / blocks * 1e3,
        "cores": (last.cpu - first.cpu) / wall,
        "idle between blocks (ms, median)": _quantile(outcome.gaps, 0.5) * 1e3,
        "99 %": _quantile(outcome.gaps, 0.99) * 1e3,
        "loop late (ms, median)": _quantile(outcome.delays, 0.5) * 1e3,
        "loop late, 99 %": _quantile(outcome.delays, 0.99) * 1e3,
        "memory (MB) at a tenth": first.memory / 1e6,
        "at the end": outcome.samples[-1].memory / 1e6,
    }


def _limited(case: Case) -> bool:
    return math.isfinite(case.limit)


def _steady(outcome: Outcome) -> tuple[Sample, Sample]:
    tenth, most = outcome.done * 0.1, outcome.done * 0.9
    first = next(sample for sample in outcome.samples if sample.blocks >= tenth)
    return first, next(sample for sample in outcome.samples if sample.blocks >= most)


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


def run(directory: Path, signals: int) -> list[dict[str, Any]]:
    """Small farms and large ones, each in a process of its own; a minute at most for each."""
    cases = [
        Case(workers, 2, seconds, blocks=100_000, limit=60.0)
        for workers, seconds in ((10, 0.1), (10, 0.01), (100, 1.0), (100, 0.1), (1000, 10.0), (1000, 2.0))
    ]
    rows = []
    for case in cases:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            rows.append(process.submit(measure, case, directory).result())
    return rows


def main() -> None:
    """Measure one case, given by options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("workers", 10), ("threads", 2), ("blocks", 5000), ("hosts", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=0.1, help="time that a block takes")
    parser.add_argument(
        "--limit", type=float, default=math.inf, help="seconds after which no more blocks are handed out"
    )
    row = measure(Case(**vars(parser.parse_args())), Path(os.devnull))
    print(table([row]))


if __name__ == "__main__":
    from benchmarks import coordinator  # by its name: what workers are sent must be found in a module

    coordinator.main()
