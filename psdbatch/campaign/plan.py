"""The plan: runs, files and blocks.  A pure function of indexed files and configuration.

Blocks are not stored: block ``k`` of a run is signals ``k*B`` to ``(k+1)*B`` of its files one after another.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from psdbatch.acquisition.index import FileIndex
from psdbatch.campaign.directory import BlockName
from psdbatch.columns import Column
from psdbatch.config import CampaignConfig
from psdbatch.errors import AcquisitionFileError, CampaignError, ConfigurationError

PLAN_VERSION = 1


@dataclass(frozen=True)
class PlannedFile:
    """An acquisition file of the plan; ``index`` names its entry in the campaign's ``index/``."""

    path: str
    size: int
    modified_ns: int
    format: str
    signals: int
    seekable: bool
    damage: int
    index: str


@dataclass(frozen=True)
class PlannedRun:
    """A run: its files in order, and what is common to their signals."""

    name: str
    files: tuple[PlannedFile, ...]
    signals: int
    samples: int
    sample_dtype: str
    timestamp_unit: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Segment:
    """Consecutive ``signals`` of file number ``file`` of the run, from signal number ``first`` of that file on."""

    file: int
    first: int
    signals: int


@dataclass(frozen=True)
class Block:
    """A block: ``signals`` signals of the run from number ``first`` on, found in ``segments``."""

    name: BlockName
    first: int
    signals: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that follows from files and configuration.

    Attributes
    ----------
    question
        What the answers depend on besides the signals: model, preparation, gates, store layout.
    block
        Signals in a block.
    runs
        In the order they were added.
    """

    question: Mapping[str, Any]
    block: int
    runs: tuple[PlannedRun, ...]

    @property
    def signals(self) -> int:
        """Signals of all runs."""
        return sum(run.signals for run in self.runs)

    @property
    def fingerprint(self) -> str:
        """Digest of the whole plan: the same files and configuration give the same one."""
        return _digest(self.to_json())

    def run(self, name: str) -> PlannedRun:
        """The run of that name."""
        return next(run for run in self.runs if run.name == name)

    def count_blocks(self) -> int:
        """Number of blocks of all runs."""
        return sum(-(-run.signals // self.block) for run in self.runs)

    def count_signals(self, blocks: Iterable[BlockName]) -> int:
        """Signals of the blocks named; names that the plan does not know count nothing."""
        sizes = {run.name: run.signals for run in self.runs}
        return sum(max(0, min(self.block, sizes.get(name.run, 0) - name.number * self.block)) for name in blocks)

    def blocks(self, run: PlannedRun) -> Iterator[Block]:
        """The blocks of a run in order."""
        starts = list(itertools.accumulate((file.signals for file in run.files), initial=0))
        file = 0
        for number, first in enumerate(range(0, run.signals, self.block)):
            last = min(first + self.block, run.signals)
            while starts[file + 1] <= first:
                file += 1
            yield Block(BlockName(run.name, number), first, last - first, tuple(_segments(starts, file, first, last)))

    def identity(self, run: PlannedRun, block: Block) -> str:
        """Digest of what a block's answers depend on: range and state of its files, and the question."""
        parts = [
            (
                Path(run.files[part.file].path).name,
                run.files[part.file].size,
                run.files[part.file].modified_ns,
                part.first,
                part.signals,
            )
            for part in block.segments
        ]
        shape = [run.samples, run.sample_dtype, run.timestamp_unit]  # other files of the run can make signals longer
        return _digest([PLAN_VERSION, self.question, run.name, shape, block.first, block.signals, parts])

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary; :meth:`from_json` is its inverse."""
        runs = [{**asdict(run), "columns": [column.to_json() for column in run.columns]} for run in self.runs]
        return {"version": PLAN_VERSION, "question": self.question, "block": self.block, "runs": runs}

    def to_bytes(self) -> bytes:
        """The plan as a file's content."""
        return (json.dumps(self.to_json()) + "\n").encode()

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Plan:
        """Plan from what :meth:`to_json` made."""
        runs = tuple(
            PlannedRun(
                **{
                    **run,
                    "files": tuple(PlannedFile(**file) for file in run["files"]),
                    "columns": tuple(Column.from_json(column) for column in run["columns"]),
                }
            )
            for run in record["runs"]
        )
        return cls(record["question"], record["block"], runs)

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read ``plan.json``.

        Raises
        ------
        CampaignError
            There is none, or it is damaged or of another version.
        """
        try:
            record = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise CampaignError(
                f"{path.parent}: is not a campaign directory (no {path.name}); 'psdbatch run campaign.toml' makes one"
            ) from None
        except ValueError as error:
            raise CampaignError(f"{path}: damaged ({error})") from error
        try:
            version = record["version"]
            if version != PLAN_VERSION:
                raise CampaignError(f"{path}: plan of another version of psdbatch ({version})")
            return cls.from_json(record)
        except (TypeError, KeyError) as error:
            raise CampaignError(f"{path}: damaged ({error!r})") from error


def make_plan(
    config: CampaignConfig, indexes: Iterable[FileIndex], model_digest: str, quality_digest: str | None = None
) -> Plan:
    """Group indexed files into runs and fix the question; the digests are those of the frozen models.

    Raises
    ------
    AcquisitionFileError, ConfigurationError
        Files of one run do not go together, or the run pattern is no regular expression.
    """
    groups: dict[str, list[FileIndex]] = {}
    for index in indexes:
        groups.setdefault(run_name(config.input.run, index.path), []).append(index)
    runs = tuple(_plan_run(name, files) for name, files in groups.items())
    return Plan(question(config, model_digest, quality_digest), config.processing.block, runs)


def question(config: CampaignConfig, model_digest: str, quality_digest: str | None = None) -> dict[str, Any]:
    """What the answers depend on besides the signals.

    Batch size, compiler, workers, limits and what is only watched are left out: they may change between two starts of a campaign.
    """
    settings = config.model_dump(mode="json", exclude={"campaign", "cluster", "processing", "input", "monitor"})
    settings["model"] = {**settings["model"], "path": Path(config.model.path).name, "digest": model_digest}
    quality = settings.pop("quality")
    if quality is not None:  # campaigns without a quality monitor ask what they asked before there was one
        settings["quality"] = {**quality, "model": Path(quality["model"]).name, "digest": quality_digest}
    settings["input"] = config.input.model_dump(mode="json", include={"run", "format", "options"})
    return {**settings, "processing": {"block": config.processing.block}}


def chains(
    plan: Plan, committed: Collection[BlockName], wanted: Container[BlockName] | None = None
) -> Iterator[tuple[PlannedRun, tuple[Block, ...]]]:
    """What is left to do, as lists of blocks that one task takes one after another.

    A chain is one block, except where a file can only be decompressed from its start: then it is all blocks that
    begin in that file, so that the file is decompressed once.  With ``wanted`` only these blocks are to do; what lies
    between them in such a file is read over.
    """
    for run in plan.runs:
        left = (
            block
            for block in plan.blocks(run)
            if block.name not in committed and (wanted is None or block.name in wanted)
        )
        for _, chain in itertools.groupby(left, lambda block, run=run: _chain_key(run, block)):  # type: ignore[misc]
            yield run, tuple(chain)


def run_name(pattern: str, path: str) -> str:
    """Name of the run a file belongs to: the last match of ``pattern`` in its path, else the file's own stem."""
    try:
        matches = [match for match in re.finditer(pattern, path) if match[0]]
    except re.error as error:
        raise ConfigurationError(f"'input.run': '{pattern}' is not a regular expression: {error}") from None
    if matches:
        groups = matches[-1].groups()
        name = (groups[0] if groups else None) or matches[-1][0]
    else:
        name = Path(path).name.split(".")[0]
    return re.sub(r"[^\w.+-]", "_", name).lstrip(".") or "run"


def natural_order(path: str) -> list[Any]:
    """Sort key that puts ``run_2`` before ``run_10``; no two paths have the same one."""
    parts = re.split(r"(\d+)", path)  # decimal digits only: a superscript is text
    return [[(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts], path]


def _chain_key(run: PlannedRun, block: Block) -> Any:
    start = block.segments[0].file
    return block.name if run.files[start].seekable else start


def _segments(starts: list[int], file: int, first: int, last: int) -> Iterator[Segment]:
    while first < last:
        end = min(last, starts[file + 1])
        if end > first:
            yield Segment(file, first - starts[file], end - first)
        first, file = end, file + 1


def _plan_run(name: str, indexes: list[FileIndex]) -> PlannedRun:
    first = indexes[0]
    for index in indexes[1:]:
        for what in ("sample_dtype", "timestamp_unit"):
            one, other = getattr(first.scan, what), getattr(index.scan, what)
            if one != other:
                raise AcquisitionFileError(
                    f"{index.path}: {what.replace('_', ' ')} {other}, but {one} in {first.path} of the same run '{name}'; "
                    "make them different runs with 'run = ...' in [input]"
                )
    return PlannedRun(
        name=name,
        files=tuple(_plan_file(name, number, index) for number, index in enumerate(indexes)),
        signals=sum(index.scan.signals for index in indexes),
        samples=max(index.scan.longest for index in indexes),
        sample_dtype=first.scan.sample_dtype,
        timestamp_unit=first.scan.timestamp_unit,
        columns=_recorded_columns(name, indexes),
    )


def _recorded_columns(run: str, indexes: list[FileIndex]) -> tuple[Column, ...]:
    found: dict[str, tuple[Column, str]] = {}
    for index in indexes:
        for column in index.scan.columns:
            known, path = found.setdefault(column.name, (column, index.path))
            if (column.dtype, column.shape, column.unit) != (known.dtype, known.shape, known.unit):
                raise AcquisitionFileError(
                    f"{index.path}: column '{column.name}' is not what it is in {path} of the same run '{run}'; "
                    "make them different runs with 'run = ...' in [input]"
                )
    return tuple(column for column, _ in found.values())


def _plan_file(run: str, number: int, index: FileIndex) -> PlannedFile:
    return PlannedFile(
        path=index.path,
        size=index.size,
        modified_ns=index.modified_ns,
        format=index.format,
        signals=index.scan.signals,
        seekable=index.seekable,
        damage=len(index.scan.damage),
        index=f"{run}.{number:06d}.json",
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
