"""Hand blocks to workers: a bounded window, retries with pauses, quarantine.

The scheduler never sees more than a few tasks per worker thread, so a million blocks cost no more memory than a
thousand.  A task waits at the scheduler, not at a worker, and goes to the first thread that is free: fast workers take
more of them, a slow one holds nothing up, and a dead or paused one has only what it was doing.
"""

from __future__ import annotations

import heapq
import itertools
import pickle
import queue
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from dask._expr import LLGExpr
from dask.task_spec import Task
from distributed import Client, Future

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.plan import Block
from psdbatch.cluster.deaths import Death
from psdbatch.cluster.system import UNKNOWN_END
from psdbatch.coordination.failures import Troubles, Verdict
from psdbatch.processing.process import BlockTask, process_blocks
from psdbatch.processing.telling import work_and_tell

WINDOW = 2
"""Tasks in flight per worker thread: one that runs and one that waits for it at the scheduler."""

SUBMITTED_TOGETHER = 100
"""Tasks in one message to the scheduler: enough that a message costs little per task, few enough to start at once."""

_COUNT_AGAIN = 1.0  # seconds after which the worker threads are counted anew: a question to the scheduler
_MOVE = 1.0  # seconds before a block goes to another worker, when its own was about to leave or lost its job
_DEATH_NEWS = 60.0  # seconds that the reason of a worker's death may take to arrive: a batch system is asked for it


Key = tuple[str, str]
"""Key of a task at the scheduler: the pass, by which the dashboard groups tasks, and the task's name."""


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


@dataclass(frozen=True)
class _Bereaved:
    """A task whose worker died, until it is known how."""

    task: BlockTask
    troubles: Troubles
    error: BaseException
    worker: str
    until: float


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
    committed
        Whether a block of a task has its commit record.
    work
        What a worker does with a task.
    death_of
        How the worker at an address died, once that is known.
    pulse
        Called at least once a second while there is work; may raise to end it.
    leaving
        Whether nothing new may be begun; the run ends with what workers treat at that moment.

    ``ended`` counts tasks that have come to an end.
    """

    client: Client
    threads: Callable[[], int]
    attempts: int
    backoff: float
    watcher: Watcher
    quarantine: Callable[[BlockTask, list[str]], BlockTask | None]
    committed: Callable[[BlockTask, Block], bool] = lambda task, block: False
    work: Callable[[BlockTask], list[CommitRecord]] = process_blocks
    death_of: Callable[[str], Death | None] = lambda worker: None
    pulse: Callable[[], object] = lambda: None
    leaving: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        self._done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._running: dict[Key, tuple[Future, BlockTask, Troubles]] = {}
        self._paused: list[_Waiting] = []
        self._alone: list[_Waiting] = []
        self._bereaved: list[_Bereaved] = []
        self._counter = itertools.count()
        self._told: dict[Key, list[CommitRecord]] = {}
        self._group = f"process-{uuid.uuid4().hex[:8]}"
        self._window = (0, 0.0)
        self._withdrawn = False
        self.ended = 0

    def run(self, tasks: Iterator[BlockTask]) -> list[BlockTask]:
        """Process ``tasks``; return those left over after all attempts.

        Raises
        ------
        PsdbatchError
            A failure that concerns the whole campaign; tasks in flight are cancelled.
        """
        left_over: list[BlockTask] = []
        self.client.subscribe_topic(self._group, self._tell)
        try:
            while self._refill(tasks):
                self.pulse()
                done = self._next_done()
                for future, records in zip(done, self._gather(done), strict=True):
                    left_over += self._settle(future, records)
                    future.release()  # by itself it would stay: a failure's traceback keeps what keeps the failure
                left_over += self._judge_deaths()
        finally:
            for future, _, _ in self._running.values():
                future.cancel()
            self.client.unsubscribe_topic(self._group)
        return left_over

    def _refill(self, tasks: Iterator[BlockTask]) -> bool:
        """Fill the window; whether anything is left to wait for."""
        if self.leaving():
            if not self._withdrawn:
                self._withdrawn = True
                self._withdraw()
            return bool(self._running)
        while room := self._room():
            ready = list(itertools.islice(self._ready(tasks), min(room, SUBMITTED_TOGETHER)))
            if ready:
                self._submit(ready)
            elif self._alone and not self._running and not self._paused and not self._bereaved:
                self._submit_alone()
            else:
                break
        return bool(self._running or self._paused or self._alone or self._bereaved)

    def _room(self) -> int:
        """How many tasks more may be in flight; none beside those that run alone."""
        if any(troubles.deaths for _, _, troubles in itertools.islice(self._running.values(), 1)):  # all, or none
            return 0
        window, counted = self._window
        if time.monotonic() - counted > _COUNT_AGAIN:
            window = max(1, WINDOW * self.threads())
            self._window = window, time.monotonic()
        return max(0, window - len(self._running))

    def _ready(self, tasks: Iterator[BlockTask]) -> Iterator[_Waiting]:
        """What may run beside others: tasks whose pause is over, then new ones."""
        while True:
            if self._paused and self._paused[0].due <= time.monotonic():
                yield heapq.heappop(self._paused)
            elif (task := next(tasks, None)) is not None:
                yield _Waiting(0.0, next(self._counter), task, Troubles())
            else:
                return

    def _submit_alone(self) -> None:
        """Submit tasks that must run alone, one per node: the workers of a node share its memory."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        nodes = {facts["host"]: address for address, facts in workers.items() if facts["status"] == "running"}
        for address in list(nodes.values()) or [None]:
            if self._alone:
                self._submit([self._alone.pop()], address)

    def _submit(self, ready: Sequence[_Waiting], worker: str | None = None) -> None:
        # Dask keeps at the scheduler what it takes for a source of data, and assigns everything else ahead to workers.
        # It would come to think so of a large group of tasks; that it is told makes it true from the first one on.
        graph = {
            key: Task(key, work_and_tell, self.work, waiting.task, _data_producer=True)
            for waiting in ready
            for key in [self._key(waiting)]
        }
        # A name for the graph spares a digest of all of it, a quarter of the coordinator's time.
        expression = LLGExpr(graph, _determ_token=uuid.uuid4().hex)
        # Without a timeout of its own every message would be put in the same order again: first come, first served.
        place = {} if worker is None else {"workers": worker, "allow_other_workers": True}  # if it is gone by then
        futures = self.client.get(expression, list(graph), sync=False, fifo_timeout=0, **place)
        for future, waiting in zip(futures, ready, strict=True):
            self._running[future.key] = (future, waiting.task, waiting.troubles)
            future.add_done_callback(self._done.put)

    def _key(self, waiting: _Waiting) -> Key:
        # The scheduler forgets no key that somebody still asks for, so attempts and passes need keys of their own.
        return self._group, task_name(waiting.task, waiting.troubles.tries)

    def _next_done(self) -> list[Future]:
        """All tasks that have come to an end; waits a moment for the first one."""
        pause = self._paused[0].due - time.monotonic() if self._paused else 1.0
        if pause <= 0 and self._running:  # what is due waits for room, which only a finished task makes
            pause = 1.0
        done: list[Future] = []
        try:
            done.append(self._done.get(timeout=min(max(pause, 0.0), 1.0) + 0.001))
            while True:
                done.append(self._done.get_nowait())
        except queue.Empty:
            return done

    def _tell(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """Take what :func:`work_and_tell` sent; it arrives before the news that the task has ended."""
        self._told[self._group, event[1]["task"]] = pickle.loads(event[1]["records"])

    def _gather(self, done: Sequence[Future]) -> list[list[CommitRecord] | None]:
        """Results of the tasks that succeeded, the untold ones fetched together; None where there is none."""
        results = {number: self._told.pop(future.key, None) for number, future in enumerate(done)}
        untold = {number: done[number] for number in results if results[number] is None}
        finished = {number: future for number, future in untold.items() if future.status == "finished"}
        if finished:
            with suppress(Exception):  # one by one they say whose it was
                results |= self.client.gather(finished, errors="skip")
        return list(results.values())

    def _settle(self, future: Future, records: list[CommitRecord] | None) -> list[BlockTask]:
        """Take note of a finished task; returned if it is left over."""
        if future.key not in self._running:  # withdrawn
            return []
        _, task, troubles = self._running.pop(future.key)
        error: BaseException | None = None
        try:
            if records is None and future.status in ("finished", "error"):
                records = future.result()
            if records is not None:
                for record in records:
                    self.watcher.committed(record)
                self.ended += 1
                return []
        except Exception as failure:  # the task's, or the worker died before it could be asked
            error = failure
        if error is None:  # cancelled, or lost with the scheduler's connection: nobody's failure
            error = OSError("the task was cancelled")
        worker = _last_worker(error)
        if worker is not None:
            self._bereaved.append(_Bereaved(task, troubles, error, worker, time.monotonic() + _DEATH_NEWS))
            return []
        return self._act(task, troubles, error, None, None)

    def _judge_deaths(self) -> list[BlockTask]:
        """Judge the tasks of dead workers as far as it is known how these died; those left over."""
        left_over: list[BlockTask] = []
        waiting: list[_Bereaved] = []
        for entry in self._bereaved:
            death = self.death_of(entry.worker)
            if death is None and time.monotonic() < entry.until:
                waiting.append(entry)
                continue
            death = death or Death(UNKNOWN_END)
            left_over += self._act(entry.task, entry.troubles, entry.error, entry.worker, death)
        self._bereaved = waiting
        return left_over

    def _act(
        self, task: BlockTask, troubles: Troubles, error: BaseException, worker: str | None, death: Death | None
    ) -> list[BlockTask]:
        """Do what a failure asks for; the task, if it is left over."""
        task = self._without_committed(task, troubles)
        verdict = troubles.judge(error, self.attempts, death)
        self.watcher.failed(task, worker, troubles.last, verdict)
        if verdict is Verdict.STOP:
            raise error
        if verdict is Verdict.QUARANTINE:
            rest = self.quarantine(task, troubles.failures)
            if rest is None:
                self.ended += 1
            else:
                heapq.heappush(self._paused, _Waiting(0.0, next(self._counter), rest, Troubles()))
        elif verdict is Verdict.RETRY_ALONE or (verdict is Verdict.AGAIN and troubles.deaths):
            self._alone.append(_Waiting(0.0, next(self._counter), task, troubles))
        elif verdict in (Verdict.RETRY, Verdict.AGAIN):
            pause = self.backoff * 2 ** (len(troubles.failures) - 1) if verdict is Verdict.RETRY else _MOVE
            heapq.heappush(self._paused, _Waiting(time.monotonic() + pause, next(self._counter), task, troubles))
        elif verdict is Verdict.LEAVE:
            self.ended += 1
            return [task]
        return []

    def _without_committed(self, task: BlockTask, troubles: Troubles) -> BlockTask:
        """The rest of a chain; blocks that were committed since the last trouble show that it was not the next one's."""
        done = next((k for k, block in enumerate(task.blocks) if not self.committed(task, block)), len(task.blocks))
        if not 0 < done < len(task.blocks):
            return task
        troubles.forget()
        return replace(task, blocks=task.blocks[done:], identities=task.identities[done:])

    def _withdraw(self) -> None:
        """Take back what waits at the scheduler: it would be begun when a thread becomes free."""
        begun = {key for keys in self.client.processing().values() for key in keys}
        for key in [key for key in self._running if key not in begun]:
            future, _, _ = self._running.pop(key)
            future.cancel()


def task_name(task: BlockTask, attempt: int) -> str:
    """Name of a task, as the dashboard shows it: the run, the first block, and which attempt from the second one on."""
    name = f"{task.run.name}-{task.blocks[0].name.number:06d}"
    return f"{name}-attempt-{attempt + 1}" if attempt else name


def _last_worker(error: BaseException) -> str | None:
    worker: Any = getattr(error, "last_worker", None)
    return str(worker.address) if worker is not None else None
