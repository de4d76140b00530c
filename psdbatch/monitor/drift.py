"""Does a detector channel behave as it did in a reference campaign?

Of each channel that both have enough signals of, these are compared: the fraction of each class, of signals without an
answer, of saturated ones and of those with a second pulse; the mean charge ratio; the mean amplitude, which moves with
the gain; and the mean residual of a quality model where there is one.  A difference is an alarm only when it is both

* significant: larger than chance explains, with allowance for the number of comparisons made at a time, and
* large: at least :data:`LARGE_FRACTION`, :data:`LARGE_RATIO`, :data:`LARGE_AMPLITUDE` or :data:`LARGE_RESIDUAL`; with a billion signals every
  difference is significant, and most of them do not matter.

Fractions are compared by the difference of ``arcsin(sqrt(p))``, whose variance ``1 / 4n`` does not depend on ``p``
(Anscombe, Biometrika 35 (1948) 246), so that rare classes raise no false alarms; means by the test of Welch
(Biometrika 34 (1947) 28), each with its own measured variance.

A significant difference is one that chance makes with a probability below that of :data:`SIGMAS` standard deviations
(5.7e-7, on both sides), divided by the number of comparisons (Bonferroni): 5.9 standard deviations for 200 comparisons.
Five rather than three, because a live page looks again and again while a campaign goes on.

A channel is silent when it has at most :data:`SILENT` of the signals expected from its share of its board in the
reference, and at least :data:`LEAST_SIGNALS` were expected; it is new when the same is true the other way round.
Boards are not compared with each other before a campaign is complete, as their files may come one after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from psdbatch.monitor.tally import Tally

Array = NDArray[Any]

SIGMAS = 5.0
"""Standard deviations that one comparison alone would have to differ by."""
LEAST_SIGNALS = 100
"""Channels with fewer signals are not compared."""
LARGE_FRACTION = 0.02
"""Least difference of a class fraction that matters."""
LARGE_RATIO = 0.01
"""Least difference of the mean charge ratio that matters; neutrons and gammas are some 0.1 apart."""
LARGE_AMPLITUDE = 0.05
"""Least difference of the mean amplitude that matters, as a fraction of the reference's."""
LARGE_RESIDUAL = 0.1
"""Least difference of the mean residual that matters, as a fraction of the reference's."""
SILENT = 0.01
"""A channel with less than this fraction of the signals expected is silent."""

NO_ANSWER = "without an answer"

FLAGS = ("saturated", "with a second pulse")
"""What the flags that a tally counts mean, in its order."""

Kind = Literal["fraction", "charge ratio", "amplitude", "residual", "silent", "new"]


@dataclass(frozen=True)
class Drift:
    """A channel that differs from the reference.

    Attributes
    ----------
    board, channel
        Where.
    kind
        What was compared.
    what
        The same in words: ``fraction of neutron``, ``mean charge ratio``, ``signals``.
    value, reference
        Of this campaign and of the reference; for ``silent`` and ``new``: signals, and signals expected.
    sigmas
        The difference in standard deviations; infinite for ``silent`` and ``new``.
    signals
        Signals of the channel in this campaign.
    """

    board: int
    channel: int
    kind: Kind
    what: str
    value: float
    reference: float
    sigmas: float
    signals: int

    @property
    def named(self) -> str:
        """What was compared, as a cell of a table."""
        return f"{self.what} ({self.kind})" if self.kind in ("silent", "new") else self.what

    @property
    def significance(self) -> str:
        """Standard deviations, as a cell of a table."""
        return "–" if self.kind in ("silent", "new") else f"{self.sigmas:.0f}"

    def __str__(self) -> str:
        where = f"board {self.board} channel {self.channel}"
        if self.kind == "silent":
            return f"{where} is silent: {self.value:,.0f} signals, {self.reference:,.0f} expected"
        if self.kind == "new":
            return f"{where} is new: {self.value:,.0f} signals, {self.reference:,.0f} expected"
        return (
            f"{where}: {self.what} {self.value:.4g}, reference {self.reference:.4g} "
            f"({self.value - self.reference:+.2g}, {self.sigmas:.0f} standard deviations)"
        )


def compare(tally: Tally, reference: Tally, classes: Sequence[str] | None, complete: bool = False) -> list[Drift]:
    """Channels that differ from the reference, the gravest first: silent and new ones, then by standard deviations.

    Parameters
    ----------
    tally, reference
        To compare.
    classes
        Names of the classes, the same in both; None if these are not the same: fractions are then left out.
    complete
        Whether all signals of the campaign are counted, so that a board without any is silent.
    """
    rows, others = _common(tally, reference)
    found = list(_silent(tally, reference, complete))
    tests = [*_fractions(tally, reference, rows, others, classes), *_means(tally, reference, rows, others)]
    limit = significance(sum(int(np.isfinite(test.sigmas).sum()) for test in tests))
    for test in tests:
        alarms = np.flatnonzero((test.sigmas > limit) & (np.abs(test.value - test.reference) >= test.large))
        found += [
            Drift(
                board=int(tally.boards[rows[k]]),
                channel=int(tally.channels[rows[k]]),
                kind=test.kind,
                what=test.what,
                value=float(test.value[k]),
                reference=float(test.reference[k]),
                sigmas=float(test.sigmas[k]),
                signals=int(tally.answers[rows[k]].sum()),
            )
            for k in alarms
        ]
    return sorted(found, key=lambda drift: -drift.sigmas)


def comparable(tally: Tally, reference: Tally) -> int:
    """Channels that both have enough signals of to be compared."""
    rows, others = _common(tally, reference)
    enough = (tally.answers[rows].sum(axis=1) >= LEAST_SIGNALS) & (
        reference.answers[others].sum(axis=1) >= LEAST_SIGNALS
    )
    return int(np.count_nonzero(enough))


def significance(comparisons: int) -> float:
    """Standard deviations from which on one of so many comparisons is significant."""
    chance = NormalDist().cdf(-SIGMAS) / max(1, comparisons)
    return -NormalDist().inv_cdf(chance)


@dataclass(frozen=True)
class _Test:
    """One quantity of all channels; NaN in ``sigmas`` where it is not compared."""

    kind: Kind
    what: str
    value: Array
    reference: Array
    sigmas: Array
    large: Array | float


def _common(tally: Tally, reference: Tally) -> tuple[Array, Array]:
    """Rows of the channels that both have, in the one and in the other."""
    _, rows, others = np.intersect1d(tally.channel, reference.channel, assume_unique=True, return_indices=True)
    return rows, others


def _fractions(
    tally: Tally, reference: Tally, rows: Array, others: Array, classes: Sequence[str] | None
) -> Iterator[_Test]:
    counts, expected = tally.answers[rows], reference.answers[others]
    named = enumerate(classes or ()) if tally.classes == reference.classes else enumerate(())
    for k, name in named:
        if len(classes or ()) > 2 or k:  # of two classes the second says it all
            answered, known = counts[:, :-1].sum(axis=1), expected[:, :-1].sum(axis=1)
            yield _fraction(f"fraction of {name}", counts[:, k], answered, expected[:, k], known)
    totals = counts.sum(axis=1), expected.sum(axis=1)
    if tally.classes and reference.classes:
        yield _fraction(f"fraction {NO_ANSWER}", counts[:, -1], totals[0], expected[:, -1], totals[1])
    for k, name in enumerate(FLAGS):
        yield _fraction(f"fraction {name}", tally.flagged[rows, k], totals[0], reference.flagged[others, k], totals[1])


def _fraction(what: str, count: Array, total: Array, other: Array, other_total: Array) -> _Test:
    with np.errstate(divide="ignore", invalid="ignore"):
        value, known = count / total, other / other_total
        sigmas = (
            2 * np.abs(np.arcsin(np.sqrt(value)) - np.arcsin(np.sqrt(known))) / np.sqrt(1 / total + 1 / other_total)
        )
    return _Test("fraction", what, value, known, _where_enough(sigmas, total, other_total), LARGE_FRACTION)


def _means(tally: Tally, reference: Tally, rows: Array, others: Array) -> Iterator[_Test]:
    ratio, heights = (tally.ratio[rows], reference.ratio[others]), (tally.amplitude[rows], reference.amplitude[others])
    yield _mean("charge ratio", "mean charge ratio", *ratio, LARGE_RATIO)
    yield _mean("amplitude", "mean amplitude", *heights, LARGE_AMPLITUDE, relative=True)
    if tally.residual.any() and reference.residual.any():
        residuals = tally.residual[rows], reference.residual[others]
        yield _mean("residual", "mean residual", *residuals, LARGE_RESIDUAL, relative=True)


def _mean(kind: Kind, what: str, moments: Array, other: Array, large: float, relative: bool = False) -> _Test:
    """``relative``: ``large`` is a fraction of the reference's mean."""
    with np.errstate(divide="ignore", invalid="ignore"):
        (value, variance), (known, known_variance) = _mean_and_variance(moments), _mean_and_variance(other)
        sigmas = np.abs(value - known) / np.sqrt(variance + known_variance)
    enough = _where_enough(sigmas, moments[:, 0], other[:, 0])
    return _Test(kind, what, value, known, enough, large * np.abs(known) if relative else large)


def _mean_and_variance(moments: Array) -> tuple[Array, Array]:
    """Mean of each channel, and the variance of that mean; ``moments`` are number, sum and sum of squares."""
    number, total, squares = moments.T
    mean = total / number
    # what is left of a spread after rounding in the sums is no spread
    spread = np.maximum(squares / number - mean**2, 1e-12 * mean**2)
    return mean, spread / (number - 1)


def _where_enough(sigmas: Array, signals: Array, others: Array) -> Array:
    return np.where((signals >= LEAST_SIGNALS) & (others >= LEAST_SIGNALS), sigmas, np.nan)


def _silent(tally: Tally, reference: Tally, complete: bool) -> Iterator[Drift]:
    """Channels that are silent, and new ones."""
    for kind, here, there in (("silent", tally, reference), ("new", reference, tally)):
        expected = _expected(here, there, complete or kind == "new")  # a reference is complete
        found = np.zeros(len(there.channel), np.int64)
        _, rows, others = np.intersect1d(here.channel, there.channel, assume_unique=True, return_indices=True)
        found[others] = here.answers[rows].sum(axis=1)
        for k in np.flatnonzero((expected >= LEAST_SIGNALS) & (found <= SILENT * expected)):
            other = int(there.answers[k].sum())
            yield _presence(kind, int(there.channel[k]), int(found[k]), float(expected[k]), other)  # type: ignore[arg-type]


def _presence(kind: Literal["silent", "new"], channel: int, found: int, known: float, other: int) -> Drift:
    """``found`` signals where ``known`` were expected, which are ``other`` in the tally they are expected from."""
    here = other if kind == "new" else found
    # What is expected of a new channel is what the reference has of it, brought to the size of this campaign.
    expected = found * other / known if kind == "new" else known
    return Drift(channel >> 16, channel & 0xFFFF, kind, "signals", here, expected, np.inf, here)


def _expected(here: Tally, there: Tally, whole: bool) -> Array:
    """Signals that ``here`` should have of each channel of ``there``, from the channel's share of its board in ``there``.

    A board that ``here`` lacks altogether counts only with ``whole``, as a share of all signals.  float64 ``(channels,)``.
    """
    wanted = there.answers.sum(axis=1)
    mine, theirs = _of_boards(here)[there.boards], _of_boards(there)[there.boards]
    share = np.divide(mine, theirs, out=np.zeros(len(wanted)), where=theirs > 0)
    if whole and there.signals:
        share[mine == 0] = here.signals / there.signals
    return np.asarray(wanted * share)


def _of_boards(tally: Tally) -> Array:
    """Signals of every board, by its number, of the 65,536 that there may be."""
    return np.bincount(tally.boards, tally.answers.sum(axis=1), 1 << 16)
