"""How workers died, for whoever has to judge what their blocks had to do with it."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class Death:
    """The end of a worker process.

    Attributes
    ----------
    reason
        In the user's words.
    innocent
        Whether the blocks on it had certainly nothing to do with it: its job was cancelled, preempted, out of time, or
        its node failed.
    """

    reason: str
    innocent: bool = False


class Deaths:
    """Deaths by the worker's address.  Written by the cluster's thread, read by the coordinator's."""

    def __init__(self) -> None:
        self._known: dict[str, Death] = {}
        self._lock = threading.Lock()

    def report(self, worker: str, death: Death) -> None:
        """Note how the worker at an address died; what was said first stays, for the nearest witness speaks first."""
        with self._lock:
            self._known.setdefault(worker, death)

    def of(self, worker: str) -> Death | None:
        """How the worker at an address died, once it is known."""
        with self._lock:
            return self._known.get(worker)
