"""Who makes the reference: the coordinator beside the start of a cluster, or a local worker as it goes.

A local worker has TensorFlow loaded and is on the coordinator's machine; another process would only cost its start.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from psdbatch.campaign import files
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.model import CampaignModels
from psdbatch.campaign.plan import Plan
from psdbatch.campaign.schema import SignalKind, engine_settings
from psdbatch.config import CampaignConfig
from psdbatch.errors import CampaignError, PsdbatchError, StorageError
from psdbatch.golden.answers import answers_elsewhere, answers_here
from psdbatch.golden.batch import Reference, cache_answers, cached_answers, choose, keep, kinds, reference_path
from psdbatch.golden.software import software

if TYPE_CHECKING:
    from psdbatch.campaign.prepare import Campaign

logger = logging.getLogger(__name__)

PATIENCE = 600.0
"""Seconds that a worker waits for the coordinator's reference: loading TensorFlow from a slow file system takes minutes."""

_LOOK_AGAIN = 0.25  # seconds between two looks for the reference
_LAST_WORD = 10.0  # seconds that a reader of a file system that hangs may hold up the campaign's end

_CONDITIONS, _FAILURE = "conditions.json", "failure.json"


@dataclass(frozen=True)
class Conditions:
    """What the coordinator expects of the workers of this start.

    Attributes
    ----------
    versions
        The coordinator's own.
    kinds
        Signals that a worker must be able to treat.
    """

    versions: dict[str, str]
    kinds: tuple[SignalKind, ...]

    def write(self, directory: CampaignDirectory) -> None:
        """Replace the conditions of an earlier start."""
        files.make_directory(directory.golden)
        files.replace_durably(directory.golden / _CONDITIONS, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def read(cls, directory: CampaignDirectory) -> Conditions:
        """Conditions of the present start.

        Raises
        ------
        CampaignError
            There are none, or they are damaged.
        """
        path = directory.golden / _CONDITIONS
        try:
            record = json.loads(path.read_bytes())
            return cls(record["versions"], tuple(SignalKind(**kind) for kind in record["kinds"]))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CampaignError(
                f"{path}: cannot be read ({error}); a coordinator writes it at each start: does this node see the campaign's directory?"
            ) from error


def start_reference(campaign: Campaign) -> ReferenceWork:
    """Say what is expected of workers, and begin to make the reference they must agree with, unless there is one.

    Returns at once; workers wait for the reference.  To be called after the campaign's directory was made and before its
    workers start; used as a context, the work ends with it.

    Raises
    ------
    StorageError
        The campaign directory cannot be written.
    """
    directory = campaign.directory
    try:
        Conditions(software(), kinds(campaign.plan)).write(directory)
        files.remove_file(directory.golden / _FAILURE)
    except OSError as error:
        raise StorageError(f"{directory.golden}: cannot be written: {error.strerror or error}", lasting=True) from error
    return ReferenceWork(campaign)


class ReferenceWork:
    """The making of a campaign's references, in the background."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._process: subprocess.Popen[str] | None = None
        self._closed = False
        self._lock = threading.Lock()
        self.error: PsdbatchError | None = None
        self._thread = threading.Thread(target=self._work, name="golden", daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the work; whether it has come.

        Raises
        ------
        PsdbatchError
            The reference cannot be made; workers are told, too.
        """
        self._thread.join(timeout)
        if self.error is not None:
            raise self.error
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raise what :meth:`wait` would raise, without waiting."""
        self.wait(0)

    def close(self) -> None:
        """End the work, finished or not."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                with suppress(ProcessLookupError):
                    self._process.kill()
        self._thread.join(_LAST_WORD)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _work(self) -> None:
        try:
            self._make()
        except PsdbatchError as error:
            self._fail(error)
        except Exception as error:  # whoever waits must hear of it, whatever it was
            logger.exception("the reference answers cannot be made")
            self._fail(CampaignError(f"the reference answers cannot be made: {type(error).__name__}: {error}"))

    def _make(self) -> None:
        config, facts, directory = self._campaign.config, self._campaign.facts, self._campaign.directory
        missing: list[tuple[SignalKind, Any, Any]] = []
        for kind in kinds(self._campaign.plan):
            settings = engine_settings(config, facts, kind)
            if reference_path(directory, settings).exists():
                continue
            samples, places = choose(self._campaign.plan, directory, kind)
            known = cached_answers(settings, samples)
            if known is None:
                missing.append((kind, samples, places))
            else:
                _keep(directory, config, facts, kind, known, places)
        if not missing:
            return
        made = answers_elsewhere(config, facts, [samples for _, samples, _ in missing], self._started)
        for (kind, _, places), reference in zip(missing, made, strict=True):
            cache_answers(engine_settings(config, facts, kind), reference)
            _keep(directory, config, facts, kind, reference, places)

    def _started(self, process: subprocess.Popen[str]) -> None:
        with self._lock:
            self._process = process
            if self._closed:
                process.kill()

    def _fail(self, error: PsdbatchError) -> None:
        if self._closed:
            return
        self.error = error
        with suppress(OSError):
            files.replace_durably(
                self._campaign.directory.golden / _FAILURE, json.dumps({"error": str(error)}).encode()
            )


def awaited_reference(
    directory: CampaignDirectory,
    config: CampaignConfig,
    facts: CampaignModels,
    kind: SignalKind,
    patience: float = PATIENCE,
) -> Reference:
    """The reference that the coordinator makes; waits for it.

    Raises
    ------
    CampaignError
        The coordinator could not make it, or it has not appeared in time.
    """
    path = reference_path(directory, engine_settings(config, facts, kind))
    end = time.monotonic() + patience
    while True:
        with suppress(OSError):
            os.listdir(directory.golden)  # noqa: PTH208 - a network file system looks again at what it took for absent
        with suppress(FileNotFoundError):
            return Reference.read(path)
        failure = _failure(directory)
        if failure is not None:
            raise CampaignError(f"the coordinator cannot make the reference answers: {failure}")
        if time.monotonic() > end:
            raise CampaignError(
                f"{path}: the reference answers for signals of {kind} have not appeared within {patience:.0f} s; the coordinator makes "
                "them at each start where they are missing: does it run, and does this node see its new files?"
            )
        time.sleep(_LOOK_AGAIN)


def own_reference(
    directory: CampaignDirectory, config: CampaignConfig, facts: CampaignModels, kind: SignalKind, device: str
) -> Reference:
    """The campaign's reference, made here if there is none; for a worker on the coordinator's machine.

    Parameters
    ----------
    device
        This process's device: one that has a GPU leaves the answers to a process without.

    Raises
    ------
    PsdbatchError
        It cannot be made or kept.
    """
    settings = engine_settings(config, facts, kind)
    path = reference_path(directory, settings)
    with suppress(FileNotFoundError):
        return Reference.read(path)
    samples, places = choose(Plan.read(directory.plan), directory, kind)
    reference = cached_answers(settings, samples)
    if reference is None:
        if device == "CPU":
            reference = answers_here(settings, samples)
        else:
            reference = answers_elsewhere(config, facts, [samples])[0]
        cache_answers(settings, reference)
    return _keep(directory, config, facts, kind, reference, places)


def _keep(
    directory: CampaignDirectory,
    config: CampaignConfig,
    facts: CampaignModels,
    kind: SignalKind,
    reference: Reference,
    places: Sequence[Any],
) -> Reference:
    path = reference_path(directory, engine_settings(config, facts, kind))
    record = {**reference.facts, "signals": list(places), "tolerance": config.processing.tolerance}
    try:
        return keep(replace(reference, facts=record), path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}", lasting=True) from error


def _failure(directory: CampaignDirectory) -> str | None:
    try:
        return str(json.loads(Path(directory.golden / _FAILURE).read_bytes())["error"])
    except (OSError, ValueError, KeyError):
        return None
