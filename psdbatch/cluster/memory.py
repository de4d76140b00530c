"""What a worker process may take of its machine's memory."""

from __future__ import annotations

import os

from psdbatch.models.process_memory import Share

SHARE = "PSDBATCH_SHARE"
"""Environment of a worker process: its memory limit in bytes, a slash, its threads; set by its nanny."""


def worker_share() -> Share | None:
    """The share of this process; None: it is no worker, or one without a limit."""
    given = os.environ.get(SHARE)
    if not given:
        return None
    memory, threads = given.split("/")
    return Share(int(memory), int(threads))
