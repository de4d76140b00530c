"""The batch size: measured on the replicas that will use it, remembered in the training's directory.

A larger batch uses the hardware better, until it does not any more, and leaves fewer steps to learn in.  So powers of two
are tried up to a hundredth of the training signals, and the smallest one is taken that is nearly as fast as the fastest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psdbatch.campaign import files

if TYPE_CHECKING:  # the coordinator, which reads the size alone, does without TensorFlow
    from psdbatch.training.feeding import Feed
    from psdbatch.training.learner import Learner

SMALLEST = 32
STEPS = 100
"""Steps that an epoch must have at least, for a batch to be tried that is larger than the smallest."""

NEARLY = 0.8
"""Part of the best pace at which a smaller batch is preferred: it learns more from the same signals."""

SECONDS = 0.3
"""Time given to each size."""

MOST_STEPS = 100


@dataclass(frozen=True)
class BatchSize:
    """What is known of the batch size.

    Attributes
    ----------
    batch
        In use; None: to be measured.
    trying
        Being measured.
    limit
        Larger ones do not fit into the memory of some replica.
    paces
        Signals per second that were measured, by size.
    """

    batch: int | None = None
    trying: int | None = None
    limit: int | None = None
    paces: Mapping[str, float] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Remember."""
        files.replace_durably(path, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> BatchSize:
        """What is remembered."""
        return cls(**json.loads(path.read_bytes())) if path.exists() else cls()

    def halved(self) -> BatchSize | None:
        """After the present size was too large; None: there is no smaller one."""
        large = self.batch or self.trying or self.limit or SMALLEST
        small = large // 4 * 2
        if small < 2:
            return None
        return BatchSize(small if self.batch else None, None, small, self.paces)


def candidates(signals: int, limit: int | None = None) -> list[int]:
    """Sizes to try for a training part of ``signals``: powers of two, at least one."""
    most = max(SMALLEST, signals // STEPS)
    sizes = [SMALLEST]
    while 2 * sizes[-1] <= most:
        sizes.append(2 * sizes[-1])
    return sizes if limit is None else [size for size in sizes if size <= limit] or [limit]


def choose(paces: Mapping[int, float]) -> int:
    """The smallest size that is nearly as fast as the fastest."""
    best = max(paces.values())
    return min(size for size, pace in paces.items() if pace >= NEARLY * best)


def batch_size(learner: Learner, feed: Feed, path: Path) -> int:
    """The batch size in use; measured now if none is remembered.  To be called on all replicas together."""
    together, settings = learner.together, learner.config.optimisation
    known = BatchSize(**together.agree(asdict(BatchSize.read(path))))
    if known.batch is not None:
        return known.batch
    if settings.batch != "auto":
        chosen = BatchSize(settings.batch)
    else:
        before = learner.values()
        paces: dict[int, float] = {}
        for size in candidates(len(feed.part), known.limit):
            if together.chief:
                BatchSize(None, size, known.limit).write(path)  # read after a replica ran out of memory
            paces[size] = _pace(learner, feed, size)
        learner.restore(*before)
        chosen = BatchSize(choose(paces), None, known.limit, {str(size): round(pace) for size, pace in paces.items()})
    if together.chief:
        chosen.write(path)
    assert chosen.batch is not None
    return chosen.batch


def _pace(learner: Learner, feed: Feed, size: int) -> float:
    """Signals per second of one size, by the chief's clock."""
    batches = feed.batches(feed.order(learner.config.optimisation.seed, 0), size)
    batch = next(iter(batches))

    def steps(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            said = learner.step(batch, 0, False)
        said.numpy()  # a device answers later than it returns
        return time.perf_counter() - started

    steps(1)  # compiles
    once = steps(1)
    count = learner.together.agree(min(MOST_STEPS, max(2, int(SECONDS / max(once, 1e-6)))))
    pace = size * count / steps(count)
    return float(learner.together.agree(pace))
