"""A nanny that says how its worker died."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from distributed import Nanny

from psdbatch.cluster.events import DEATHS
from psdbatch.cluster.memory import SHARE
from psdbatch.cluster.watchdog import EXIT_TIME_LIMIT, death_note


class ReportingNanny(Nanny):  # type: ignore[misc]
    """Restarts its worker like any nanny, and reports the reason of every death to the scheduler.

    Parameters
    ----------
    notes
        Directory where workers that end themselves leave a note.
    """

    def __init__(self, *args: Any, notes: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._notes = Path(notes) if notes else None
        self._pid: int | None = None
        self._kills = 0
        if limit := getattr(self.memory_manager, "memory_limit", None):
            self.env[SHARE] = f"{limit}/{self.nthreads}"

    async def instantiate(self) -> Any:
        """Start the worker process and remember its id, which is gone when it dies."""
        status = await super().instantiate()
        self._pid, self._kills = self.pid, _oom_kills()
        return status

    async def _on_worker_exit(self, exitcode: int) -> None:
        if self.status.name == "running":  # not while closing: then the end is wanted
            self.log_event(DEATHS, {"worker": self.worker_address, "pid": self._pid, "reason": self._reason(exitcode)})
        await super()._on_worker_exit(exitcode)

    def _reason(self, exitcode: int) -> str:
        if self._pid is not None and self._pid == getattr(self.memory_manager, "_last_terminated_pid", None):
            limit = getattr(self.memory_manager, "memory_limit", 0) or 0
            return f"used more memory than its limit of {limit / 1e9:.1f} GB and was ended"
        if exitcode == EXIT_TIME_LIMIT and (note := self._note()):
            return f"ended itself: {note}"
        if exitcode == -signal.SIGKILL:
            killed = _oom_kills() > self._kills
            cause = "; the system ran out of memory" if killed else "; by hand, by the batch system, or for memory"
            return f"was killed by signal 9 (SIGKILL{cause})"
        if exitcode < 0:
            return f"was killed by signal {-exitcode} ({_signal_name(-exitcode)})"
        return f"exited with status {exitcode}"

    def _note(self) -> str | None:
        if self._notes is None or self._pid is None:
            return None
        try:
            return str(json.loads(death_note(self._notes, self._pid).read_bytes())["reason"])
        except (OSError, ValueError, KeyError):
            return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _oom_kills() -> int:
    """Processes of this control group that the kernel killed for memory."""
    try:
        lines = Path("/sys/fs/cgroup/memory.events").read_text(encoding="ascii").split("\n")
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
