"""What a worker does in a training: start a replica as a process of its own, and watch it.

The worker itself never imports TensorFlow.  A replica whose worker dies notices that nobody listens any more, and ends.
"""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from distributed import get_worker

from psdbatch.cluster.walltime import this_shift
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.talk import STOP, Assignment, Ending

logger = logging.getLogger(__name__)

EVENTS = "psdbatch-training"
"""Topic of what replicas say: ``{"round", "rank", "event", ...}``."""

_CLOCK = 0.5  # seconds between two looks at the job's working time

_running: dict[int, subprocess.Popen[str]] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """How a replica ended, and why if not in order."""

    rank: int
    ending: Ending
    reason: str = ""


def free_port(host: str) -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def run_replica(assignment: Assignment) -> Outcome:
    """Run a replica to its end; before the job's time is over it is asked to stop.

    Raises
    ------
    NoTimeLeftError
        The job is about to end; nothing was started.
    """
    say = get_worker().log_event
    shift = this_shift()
    log = replica_log(assignment)
    # Without signals: a replica may be stopped at any time, so no length has to fit into what remains
    with shift.block(f"round {assignment.round}", 0), log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "psdbatch.training.replica"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with _lock:
            _running[assignment.round] = process
        ended = threading.Event()
        try:
            _write(process, assignment.line())
            threading.Thread(target=_watch_clock, args=(process, ended), daemon=True).start()
            said = _listen(process.stdout, lambda event: say(EVENTS, {**_who(assignment), **event}))
            code = process.wait()
        finally:
            ended.set()
            with _lock:
                del _running[assignment.round]
            process.kill()
            process.stdin.close()
    return _outcome(assignment, code, said)


def stop_replica(round_: int) -> None:
    """Ask this worker's replica of a round to stop in order."""
    with _lock:
        process = _running.get(round_)
    if process is not None:
        _write(process, STOP)


def kill_replica(round_: int) -> None:
    """End this worker's replica of a round at once."""
    with _lock:
        process = _running.get(round_)
    if process is not None:
        process.kill()


def replica_log(assignment: Assignment) -> Path:
    """What the replica prints."""
    return TrainingDirectory(Path(assignment.directory)).logs / (
        f"replica-{assignment.round:04d}-{assignment.rank:03d}.log"
    )


def _who(assignment: Assignment) -> dict[str, int]:
    return {"round": assignment.round, "rank": assignment.rank}


def _watch_clock(process: subprocess.Popen[str], ended: threading.Event) -> None:
    while not ended.wait(_CLOCK):
        if this_shift().over():
            _write(process, STOP)
            return


def _listen(lines: IO[str], tell: Any) -> Mapping[str, Any]:
    """Pass on what the replica says; its last word."""
    last: Mapping[str, Any] = {}
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # torn by its death
            continue
        if event["event"] == "end":
            last = event
        tell(event)
    return last


def _outcome(assignment: Assignment, code: int, said: Mapping[str, Any]) -> Outcome:
    if said:
        return Outcome(assignment.rank, Ending(said["ending"]), said["reason"])
    node = socket.gethostname()
    if code < 0:
        reason = f"was killed by signal {-code} ({signal.Signals(-code).name})"
    else:
        reason = f"exited with status {code}"
    return Outcome(
        assignment.rank,
        Ending.FAILED,
        f"replica {assignment.rank} on {node} {reason}; its log is {replica_log(assignment)}",
    )


def _write(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except (OSError, ValueError):  # it has ended, which its watcher sees elsewhere
        logger.debug("replica %d does not listen", process.pid)
