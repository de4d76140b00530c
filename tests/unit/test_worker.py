"""The program of a worker's job understands the line that its job script ends with."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import pytest
from distributed import Scheduler

from psdbatch.cluster import job_worker
from psdbatch.cluster.job_worker import JobWorker, _parser, node_name
from psdbatch.cluster.jobs import JobSheet, job_spec
from psdbatch.cluster.names import NAME
from psdbatch.cluster.walltime import Shift, this_shift
from psdbatch.config.cluster import System, WorkerGroup
from psdbatch.errors import ClusterError

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


class ToldWhileExamined(JobWorker):
    """The batch system wants its job back before it has begun."""

    def examine(self) -> dict[str, object]:
        this_shift().leave()
        return {}


def test_a_worker_told_to_end_while_it_is_examined_never_registers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = Shift()
    monkeypatch.setattr(job_worker, "this_shift", lambda: shift)
    monkeypatch.setitem(globals(), "this_shift", lambda: shift)

    async def started() -> int:
        async with Scheduler(dashboard_address="127.0.0.1:0", host="127.0.0.1") as scheduler:
            worker = ToldWhileExamined(scheduler.address, home=str(tmp_path), nthreads=1)
            with pytest.raises(RuntimeError) as failure:
                await worker
            cause = failure.value.__cause__ or failure.value
            assert isinstance(cause, ClusterError)
            return len(scheduler.workers)

    assert asyncio.run(started()) == 0


def test_who_asks_late_to_be_told_of_the_end_is_told_at_once() -> None:
    shift, told = Shift(), []
    shift.leave()
    shift.on_leave(lambda: told.append(1))
    shift.leave()
    assert told == [1]


def test_a_worker_is_named_by_its_job_and_its_node_by_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "k80-7")
    monkeypatch.setenv("SLURMD_NODENAME", "ccwsge0123")
    assert _parser("worker", "campaign").parse_args(["tcp://a:1", "--campaign", "/c"]).name == "k80-7"
    assert node_name() == "ccwsge0123"
