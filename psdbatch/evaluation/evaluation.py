"""All figures of a classifier on signals of known class, beside the charge comparison on the same signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.evaluation.charge_comparison import learn_cuts
from psdbatch.evaluation.classification import (
    Calibration,
    accuracy,
    calibration,
    checked_scores,
    compare,
    confusion_matrix,
    decisions,
    evidence,
)
from psdbatch.evaluation.counting import Difference
from psdbatch.evaluation.errors import EvaluationError
from psdbatch.evaluation.separation import REJECTIONS, Separation, separation
from psdbatch.evaluation.windows import amplitude_edges, energy_edges, split
from psdbatch.monitor.shares import Share, share

Array = NDArray[Any]

TOO_FEW = 10
"""Windows with fewer signals show counts alone."""


@dataclass(frozen=True)
class Scored:
    """Signals of known class with the network's answer; arrays of first dimension ``n``.

    Attributes
    ----------
    scores
        ``(n, classes)``; NaN where the network gave no answer.
    truth
        Class numbers, ``(n,)``.
    amplitude, energy
        ADC units; keVee, NaN where it is not known.
    charge_ratio
        ``(long - short) / long``, NaN where there is none.
    """

    scores: Array
    truth: Array
    amplitude: Array
    energy: Array
    charge_ratio: Array

    def __len__(self) -> int:
        return len(self.truth)


@dataclass(frozen=True)
class WindowFigures:
    """Figures in one window of amplitude or energy.

    ``charge_accuracy`` is that of the cut which was best in this window on the signals the cuts were learnt on;
    ``gain`` is the network's accuracy minus it, signal by signal.  None where the window has too few signals, or where there are
    not exactly two classes.
    """

    low: float
    high: float
    counts: tuple[int, ...]
    accuracy: Share | None
    charge_accuracy: Share | None
    gain: Difference | None
    network: Separation | None
    charge: Separation | None
    reason: str = ""


@dataclass(frozen=True)
class ClassFigures:
    """One class against all others."""

    name: str
    recall: Share | None
    network: Separation
    calibration: Calibration | None
    reason: str = ""


@dataclass(frozen=True)
class Classification:
    """Figures of a classifier.

    Attributes
    ----------
    classes, positive
        Class names; the one that the ROC asks for.
    counts, unanswered
        Signals of each class; signals without an answer, all of them counted as wrong.
    confusion
        True class by decision, the last column for no answer.
    accuracy, balanced_accuracy
        Fraction right; mean of the classes' fractions, which does not depend on the mix.
    charge_accuracy, gain
        Of the charge comparison with one cut per window of amplitude; the network's accuracy minus it.
    by_class
        One against the rest; with two classes only the positive one.
    charge
        The charge ratio on the same signals; two classes only.
    by_amplitude, by_energy
        The same in windows.
    notes
        What must be known to read the figures.
    """

    classes: tuple[str, ...]
    positive: str
    counts: tuple[int, ...]
    unanswered: int
    confusion: Array
    accuracy: Share
    balanced_accuracy: float
    charge_accuracy: Share | None
    gain: Difference | None
    by_class: tuple[ClassFigures, ...]
    charge: Separation | None
    by_amplitude: tuple[WindowFigures, ...]
    by_energy: tuple[WindowFigures, ...]
    notes: tuple[str, ...]


def evaluate(
    scored: Scored,
    classes: Sequence[str],
    learnt_on: Scored | None = None,
    *,
    amplitudes: Sequence[float] = (),
    energies: Sequence[float] = (),
    rejections: Sequence[float] = REJECTIONS,
) -> Classification:
    """Figures of a classifier.

    Parameters
    ----------
    scored
        The signals that judge.
    classes
        Class names; the one called ``neutron``, else the last one, is what the ROC asks for.
    learnt_on
        Other signals, on which the cuts of the charge comparison are chosen; their scores are not looked at.
    amplitudes, energies
        Edges of the windows; default: :mod:`psdbatch.evaluation.windows`.

    Raises
    ------
    EvaluationError
        No signals, a single class, or arrays that do not belong together.
    """
    names, notes = tuple(classes), []
    scores, truth = checked_scores(scored.scores, scored.truth, len(names))
    counts = np.bincount(truth, minlength=len(names))
    if (counts > 0).sum() < 2:
        raise EvaluationError(
            f"all {len(truth):,} signals are of class '{names[int(counts.argmax())]}'; an evaluation needs at least two classes"
        )
    number = names.index("neutron") if "neutron" in names else len(names) - 1
    decided = decisions(scores)
    unanswered = int((decided < 0).sum())
    if unanswered:
        notes.append(f"{unanswered:,} signals have no answer (NaN) and count as wrong")
    if learnt_on is None:
        notes.append("the cuts of the charge comparison were chosen on the very signals that judge, in its favour")
    network = _Methods(scores, truth, decided, number, scored.charge_ratio, len(names) == 2, tuple(rejections))
    teachers = learnt_on or scored
    by_amplitude, by_charge = network.windows(
        scored.amplitude, amplitudes or amplitude_edges(scored.amplitude), teachers, teachers.amplitude
    )
    limits = energies or energy_edges(scored.energy)
    by_energy, _ = network.windows(scored.energy, limits, teachers, teachers.energy) if limits else ((), None)
    recalls = [counts[k] and (decided[truth == k] == k).mean() for k in range(len(names)) if counts[k]]
    return Classification(
        classes=names,
        positive=names[number],
        counts=tuple(map(int, counts)),
        unanswered=unanswered,
        confusion=confusion_matrix(truth, decided, len(names)),
        accuracy=accuracy(truth, decided),
        balanced_accuracy=float(np.mean(recalls)),
        charge_accuracy=None if by_charge is None else accuracy(truth, by_charge),
        gain=None if by_charge is None else compare(truth, decided, by_charge),
        by_class=tuple(
            _one_class(names[k], scores, truth, decided, k, tuple(rejections))
            for k in ([number] if len(names) == 2 else range(len(names)))
        ),
        charge=separation(scored.charge_ratio, truth == number, rejections) if len(names) == 2 else None,
        by_amplitude=by_amplitude,
        by_energy=by_energy,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Methods:
    """The network's answers and the charge ratio of the same signals."""

    scores: Array
    truth: Array
    decided: Array
    number: int
    ratio: Array
    two: bool
    rejections: tuple[float, ...]

    def windows(
        self, place: Array, edges: Sequence[float], teachers: Scored, taught_at: Array
    ) -> tuple[tuple[WindowFigures, ...], Array | None]:
        """Figures in each window of ``place``, and the decisions of the charge comparison with its cuts there."""
        charge = self._charge_decisions(place, edges, teachers, taught_at) if self.two else None
        return tuple(self._window(low, high, inside, charge) for low, high, inside in split(place, edges)), charge

    def _charge_decisions(
        self, place: Array, edges: Sequence[float], teachers: Scored, taught_at: Array
    ) -> Array | None:
        try:
            cuts = learn_cuts(teachers.charge_ratio, teachers.truth == self.number, taught_at, edges)
        except EvaluationError:
            return None
        called = cuts.neutrons(self.ratio, place)
        return np.where(np.isnan(self.ratio), -1, np.where(called, self.number, 1 - self.number))

    def _window(self, low: float, high: float, inside: Array, charge: Array | None) -> WindowFigures:
        truth, decided = self.truth[inside], self.decided[inside]
        counts = tuple(map(int, np.bincount(truth, minlength=self.scores.shape[1])))
        if len(truth) < TOO_FEW:
            few = "no signal" if not len(truth) else f"{len(truth)} signals: too few"
            return WindowFigures(low, high, counts, None, None, None, None, None, few)
        neutron = truth == self.number
        return WindowFigures(
            low,
            high,
            counts,
            accuracy(truth, decided),
            accuracy(truth, charge[inside]) if charge is not None else None,
            compare(truth, decided, charge[inside]) if charge is not None else None,
            separation(evidence(self.scores[inside], self.number), neutron, self.rejections),
            separation(self.ratio[inside], neutron, self.rejections) if self.two else None,
        )


def _one_class(
    name: str, scores: Array, truth: Array, decided: Array, number: int, rejections: tuple[float, ...]
) -> ClassFigures:
    of_class = truth == number
    found = separation(evidence(scores, number), of_class, rejections)
    recall = share(int((decided[of_class] == number).sum()), int(of_class.sum())) if of_class.any() else None
    try:
        calibrated, reason = calibration(scores[:, number], of_class), ""
    except EvaluationError as error:
        calibrated, reason = None, str(error)
    return ClassFigures(name, recall, found, calibrated, reason)
