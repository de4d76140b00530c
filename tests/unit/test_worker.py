"""The program of a worker's job understands the line that its job script ends with."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import pytest

from psdbatch.cluster.job_worker import _parser, node_name
from psdbatch.cluster.jobs import JobSheet, job_spec
from psdbatch.cluster.names import NAME
from psdbatch.config.cluster import System, WorkerGroup

SHEET = JobSheet(
    "psdbatch.processing.worker",
    Path("/data/my campaign/logs"),
    "psdbatch-neda",
    arguments=("--campaign", "/data/my campaign", "--tls", "/data/certificates", "--timeout", "90s"),
)


def script(system: System) -> list[str]:
    """A job script as dask-jobqueue writes it."""
    group = WorkerGroup(name="v100", cores=6, threads=4, memory="12 GB")  # type: ignore[arg-type]

    async def written() -> list[str]:
        spec = job_spec(system, group, "v100-3", SHEET)
        job = spec["cls"]("tcp://coordinator:8786", **spec["options"])
        return str(job.job_script()).strip().splitlines()

    return asyncio.run(written())


@pytest.mark.parametrize("system", ["slurm", "sge"])
def test_the_last_line_of_a_job_script_is_understood(system: System) -> None:
    words = shlex.split(script(system)[-1])
    start = words.index("-m")
    assert words[start + 1] == SHEET.program
    options = _parser("worker", "campaign").parse_args(words[start + 2 :])
    assert (options.scheduler, options.name, options.threads) == ("tcp://coordinator:8786", "v100-3", 4)
    assert options.home == "/data/my campaign"
    assert options.tls == "/data/certificates"
    assert options.timeout == "90s"
    assert options.memory_limit.endswith("GiB")


@pytest.mark.parametrize(
    ("system", "option"),
    [
        ("slurm", '#SBATCH --output="/data/my campaign/logs/v100-3-%j.log"'),
        ("sge", '#$ -o "/data/my campaign/logs/v100-3-$JOB_ID.log"'),
    ],
)
def test_a_log_may_lie_below_a_name_with_a_space(system: System, option: str) -> None:
    assert option in script(system)


def test_a_worker_is_named_by_its_job_and_its_node_by_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "k80-7")
    monkeypatch.setenv("SLURMD_NODENAME", "ccwsge0123")
    assert _parser("worker", "campaign").parse_args(["tcp://a:1", "--campaign", "/c"]).name == "k80-7"
    assert node_name() == "ccwsge0123"
