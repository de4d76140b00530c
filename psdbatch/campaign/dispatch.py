"""Hand blocks to workers: a bounded window, retries with pauses, quarantine.

The scheduler never sees more than a few tasks per worker thread, so a million blocks cost no more memory than a
thousand, fast workers take more of them, and a dead worker loses few.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from distributed import Client, Future

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.failures import Troubles, Verdict
from psdbatch.campaign.process import BlockTask, process_blocks

WINDOW = 2
"""Tasks in flight per worker thread: one that runs and one that waits for it."""

_DEATH_NEWS = 5.0  # seconds that the reason of a worker's death may take to arrive


class Watcher(Protocol):
    """Whoever wants to know how the blocks fare: journal, progress line."""

    def committed(self, record: CommitRecord) -> None:
        """A block is finished."""

    def failed(self, task: BlockTask, worker: str | None, reason: str, verdict: Verdict) -> None:
        """An attempt at a task failed, and what happens now."""


@dataclass(order=True)
class _Waiting:
    due: float
    order: int
    task: BlockTask = field(compare=False)
    troubles: Troubles = field(compare=False)


@dataclass
class Dispatcher:
    """Brings all tasks to an end, whatever happens to single ones.

    Attributes
    ----------
    client
        Connected to the scheduler.
    threads
        Asks how many worker threads there are now.
    attempts, backoff
        Attempts per task, and the pause in seconds before the second one.
    watcher
        Is told about everything.
    quarantine
        Called with a task and its failures to give up the block that failed; returns the task's blocks behind it.
    work
        What a worker does with a task.
    deaths
        Reasons of workers' deaths by address, filled as the news arrive.
    """

    client: Client
    threads: Callable[[], int]
    attempts: int
    backoff: float
    watcher: Watcher
    quarantine: Callable[[BlockTask, list[str]], BlockTask | None]
    work: Callable[[BlockTask], list[CommitRecord]] = process_blocks
    deaths: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._running: dict[str, tuple[Future, BlockTask, Troubles]] = {}
        self._paused: list[_Waiting] = []
        self._alone: list[_Waiting] = []
        self._counter = itertools.count()
        self._pass = uuid.uuid4().hex[:6]

    def run(self, tasks: Iterator[BlockTask]) -> list[BlockTask]:
        """Process ``tasks``; return those left over after all attempts.

        Raises
        ------
        PsdbatchError
            A failure that concerns the whole campaign; tasks in flight are cancelled.
        """
        left_over: list[BlockTask] = []
        try:
            while self._refill(tasks):
                future = self._next_done()
                if future is not None:
                    left_over += self._settle(future)
        finally:
            for future, _, _ in self._running.values():
                future.cancel()
        return left_over

    def _refill(self, tasks: Iterator[BlockTask]) -> bool:
        """Fill the window; whether anything is left to wait for."""
        window = max(1, WINDOW * self.threads())
        while len(self._running) < window:
            waiting = self._next_task(tasks)
            if waiting is None:
                break
            self._submit(waiting.task, waiting.troubles)
            if waiting.troubles.deaths:
                break  # it runs alone
        return bool(self._running or self._paused or self._alone)

    def _next_task(self, tasks: Iterator[BlockTask]) -> _Waiting | None:
        if any(troubles.deaths for _, _, troubles in self._running.values()):
            return None
        if self._paused and self._paused[0].due <= time.monotonic():
            return heapq.heappop(self._paused)
        task = next(tasks, None)
        if task is not None:
            return _Waiting(0.0, next(self._counter), task, Troubles())
        if self._alone and not self._running and not self._paused:
            return self._alone.pop()
        return None

    def _submit(self, task: BlockTask, troubles: Troubles) -> None:
        # The scheduler forgets no key that somebody still asks for, so a second pass needs keys of its own.
        key = f"{task_name(task, len(troubles.failures))}-{self._pass}"
        future = self.client.submit(self.work, task, key=key, pure=False)
        self._running[future.key] = (future, task, troubles)
        future.add_done_callback(self._done.put)

    def _next_done(self) -> Future | None:
        pause = self._paused[0].due - time.monotonic() if self._paused else 1.0
        if pause <= 0 and self._running:  # what is due waits for room, which only a finished task makes
            pause = 1.0
        try:
            return self._done.get(timeout=min(max(pause, 0.0), 1.0) + 0.001)
        except queue.Empty:
            return None

    def _settle(self, future: Future) -> list[BlockTask]:
        """Take note of a finished task; returned if it is left over."""
        _, task, troubles = self._running.pop(future.key)
        error: BaseException | None = None
        try:
            if future.status in ("finished", "error"):
                for record in future.result():
                    self.watcher.committed(record)
                return []
        except Exception as failure:  # the task's, or the worker died before it could be asked
            error = failure
        if error is None:  # cancelled, or lost with the scheduler's connection: nobody's failure
            error = OSError("the task was cancelled")
        worker = _last_worker(error)
        verdict = troubles.judge(error, self.attempts)
        if worker is not None:
            troubles.failures[-1] = self._how_it_died(worker)
        self.watcher.failed(task, worker, troubles.failures[-1], verdict)
        if verdict is Verdict.STOP:
            raise error
        if verdict is Verdict.QUARANTINE:
            rest = self.quarantine(task, troubles.failures)
            if rest is not None:
                heapq.heappush(self._paused, _Waiting(0.0, next(self._counter), rest, Troubles()))
        elif verdict is Verdict.RETRY_ALONE:
            self._alone.append(_Waiting(0.0, next(self._counter), task, troubles))
        elif verdict is Verdict.RETRY:
            due = time.monotonic() + self.backoff * 2 ** (len(troubles.failures) - 1)
            heapq.heappush(self._paused, _Waiting(due, next(self._counter), task, troubles))
        return [task] if verdict is Verdict.LEAVE else []

    def _how_it_died(self, worker: str) -> str:
        end = time.monotonic() + _DEATH_NEWS
        while worker not in self.deaths and time.monotonic() < end:
            time.sleep(0.05)
        return f"the worker died: {self.deaths.get(worker, 'no reason became known')}"


def task_name(task: BlockTask, attempt: int) -> str:
    """Key of a task, as the dashboard shows it: what is done, the run, the first block."""
    name = f"process {task.run.name}-{task.blocks[0].name.number:06d}"
    return f"{name}-attempt-{attempt + 1}" if attempt else name


def _last_worker(error: BaseException) -> str | None:
    worker: Any = getattr(error, "last_worker", None)
    return str(worker.address) if worker is not None else None
