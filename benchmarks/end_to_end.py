"""Files on disk to an audited store, against the limit of the machine.

The limit is what nobody can avoid: the same compressed bytes read and decompressed by python-zstandard alone, plus the
compiled function alone on data in memory, on as many threads as the campaign uses.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tomli_w

from benchmarks.material import dense_network, pulses, write_runs


def run(directory: Path, signals: int) -> list[dict[str, Any]]:
    """Rows for 75 and 232 samples."""
    return [_row(directory, samples, signals) for samples in (75, 232)]


def _row(directory: Path, samples: int, signals: int) -> dict[str, Any]:
    folder = directory / f"packets-{samples}"
    files = write_runs(folder, "packets", samples, signals)
    config = write_campaign(folder, files, samples)
    started = time.perf_counter()
    _command("run", config)
    whole = time.perf_counter() - started
    started = time.perf_counter()
    _command("audit", folder / "campaign")
    audited = time.perf_counter() - started
    span, stages = measured_span(folder / "campaign")
    steady = steady_pace(folder / "campaign")
    decompress, compute = limit(folder, files, samples, signals)
    return {
        "samples": samples,
        "signals": signals,
        "limit (M/s)": signals / (decompress + compute) / 1e6,
        "psdbatch (M/s)": signals / span / 1e6,
        "of the limit": (decompress + compute) / span,
        "steady (M/s)": steady / 1e6,
        "steady, of the limit": steady * (decompress + compute) / signals,
        "with audit": (decompress + compute) / (span + audited),
        "whole command (s)": whole,
        "audit (s)": audited,
        **{f"{stage} (%)": 100 * seconds / sum(stages.values()) for stage, seconds in stages.items()},
    }


def write_campaign(folder: Path, files: list[Path], samples: int, **cluster: Any) -> Path:
    """A fresh campaign directory's configuration."""
    subprocess.run(["rm", "-rf", folder / "campaign"], check=True)
    config = {
        "campaign": "campaign",
        "input": {"files": [str(path) for path in files]},
        "model": {"path": str(dense_network(folder / "dense.pb", 75)), "classes": ["gamma", "neutron"]},
        "processing": {"block": 524_288},
        "cluster": {"dashboard": "", **cluster},
    }
    (folder / "campaign.toml").write_text(tomli_w.dumps(config))
    return folder / "campaign.toml"


def _command(*arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "psdbatch", *map(str, arguments), "--json"], check=True, stdout=subprocess.DEVNULL
    )


def measured_span(campaign: Path) -> tuple[float, dict[str, float]]:
    """Seconds from the first block's start to the last block's commit, and the time per stage over all blocks."""
    reports = [json.loads(path.read_text())["report"] for path in campaign.glob("commits/*/*/*.json")]
    stages: dict[str, float] = {}
    for report in reports:
        for stage, seconds in report["seconds"].items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    return max(report["finished"] for report in reports) - min(report["started"] for report in reports), stages


def steady_pace(campaign: Path) -> float:
    """Signals per second of the blocks behind each thread's first one, which pays for imports and compiled kernels."""
    records = [json.loads(path.read_text()) for path in campaign.glob("commits/*/*/*.json")]
    records.sort(key=lambda record: float(record["report"]["started"]))
    threads = len(os.sched_getaffinity(0))
    later = records[threads:] or records
    seconds = [(record["report"]["finished"] - record["report"]["started"]) / record["signals"] for record in later]
    return threads / statistics.median(seconds)


def limit(folder: Path, files: list[Path], samples: int, signals: int) -> tuple[float, float]:
    """Seconds for reading and decompressing alone, and for the compiled function alone, on all cores."""
    from psdbatch.campaign.plan import Plan
    from psdbatch.processing.process import open_session

    threads = len(os.sched_getaffinity(0))
    stored = [(path, frame) for path in files for frame in frames(path)]
    parts = [stored[number::threads] for number in range(threads)]
    decompress = min(_on_threads(_decompress, parts) for _ in range(3))
    plan = Plan.read(folder / "campaign" / "plan.json")
    engine = open_session(str(folder / "campaign")).engine(plan.runs[0])
    raw = pulses(engine.batch, samples, 5).samples
    rounds = max(1, signals // engine.batch // threads)

    def infer(rounds: int) -> None:
        mine = engine.buffer(engine.batch)
        mine[:] = raw
        for _ in range(rounds):
            engine.run(mine)["amplitude"].numpy()

    infer(3)
    compute = min(_on_threads(infer, [rounds] * threads) for _ in range(2))
    return decompress, compute * signals / (rounds * threads * engine.batch)


def frames(path: Path) -> list[tuple[int, int, int]]:
    """Offset, compressed and raw size of every Zstandard frame in a file of packets."""
    from psdbatch.acquisition.bytesource import open_source
    from psdbatch.acquisition.packet_layout import PacketHeader, PacketWalk, read_file_header

    found = []
    with open_source(path).open() as stream:
        header, start = read_file_header(stream)
        walk = PacketWalk(stream, start, header.packet_header_bytes, 0)
        for packet in walk:
            assert isinstance(packet, PacketHeader)
            position = packet.offset + header.packet_header_bytes
            for stored, raw in packet.table:
                found.append((position, stored, raw))
                position += stored
            walk.expected += packet.signals
            walk.skip_payload(packet)
    return [frame for frame in found if frame[1]]


def _decompress(stored: list[tuple[Path, tuple[int, int, int]]]) -> None:
    import zstandard

    decompressor = zstandard.ZstdDecompressor()
    descriptors = {path: os.open(path, os.O_RDONLY) for path in {path for path, _ in stored}}
    for path, (offset, size, raw) in stored:
        decompressor.decompress(os.pread(descriptors[path], size, offset), max_output_size=raw)
    for descriptor in descriptors.values():
        os.close(descriptor)


def _on_threads(work: Callable[[Any], None], parts: list[Any]) -> float:
    with ThreadPoolExecutor(len(parts)) as pool:
        started = time.perf_counter()
        list(pool.map(work, parts))
        return time.perf_counter() - started
