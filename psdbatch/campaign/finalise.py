"""The end of a pass: every committed block in the store, everything counted, metadata gathered, summary written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from psdbatch.campaign import files
from psdbatch.campaign.commit import CommitRecord, publish, published
from psdbatch.campaign.directory import BlockName, CampaignDirectory
from psdbatch.campaign.plan import Plan
from psdbatch.campaign.sample import Sample, SampleState
from psdbatch.errors import CampaignError, ExitCode
from psdbatch.results.store import METADATA, checksums, consolidate, read_metadata


@dataclass(frozen=True)
class Summary:
    """Numbers of a campaign as its commit records tell them.

    Attributes
    ----------
    signals, written, refused
        ``signals = written + sum(refused) + missing``; ``refused`` by reason.
    missing
        Signals of blocks that are not finished.
    blocks, finished, quarantined
        Blocks of the plan, with a record, and given up.
    bytes, shards
        Size of the store's shards, and how many there are.
    seconds
        Time per stage, added over all blocks (s).
    boards
        Per acquisition board: signals, and its share of the time of all stages (s).
    peak_memory
        Largest resident memory of a worker process (bytes).
    processed, elapsed
        Signals that this pass was left to do, and its wall time (s).
    groups
        What each worker group used in this pass: jobs, seconds of workers, seconds thrown away, blocks, signals.
    sample
        The sample that this pass was asked for; None: the whole campaign.
    """

    signals: int
    written: int
    refused: dict[str, int]
    missing: int
    blocks: int
    finished: int
    quarantined: int
    bytes: int
    shards: int
    seconds: dict[str, float]
    boards: dict[str, dict[str, float]]
    peak_memory: int
    processed: int
    elapsed: float
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    sample: SampleState | None = None

    @property
    def left(self) -> int:
        """Signals that are left to do of what was asked for: the sample, or the whole campaign."""
        return self.missing if self.sample is None else self.sample.missing

    @property
    def exit_code(self) -> ExitCode:
        """What the command says to a shell."""
        if self.left:
            return ExitCode.UNFINISHED
        return ExitCode.REFUSED if self.refused else ExitCode.OK

    def facts(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return asdict(self)


def records(directory: CampaignDirectory, plan: Plan) -> Iterator[CommitRecord]:
    """Commit records of the plan's blocks, in the order of the plan."""
    committed = set(directory.committed())
    for run in plan.runs:
        for number in range(-(-run.signals // plan.block)):
            name = BlockName(run.name, number)
            if name in committed:
                yield CommitRecord.read(directory.record(name))


def finalise(
    directory: CampaignDirectory,
    plan: Plan,
    processed: int = 0,
    elapsed: float = 0.0,
    groups: Mapping[str, dict[str, Any]] | None = None,
    sample: Sample | None = None,
) -> Summary:
    """Finish renames that somebody left undone, gather metadata, write their checksums and ``summary.json``.

    Raises
    ------
    CampaignError
        A committed shard is lost, or a record or the store's metadata are damaged.
    """

    def settled() -> Iterator[CommitRecord]:
        for record in records(directory, plan):
            if not published(directory, record):
                publish(directory, record)
            yield record

    summary = replace(summarise(plan, settled(), processed, elapsed), groups=dict(groups or {}))
    if sample is not None:
        summary = replace(summary, sample=sample.state(plan, directory.committed()))
    _gather_metadata(directory)
    files.replace_durably(directory.summary, json.dumps(summary.facts(), indent=1).encode())
    return summary


def read_checksums(directory: CampaignDirectory) -> dict[str, str]:
    """Checksums of the store's metadata as the last pass left them; none before the end of the first one.

    Raises
    ------
    CampaignError
        The file is damaged.
    """
    try:
        known = json.loads(directory.metadata.read_bytes())
        return {str(name): str(checksum) for name, checksum in known.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise CampaignError(
            f"{directory.metadata}: damaged ({error}); remove it and run again, then look at the store's attributes"
        ) from error


def _gather_metadata(directory: CampaignDirectory) -> None:
    """Consolidate; but what an earlier pass has finished must not change any more, save for the root."""
    before = read_checksums(directory)
    metadata = read_metadata(directory.store)
    now = checksums(metadata)
    for name in sorted(before.keys() - {METADATA}):
        if now.get(name) != before[name]:
            raise CampaignError(
                f"{directory.store / name}: is not what it was when its run was finished; restore it, "
                f"its content also lies in 'consolidated_metadata' of {directory.store / METADATA}"
            )
    try:
        after = checksums(consolidate(directory.store, metadata))
    except (ValueError, TypeError, KeyError) as error:
        raise CampaignError(f"{directory.store}: the metadata of a run are damaged: {error}") from error
    if after != before:
        files.replace_durably(directory.metadata, json.dumps(after, indent=1).encode())


def summarise(plan: Plan, found: Iterator[CommitRecord], processed: int = 0, elapsed: float = 0.0) -> Summary:
    """Add up commit records."""
    totals: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    board_signals: Counter[str] = Counter()
    board_seconds: Counter[str] = Counter()
    peak_memory = 0
    for record in found:
        totals.update(
            finished=1,
            quarantined=int(record.quarantine is not None),
            written=record.written,
            recorded=record.signals,
            bytes=sum(shard.bytes for shard in record.shards),
            shards=len(record.shards),
        )
        refused.update(record.refused)
        spent = record.report.get("seconds", {})
        seconds.update(spent)
        for board, signals in record.report.get("boards", {}).items():
            board_signals[board] += signals
            board_seconds[board] += sum(spent.values()) * signals / record.signals
        peak_memory = max(peak_memory, record.report.get("peak_memory", 0))
    return Summary(
        signals=plan.signals,
        written=totals["written"],
        refused=dict(refused),
        missing=plan.signals - totals["recorded"],
        blocks=plan.count_blocks(),
        finished=totals["finished"],
        quarantined=totals["quarantined"],
        bytes=totals["bytes"],
        shards=totals["shards"],
        seconds=dict(seconds),
        boards={
            board: {"signals": board_signals[board], "seconds": board_seconds[board]}
            for board in sorted(board_signals, key=int)
        },
        peak_memory=peak_memory,
        processed=processed,
        elapsed=elapsed,
    )
