"""The golden batch: some real signals of a campaign, and the answers that every worker must agree with.

The answers come from the plain, uncompiled graph on a CPU, once per campaign: the first reference that is kept counts.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import uuid
import zipfile
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch import __version__
from psdbatch.acquisition.index import default_cache
from psdbatch.acquisition.signals import Signals
from psdbatch.campaign import files
from psdbatch.campaign.directory import BlockName, CampaignDirectory
from psdbatch.campaign.plan import Block, Plan, PlannedRun, Segment
from psdbatch.campaign.reading import RunReader
from psdbatch.campaign.schema import SignalKind
from psdbatch.columns import Flag
from psdbatch.errors import CampaignError, PsdbatchError
from psdbatch.models.engine_settings import EngineSettings
from psdbatch.models.facts import ModelFacts
from psdbatch.models.quality_settings import QualitySettings

logger = logging.getLogger(__name__)

Array = NDArray[Any]

SIGNALS = 256
"""Signals of a reference at most."""

RUNS = 5
"""Runs that they are taken from at most: each one is a file or three to open."""

GOLDEN_VERSION = 1
"""Part of what answers are kept under in the user's cache: raise it when a reference says something new."""

_FACTS = "facts.json"


@dataclass(frozen=True)
class Reference:
    """Signals of one kind and the answers to them.

    Attributes
    ----------
    samples
        Raw signals, shape ``(n, samples)``.
    answers
        Arrays of ``n`` rows by column name: the model's columns, the classical quantities and ``flags``.
    facts
        For people: ``signals`` (where they come from), ``versions`` (that made the answers).
    """

    samples: Array
    answers: Mapping[str, Array]
    facts: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """The reference as a file's content: ``.npz``, with the facts as readable text among the arrays."""
        content = io.BytesIO()
        named = {f"answer_{name}": values for name, values in self.answers.items()}
        np.savez(content, samples=self.samples, **named)  # type: ignore[arg-type]
        with zipfile.ZipFile(content, "a") as archive:
            archive.writestr(zipfile.ZipInfo(_FACTS), json.dumps(self.facts))
        return content.getvalue()

    @classmethod
    def read(cls, path: Path) -> Reference:
        """Read a kept reference.

        Raises
        ------
        FileNotFoundError
            There is none.
        CampaignError
            The file is damaged.
        """
        try:
            content = path.read_bytes()
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                facts = json.loads(archive.read(_FACTS))
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                answers = {
                    name.removeprefix("answer_"): arrays[name] for name in arrays.files if name.startswith("answer_")
                }
                return cls(arrays["samples"], answers, facts)
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise CampaignError(
                f"{path}: the reference answers cannot be read ({error}); remove the file and run the same command again"
            ) from error


def kinds(plan: Plan) -> tuple[SignalKind, ...]:
    """The kinds of signals of a plan, each once."""
    return tuple(sorted({SignalKind.of(run) for run in plan.runs}))


def reference_path(directory: CampaignDirectory, settings: EngineSettings) -> Path:
    """Where the campaign keeps its reference for signals of this kind."""
    return directory.golden / f"{_digest(_question(settings))}.npz"


def choose(plan: Plan, directory: CampaignDirectory, kind: SignalKind) -> tuple[Array, list[dict[str, Any]]]:
    """Real signals of a kind: from the first, middle and last block of some runs; the same plan gives the same ones.

    Signals that are damaged or cannot be read are left out; the campaign says so when it comes to them.

    Returns
    -------
    samples
        Shape ``(n, samples)`` with ``n`` up to 256; 0 if no signal is readable.
    places
        ``{"run", "file", "signals"}`` each: the numbers of the signals within the file.
    """
    runs = _spread([run for run in plan.runs if SignalKind.of(run) == kind], RUNS)
    places = list(dict.fromkeys((run.name, segment) for run in runs for segment in _segments(plan, run)))
    share = -(-SIGNALS // max(1, len(places)))
    chosen, found = [np.empty((0, kind.samples), kind.sample_dtype)], []
    for name, segment in places:
        run = plan.run(name)
        wanted = replace(segment, signals=min(share, segment.signals))
        samples, numbers = _readable(run, directory, wanted)
        if len(numbers):
            chosen.append(samples)
            found.append({"run": name, "file": run.files[segment.file].path, "signals": numbers})
    return np.concatenate(chosen), found


def keep(reference: Reference, path: Path) -> Reference:
    """Make ``reference`` the campaign's own unless it has one; the one that counts.

    Raises
    ------
    OSError
        The campaign directory cannot be written.
    """
    files.make_directory(path.parent)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        files.write_durably(partial, [reference.to_bytes()])
        files.link_once(partial, path)
    finally:
        files.remove_file(partial)
    files.sync_directory(path.parent)
    return Reference.read(path)


def cached_answers(settings: EngineSettings, samples: Array) -> Reference | None:
    """Answers to the same question that another campaign of this user has kept."""
    try:
        known = Reference.read(_cache_entry(settings, samples))
    except (OSError, CampaignError):
        return None
    return known if np.array_equal(known.samples, samples) else None


def cache_answers(settings: EngineSettings, reference: Reference) -> None:
    """Keep ``reference`` for the user's later campaigns; a cache that cannot be written stops nobody."""
    entry = _cache_entry(settings, reference.samples)
    partial = entry.with_name(f".{entry.name}.{uuid.uuid4().hex}")
    with suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(reference.to_bytes())
        partial.replace(entry)


def _segments(plan: Plan, run: PlannedRun) -> Iterator[Segment]:
    """Where the first, the middle and the last block begin, up to the end of the file there."""
    starts = list(accumulate((file.signals for file in run.files), initial=0))
    blocks = -(-run.signals // plan.block)
    for number in sorted({0, blocks // 2, blocks - 1} if blocks else ()):
        file = bisect_right(starts, number * plan.block) - 1
        first = number * plan.block - starts[file]
        if not run.files[file].seekable:  # its middle costs as much as all before it
            first = 0
        yield Segment(file, first, min(SIGNALS, run.files[file].signals - first))


def _readable(run: PlannedRun, directory: CampaignDirectory, segment: Segment) -> tuple[Array, list[int]]:
    """Whole signals of ``segment``, and their numbers within the file."""
    signals = Signals.allocate(segment.signals, run.samples, run.sample_dtype)
    block = Block(BlockName(run.name, 0), 0, segment.signals, (segment,))
    index = directory.index / run.files[segment.file].index
    try:
        with RunReader({segment.file: index}) as reader:
            reader.read(block, 0, signals)
    except PsdbatchError as error:
        logger.info("no golden signals from here: %s", error)
        return signals.samples[:0], []
    whole = (signals.flags & np.uint16(Flag.DAMAGED | Flag.NO_SAMPLES)) == 0
    return signals.samples[whole], [segment.first + int(number) for number in np.flatnonzero(whole)]


def _spread(runs: Sequence[PlannedRun], count: int) -> list[PlannedRun]:
    """Up to ``count`` of ``runs`` at equal distances, the first and the last among them."""
    last, count = len(runs) - 1, min(count, len(runs))
    return [runs[round(number * last / max(1, count - 1))] for number in range(count)]


def _cache_entry(settings: EngineSettings, samples: Array) -> Path:
    asked = [GOLDEN_VERSION, __version__, _code(), _question(settings), hashlib.sha256(samples.tobytes()).hexdigest()]
    return default_cache() / "golden" / f"{_digest(asked)}.npz"


def _question(settings: EngineSettings) -> dict[str, Any]:
    """What the answers depend on; not where the model lies, nor how the graph is run."""
    return {
        "model": _model(settings.facts),
        "source": settings.source.model_dump(mode="json", exclude={"path"}),
        "signals": settings.signals.model_dump(mode="json"),
        "preparation": settings.preparation.model_dump(mode="json"),
        "charge": settings.charge.model_dump(mode="json"),
        "pile_up": settings.pile_up.model_dump(mode="json"),
        "samples": settings.samples,
        "sample_dtype": settings.sample_dtype,
        **({} if settings.quality is None else {"quality": _quality_question(settings.quality)}),
    }


def _quality_question(quality: QualitySettings) -> dict[str, Any]:
    return {
        "model": _model(quality.facts),
        "signals": quality.signals.model_dump(mode="json"),
        "preparation": quality.preparation.model_dump(mode="json"),
    }


def _model(facts: ModelFacts) -> list[Any]:
    return [facts.digest, asdict(facts.input), [asdict(output) for output in facts.outputs]]


@cache
def _code() -> str:
    """Digest of the code that answers: whoever changes it, between two versions too, gets answers of his own."""
    folder = Path(__file__).parents[1] / "models"
    return _digest([file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.py"))])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
