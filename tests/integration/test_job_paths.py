"""Directories with unusual names: the real batch systems write a job's log where it belongs, and pass its arguments on."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from psdbatch.cluster.jobs import JobSheet, job_spec
from psdbatch.cluster.systems import batch_system
from psdbatch.config.cluster import System, WorkerGroup
from tests.servers.processes import wait_until


def submit(system: System, folder: Path) -> Path:
    """Submit a worker group's job that prints its arguments; its log."""
    (folder / "logs").mkdir(parents=True)
    (folder / "echo.py").write_text("import sys\nprint(sys.argv[-1])\n")
    sheet = JobSheet("echo", folder / "logs", "psd", ("--campaign", str(folder)), {"PYTHONPATH": str(folder)})
    group = WorkerGroup(name="cpu", cores=1, memory="100 MB", walltime="60 s", python=sys.executable)  # type: ignore[arg-type]

    async def script() -> str:
        spec = job_spec(system, group, "cpu-1", sheet)
        return str(spec["cls"]("tcp://nowhere:1", **spec["options"]).job_script())

    (folder / "job.sh").write_text(asyncio.run(script()))
    return folder / "logs" / f"cpu-1-{batch_system(system).submit(folder / 'job.sh')}.log"


@pytest.mark.parametrize("system", ["slurm", "sge"])
def test_a_campaign_s_directory_may_have_a_space_in_its_name(
    system: System, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(system)
    folder = tmp_path / "my campaign at 50%"
    log = submit(system, folder)
    assert wait_until(lambda: log.exists() and str(folder) in log.read_text(), 60), sorted(folder.rglob("*"))
