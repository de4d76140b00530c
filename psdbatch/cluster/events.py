"""What workers tell the cluster, as events of Dask's scheduler."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from distributed import Scheduler, SchedulerPlugin

logger = logging.getLogger(__name__)

DEATHS = "psdbatch-worker-death"
"""A nanny's: ``{"worker", "pid", "reason"}``."""

REFUSED = "psdbatch-worker-refused"
"""A worker's that was not admitted: ``{"name", "node", "reason", "avoid"}``; the last says whether its node is at fault."""

ADMITTED = "psdbatch-worker-admitted"
"""A worker's that was: ``{"name", "node", ...}``, with what it found out about itself."""

LEFT = "psdbatch-worker-left"
"""A worker's that goes away with all its blocks finished: ``{"name"}``."""


class Events(SchedulerPlugin):  # type: ignore[misc]
    """Calls a function for each event of a topic, and when workers come and go, in the scheduler's thread.

    Parameters
    ----------
    calls
        By topic; called with the event.
    arrived, gone
        Called with a worker's address and name, and with its address.
    """

    name = "psdbatch-events"

    def __init__(
        self,
        calls: Mapping[str, Callable[[dict[str, Any]], object]],
        arrived: Callable[[str, str], object] = lambda address, name: None,
        gone: Callable[[str], object] = lambda address: None,
    ) -> None:
        self._calls = calls
        self._arrived, self._gone = arrived, gone

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """A worker has registered."""
        self._arrived(worker, str(scheduler.workers[worker].name))

    def remove_worker(self, scheduler: Scheduler, worker: str, **details: Any) -> None:
        """A worker is no longer there."""
        self._gone(worker)

    def log_event(self, topic: str, msg: Any) -> None:
        """Pass the event on; a failing call must not hurt the scheduler."""
        call = self._calls.get(topic)
        if call is None:
            return
        try:
            call(msg)
        except Exception:
            logger.exception("event %s cannot be treated: %r", topic, msg)
