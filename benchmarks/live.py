"""What the dashboard's numbers cost the coordinator per finished block, and whether they grow with the blocks."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from typing import Any

import psutil

from benchmarks.coordinator import make_big_plan, make_record
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.plan import chains
from psdbatch.coordination.live import Live
from psdbatch.processing.process import block_task

BLOCKS = 1_000_000
STEPS = (0.01, 0.1, 1.0)
"""Parts of the blocks after which a row is written."""


def run(directory: Path, signals: int, blocks: int = BLOCKS, traced: bool = False) -> list[dict[str, Any]]:
    """One row per number of blocks; ``traced`` counts Python's own memory, at several times the cost."""
    plan = make_big_plan(blocks)
    campaign = CampaignDirectory(directory)
    live = Live(plan, "benchmark", ("gamma", "neutron"), plan.signals, blocks)
    rows: list[dict[str, Any]] = []
    marks = [max(1, int(part * blocks)) for part in STEPS]
    if traced:
        tracemalloc.start()
    spent, before = 0.0, 0
    for number, (planned, chain) in enumerate(chains(plan, set()), 1):
        record = make_record(block_task(campaign, plan, planned, chain), time.time() - 20)
        started = time.process_time()
        live.add(record, time.time())
        spent += time.process_time() - started
        if number in marks:
            started = time.process_time()
            live.look()
            row = {"blocks": number, "CPU per block (ms)": 1e3 * spent / (number - before)}
            row["CPU per view (ms)"] = 1e3 * (time.process_time() - started)
            row["memory (MB)"] = psutil.Process().memory_info().rss / 1e6
            if traced:
                row["Python's memory (MB)"] = tracemalloc.get_traced_memory()[0] / 1e6
            rows.append(row)
            spent, before = 0.0, number
    if traced:
        tracemalloc.stop()
    return rows
