"""Campaigns on real batch systems: their configuration, what their journals say, and what they must leave behind."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.campaigns import facts, psdbatch, pulses, start, store_digests, write_config, write_file, write_network

PYTHON_START = 60.0
"""Seconds that a busy machine may need for anything that starts processes."""


def group(name: str, kind: str, queue: str, options: list[str], **values: Any) -> dict[str, Any]:
    """A small worker group whose GPU is pretended."""
    return {
        "name": name,
        "kind": kind,
        "gpu": name.upper(),
        "allow_cpu": True,
        "queue": queue,
        "options": options,
        "cores": 1,
        "memory": "2 GB",
        "walltime": "10 min",
        **values,
    }


def slurm_group(gpu: str, **values: Any) -> dict[str, Any]:
    """Workers on the tests' SLURM cluster."""
    return group(gpu, "slurm", values.pop("queue", gpu), [f"--gres=gpu:{gpu}:1"], **values)


def sge_group(gpu: str, **values: Any) -> dict[str, Any]:
    """Workers on the tests' Grid Engine."""
    options = [f"-l GPU=1,GPUtype={gpu.upper()}", "-pe multicores_gpu 1"]
    return group(gpu, "sge", values.pop("queue", "mc_gpu_long"), options, **values)


def farm(*groups: dict[str, Any], **values: Any) -> dict[str, Any]:
    """A ``[cluster]`` section that asks the queue often."""
    return {
        "kind": groups[0]["kind"],
        "address": "127.0.0.1",
        "poll": "2 s",
        "margin": "5 s",
        "workers": list(groups),
        **values,
    }


@dataclass
class Material:
    """Input files and network of a campaign, and the store that a local cluster makes of them."""

    files: str
    network: Path
    digests: dict[str, str]

    def config(self, folder: Path, cluster: dict[str, Any], **sections: dict[str, Any]) -> Path:
        """Write a configuration for these files into ``folder``."""
        path = write_config(folder / "campaign.toml", self.files, self.network, **sections)
        text = path.read_text()
        head, _, _ = text.partition("[cluster]")
        import tomli_w

        path.write_text(head + tomli_w.dumps({"cluster": {"dashboard": "", **cluster}}))
        return path


def make_material(folder: Path, signals: int, processing: dict[str, Any]) -> Material:
    """Two runs of ``signals`` signals, a slow network, and the store that a local cluster makes of them."""
    for run in (1, 2):
        write_file(folder / f"data/run_{run:04d}.psdz", pulses(signals, run))
    made = Material(str(folder / "data/*.psdz"), write_network(folder / "network.pb", hidden=(4096, 4096)), {})
    end(start("run", made.config(folder, {"processes": 1, "threads": 2}, processing=processing)), seconds=300)
    made.digests.update(store_digests(folder / "campaign"))
    return made


def journal(campaign: Path, event: str) -> list[dict[str, Any]]:
    """Events of a kind, oldest first."""
    path = campaign / "journal.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]


def wait(
    what: str, condition: Callable[[], Any], process: subprocess.Popen[str] | None = None, seconds: float = 90.0
) -> Any:
    """Wait until ``condition`` holds; its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        if process is not None and process.poll() is not None:
            said = process.stdout.read() if process.stdout else ""
            raise AssertionError(f"ended with {process.returncode} before {what}:\n{said}")
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def jobs_by_group(campaign: Path) -> dict[str, list[str]]:
    """Numbers of the jobs that were submitted for each group, in order."""
    found: dict[str, list[str]] = {}
    for entry in journal(campaign, "job submitted"):
        found.setdefault(entry["group"], []).append(entry["job"])
    return found


def admitted(campaign: Path, group_name: str) -> int:
    """Workers of a group that were admitted so far."""
    return sum(entry["group"] == group_name for entry in journal(campaign, "worker admitted"))


def end(process: subprocess.Popen[str], code: int = 0, seconds: float = 180.0) -> str:
    """Wait for a command to end; what it printed."""
    said, _ = process.communicate(timeout=seconds)
    assert process.returncode == code, said
    assert "Traceback" not in said, said
    return said


def check_whole(campaign: Path, material: Material) -> dict[str, Any]:
    """The audit is clean and the store is what a local cluster makes, byte for byte; the summary."""
    psdbatch("audit", campaign, "--deep")
    assert store_digests(campaign) == material.digests
    summary: dict[str, Any] = json.loads((campaign / "summary.json").read_text())
    assert summary["missing"] == 0
    return summary


def state(campaign: Path) -> Any:
    """What ``psdbatch status`` says."""
    return facts("status", campaign)
