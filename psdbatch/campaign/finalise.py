"""The end of a pass: every committed block in the store, everything counted, metadata gathered, summary written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from psdbatch.campaign import files
from psdbatch.campaign.account import Account
from psdbatch.campaign.commit import CommitRecord, publish, published
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.history import FINISHED, SILENT, History, Pass
from psdbatch.campaign.journal import Journal
from psdbatch.campaign.physics import keep_physics
from psdbatch.campaign.plan import Plan
from psdbatch.campaign.sample import Sample, SampleState, choose_sample
from psdbatch.errors import CampaignError, ExitCode
from psdbatch.monitor.drift_watch import DriftWatch
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
        Per acquisition board: signals, and its share of the time of all stages together and of each (s).
    peak_memory
        Largest resident memory of a worker process (bytes).
    processed, elapsed
        Signals that this pass was left to do, and its wall time (s).
    groups
        What each worker group used in this pass: jobs, seconds of workers, seconds thrown away, blocks, signals.
    sample
        The sample that this pass was asked for; None: the whole campaign.
    passes
        This pass and those before it, as the journal tells them.
    damaged_regions
        Places of the acquisition files that the index could not read; signals that nobody can count may have been there.
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
    boards: dict[str, dict[str, Any]]
    peak_memory: int
    processed: int
    elapsed: float
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    sample: SampleState | None = None
    passes: tuple[Pass, ...] = ()
    damaged_regions: int = 0

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


def records(
    directory: CampaignDirectory, plan: Plan, damaged: Callable[[CampaignError], None] | None = None
) -> Iterator[CommitRecord]:
    """Commit records of the plan's blocks, in the order of the plan; no more than a folder of names is held at a time.

    ``damaged`` is told of one that cannot be read, which is passed over then.

    Raises
    ------
    CampaignError
        A record is damaged, and nobody is there to be told.
    """
    for run in plan.runs:
        for name in directory.committed(run.name):
            if name.number * plan.block < run.signals:
                try:
                    record = CommitRecord.read(directory.record(name))
                except CampaignError as error:
                    if damaged is None:
                        raise
                    damaged(error)
                    continue
                yield record


def count_records(
    directory: CampaignDirectory,
    plan: Plan,
    physics: bool = False,
    watch: DriftWatch | None = None,
    starts: Sequence[float] = (),
    tolerant: bool = False,
) -> Account:
    """Add up all commit records; with ``physics`` their tallies, too, which ``watch`` compares with a reference.

    ``starts`` are those of the passes, for :func:`describe`.  With ``tolerant`` damaged records are named in the account's
    ``damaged``, and stop nothing.
    """
    account = Account(plan, physics, watch, starts)
    for record in records(directory, plan, account.note_damage if tolerant else None):
        account.add(record)
    return account


def describe(directory: CampaignDirectory, account: Account, history: History, running: bool = False) -> Summary:
    """Numbers of the campaign as it is now, and of the sample if the last start was asked for one only.

    ``running`` says whether a coordinator is at work; ``history`` is settled with that and with the commits.
    """
    history.settle(account.commits, running)
    fraction = history.passes[-1].sample if history.passes else None
    sample = None if fraction is None else choose_sample(account.plan, fraction)
    state = None if sample is None else sample.state(account.plan, directory.committed())
    return summarise(account, history.passes, state)


def finalise(
    directory: CampaignDirectory,
    plan: Plan,
    processed: int = 0,
    elapsed: float = 0.0,
    groups: Mapping[str, dict[str, Any]] | None = None,
    sample: Sample | None = None,
    account: Account | None = None,
) -> Summary:
    """Finish renames that somebody left undone, gather metadata, write their checksums and ``summary.json``.

    Parameters
    ----------
    directory, plan
        The campaign.
    processed, elapsed, groups, sample
        What the pass was left to do, its wall time (s), what it used, and the sample that it was asked for.
    account
        An empty one, to which the commit records are added; for whoever wants more of them than the summary tells.

    Raises
    ------
    CampaignError
        A committed shard is lost, or a record or the store's metadata are damaged.
    """
    account = account or Account(plan)
    history = History(Journal(directory.journal).read())
    account.starts = history.starts
    for record in records(directory, plan):
        if not published(directory, record):
            publish(directory, record)
        account.add(record)
    history.settle(account.commits)
    passes = history.passes
    if passes and passes[-1].end == SILENT:  # this one, whose end is written when the summary is
        used = dict(groups or {})
        passes[-1] = replace(passes[-1], end=FINISHED, elapsed=elapsed, processed=processed, groups=used)
    state = None if sample is None else sample.state(plan, directory.committed())
    summary = summarise(account, passes, state)
    summary = replace(summary, processed=processed, elapsed=elapsed, groups=dict(groups or {}))
    _gather_metadata(directory)
    keep_physics(directory, account)
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


def summarise(account: Account, passes: Sequence[Pass] = (), sample: SampleState | None = None) -> Summary:
    """Numbers of a campaign whose commit records are added up."""
    plan, totals = account.plan, account.totals
    return Summary(
        signals=plan.signals,
        written=totals["written"],
        refused=dict(account.refused),
        missing=plan.signals - totals["recorded"],
        blocks=plan.count_blocks(),
        finished=totals["finished"],
        quarantined=totals["quarantined"],
        bytes=totals["bytes"],
        shards=totals["shards"],
        seconds=dict(account.seconds),
        boards={
            number: {"signals": board.signals, "seconds": sum(board.stages.values()), "stages": dict(board.stages)}
            for number, board in sorted(account.boards.items(), key=lambda entry: int(entry[0]))
        },
        peak_memory=account.peak_memory,
        processed=0,
        elapsed=0.0,
        sample=sample,
        passes=tuple(passes),
        damaged_regions=sum(file.damage for run in plan.runs for file in run.files),
    )
