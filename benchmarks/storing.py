"""Encoding of result columns: this package's shard encoder, zarr-python, zarrs; and the overhead of a commit."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.campaign.commit import Attempt
from psdbatch.campaign.directory import BlockName, CampaignDirectory
from psdbatch.columns import FLAGS, IDENTITY, SHAPE, Column, scalar
from psdbatch.results.shards import encode_shard
from psdbatch.results.store import Layout, create_run, create_store, shard_file

BLOCK, CHUNK = 1_048_576, 65_536


def run(directory: Path, signals: int) -> list[dict[str, Any]]:
    """A row per way to write one block of typical columns (37 bytes per signal)."""
    import zarr

    columns, values = _columns()
    store = directory / "storing.zarr"

    def fresh() -> Any:
        shutil.rmtree(store, ignore_errors=True)
        create_store(store, {})
        create_run(store, "run", BLOCK, columns, Layout(BLOCK, CHUNK, 1), {})
        return zarr.open_group(store / "run", mode="a")

    def ours() -> None:
        for column in columns:
            shard = encode_shard(values[column.name], chunk=CHUNK, shard=BLOCK, level=1, fill_value=column.fill_value())
            (store / "run" / shard_file(column, 0)).write_bytes(b"".join(shard.parts))

    def through_zarr() -> None:
        group = zarr.open_group(store / "run", mode="a")
        for column in columns:
            group[column.name][:] = values[column.name]

    rows = [_timed("psdbatch", fresh, ours, store), _timed("zarr-python", fresh, through_zarr, store)]
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "threading.max_workers": 1}):
        rows.append(_timed("zarrs", fresh, through_zarr, store))
    rows.append(_commit_overhead(directory))
    return rows


def _columns() -> tuple[list[Column], dict[str, Any]]:
    rng = np.random.default_rng(0)
    second = rng.beta(0.2, 0.2, BLOCK).astype(np.float32)
    probability = Column("probability", "float32", "", shape=(2,), dimensions=("class",))
    label = scalar("label", "uint8", "")
    values: dict[str, Any] = {
        "probability": np.stack([1 - second, second], axis=1),
        "label": (second > 0.5).astype(np.uint8),
        "timestamp": np.cumsum(rng.integers(1, 5000, BLOCK)).astype(np.uint64),
        "board": rng.integers(0, 16, BLOCK).astype(np.uint16),
        "channel": rng.integers(0, 16, BLOCK).astype(np.uint16),
        "amplitude": rng.exponential(1000, BLOCK).astype(np.float32),
        "charge_long": rng.exponential(20_000, BLOCK).astype(np.float32),
        "charge_short": rng.exponential(15_000, BLOCK).astype(np.float32),
        "flags": (rng.random(BLOCK) < 0.01).astype(np.uint16),
    }
    return [probability, label, *IDENTITY, *SHAPE, FLAGS], values


def _timed(name: str, fresh: Callable[[], Any], write: Callable[[], None], store: Path) -> dict[str, Any]:
    times = []
    for _ in range(4):
        fresh()
        started = time.perf_counter()
        write()
        times.append(time.perf_counter() - started)
    size = sum(path.stat().st_size for path in store.rglob("c.*"))
    return {
        "way": name,
        "M signals/s": BLOCK / min(times) / 1e6,
        "bytes per signal": size / BLOCK,
        "ms per block": min(times) * 1e3,
    }


def _commit_overhead(directory: Path) -> dict[str, Any]:
    """Everything of a commit but the columns' bytes: directories, record, link, renames, and all waiting for the disk."""
    path = directory / "commit-overhead"
    shutil.rmtree(path, ignore_errors=True)
    campaign = CampaignDirectory(path)
    for folder in (campaign.commits, campaign.staging):
        folder.mkdir(parents=True)
    columns, values = _columns()
    create_store(campaign.store, {})
    create_run(campaign.store, "run", 64 * 1024, columns, Layout(1024, 1024, 1), {})
    shards = {
        column.name: encode_shard(
            values[column.name][:1024], chunk=1024, shard=1024, level=1, fill_value=column.fill_value()
        )
        for column in columns
    }
    times = []
    for number in range(48):
        started = time.perf_counter()
        attempt = Attempt(campaign, BlockName("run", number))
        for column in columns:
            attempt.stage(shard_file(column, number), shards[column.name])
        attempt.commit(first=number * 1024, signals=1024, identity="")
        times.append(time.perf_counter() - started)
    return {"way": "commit alone (median)", "ms per block": float(np.median(times)) * 1e3}
