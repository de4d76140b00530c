"""What workers tell the cluster, as events of Dask's scheduler."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from distributed import SchedulerPlugin

logger = logging.getLogger(__name__)

DEATHS = "psdbatch-worker-death"
"""A nanny's: ``{"worker", "pid", "reason"}``."""

REFUSED = "psdbatch-worker-refused"
"""A worker's that was not admitted: ``{"name", "node", "reason"}``."""

ADMITTED = "psdbatch-worker-admitted"
"""A worker's that was: ``{"name", "node", ...}``, with what it found out about itself."""

LEFT = "psdbatch-worker-left"
"""A worker's that goes away with all its blocks finished: ``{"name"}``."""


class Events(SchedulerPlugin):  # type: ignore[misc]
    """Calls a function for each event of a topic, in the scheduler's thread."""

    name = "psdbatch-events"

    def __init__(self, calls: Mapping[str, Callable[[dict[str, Any]], object]]) -> None:
        self._calls = calls

    def log_event(self, topic: str, msg: Any) -> None:
        """Pass the event on; a failing call must not hurt the scheduler."""
        call = self._calls.get(topic)
        if call is None:
            return
        try:
            call(msg)
        except Exception:
            logger.exception("event %s cannot be treated: %r", topic, msg)
