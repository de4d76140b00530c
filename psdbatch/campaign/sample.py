"""A reproducible part of a campaign's blocks: a canary before the whole archive is paid for."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from psdbatch.campaign.directory import BlockName
from psdbatch.campaign.plan import Plan
from psdbatch.errors import ConfigurationError

SAMPLED = "sample"
"""Key of the journal's line about a start that was asked for a sample only: its fraction."""


@dataclass(frozen=True)
class SampleState:
    """How far a sample is.

    Attributes
    ----------
    fraction
        As asked for.
    blocks, signals
        Of the sample.
    finished, missing
        Blocks with a commit record; signals of those without one.
    """

    fraction: float
    blocks: int
    signals: int
    finished: int
    missing: int


@dataclass(frozen=True)
class Sample:
    """The blocks of a plan that a sample of ``fraction`` holds."""

    fraction: float
    blocks: frozenset[BlockName]

    def state(self, plan: Plan, committed: Iterable[BlockName]) -> SampleState:
        """How far the sample is when the blocks ``committed`` are."""
        finished = self.blocks.intersection(committed)
        signals = plan.count_signals(self.blocks)
        return SampleState(
            self.fraction, len(self.blocks), signals, len(finished), signals - plan.count_signals(finished)
        )


def choose_sample(plan: Plan, fraction: float) -> Sample:
    """The sample of ``fraction`` (0 to 1): of each run that share of its blocks, at least one.

    The blocks whose digests of run and number are smallest are taken.  So the choice depends on nothing else, is spread
    evenly over a run, and a larger sample holds every smaller one.

    Raises
    ------
    ConfigurationError
        ``fraction`` is no fraction.
    """
    if not 0 < fraction <= 1:  # not a number is none either
        raise ConfigurationError(f"a sample of {fraction}: it must be more than 0 and at most 1")
    chosen: set[BlockName] = set()
    for run in plan.runs:
        blocks = -(-run.signals // plan.block)
        count = max(1, round(fraction * blocks))
        names = (BlockName(run.name, number) for number in range(blocks))
        chosen.update(heapq.nsmallest(count, names, key=_place))
    return Sample(fraction, frozenset(chosen))


def _place(block: BlockName) -> bytes:
    return hashlib.blake2b(f"{block.run}/{block.number}".encode(), digest_size=16).digest()
