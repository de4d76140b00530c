"""Files and networks that the benchmarks work on, made once per directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.acquisition.format import WriterSettings
from psdbatch.acquisition.registry import formats
from psdbatch.acquisition.signals import Signals
from psdbatch.simulation.files import ENDINGS, TIMESTAMP_UNITS

PIECE = 65_536


def pulses(n: int, samples: int, seed: int) -> Signals:
    """Negative 14-bit pulses of two decay times over electronic noise of 3 ADC units, NEDA-like."""
    rng = np.random.default_rng(seed)
    signals = Signals.allocate(n, samples, "int16")
    axis = np.arange(samples, dtype=np.float32) - 20
    fast, slow = np.where(axis >= 0, np.exp(-axis / 4), 0), np.where(axis >= 0, np.exp(-axis / 40), 0)
    part = rng.choice(np.array([0.1, 0.25], np.float32), n)[:, None]
    amplitude = (200 + rng.exponential(1500, n)).clip(max=10_000).astype(np.float32)[:, None]
    height = amplitude * ((1 - part) * fast.astype(np.float32) + part * slow.astype(np.float32))
    noise = rng.standard_normal((n, samples), np.float32) * 3
    signals.samples[:] = np.rint(14_000 - height + noise)
    signals.timestamp[:] = np.cumsum(rng.integers(1, 20_000, n)).astype(np.uint64)
    signals.board[:] = rng.integers(0, 8, n)
    signals.channel[:] = rng.integers(0, 16, n)
    return signals


def write_runs(
    directory: Path, format_name: str, samples: int, signals: int, files: int = 2, **options: Any
) -> list[Path]:
    """``files`` acquisition files of one run that hold ``signals`` signals together."""
    directory.mkdir(parents=True, exist_ok=True)
    unit = TIMESTAMP_UNITS.get(format_name, "10 ns")
    settings = WriterSettings(samples, "int16", unit, 5.0, options=options)
    paths = []
    for number in range(files):
        path = directory / f"run_1_{number}{ENDINGS.get(format_name, f'.{format_name}')}"
        paths.append(path)
        if path.exists():
            continue
        partial = path.with_name(f"partial-{path.name}")
        with formats()[format_name].writer(partial, settings) as writer:
            left = signals // files
            piece = 0
            while left > 0:
                part = pulses(min(PIECE, left), samples, 1000 * number + piece)
                writer.write(part)
                left, piece = left - len(part), piece + 1
        partial.rename(path)
    return paths


def dense_network(path: Path, samples: int) -> Path:
    """Frozen dense network samples-10-4-2 with fixed weights and a softmax output, the talk's."""
    import tensorflow as tf

    if path.exists():
        return path
    rng = np.random.default_rng(1)
    graph = tf.Graph()
    with graph.as_default():
        layer = tf.compat.v1.placeholder(tf.float32, (None, samples), "signal")
        size = samples
        for units in (10, 4):
            weights = tf.constant(rng.normal(0, size**-0.5, (size, units)).astype(np.float32))
            layer, size = tf.nn.relu(tf.matmul(layer, weights) + tf.constant(np.zeros(units, np.float32))), units
        scores = tf.matmul(layer, tf.constant(rng.normal(0, 1, (size, 2)).astype(np.float32)))
        tf.nn.softmax(scores, name="output_layer")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path
