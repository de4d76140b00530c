"""The examination of a worker before it takes blocks: versions, its GPU, and the golden batch."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.model import CampaignModels, kept_models
from psdbatch.campaign.schema import SignalKind
from psdbatch.cluster.examination import check_gpu, check_versions, who
from psdbatch.config import CampaignConfig, WorkerGroup, read_config
from psdbatch.errors import DeviceError, WorkerRefused
from psdbatch.golden import software
from psdbatch.golden.agreement import Difference, compare
from psdbatch.golden.answers import empty_answers
from psdbatch.golden.batch import Reference, reference_path
from psdbatch.golden.references import Conditions, awaited_reference, own_reference
from psdbatch.models.batching import BatchedEngine
from psdbatch.processing.engines import engine_of, group_settings

_LISTED = 3  # columns that a refusal names


@dataclass(frozen=True)
class Agreement:
    """An engine that gives the campaign's answers.

    Attributes
    ----------
    engine
        Ready to work.
    signals
        Golden signals that it was asked.
    differences
        Largest difference by column, in units of what is tolerated.
    """

    engine: BatchedEngine
    signals: int
    differences: Mapping[str, float]


@dataclass(frozen=True)
class Admission:
    """What the examination of a worker found.

    Attributes
    ----------
    node, group, device
        Who was examined.
    batches
        Signals in a model call, by kind of signals.
    signals
        Golden signals that it was asked, all kinds together.
    differences
        Largest difference by column, in units of what is tolerated.
    versions, other_versions
        The worker's, and those that differ from the coordinator's: ``(here, there)``.
    seconds
        Duration: loading TensorFlow, compiling, measuring the batch size, and the golden batch.
    """

    node: str
    group: str | None
    device: str
    batches: Mapping[str, int]
    signals: int
    differences: Mapping[str, float]
    versions: Mapping[str, str]
    other_versions: Mapping[str, tuple[str | None, str | None]]
    seconds: float

    def facts(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return asdict(self)


def admit(directory: CampaignDirectory, group: WorkerGroup | None = None) -> Admission:
    """Examine this worker process; the engines made for it are those that its blocks will use.

    To be called after the coordinator's :func:`psdbatch.golden.references.start_reference`.

    Parameters
    ----------
    directory
        The campaign.
    group
        The worker's group; None for a worker on the coordinator's machine.

    Raises
    ------
    WorkerRefused
        Versions, GPU or answers are not those that the campaign needs.
    PsdbatchError
        It cannot be examined.
    """
    started = time.monotonic()
    conditions = Conditions.read(directory)
    versions = software.software()
    check_versions(software.conflicts(versions, conditions.versions), group)
    device = _device(group)
    config = read_config(directory.config)
    facts = kept_models(config, directory)
    found = {kind: agreeing_engine(directory, config, facts, kind, group) for kind in conditions.kinds}
    return Admission(
        node=socket.gethostname(),
        group=group.name if group else None,
        device=device,
        batches={str(kind): agreement.engine.batch for kind, agreement in found.items()},
        signals=sum(agreement.signals for agreement in found.values()),
        differences=_largest(agreement.differences for agreement in found.values()),
        versions=versions,
        other_versions=software.differences(versions, conditions.versions),
        seconds=round(time.monotonic() - started, 3),
    )


_agreed: dict[str, Agreement] = {}
_agreed_lock = threading.Lock()


def agreeing_engine(
    directory: CampaignDirectory,
    config: CampaignConfig,
    facts: CampaignModels,
    kind: SignalKind,
    group: WorkerGroup | None,
) -> Agreement:
    """The process's engine for signals of a kind, examined once.

    Raises
    ------
    WorkerRefused
        Its answers are not those of the reference.
    PsdbatchError
        The model does not fit, or there is no reference.
    """
    settings = group_settings(config, facts, kind, group)
    tolerance = config.processing.tolerance
    path = reference_path(directory, settings)
    key = f"{path} {group!r} {config.processing!r}"
    with _agreed_lock:
        if key not in _agreed:
            with _broken_device_refused():
                engine = engine_of(config, facts, kind, group, directory.tuning)
                if group is None:
                    reference = own_reference(directory, config, facts, kind, engine.device)
                else:
                    reference = awaited_reference(directory, config, facts, kind)
                differences = compare(engine, reference, empty_answers(settings, engine.batch), tolerance)
            _check(differences, reference, path, engine, kind, group)
            by_column = {entry.column: float(f"{entry.distance:.2g}") for entry in differences}
            _agreed[key] = Agreement(engine, len(reference.samples), by_column)
        return _agreed[key]


@contextmanager
def _broken_device_refused() -> Iterator[None]:
    try:
        yield
    except DeviceError as error:
        raise WorkerRefused(str(error)) from error


def _device(group: WorkerGroup | None) -> str:
    """Name of the device; where the group asks for a GPU it must be one."""
    from psdbatch.models.engine import device_name
    from psdbatch.models.quiet import tf

    device = device_name()
    check_gpu(device, tf.__version__, tf.test.is_built_with_cuda(), group)
    return device


def _check(
    differences: list[Difference],
    reference: Reference,
    path: Path,
    engine: BatchedEngine,
    kind: SignalKind,
    group: WorkerGroup | None,
) -> None:
    wrong = [entry for entry in differences if entry.signals]
    if not wrong:
        return
    signals = {number for entry in wrong for number in entry.signals}
    worst = "; ".join(
        f"'{entry.column}' of {len(entry.signals)}, at worst {entry.value:.7g} instead of {entry.expected:.7g} (signal {entry.signal})"
        for entry in wrong[:_LISTED]
    )
    made = reference.facts.get("versions", {})
    raise WorkerRefused(
        f"{who(group)}: answers differ from the campaign's reference for {len(signals)} of {len(reference.samples)} golden signals "
        f"({kind}, batch {engine.batch:,}, {engine.device}, {_tensorflow(software.software())}; reference: CPU, {_tensorflow(made)}, "
        f"psdbatch {made.get('psdbatch', 'unknown')}, {path}): {worst}. {_advice(group)}"
    )


def _advice(group: WorkerGroup | None) -> str:
    where = f"the group '{group.name}'" if group else "[processing]"
    return (
        f"If the compiler is to blame, 'xla = false' in {where} helps; if a difference of this size is acceptable, raise 'tolerance' in "
        "[processing]; else leave the node or its image out"
    )


def _tensorflow(versions: Mapping[str, str]) -> str:
    found = versions.get("tensorflow") or versions.get("tensorflow-cpu") or "unknown"
    return f"TensorFlow {found}"


def _largest(several: Any) -> dict[str, float]:
    largest: dict[str, float] = {}
    for differences in several:
        for name, distance in differences.items():
            largest[name] = max(distance, largest.get(name, 0.0))
    return largest
