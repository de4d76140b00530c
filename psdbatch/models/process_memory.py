"""How much memory this process takes, as Linux tells (proc(5): ``VmRSS``, ``VmHWM``, ``clear_refs``)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


PART = 0.7
"""Part of its memory that a worker may fill with TensorFlow, the model and its calls; the rest is for blocks' columns."""


@dataclass(frozen=True)
class Share:
    """Memory that a process may take (bytes), and the threads that call the model at the same time."""

    memory: int
    threads: int

    def room(self) -> int:
        """Bytes that one call of the model may take on top of what the process has now."""
        return max(0, int(PART * self.memory) - resident()) // self.threads


def resident() -> int:
    """Memory that the process takes now (bytes)."""
    return _status("VmRSS")


def peak() -> int:
    """Most memory that the process took since :func:`forget_peak`, or since its start where that is not allowed (bytes)."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Let :func:`peak` count anew from what is taken now."""
    with suppress(OSError):  # some containers do not allow it; the peak is then one of the past
        _RESET.write_text("5", encoding="ascii")


def _status(name: str) -> int:
    for line in _STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} does not tell {name}")
