"""How a replica and the worker that watches it talk: lines of JSON over the replica's standard input and output.

The first line in is what the replica shall do; ``stop`` asks it to end in order; the end of the input means that its
watcher is gone, and a replica without one ends at once: nobody would hear of it any more.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from enum import StrEnum
from types import FrameType
from typing import Any, Self

EXIT_ORPHANED = 75
"""Exit status of a replica whose watcher is gone (EX_TEMPFAIL of sysexits.h)."""

STOP = "stop"


class Ending(StrEnum):
    """How a replica ended."""

    FINISHED = "finished"  # the training is over
    STOPPED = "stopped"  # in order, as it was asked to
    OUT_OF_MEMORY = "out of memory"  # the batch is too large for its device
    DIVERGED = "diverged"  # the loss is not a number
    REFUSED = "refused"  # configuration, model or set cannot be used: trying again would not help
    FAILED = "failed"  # anything else: killed, disturbed, or the fault of another replica


@dataclass(frozen=True)
class Assignment:
    """What a replica shall do.

    Attributes
    ----------
    directory
        Of the training.
    round
        Number of this start of the replicas.
    rank
        Its number; 0 is the chief, which alone writes.
    places
        ``HOST:PORT`` of all replicas.
    threads
        Processor cores that it may use.
    memory
        Bytes that it may fill with signals.
    xla
        Whether its step is compiled with XLA.
    """

    directory: str
    round: int
    rank: int
    places: tuple[str, ...]
    threads: int
    memory: int
    xla: bool = True

    def line(self) -> str:
        """As one line."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> Self:
        """From what :meth:`line` made."""
        values = json.loads(line)
        return cls(**{**values, "places": tuple(values["places"])})


class Talk:
    """The replica's side."""

    def __init__(self) -> None:
        # Whatever a user's function prints must not end up between the lines for the watcher.
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self.assignment = Assignment.of(sys.stdin.readline())
        self.stop_wanted = False
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the coordinator's business
        for number in (signal.SIGTERM, signal.SIGUSR2):  # batch systems warn all processes of a job
            signal.signal(number, self._warned)
        threading.Thread(target=self._listen, name="watcher", daemon=True).start()

    def say(self, event: str, **facts: Any) -> None:
        """Tell the watcher."""
        try:
            self._out.write(json.dumps({"event": event, **facts}) + "\n")
        except OSError:
            os._exit(EXIT_ORPHANED)

    def _warned(self, number: int, frame: FrameType | None) -> None:
        self.stop_wanted = True

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == STOP:
                self.stop_wanted = True
        os._exit(EXIT_ORPHANED)
