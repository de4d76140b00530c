"""How a worker ends itself: the time limit of a block, kept by the worker, and whatever else makes it useless.

A thread that hangs in a read or in a library cannot be stopped; its process can.  When a block is over its limit the
worker writes down why and exits; the nanny starts another one, and the coordinator tries the block again.  This works
without the scheduler and on any batch system.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

EXIT_TIME_LIMIT = 75
"""Exit status of a worker that ended itself (EX_TEMPFAIL of sysexits.h)."""

_CHECK_EVERY = 0.5  # seconds

_deadlines: dict[int, tuple[float, str, Path]] = {}
_numbers = itertools.count()
_lock = threading.Lock()
_thread: threading.Thread | None = None


@contextmanager
def deadline(seconds: float, what: str, notes: Path) -> Iterator[None]:
    """End this process if the body is not done within ``seconds``; ``notes`` is the directory for the reason."""
    number = next(_numbers)
    _deadlines[number] = (time.monotonic() + seconds, f"{what} took longer than its time limit of {seconds:g} s", notes)
    _watch()
    try:
        yield
    finally:
        _deadlines.pop(number, None)


def end_process(reason: str, notes: Path) -> NoReturn:
    """End this worker process at once and leave the reason in ``notes``; its nanny tells it and starts another."""
    try:
        notes.mkdir(parents=True, exist_ok=True)
        death_note(notes, os.getpid()).write_bytes(json.dumps({"reason": reason}).encode())
    finally:
        os._exit(EXIT_TIME_LIMIT)


def death_note(notes: Path, pid: int) -> Path:
    """Where a worker process writes why it ended itself."""
    return notes / f"death-{pid}.json"


def _watch() -> None:
    global _thread
    with _lock:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_check, name="block time limit", daemon=True)
            _thread.start()


def _check() -> None:
    while True:
        now = time.monotonic()
        for limit, reason, notes in list(_deadlines.values()):
            if now > limit:
                end_process(reason, notes)
        time.sleep(_CHECK_EVERY)
