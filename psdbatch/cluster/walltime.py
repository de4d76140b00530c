"""A job's working time, as its worker knows it: no block is started that cannot end in what remains.

The batch system says when it will kill the job; how long a block takes is measured on the blocks before it.  A worker
whose time is over finishes what runs, starts nothing new, and leaves; the coordinator replaces its job.  (Dask's own
``--lifetime`` closes a worker in the middle of its tasks, which then run a second time elsewhere.)
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from psdbatch.errors import NoTimeLeftError

ENDS, MARGIN, PACE = "PSDBATCH_JOB_ENDS", "PSDBATCH_MARGIN", "PSDBATCH_SECONDS_PER_SIGNAL"
"""Environment of a job: when it is killed (seconds since 1970), the reserve in seconds, and the pace to expect."""

REMEMBERED = 16
"""Blocks whose pace is remembered; the slowest of them predicts the next, as neighbours on the node come and go."""

STOP_WAIT = 10.0
"""Seconds at most until the scheduler is told that this worker takes no more blocks."""

SAFETY = 1.25
"""A block may take this much longer than the slowest one remembered."""


class Shift:
    """Working time of one worker process.  May be used from several threads at once.

    Parameters
    ----------
    ends
        When the batch system kills the job, in seconds since 1970; None: never.
    margin
        Seconds before that in which no block may still run.
    pace
        Seconds per signal to expect before the first block is measured; None: unknown.

    Attributes
    ----------
    leaving
        Whether the worker has said that it takes no more blocks.
    """

    def __init__(self, ends: float | None = None, margin: float = 0.0, pace: float | None = None) -> None:
        self.ends = ends
        self.leaving = False
        self._margin = margin
        self._paces: deque[float] = deque([] if pace is None else [pace], maxlen=REMEMBERED)
        self._running: dict[str, tuple[float, int]] = {}
        self._usual = 0
        self._lock = threading.Lock()
        self._on_leave: Callable[[], object] | None = None
        self._stopped = threading.Event()

    def on_leave(self, call: Callable[[], object]) -> None:
        """Have ``call`` called, from any thread, when the time is over; it ends in :meth:`stopped`.  At once, if it is over."""
        with self._lock:
            self._on_leave = call
            late = self.leaving
        if late:
            call()

    def stopped(self) -> None:
        """The coordinator's scheduler has been told to send no more blocks."""
        self._stopped.set()

    def remaining(self) -> float:
        """Seconds until the job is killed."""
        return float("inf") if self.ends is None else self.ends - time.time()

    def predicted(self, signals: int) -> float:
        """Seconds that a block of ``signals`` may take here; 0 where nothing is known yet."""
        with self._lock:
            return max(self._paces, default=0.0) * signals * SAFETY

    def fits(self, signals: int) -> bool:
        """Whether a block of ``signals`` can end in the remaining time."""
        return self.predicted(signals) + self._margin <= self.remaining()

    @contextmanager
    def block(self, name: str, signals: int) -> Iterator[None]:
        """Work on a block; its pace is remembered if it ends well.

        Raises
        ------
        NoTimeLeftError
            It cannot end in the remaining time; nothing was done.
        """
        if self.leaving or not self.fits(signals):
            self.leave()
            # A block that came back before the scheduler knows would only be sent here again.
            self._stopped.wait(STOP_WAIT if self._on_leave else 0)
            raise NoTimeLeftError(
                f"block {name} was not started: it may take {self.predicted(signals):.0f} s and the job has {self.remaining():.0f} s left"
            )
        started = time.time()
        with self._lock:
            self._running[name] = (started, signals)
            self._usual = max(self._usual, signals)
        try:
            yield
            with self._lock:
                self._paces.append((time.time() - started) / max(signals, 1))
        finally:
            with self._lock:
                del self._running[name]

    def leave(self) -> None:
        """Take no more blocks; whoever asked with :meth:`on_leave` is told, once."""
        with self._lock:
            call = None if self.leaving else self._on_leave
            self.leaving = True
        if call is not None:
            call()

    def over(self) -> bool:
        """Whether not even a block like the ones before would fit."""
        return self.leaving or not self.fits(self._usual)

    def idle(self) -> bool:
        """Whether no block runs."""
        return not self._running

    def running(self) -> dict[str, float]:
        """Blocks that run, with the time when each was started."""
        with self._lock:
            return {name: started for name, (started, _) in self._running.items()}


def shift_of(environment: dict[str, str]) -> Shift:
    """The shift that a job's environment describes; without a batch system, one without an end."""
    return Shift(
        ends=_number(environment.get(ENDS)),
        margin=_number(environment.get(MARGIN)) or 0.0,
        pace=_number(environment.get(PACE)),
    )


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


_shift: Shift | None = None
_shift_lock = threading.Lock()


def this_shift() -> Shift:
    """The shift of this process."""
    global _shift
    with _shift_lock:
        if _shift is None:
            _shift = shift_of(dict(os.environ))
        return _shift


def facts(shift: Shift) -> dict[str, Any]:
    """What the coordinator is told with every heartbeat: blocks that run, and whether the worker is leaving."""
    return {"running": shift.running(), "leaving": shift.leaving}
