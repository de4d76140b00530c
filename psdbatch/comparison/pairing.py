"""Which signal of one side is which of the other: by position, or by time, board and channel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import BOARD, CHANNEL, FLAGS, IDENTITY, TIMESTAMP, without_identity
from psdbatch.comparison.errors import ComparisonError
from psdbatch.comparison.rows import KNOWN, NUMBER, STATE, Array, Pairs, Rows
from psdbatch.comparison.side import RunSide
from psdbatch.results.extract import ahead, reading_threads

Match = Literal["position", "hit"]

PIECE = 262_144
"""Signals that are compared at a time."""

MOST_HELD = 1 << 23
"""Signals of one side held in memory to be found by their hit: about 80 bytes each, 0.7 GB together.  Longer runs are read several times."""


@dataclass
class Aside:
    """Signals that take no part.

    Attributes
    ----------
    a, b
        Recorded with or without samples where the side is asked for the other kind.
    repeated_a, repeated_b
        With time, board and channel of an earlier signal that has taken the partner, or that is found in its place.
    lost_a, lost_b
        So damaged that time, board and channel are lost: they cannot be found by them.
    """

    a: int = 0
    b: int = 0
    repeated_a: int = 0
    repeated_b: int = 0
    lost_a: int = 0
    lost_b: int = 0


def pairs_by_position(runs: Iterable[tuple[RunSide, RunSide]], names: tuple[str, str]) -> Iterator[Pairs]:
    """Signal number k of one side is signal number k of the other, in runs of the same length.

    Raises
    ------
    ComparisonError
        Time, board or channel of a signal differ.
    """

    def read(place: tuple[RunSide, RunSide, int, int]) -> tuple[str, int, Rows, Rows]:
        a, b, first, count = place
        return a.stored.name, first, a.rows(first, count), b.rows(first, count)

    places = ((a, b, first, count) for a, b in runs for first, count in a.spans(PIECE))
    for run, first, rows_a, rows_b in ahead(read, places):
        _check_same(run, first, rows_a, rows_b, names)
        yield Pairs(run, rows_a, rows_b)


def _check_same(run: str, first: int, a: Rows, b: Rows, names: tuple[str, str]) -> None:
    known = a[KNOWN] & b[KNOWN]
    differ = np.zeros(len(a), bool)
    for column in IDENTITY:
        differ |= known & (a[column.name] != b[column.name])
    if not differ.any():
        return
    k = int(differ.argmax())
    one, other = (", ".join(f"{column.name} {int(rows[column.name][k]):,}" for column in IDENTITY) for rows in (a, b))
    raise ComparisonError(
        f"run '{run}': signal {first + k:,} is {one} in {names[0]}, but {other} in {names[1]}: not the same signals in the same "
        "order; '--match hit' finds the signals that both have by time, board and channel"
    )


def pairs_by_hit(runs: Iterable[tuple[RunSide, RunSide]], aside: Aside, most_held: int = MOST_HELD) -> Iterator[Pairs]:
    """The signal with the same time, board and channel, wherever it lies in the run; those without one too.

    The hits of the second side are sorted in memory and those of the first looked up piece by piece.  A run of more than
    ``most_held`` signals is taken in several passes, each over the hits whose times have one digest.
    """
    with ThreadPoolExecutor(reading_threads(), "reading") as pool:
        for a, b in runs:
            passes = max(1, -(-b.stored.signals // most_held))
            for number in range(passes):
                yield from _pairs_of_share(a, b, _Share(number, passes), aside, pool)


def _pairs_of_share(a: RunSide, b: RunSide, share: _Share, aside: Aside, pool: ThreadPoolExecutor) -> Iterator[Pairs]:
    held = _Hits(b, share, aside, pool)
    if share.number == 0:
        yield from held.unknown
    for rows in _pieces(a, pool):
        chosen = share.of(a, rows)
        aside.a += chosen.aside
        aside.lost_a += chosen.lost
        yield from held.find(chosen)
    yield held.left()


def _pieces(side: RunSide, pool: ThreadPoolExecutor) -> Iterator[Rows]:
    return ahead(lambda span: side.rows(*span), side.spans(PIECE), pool=pool)


class _Chosen(NamedTuple):
    """Rows of one pass with a known hit; of the first pass also those of blocks that are not there, how many the side is not
    asked for, and how many have lost their hit."""

    known: Rows
    unknown: Rows
    aside: int
    lost: int


class _Share:
    """The signals of pass ``number`` of ``passes``."""

    def __init__(self, number: int, passes: int) -> None:
        self.number, self.passes = number, passes

    def of(self, side: RunSide, rows: Rows) -> _Chosen:
        """Those of ``rows``."""
        asked, known = side.counts(rows), rows[KNOWN]
        lost = asked & known & _lost(rows)
        mine = asked & known & ~lost
        if self.passes > 1:
            mine &= _digest(rows[TIMESTAMP.name]) % np.uint64(self.passes) == np.uint64(self.number)
        if self.number > 0:
            return _Chosen(rows.take(mine), rows.take(slice(0)), 0, 0)
        counts = (int(np.count_nonzero(which)) for which in (~asked, lost))
        return _Chosen(rows.take(mine), rows.take(asked & ~known), *counts)


class _Hits:
    """The hits of one side's run, sorted."""

    def __init__(self, side: RunSide, share: _Share, aside: Aside, pool: ThreadPoolExecutor) -> None:
        self._run, self._aside = side.stored.name, aside
        self.unknown: list[Pairs] = []
        parts = []
        for rows in _pieces(side, pool):
            chosen = share.of(side, rows)
            aside.b += chosen.aside
            aside.lost_b += chosen.lost
            parts.append(chosen.known)
            if len(chosen.unknown):
                self.unknown.append(Pairs(self._run, Rows.absent(len(chosen.unknown)), chosen.unknown))
        names = parts[0].columns if parts else {STATE: None, NUMBER: None, **{column.name: None for column in IDENTITY}}
        self._rows = Rows(
            {
                name: np.concatenate([part[name] for part in parts]) if parts else np.zeros(0, np.uint64)
                for name in names
            }
        )
        self._times = np.unique(self._rows[TIMESTAMP.name])
        keys = self._keys(self._rows)[0]
        self._order = np.argsort(keys, kind="stable")  # of equal hits the first one in the run comes first
        self._sorted = keys[self._order]
        self._aside.repeated_b += int(np.count_nonzero(self._sorted[1:] == self._sorted[:-1]))
        self._used = np.zeros(len(keys), bool)

    def find(self, chosen: _Chosen) -> Iterator[Pairs]:
        """Rows of the other side with their partners, and those without one."""
        rows = chosen.known
        partner = self._partners(rows)
        found = partner >= 0
        yield Pairs(self._run, rows.take(found), self._rows.take(partner[found]))
        alone = int(np.count_nonzero(~found))
        yield Pairs(self._run, rows.take(~found), Rows.absent(alone))
        yield Pairs(self._run, chosen.unknown, Rows.absent(len(chosen.unknown)))

    def left(self) -> Pairs:
        """Hits that the other side does not have."""
        left = self._rows.take(~self._used)
        return Pairs(self._run, Rows.absent(len(left)), left)

    def _partners(self, rows: Rows) -> Array:
        """Place of each row's partner, -1 without one; each partner is given once, to the first that asks for it."""
        keys, possible = self._keys(rows)
        place = np.searchsorted(self._sorted, keys)
        inside = possible & (place < len(self._sorted))
        inside[inside] = self._sorted[place[inside]] == keys[inside]
        partner = np.full(len(rows), -1, np.int64)
        partner[inside] = self._order[place[inside]]
        first = np.zeros(len(rows), bool)
        asking = np.flatnonzero(inside)
        first[asking[np.unique(partner[asking], return_index=True)[1]]] = True
        taken = inside & ~first
        taken[inside] |= self._used[partner[inside]]
        self._aside.repeated_a += int(np.count_nonzero(taken))
        partner[taken] = -1
        self._used[partner[partner >= 0]] = True
        return partner

    def _keys(self, rows: Rows) -> tuple[Array, NDArray[np.bool_]]:
        """Time, board and channel in one exact number, and whether the time occurs here at all.

        The number of the time among those that occur takes the place of the time itself, which may need all 64 bits.
        """
        time = np.searchsorted(self._times, rows[TIMESTAMP.name]).astype(np.uint64)
        possible = time < len(self._times)
        possible[possible] = self._times[time[possible].astype(np.int64)] == rows[TIMESTAMP.name][possible]
        place = rows[BOARD.name].astype(np.uint64) << np.uint64(16) | rows[CHANNEL.name].astype(np.uint64)
        return time << np.uint64(32) | place, possible


def _lost(rows: Rows) -> NDArray[np.bool_]:
    """Signals so damaged that they have no hit: all of them would be the same one."""
    flags = rows.get(FLAGS.name)
    return np.zeros(len(rows), bool) if flags is None else without_identity(flags, rows[TIMESTAMP.name])


def _digest(times: Array) -> Array:
    """A well mixed number per time (multiplication by 2**64 over the golden ratio, after Knuth)."""
    with np.errstate(over="ignore"):
        return (times.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
