"""What the workers of all batch jobs have in common: examined before they register, gone before their job is killed.

A nanny watches one worker process and restarts it where it dies, so that a crash does not cost another wait in the
queue.  The worker is examined before the coordinator hears of it, and leaves before its job's time limit
(:mod:`psdbatch.cluster.walltime`).  What the examination is, each kind of work says itself.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask
from distributed import Worker

from psdbatch.cluster.events import ADMITTED, LEFT, REFUSED
from psdbatch.cluster.names import GROUP, NAME
from psdbatch.cluster.nanny import ReportingNanny
from psdbatch.cluster.security import read_security
from psdbatch.cluster.settings import SETTINGS
from psdbatch.cluster.walltime import Shift, facts, this_shift
from psdbatch.errors import ClusterError, PsdbatchError, WorkerRefused

logger = logging.getLogger("psdbatch.worker")

EXIT_REFUSED = 77
"""Exit status of a job whose worker was refused (EX_NOPERM of sysexits.h)."""

CHECK_TIME = 2.0
"""Seconds between two looks at the clock of a worker without a block to begin."""

HAND_OVER = 30.0
"""Seconds that a leaving worker gives the coordinator to take over its last reports."""


class JobWorker(Worker):  # type: ignore[misc]
    """A Dask worker that is examined before it registers, and that keeps to its job's working time.

    Parameters
    ----------
    home
        Directory of what it works for.
    """

    def __init__(self, *args: Any, home: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.home = Path(home)
        self._shift: Shift = this_shift()
        self.metrics["psdbatch"] = lambda _: facts(self._shift)
        self.handlers["job_ends"] = self._job_ends

    def examine(self) -> Mapping[str, Any]:
        """Whether this process may work; what it found out about itself.  Called in a thread.

        Raises
        ------
        PsdbatchError
            It may not.
        """
        raise NotImplementedError

    async def start_unsafe(self) -> Worker:
        """Pass the examination, then register.

        Raises
        ------
        WorkerRefused
            The coordinator has been told why.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGUSR2):  # the batch system's warnings: end what runs, begin nothing
            loop.add_signal_handler(number, self._shift.leave)
        said = {"name": self.name, "node": node_name(), "group": os.environ.get(GROUP, "")}
        try:
            found = await asyncio.to_thread(self.examine)
        except PsdbatchError as error:
            logger.error("refused: %s", error)
            await self.rpc.start()  # which the start that is not to come would do
            await self.scheduler.log_event(
                topic=REFUSED, msg={**said, "reason": str(error), "avoid": isinstance(error, WorkerRefused)}
            )
            raise
        if self._shift.leaving:
            raise ClusterError("its job is about to end, before it has begun")
        await super().start_unsafe()
        self._shift.on_leave(lambda: self.loop.add_callback(self._leave))
        self.log_event(ADMITTED, {**found, **said})
        asyncio.ensure_future(self._watch_clock())  # noqa: RUF006 - lives as long as the process
        return self

    def _job_ends(self, ends: float) -> None:
        """The batch system's newest word on when the job is killed."""
        self._shift.ends = ends

    async def _watch_clock(self) -> None:
        while not self._shift.leaving:
            if self._shift.over():
                self._shift.leave()
            await asyncio.sleep(CHECK_TIME)

    async def _leave(self) -> None:
        """Take no more blocks, end those that run, hand over their reports, go."""
        from distributed.core import Status

        if self.status is Status.running:  # type: ignore[has-type]
            self.status = Status.paused  # the scheduler sends no more; what runs goes on
        self._shift.stopped()
        while not self._shift.idle():
            await asyncio.sleep(0.1)
        patience = HAND_OVER
        while self.data and patience > 0:
            await asyncio.sleep(0.1)
            patience -= 0.1
        try:
            await self.scheduler.log_event(topic=LEFT, msg={"name": self.name})
        except OSError:
            logger.warning("the coordinator cannot be told goodbye")
        await self.close_gracefully(reason="its job's time is over, or the batch system wants it to end")


def node_name() -> str:
    """The node as its batch system calls it."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def run_worker(worker_class: type[JobWorker], program: str, what: str, arguments: list[str]) -> int:
    """Run the nanny until its worker is done; the job's exit status.

    Parameters
    ----------
    program
        Module that the job runs.
    what
        What the worker works for; ``--WHAT`` gives its directory, with ``logs`` in it.
    """
    options = _parser(program, what).parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    with dask.config.set({**SETTINGS, "distributed.comm.timeouts.connect": options.timeout}):
        return asyncio.run(_work(worker_class, options))


async def _work(worker_class: type[JobWorker], options: argparse.Namespace) -> int:
    from distributed.core import Status

    nanny = ReportingNanny(
        options.scheduler,
        name=options.name,
        nthreads=options.threads,
        memory_limit=options.memory_limit,
        local_directory=options.local_directory,
        security=read_security(Path(options.tls)) if options.tls else None,
        worker_class=worker_class,
        notes=str(Path(options.home) / "logs"),
        dashboard=False,
        home=options.home,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGUSR2):
        loop.add_signal_handler(number, _pass_on, nanny, number)
    try:
        await nanny
    except Exception as error:
        logger.error("the worker has not started: %s", error)
        return EXIT_REFUSED
    await nanny.finished()
    return 0 if nanny.status is Status.closed else 1


def _pass_on(nanny: ReportingNanny, number: int) -> None:
    """Some batch systems warn only the job's first process."""
    if nanny.pid:
        os.kill(nanny.pid, number)


def _parser(program: str, what: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("scheduler", help="address of the coordinator's scheduler")
    parser.add_argument("--name", default=os.environ.get(NAME), help="name of the worker")
    parser.add_argument(f"--{what}", dest="home", required=True, help=f"{what} directory")
    parser.add_argument("--threads", type=int, default=1, help="blocks treated at a time")
    parser.add_argument("--memory-limit", default="auto", help="memory of the worker process")
    parser.add_argument("--local-directory", help="directory for temporary files")
    parser.add_argument("--tls", help="directory of the certificate")
    parser.add_argument("--timeout", default="60s", help="time to reach the coordinator")
    parser.add_argument("--nthreads", type=int, help="cores of the job (from dask-jobqueue; not used)")
    parser.add_argument("--death-timeout", help="from dask-jobqueue; not used")
    return parser
