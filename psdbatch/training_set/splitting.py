"""Which run comes into which part, where whole runs are divided."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from psdbatch.config.training_set import Splitting
from psdbatch.errors import TrainingSetError
from psdbatch.training_set.facts import PARTS


def split_runs(signals: Mapping[str, Mapping[str, int]], settings: Splitting, seed: int) -> dict[str, int]:
    """Part of each run, so that every source is divided about as wanted.

    Runs are taken in an order that follows from the seed.  Each comes into the part that its sources still miss most, and at the end a
    part that got nothing of a source is given the smallest run of the part that has most of them.

    Parameters
    ----------
    signals
        Signals by run and source: ``{run: {source: signals}}``.

    Returns
    -------
    dict
        Run to number of the part.

    Raises
    ------
    TrainingSetError
        There are fewer runs than parts.
    """
    fractions = (1 - settings.validation - settings.test, settings.validation, settings.test)
    wanted = [part for part, fraction in enumerate(fractions) if fraction > 0]
    if len(signals) < len(wanted):
        parts = ", ".join(PARTS[part] for part in wanted)
        raise TrainingSetError(
            f"[set.split] by = 'run': {len(signals)} run{'s' * (len(signals) > 1)} cannot be divided over {parts}; add runs, set a fraction to 0, or split by = 'signal'"
        )
    totals: dict[str, int] = {}
    for sources in signals.values():
        for source, count in sources.items():
            totals[source] = totals.get(source, 0) + count
    missing = {(part, source): fractions[part] for part in wanted for source in totals}  # as fractions of the source
    placed: dict[str, int] = {}
    for run in sorted(signals, key=lambda run: hashlib.sha256(f"{seed} {run}".encode()).digest()):
        share = {source: count / max(totals[source], 1) for source, count in signals[run].items()}
        part = max(wanted, key=lambda part: sum(part_share * missing[part, s] for s, part_share in share.items()))
        placed[run] = part
        for source, fraction in share.items():
            missing[part, source] -= fraction
    for source in sorted(totals):
        for part in wanted:
            _provide(placed, signals, source, part, wanted)
    return placed


def _provide(
    placed: dict[str, int], signals: Mapping[str, Mapping[str, int]], source: str, part: int, wanted: Sequence[int]
) -> None:
    """Give ``part`` a run of ``source`` if it has none and another part can spare one."""
    runs = [run for run in signals if signals[run].get(source)]
    if any(placed[run] == part for run in runs):
        return
    holders = {other: [run for run in runs if placed[run] == other] for other in wanted}
    richest = max(wanted, key=lambda other: len(holders[other]))
    spare = [run for run in holders[richest] if _can_spare(placed, signals, run)]
    if spare:
        placed[min(spare, key=lambda run: (sum(signals[run].values()), run))] = part


def _can_spare(placed: Mapping[str, int], signals: Mapping[str, Mapping[str, int]], run: str) -> bool:
    """Whether the part of ``run`` has another run of each of its sources."""
    others = [other for other, part in placed.items() if part == placed[run] and other != run]
    return all(any(signals[other].get(source) for other in others) for source in signals[run])
