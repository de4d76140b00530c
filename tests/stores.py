"""Small real stores made of given columns, for what reads results and needs neither model nor acquisition files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.columns import FLAGS, IDENTITY, NO_LABEL, SHAPE, Column, Flag, scalar
from psdbatch.results.shards import encode_shard
from psdbatch.results.store import Layout, create_run, create_store, shard_file

Values = dict[str, np.ndarray[Any, Any]]

LABEL = scalar("label", "uint8", "most probable class")


def answers(n: int, seed: int = 0, refused: float = 0.1, classes: int = 2) -> Values:
    """Columns of ``n`` signals as a campaign stores them; every hit once."""
    rng = np.random.default_rng(seed)
    probability = np.random.default_rng([seed, classes]).dirichlet(np.ones(classes), n).astype("float32")
    values = {
        "probability": probability,
        "label": probability.argmax(axis=1).astype("uint8"),
        "timestamp": (np.arange(n, dtype="uint64") // 3) * 7 + (1 << 40),
        "board": rng.integers(1, 4, n).astype("uint16"),
        "channel": (np.arange(n) % 3).astype("uint16"),
        "amplitude": rng.lognormal(6, 1.5, n).astype("float32"),
        "charge_long": rng.uniform(100, 1000, n).astype("float32"),
        "flags": np.zeros(n, "uint16"),
    }
    values["charge_short"] = (values["charge_long"] * rng.uniform(0.5, 1, n)).astype("float32")
    refuse(values, rng.random(n) < refused, Flag.DAMAGED)
    return values


def refuse(values: Values, where: np.ndarray[Any, Any], flag: Flag) -> None:
    """Take the answers of some signals away."""
    values["label"][where] = NO_LABEL
    values["probability"][where] = np.nan
    values["flags"][where] |= np.uint16(flag)


def write_store(
    path: Path,
    runs: Mapping[str, Values],
    block: int = 64,
    chunk: int = 16,
    classes: Sequence[str] = ("gamma", "neutron"),
    unfinished: Collection[tuple[str, int]] = (),
    unit: str = "10 ns",
    **attributes: Any,
) -> Path:
    """Write ``path/results.zarr``; ``unfinished`` are runs and numbers of blocks that are left out."""
    path.mkdir(parents=True, exist_ok=True)
    store, layout = path / "results.zarr", Layout(block, chunk, 1)
    create_store(store, {"creator": "psdbatch", "classes": list(classes), **attributes})
    for run, values in runs.items():
        signals = len(values["timestamp"])
        columns = [_column(name, array, unit) for name, array in values.items()]
        create_run(store, run, signals, columns, layout, {"run": run, "files": []})
        for number, first in enumerate(range(0, signals, block)):
            if (run, number) in unfinished:
                continue
            for column in columns:
                part = values[column.name][first : first + block]
                shard = encode_shard(part, chunk=chunk, shard=block, level=1, fill_value=column.fill_value())
                (store / run / shard_file(column, number)).write_bytes(b"".join(shard.parts))
    return path


def _column(name: str, values: np.ndarray[Any, Any], unit: str) -> Column:
    known = {column.name: column for column in (*IDENTITY, *SHAPE, FLAGS, LABEL)}
    if name == "timestamp":
        return scalar("timestamp", "uint64", known[name].meaning, unit)
    if name == "probability":
        return Column(name, "float32", "probability", shape=values.shape[1:], dimensions=("class",))
    return known.get(name) or scalar(name, values.dtype, "recorded")
