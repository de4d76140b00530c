"""Signals per second of every network of the collection: prepared signals in memory, one CPU core or the GPU.

Processor time on a CPU, so that other programs on the machine disturb little; the ratio to ``dense`` is what to look at.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

BATCH, CALLS, ROUNDS, SAMPLES = 4096, 3, 6, 75


def run(directory: Path, signals: int) -> list[dict[str, Any]]:
    """One row per network; neither argument plays a part."""
    from psdbatch.config.network import Network
    from psdbatch.models.engine import configure_tensorflow, device_name
    from psdbatch.models.quiet import tf
    from psdbatch.networks.collection import NETWORKS, build

    configure_tensorflow(threads=1)
    clock = time.perf_counter if device_name().startswith("GPU") else time.process_time
    batch = tf.constant(np.random.default_rng(1).random((BATCH, SAMPLES), np.float32))
    rows = []
    for name in NETWORKS:
        model = build(Network(name=name), SAMPLES, ("gamma", "neutron")).model
        speeds = {kind: _speed(model, batch, xla, clock) for kind, xla in (("graph", False), ("XLA", True))}
        rows.append({"network": name, "parameters": model.count_params(), **speeds})
    fastest = rows[0]["XLA"]
    return [{**row, "XLA, relative to dense": row["XLA"] / fastest} for row in rows]


def _speed(model: Any, batch: Any, xla: bool, clock: Any) -> float:
    """Million signals per second, best of some rounds."""
    from psdbatch.models.quiet import tf

    function = tf.function(lambda signal: model(signal, training=False), jit_compile=xla or None)
    tf.nest.flatten(function(batch))[0].numpy()
    times = []
    for _ in range(ROUNDS):
        began = clock()
        for _ in range(CALLS):
            answers = tf.nest.flatten(function(batch))[0]
        answers.numpy()
        times.append(clock() - began)
    return BATCH * CALLS / min(times) / 1e6
