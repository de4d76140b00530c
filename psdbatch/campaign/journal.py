"""The coordinator's story: one JSON object a line, only ever appended.

For people and reports; a campaign resumes without it.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from psdbatch.campaign import files

logger = logging.getLogger(__name__)


def reason_of(error: BaseException) -> str:
    """Why something ended early, as the journal says it."""
    return "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"


class Journal:
    """Append-only journal of a campaign."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._who = {"host": socket.gethostname(), "pid": os.getpid()}

    def write(self, event: str, **facts: Any) -> None:
        """Append an event with its facts, the time (s since 1970) and who wrote it.

        A full disk is told by the commit that fails on it; the story alone stops nobody.
        """
        line = json.dumps({"time": round(time.time(), 3), "event": event, **self._who, **facts})
        try:
            files.append_line(self.path, line)
        except OSError as error:
            logger.warning("%s: cannot be written (%s): %s", self.path, error.strerror or error, line)

    def read(self) -> Iterator[dict[str, Any]]:
        """All whole lines, oldest first; a line torn by a crash is passed over."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue
