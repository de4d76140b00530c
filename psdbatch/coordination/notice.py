"""Notice that the coordinator's time is nearly over: nothing new is begun, what runs is ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SIGNAL = signal.SIGXCPU
"""What the coordinator's job script sends; Grid Engine's USR1 may mean no more than that the job is suspended."""

PATIENCE = "PSDBATCH_NOTICE"
"""Environment variable: seconds that blocks may still take after the notice."""

DEFAULT_PATIENCE = 60.0


class Notice:
    """Whether the coordinator has to go, and until when.

    Parameters
    ----------
    patience
        Seconds from the notice on in which blocks in flight may end.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._given: float | None = None

    def give(self) -> None:
        """The time is nearly over; the first notice counts."""
        self._given = self._given or time.monotonic()

    def given(self) -> bool:
        """Whether nothing new may be begun."""
        return self._given is not None

    def over(self) -> bool:
        """Whether what still runs has to be given up."""
        return self._given is not None and time.monotonic() - self._given > self._patience


@contextmanager
def heeded_notice() -> Iterator[Notice]:
    """Take the signal for a notice while the context lasts; outside the main thread there is none."""
    notice = Notice(float(os.environ.get(PATIENCE, DEFAULT_PATIENCE)))
    if threading.current_thread() is not threading.main_thread():
        yield notice
        return
    before = signal.signal(SIGNAL, lambda *_: notice.give())
    try:
        yield notice
    finally:
        signal.signal(SIGNAL, before)
