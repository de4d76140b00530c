"""Stores and campaign directories with chosen values in every column, made in milliseconds without model or input files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.campaign.commit import Attempt
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.finalise import finalise
from psdbatch.campaign.plan import Plan, make_plan
from psdbatch.campaign.provenance import run_provenance
from psdbatch.columns import FLAGS, IDENTITY, NO_LABEL, SHAPE, TIMESTAMP, Column, Flag, scalar
from psdbatch.results.shards import encode_shard
from psdbatch.results.store import Layout, create_run, create_store, shard_file
from tests.small_campaign import configuration, create, file_index

Values = dict[str, np.ndarray[Any, Any]]

CLASSES = ("gamma", "neutron")
LAYOUT = Layout(block=1024, chunk=256, level=1)
COLUMNS = (
    Column(
        "probability",
        "float32",
        "probability of each class, as the model answers",
        shape=(2,),
        dimensions=("class",),
        attributes={"classes": list(CLASSES)},
    ),
    scalar(
        "label", "uint8", "most probable class", flag_values=[0, 1, NO_LABEL], flag_meanings="gamma neutron no_answer"
    ),
    replace(TIMESTAMP, unit="10 ns"),
    *IDENTITY[1:],
    *SHAPE,
    FLAGS,
)


def measured(signals: int, seed: int = 0, board: int = 1) -> Values:
    """What a campaign gives for a liquid scintillator: two classes of pulses, some damaged, timestamps beyond 2**53."""
    rng = np.random.default_rng(seed)
    neutron = rng.random(signals) < 0.4
    charge = rng.uniform(2_000, 60_000, signals)
    ratio = np.where(neutron, 0.28, 0.16) + rng.normal(0, 0.015, signals)
    score = np.clip(np.where(neutron, 0.97, 0.03) + rng.normal(0, 0.02, signals), 0, 1).astype(np.float32)
    values: Values = {
        "probability": np.stack([1 - score, score], axis=1),
        "label": (score > 0.5).astype(np.uint8),
        "timestamp": np.uint64(2**60 + 1) + np.cumsum(rng.integers(1, 5_000, signals)).astype(np.uint64),
        "board": np.full(signals, board, np.uint16),
        "channel": rng.integers(0, 16, signals).astype(np.uint16),
        "amplitude": (charge / 8).astype(np.float32),
        "charge_long": charge.astype(np.float32),
        "charge_short": (charge * (1 - ratio)).astype(np.float32),
        "flags": np.where(rng.random(signals) < 0.05, Flag.SATURATED, 0).astype(np.uint16),
    }
    damaged = rng.random(signals) < 0.01
    for name in values:
        values[name][damaged] = np.nan if values[name].dtype.kind == "f" else 0
    values["label"][damaged], values["flags"][damaged] = NO_LABEL, Flag.DAMAGED
    return values


def joined(parts: Sequence[Values]) -> Values:
    """Values of several files one after another."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def write_store(
    path: Path,
    runs: Mapping[str, Sequence[Values]],
    columns: Sequence[Column] = COLUMNS,
    layout: Layout = LAYOUT,
    absent: Collection[int] = (),
) -> Path:
    """Write a store whose runs hold the values of some files each, without the blocks of ``absent`` numbers."""
    create_store(path, {"creator": "psdbatch", "classes": list(CLASSES)})
    for run, parts in runs.items():
        values = joined(parts)
        signals = len(next(iter(values.values())))
        files = [
            {"path": f"/data/{run}/board{number}.npy", "signals": len(next(iter(part.values())))}
            for number, part in enumerate(parts)
        ]
        kept = [column for column in columns if column.name in values]
        create_run(path, run, signals, kept, layout, {"run": run, "files": files})
        for block, first in enumerate(range(0, signals, layout.block)):
            for column in kept if block not in absent else ():
                shard = _encoded(values[column.name][first : first + layout.block], column, layout)
                (path / run / shard_file(column, block)).write_bytes(b"".join(shard.parts))
    return path


def filled_campaign(path: Path, runs: Mapping[str, Sequence[Values]], left: Collection[int] = ()) -> CampaignDirectory:
    """Make a campaign directory that has come to its end, except for the blocks of the numbers ``left`` in each run."""
    indexes = [
        file_index(f"/data/{run}/board{number}.npy", len(part["label"]))
        for run, parts in runs.items()
        for number, part in enumerate(parts)
    ]
    settings = configuration(processing={"block": LAYOUT.block}, results={"chunk": LAYOUT.chunk})
    plan = make_plan(settings, indexes, "0123456789abcdef" * 4)
    directory = CampaignDirectory(path)
    create(directory, plan)
    _make_runs(directory, plan)
    for run in plan.runs:
        values = joined(runs[run.name])
        for block in plan.blocks(run):
            if block.name.number not in left:
                attempt = Attempt(directory, block.name)
                part = {name: column[block.first : block.first + block.signals] for name, column in values.items()}
                for column in COLUMNS:
                    attempt.stage(shard_file(column, block.name.number), _encoded(part[column.name], column, LAYOUT))
                damaged = int((part["label"] == NO_LABEL).sum())
                attempt.commit(
                    first=block.first,
                    signals=block.signals,
                    identity=plan.identity(run, block),
                    refused={"damaged in the acquisition file": damaged} if damaged else {},
                )
    finalise(directory, plan)
    return directory


def _make_runs(directory: CampaignDirectory, plan: Plan) -> None:
    model = {"source": "/models/network.pb", "digest": "0123456789abcdef" * 4}
    create_store(
        directory.store,
        {
            "creator": "psdbatch",
            "model": model,
            "classes": list(CLASSES),
            "software": {"psdbatch": "0.1.0"},
            "plan_fingerprint": plan.fingerprint,
        },
    )
    for run in plan.runs:
        create_run(directory.store, run.name, run.signals, COLUMNS, LAYOUT, run_provenance(run), replace=True)


def _encoded(values: Any, column: Column, layout: Layout) -> Any:
    return encode_shard(
        values.astype(column.dtype),
        chunk=layout.chunk,
        shard=layout.block,
        level=layout.level,
        fill_value=column.fill_value(),
    )
