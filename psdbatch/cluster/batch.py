"""Worker groups on batch systems: one scheduler, several kinds of jobs, each group scaled on its own.

Built on :class:`distributed.SpecCluster`, which starts and closes what its specification names, and on dask-jobqueue's
jobs.  Done here, because neither does it: the queue is asked what became of every job; lost jobs are replaced; a group
whose jobs cannot work is given up instead of being tried for ever; surplus workers retire by name.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from distributed import Scheduler
from distributed.core import Status
from distributed.deploy.spec import NoOpAwaitable, SpecCluster
from distributed.security import Security

from psdbatch.cluster.deaths import Death, Deaths
from psdbatch.cluster.group import Group, Placed
from psdbatch.cluster.inquiry import Inquiry
from psdbatch.cluster.jobs import JobSheet, job_spec
from psdbatch.cluster.listener import Listener
from psdbatch.cluster.names import group_of
from psdbatch.cluster.reaper import Reaper
from psdbatch.cluster.roster import Roster
from psdbatch.cluster.scaling import jobs_wanted, to_release
from psdbatch.cluster.system import BatchSystem, JobEnd, JobState, QueuedJob
from psdbatch.cluster.systems import batch_system
from psdbatch.config.cluster import Cluster, System
from psdbatch.errors import BatchSystemError, ClusterError

logger = logging.getLogger(__name__)

BEAT = 1.0
"""Seconds between two looks at workers and work."""

SUBMISSION = 60.0
"""Seconds that a submission may take which is under way when the cluster closes."""


class BatchCluster(SpecCluster):  # type: ignore[misc]
    """A scheduler in this process and workers in batch jobs.

    Parameters
    ----------
    settings
        The ``[cluster]`` section.
    sheet
        What all jobs have in common.
    security
        For all connections; None: unencrypted.
    listener
        Is told about jobs.  Called from the cluster's thread.
    deaths
        Where it is noted how workers died.
    reaper
        Cancels the jobs if this process is killed.
    scheduler_options
        Further options of :class:`distributed.Scheduler`.

    Attributes
    ----------
    failure
        Why the campaign cannot go on, once that is so.
    """

    def __init__(
        self,
        settings: Cluster,
        sheet: JobSheet,
        security: Security | None,
        listener: Listener,
        deaths: Deaths,
        reaper: Reaper,
        **scheduler_options: Any,
    ) -> None:
        self.settings = settings
        self.sheet = sheet
        self.listener = listener
        self.deaths = deaths
        self._reaper = reaper
        self.failure: ClusterError | None = None
        self.groups = {group.name: Group(group, settings.system(group)) for group in settings.workers}
        self._systems: dict[System, BatchSystem] = {
            group.system: batch_system(group.system) for group in self.groups.values()
        }
        self._inquiry = Inquiry(self.groups, self._systems, settings.poll)
        self._roster = Roster(self.groups, deaths, listener, self._inquiry.soon)
        self._numbers = itertools.count(1)
        self._left: tuple[int, int] | None = None
        self._retry_at = 0.0
        self._beating: asyncio.Task[None] | None = None
        self._closing = False
        super().__init__(
            workers={},
            scheduler={"cls": Scheduler, "options": {"security": security, **scheduler_options}},
            security=security,
            silence_logs=logging.CRITICAL,
        )

    # Called from the coordinator's thread

    def pulse(self, blocks_left: int, tasks_left: int | None = None) -> None:
        """Tell how many blocks have no commit yet, and how many tasks they make up if not as many, which decides about jobs.

        Raises
        ------
        ClusterError
            No worker can be had.
        """
        self._left = blocks_left, blocks_left if tasks_left is None else tasks_left
        if self.failure is not None:
            raise self.failure

    def threads(self) -> int:
        """Blocks that the workers of this moment treat at a time."""
        return sum(worker["nthreads"] for worker in list(self.scheduler_info.get("workers", {}).values()))

    def measured(self, group: str, seconds: float, signals: int) -> None:
        """A worker of ``group`` took ``seconds`` for a block of ``signals``."""
        if group in self.groups:
            self.groups[group].measured(seconds, signals)

    def describe(self) -> str:
        """Jobs of each group in one line: ``v100 3 running, 2 pending (Resources)``."""
        return "; ".join(group.describe() for group in self.groups.values())

    # The cluster's own life

    async def _start(self) -> None:
        await super()._start()
        if self._beating is None:
            self._roster.follow(self.scheduler)
            self._beating = asyncio.ensure_future(self._beat())

    async def _close(self) -> None:
        self._closing = True
        if self._beating is not None:
            # A submission that is cut short would leave jobs behind that nobody knows of.
            await asyncio.wait({self._beating}, timeout=SUBMISSION)
            self._beating.cancel()
            self._beating = None
        if self.status == Status.running:
            await self._cancel(list(self.workers), "the campaign has ended")
        await super()._close()

    def scale(self, n: int = 0, memory: Any = None, cores: Any = None) -> Any:
        """Only ``scale(0)``, with which the base class closes; jobs follow the work otherwise."""
        if n or memory or cores:
            raise ValueError("worker groups scale themselves: see 'jobs' in [[cluster.workers]]")
        self.worker_spec.clear()
        return NoOpAwaitable()

    async def _beat(self) -> None:
        while not self._closing and self.status in (Status.created, Status.starting, Status.running):
            try:
                self._roster.note_blocks(self.scheduler)
                await self._ask()
                self._give_up_hopeless()
                if self._left is not None and self.failure is None:
                    await self._follow(*self._left)
            except Exception as error:  # the campaign must not hang on a defect here
                logger.exception("the worker groups cannot be looked after")
                self.failure = ClusterError(
                    f"the worker groups cannot be looked after: {type(error).__name__}: {error}"
                )
            await asyncio.sleep(BEAT)

    def _update_worker_status(self, op: str, message: Any) -> None:
        """Keep the list of workers; the base class would cancel the job of one that is gone for some seconds."""
        if op == "add":
            self.scheduler_info["workers"].update(message.pop("workers"))
            self.scheduler_info.update(message)
        elif op == "remove":
            self.scheduler_info["workers"].pop(message, None)

    # What has become of jobs

    async def _ask(self) -> None:
        answers = await self._inquiry.ask()
        for system, placed, facts in answers.queued:
            await self._seen(system, placed, facts)
        for placed, end in answers.ended:
            self._ended(placed, end)

    async def _seen(self, system: BatchSystem, placed: Placed, facts: QueuedJob) -> None:
        placed.state, placed.reason, placed.node = facts.state, facts.reason, facts.node
        if placed.addresses and placed.address is None:
            self._inquiry.soon()  # its worker is gone: it ends soon, and whose fault that was must be known
        if why := system.never(facts):
            await self._impossible(placed, f"job {facts.id} of worker group '{placed.group}' can never start: {why}")
        if placed.address is None and (what := _kept_from_work(system, facts)):
            for address in placed.addresses:
                self.deaths.report(address, Death(f"its job {facts.id} was {what}", innocent=True))
        if facts.ends is not None and placed.address and placed.told(facts.ends):
            try:
                await self.scheduler.rpc(placed.address).job_ends(ends=facts.ends)
            except OSError:
                logger.debug("worker %s cannot be told when its job ends", placed.name)

    async def _impossible(self, placed: Placed, reason: str) -> None:
        """A job that can never start: the group's request is at fault, unless others of it have started."""
        group = self.groups[placed.group]
        if not group.proven:
            self.failure = ClusterError(reason)
            return
        self.listener.said(f"{reason}; it is cancelled")
        group.impossible(reason)
        await self._cancel([placed.name], "it could never start")

    def _ended(self, placed: Placed, end: JobEnd) -> None:
        group = self.groups[placed.group]
        reason = "" if placed.released else end.reason
        for address in placed.addresses:
            self.deaths.report(address, Death(f"its job {placed.id} ended: {end.reason}", innocent=end.innocent))
        self._forget(placed.name)
        group.ended(placed, reason, end.innocent)
        self._finished(placed, reason or "no longer needed")
        if not placed.released:
            self.listener.said(f"job {placed.id} ({placed.name}) ended: {end.reason}")

    def _forget(self, name: str) -> None:
        self.worker_spec.pop(name, None)
        job = self.workers.pop(name, None)
        if job is not None:
            job.forget()

    def _give_up_hopeless(self) -> None:
        """Give up groups without a worker whose jobs come to nothing; without any group left, the campaign."""
        for group in self.groups.values():
            if group.given_up is None and not group.running() and (reason := group.hopeless()):
                group.given_up = reason
                self.listener.said(f"worker group '{group.name}' is given up: {reason}")
        groups = self.groups.values()
        if (
            all(group.given_up for group in groups)
            and not any(group.running() for group in groups)
            and not self.failure
        ):
            listed = "\n".join(f"worker group '{group.name}': {group.given_up}" for group in groups)
            self.failure = ClusterError(f"no worker can be had; finished blocks are safe\n{listed}")

    def _of(self, kind: System) -> Sequence[Group]:
        return [group for group in self.groups.values() if group.system == kind]

    # Jobs follow the work

    async def _follow(self, blocks: int, tasks: int) -> None:
        loads = [group.load() for group in self.groups.values() if group.hopeless() is None]
        wanted = jobs_wanted(loads, blocks, tasks)
        surplus: list[str] = []
        for load in loads:
            group = self.groups[load.name]
            more = wanted[load.name] - load.running - load.pending
            if more < 0:
                surplus += group.pending()[:-more]
            elif time.monotonic() >= self._retry_at:
                for _ in range(min(more, load.limit - len(group.jobs))):
                    self._specify(group)
        if surplus:
            await self._cancel(surplus, "no longer needed")
        await self._release(tasks)
        if set(self.worker_spec) - set(self.workers):
            await self._submit()

    def _specify(self, group: Group) -> None:
        name = f"{group.name}-{next(self._numbers)}"
        group.add(name)
        pace, avoided = group.seconds_per_signal, sorted(group.avoided)

        def accepted(job: str) -> None:
            self._reaper.submitted(group.system, job)
            self.listener.submitted(group.name, name, group.system, job)

        self.worker_spec[name] = job_spec(group.system, group.settings, name, self.sheet, pace, avoided, accepted)

    async def _submit(self) -> None:
        """Submit what is specified.  A first job that is refused ends the campaign, a later one is tried again."""
        new = sorted(set(self.worker_spec) - set(self.workers))
        with suppress(BatchSystemError):  # each job keeps its own refusal
            await self._correct_state()
        for name in new:
            group, job = self.groups[group_of(name)], self.workers[name]
            if job.job_id is not None:
                group.submitted(name, job.job_id)
                continue
            self._forget(name)
            group.jobs.pop(name, None)
            group.turned_away()
            if not group.accepted and not job.busy:
                self.failure = ClusterError(
                    f"jobs of worker group '{group.name}' are refused by the batch system: {job.refusal}"
                )
            elif time.monotonic() > self._retry_at:  # a full queue, a controller that restarts
                self._retry_at = time.monotonic() + self.settings.poll
                self.listener.said(
                    f"the batch system takes no job now, next try in {self.settings.poll:.0f} s: {job.refusal}"
                )

    async def _release(self, tasks: int) -> None:
        """Retire workers that no task will come for."""
        states = [state for state in self.scheduler.workers.values() if self._roster.placed(state.name)]
        idle = [state for state in states if not state.processing]
        treated = sum(min(len(state.processing), state.nthreads) for state in states)
        number = to_release(len(states), len(idle), max(0, tasks - treated))
        slowest = sorted(idle, key=lambda state: self.groups[group_of(str(state.name))].pace or 0.0)
        names = [str(state.name) for state in slowest[:number]]
        if names:
            for name in names:
                if placed := self._roster.placed(name):
                    placed.released = True
            # By name, as SpecCluster's own way hands over names for addresses, which retires nobody
            await self.scheduler.retire_workers(names=names, close_workers=True, remove=True)
            self._inquiry.soon()

    async def _cancel(self, names: Sequence[str], why: str) -> None:
        """Cancel jobs, all of a batch system in one command."""
        for kind, system in self._systems.items():
            placed = [job for group in self._of(kind) for job in group.jobs.values() if job.name in names]
            ids = [job.id for job in placed if job.id]
            if ids:
                try:
                    await asyncio.to_thread(system.cancel, ids)
                except BatchSystemError as error:
                    self.listener.said(f"jobs {', '.join(ids)} could not be cancelled: {error}")
                    if self._closing:  # neither journal nor reaper hear of an end: the reaper tries again
                        for job in placed:
                            self._forget(job.name)
                    continue
            for job in placed:
                state = self.scheduler.workers.get(job.address)
                if state is not None and not state.processing:
                    job.left = True  # its last heartbeat may be older than the end of its last block
                self._forget(job.name)
                self.groups[job.group].cancelled(job)
                self._finished(job, why)

    def _finished(self, placed: Placed, reason: str) -> None:
        if placed.id is not None:
            self._reaper.ended(self.groups[placed.group].system, placed.id)
            self.listener.ended(placed.group, placed.name, placed.id, reason)


def _kept_from_work(system: BatchSystem, facts: QueuedJob) -> str:
    """What somebody did to a job that is still there, so that its worker is not."""
    if facts.state is JobState.PENDING:  # by force: workers' jobs ask for no second run
        return "put back in the queue"
    return "suspended" if system.suspended(facts) else ""
