"""Classes of failure, and what each one means for a block.  The only place where a retry is decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from psdbatch.cluster.deaths import Death
from psdbatch.errors import (
    AcquisitionFileError,
    CampaignError,
    ConfigurationError,
    ModelError,
    NoTimeLeftError,
    PsdbatchError,
    StorageError,
)


class FailureClass(StrEnum):
    """What kind of failure it was."""

    TRANSIENT = "transient"  # I/O, network, node: again, elsewhere, after a pause
    RESOURCE = "resource"  # memory or time: again; with a smaller batch, on another worker
    PERMANENT = "permanent"  # the bytes: the block is quarantined at once
    FATAL = "fatal"  # the whole campaign is concerned: stop, say why, lose nothing
    UNKNOWN = "unknown"  # a worker died, or a defect: again on other workers, then quarantine
    INNOCENT = "innocent"  # its worker's job ended or was about to: again, and it does not count


class Verdict(StrEnum):
    """What happens to the block."""

    RETRY = "retry"
    AGAIN = "again"  # as often as it takes, within reason; alone if it was to run alone
    RETRY_ALONE = "retry alone"  # with no other block on its node, so that a death is its own
    QUARANTINE = "quarantine"
    LEAVE = "leave"  # neither done nor given up: the next start of the campaign tries again
    STOP = "stop"


INNOCENT_LIMIT = 20
"""Times that a task may lose its worker without any fault of its own; more often, its blocks do not fit the jobs."""


def classify(error: BaseException) -> FailureClass:
    """Class of the failure that ``error`` reports."""
    if isinstance(error, NoTimeLeftError):
        return FailureClass.INNOCENT
    if type(error).__name__ == "KilledWorker":  # by name: distributed is not imported for this
        return FailureClass.UNKNOWN
    if isinstance(error, StorageError):
        return FailureClass.FATAL if error.lasting else FailureClass.TRANSIENT
    if isinstance(error, MemoryError):
        return FailureClass.RESOURCE
    if isinstance(error, (ModelError, ConfigurationError, CampaignError)):
        return FailureClass.FATAL
    if isinstance(error, AcquisitionFileError):
        return FailureClass.PERMANENT
    if isinstance(error, (OSError, TimeoutError)):
        return FailureClass.TRANSIENT
    return FailureClass.UNKNOWN


@dataclass
class Troubles:
    """What has happened to one task so far.

    ``deaths`` counts the workers that died with the task on them: perhaps its doing, perhaps another one's.  ``moves``
    counts those that it lost through no fault of its own, ``last`` is the reason of the newest trouble, ``tries`` all
    that there ever were.
    """

    failures: list[str] = field(default_factory=list)
    deaths: int = 0
    moves: int = 0
    last: str = ""
    tries: int = 0

    def forget(self) -> None:
        """What was is no trouble of the block that comes next."""
        self.failures.clear()
        self.deaths = self.moves = 0

    def judge(self, error: BaseException, attempts: int, death: Death | None = None) -> Verdict:
        """Note the failure and decide; ``attempts`` are allowed, ``death`` tells how the worker died if it did.

        A death proves nothing while other tasks ran on the worker, so after the first one the task runs alone: a
        task that is quarantined for deaths has killed a worker that it had to itself.
        """
        kind = FailureClass.INNOCENT if death is not None and death.innocent else classify(error)
        reason = describe(error) if death is None else f"the worker died: {death.reason}"
        self.last = reason
        self.tries += 1
        if kind is FailureClass.INNOCENT:
            self.moves += 1
            return Verdict.AGAIN if self.moves < INNOCENT_LIMIT else Verdict.LEAVE
        self.failures.append(reason)
        if kind is FailureClass.FATAL:
            return Verdict.STOP
        if kind is FailureClass.PERMANENT:
            return Verdict.QUARANTINE
        if type(error).__name__ == "KilledWorker":
            self.deaths += 1
            if self.deaths >= max(attempts, 2):
                return Verdict.QUARANTINE
            return Verdict.RETRY_ALONE
        if len(self.failures) < attempts:
            return Verdict.RETRY_ALONE if self.deaths else Verdict.RETRY
        return Verdict.QUARANTINE if kind is FailureClass.UNKNOWN else Verdict.LEAVE


def describe(error: BaseException) -> str:
    """One line for the journal and for people."""
    if type(error).__name__ == "KilledWorker":
        return "the worker died"
    return str(error) if isinstance(error, PsdbatchError) else f"{type(error).__name__}: {error}"
