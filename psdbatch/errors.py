"""What can go wrong, in the user's words.

Every error a user can cause or meet derives from :class:`PsdbatchError` *and* from the Python exception a caller would
catch by habit.  The command line prints the message alone and leaves with the class's ``exit_code``; a traceback is
only ever shown for a defect of psdbatch itself.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every ``psdbatch`` command."""

    OK = 0
    ERROR = 1  # something is wrong with the input, the configuration or the machine; nothing was lost
    USAGE = 2  # the command line itself is wrong
    REFUSED = 3  # finished, but some signals were refused; the summary and the commit records list them
    UNFINISHED = 4  # interrupted, or blocks are left over; a campaign or training goes on with the same command
    AUDIT_FAILED = 5  # the store does not hold what the plan promises


class PsdbatchError(Exception):
    """Base of all errors with a message meant for the user."""

    exit_code: ExitCode = ExitCode.ERROR


class ConfigurationError(PsdbatchError, ValueError):
    """A configuration file or option is wrong; the message names the key and what to write instead."""


class AcquisitionFileError(PsdbatchError, ValueError):
    """An acquisition file cannot be read, is not what it claims to be, or changed under the campaign."""


class UnknownFormatError(AcquisitionFileError):
    """No registered format recognises the file."""


class TrainingSetError(PsdbatchError, ValueError):
    """A training set cannot be made of its sources, is damaged, or is not the one that was asked for."""


class ModelError(PsdbatchError, ValueError):
    """The model cannot be loaded, is not allowed to run, or does not fit the signals."""


class TrainingError(PsdbatchError, RuntimeError):
    """A training cannot go on, or its directory cannot be used for what was asked; the last good checkpoint is safe."""


class OutOfMemoryError(PsdbatchError, MemoryError):
    """There is no room for a batch of this size on the device, or for a table of this size in memory."""


class DeviceError(PsdbatchError, RuntimeError):
    """The device that computes fails, whatever it is given: its process is of no more use."""


class CampaignError(PsdbatchError, RuntimeError):
    """The campaign directory cannot be used for what was asked."""


class TimeIsOverError(CampaignError):
    """The coordinator had to stop before the end; finished blocks are safe."""

    exit_code = ExitCode.UNFINISHED


class ChangedError(CampaignError):
    """Configuration, model or input files are not what the campaign was planned with."""


class WorkerRefused(CampaignError):  # noqa: N818 - what happened to the worker
    """A worker may not take part: it gives other answers, runs other versions, or lacks its GPU."""


class ReadError(PsdbatchError, OSError):
    """Reading an acquisition file failed for a reason that may pass: network, node, file system."""


class StorageError(PsdbatchError, OSError):
    """The campaign directory cannot be written.

    ``lasting`` tells a full, read-only or vanished file system from a passing fault.
    """

    def __init__(self, message: str, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


class ClusterError(PsdbatchError, RuntimeError):
    """The workers cannot be had: a batch system refuses the jobs, or every worker is refused."""


class NoTimeLeftError(PsdbatchError, TimeoutError):
    """A block was not started, because the worker's job would be killed before the block's end; nobody's failure."""


class BatchSystemError(PsdbatchError, RuntimeError):
    """A batch system refuses what it is asked for, or its commands are not there; the message carries its own words."""


class BatchSystemBusyError(BatchSystemError):
    """A batch system gave no answer this time.  Nothing follows from that about its jobs; ask again later."""
