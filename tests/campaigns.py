"""Builders of small real campaigns: acquisition files, a frozen network, a configuration, and the command itself."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.acquisition.format import WriterSettings
from psdbatch.acquisition.registry import formats
from psdbatch.acquisition.signals import Signals

SAMPLES = 96
WINDOW = 75


def pulses(n: int, seed: int = 0, samples: int = SAMPLES) -> Signals:
    """Negative 14-bit pulses with two decay times over noise; boards, channels and times as an acquisition gives them."""
    rng = np.random.default_rng(seed)
    signals = Signals.allocate(n, samples, "int16")
    time_axis = np.arange(samples) - 20.0
    slow = rng.choice([0.1, 0.3], n)[:, None]
    shape = np.where(time_axis >= 0, (1 - slow) * np.exp(-time_axis / 4) + slow * np.exp(-time_axis / 25), 0)
    amplitude = rng.uniform(200, 9000, n)[:, None]
    signals.samples[:] = np.rint(12000 - amplitude * shape + rng.normal(0, 3, (n, samples)))
    signals.timestamp[:] = np.cumsum(rng.integers(1, 5000, n)).astype(np.uint64) + np.uint64(1 << 40)
    signals.board[:] = rng.integers(1, 5, n)
    signals.channel[:] = rng.integers(0, 16, n)
    return signals


def write_file(path: Path, signals: Signals, format_name: str = "packets", **options: Any) -> Path:
    """Write ``signals`` as an acquisition file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = WriterSettings(
        samples=signals.samples.shape[1],
        sample_dtype=signals.samples.dtype.name,
        timestamp_unit="10 ns",
        sampling_period_ns=5.0,
        options=options,
    )
    with formats()[format_name].writer(path, settings) as writer:
        writer.write(signals)
    return path


def write_network(path: Path, hidden: tuple[int, ...] = (10,), poison: bool = False) -> Path:
    """Frozen dense network on 75 prepared samples with fixed weights; ``poison``: answers NaN for signals with a long tail."""
    import tensorflow as tf

    rng = np.random.default_rng(1)
    graph = tf.Graph()
    with graph.as_default():
        raw = layer = tf.compat.v1.placeholder(tf.float32, (None, WINDOW), "signal")
        size = WINDOW
        for units in hidden:
            weights = tf.constant(rng.normal(0, size**-0.5, (size, units)).astype(np.float32))
            layer, size = tf.nn.relu(tf.matmul(layer, weights)), units
        scores = tf.matmul(layer, tf.constant(rng.normal(0, 1, (size, 2)).astype(np.float32)))
        if poison:
            tail = tf.reduce_mean(raw[:, 40:70], axis=1, keepdims=True)
            scores += tf.math.log(tf.where(tail > 0.05, -1.0, 1.0))
        tf.nn.softmax(scores, name="output_layer")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def write_config(path: Path, files: str, network: Path, campaign: str = "campaign", **sections: dict[str, Any]) -> Path:
    """``campaign.toml`` with small blocks; ``sections`` add to or replace keys of the sections named."""
    content: dict[str, Any] = {
        "campaign": campaign,
        "input": {"files": [files]},
        "model": {"path": str(network), "classes": ["gamma", "neutron"]},
        "processing": {"block": 2000, "batch": 512, "backoff": "0.1 s"},
        "results": {"chunk": 500},
        "cluster": {"processes": 1, "threads": 2, "dashboard": ""},
    }
    for name, values in sections.items():
        content[name] = {**content.get(name, {}), **values}
    import tomli_w

    path.write_text(tomli_w.dumps(content))
    return path


def psdbatch(*arguments: object, check: int | None = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does; ``check`` is the expected exit code."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=240, check=False, **options)
    if check is not None:
        assert done.returncode == check, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def command(*arguments: object) -> list[str]:
    """The command line for ``psdbatch`` with these arguments."""
    return [sys.executable, "-m", "psdbatch", *map(str, arguments)]


def facts(*arguments: object, check: int | None = 0) -> Any:
    """What the command prints with ``--json``."""
    return json.loads(psdbatch(*arguments, "--json", check=check).stdout)


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start the command in a process group of its own."""
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def wait_for_commits(campaign: Path, count: int, process: subprocess.Popen[str], timeout: float = 120) -> None:
    """Wait until ``count`` blocks are committed while ``process`` runs."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if len(list(campaign.glob("commits/*/*/*.json"))) >= count:
            return
        if process.poll() is not None:
            raise AssertionError(
                f"ended early with {process.returncode}: {process.stdout.read() if process.stdout else ''}"
            )
        time.sleep(0.02)
    raise AssertionError("no commits in time")


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a started command with all its workers at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def children(process: subprocess.Popen[str]) -> list[int]:
    """Worker processes of a started command."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
                group = os.getpgid(int(entry.name))
            except (OSError, ProcessLookupError):
                continue
            if group == process.pid and b"spawn_main" in line:
                found.append(int(entry.name))
    return found


def store_digests(campaign: Path) -> dict[str, str]:
    """Digest of every file of the store except the root's metadata, which names the campaign's own files."""
    store = campaign / "results.zarr"
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.parent != store
    }
