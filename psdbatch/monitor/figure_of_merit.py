"""How well two classes separate: the figure of merit of a pulse-shape parameter, per window of energy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psdbatch.errors import PsdbatchError

Array = NDArray[np.float64]

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
LEAST_SIGNALS = 100
"""Fewer signals in a window are not fitted."""
LEAST_IN_PEAK = 20
"""A peak of fewer signals is not believed."""


class FigureOfMeritError(PsdbatchError, ValueError):
    """Two peaks cannot be told apart in these values, or there are too few of them."""


@dataclass(frozen=True)
class Gates:
    """Gates of the charge comparison, without which a figure of merit means little (arXiv 2504.11963).

    Both begin ``offset`` samples from the point named ``reference``; ``short`` and ``long`` in samples.
    """

    reference: str
    offset: int
    short: int
    long: int

    def __str__(self) -> str:
        return f"short {self.short}, long {self.long} samples from {self.reference} {self.offset:+d}"


@dataclass(frozen=True)
class Peak:
    """A Gaussian peak: signals in it, mean and standard deviation."""

    signals: float
    mean: float
    sigma: float

    @property
    def fwhm(self) -> float:
        """Full width at half maximum."""
        return FWHM_PER_SIGMA * self.sigma


@dataclass(frozen=True)
class FigureOfMerit:
    """Result of a double-Gaussian fit.

    Attributes
    ----------
    gamma, neutron
        The peaks of the lower and of the higher mean.
    signals
        Signals in the window.
    low, high
        The window of energy, in the unit of the energies given; infinite where there was none.
    gates
        Gates of the charges, where known.
    """

    gamma: Peak
    neutron: Peak
    signals: int
    low: float = -math.inf
    high: float = math.inf
    gates: Gates | None = field(default=None)

    @property
    def value(self) -> float:
        """``|mean_n - mean_g| / (FWHM_n + FWHM_g)``; above 1.27 the peaks are three standard deviations apart."""
        return abs(self.neutron.mean - self.gamma.mean) / (self.neutron.fwhm + self.gamma.fwhm)

    @property
    def uncertainty(self) -> float:
        """Standard deviation of :attr:`value` from counting statistics alone."""
        widths = self.gamma.fwhm + self.neutron.fwhm
        peaks = (self.gamma, self.neutron)
        shift = sum(peak.sigma**2 / peak.signals for peak in peaks)
        width = sum(peak.fwhm**2 / (2 * peak.signals) for peak in peaks)
        return math.hypot(math.sqrt(shift) / widths, self.value * math.sqrt(width) / widths)


def figure_of_merit(
    values: ArrayLike, low: float = -math.inf, high: float = math.inf, gates: Gates | None = None
) -> FigureOfMerit:
    """Fit two Gaussian peaks to the histogram of ``values``.

    Least squares on the counts, as is the custom of the field: the heights of the peaks decide, tails and pile-up hardly
    matter.  It starts from the most likely mixture of two Gaussians and a flat background, looked for from several
    starting points, so that a peak of a few per cent is found beside a large one.

    Parameters
    ----------
    values
        A pulse-shape parameter, larger for neutrons; NaN are left out.
    low, high
        Window of energy the values come from; kept in the result.
    gates
        Gates of the charges; kept in the result.

    Raises
    ------
    FigureOfMeritError
        Too few values, or no two peaks in them.
    """
    given = np.asarray(values, np.float64)
    given = given[np.isfinite(given)]
    _check_enough(len(given), low, high)
    gamma, neutron = _fit(*_histogram(given), low, high)
    return FigureOfMerit(gamma, neutron, signals=len(given), low=low, high=high, gates=gates)


def figure_of_merit_of_counts(
    counts: ArrayLike, edges: ArrayLike, low: float = -math.inf, high: float = math.inf, gates: Gates | None = None
) -> FigureOfMerit:
    """The same from a histogram of the pulse-shape parameter.

    The variance that the bins add to a peak, a twelfth of their width squared (Sheppard's correction), is taken off.

    Parameters
    ----------
    counts, edges
        Signals in each bin, shape ``(n,)``, and the edges of these equally wide bins, ``(n + 1,)``.
    low, high, gates
        As in :func:`figure_of_merit`.

    Raises
    ------
    FigureOfMeritError
        Too few signals, or no two peaks in them.
    """
    held, limits = np.asarray(counts, np.float64), np.asarray(edges, np.float64)
    signals, width = int(held.sum()), float(limits[1] - limits[0])
    _check_enough(signals, low, high)
    peaks = _fit(held, 0.5 * (limits[1:] + limits[:-1]), low, high)
    gamma, neutron = (
        replace(peak, sigma=math.sqrt(max(peak.sigma**2 - width**2 / 12, (0.25 * width) ** 2))) for peak in peaks
    )
    return FigureOfMerit(gamma, neutron, signals=signals, low=low, high=high, gates=gates)


def _check_enough(signals: int, low: float, high: float) -> None:
    if signals < LEAST_SIGNALS:
        raise FigureOfMeritError(
            f"{signals} signals {_window(low, high)} are too few for a figure of merit, at least {LEAST_SIGNALS} are needed; "
            "widen the window of energy or use more signals"
        )


def _fit(counts: Array, centres: Array, low: float, high: float) -> tuple[Peak, Peak]:
    peaks = _least_squares(counts, centres, *_most_likely(counts, centres))
    if min(peak.signals for peak in peaks) < LEAST_IN_PEAK or _merged(*peaks):
        raise FigureOfMeritError(
            f"the {int(counts.sum())} signals {_window(low, high)} show one peak, not two: no figure of merit; "
            "check the gates, or that both classes are there"
        )
    return peaks


def _window(low: float, high: float) -> str:
    return f"between {low:g} and {high:g}" if math.isfinite(low) else "given"


def figures_of_merit(
    energy: ArrayLike, values: ArrayLike, edges: Iterable[float], gates: Gates | None = None
) -> list[FigureOfMerit]:
    """:func:`figure_of_merit` in each window between consecutive ``edges`` of ``energy``.

    Raises
    ------
    FigureOfMeritError
        A window holds too few signals or one peak only.
    """
    energies, given, limits = np.asarray(energy), np.asarray(values), list(edges)
    return [
        figure_of_merit(given[(energies >= low) & (energies < high)], low, high, gates)
        for low, high in pairwise(limits)
    ]


def _histogram(values: Array, bins: int = 400) -> tuple[Array, Array]:
    """Counts and bin centres over the range of all but the outermost 0.2 % and half of it more on both sides."""
    first, last = np.quantile(values, [0.002, 0.998])
    margin = 0.5 * (last - first) or 0.5
    first, last = max(values.min(), first - margin), min(values.max(), last + margin)
    counts, edges = np.histogram(values, bins, (first, last if last > first else first + 1.0))
    return counts.astype(np.float64), 0.5 * (edges[1:] + edges[:-1])


def _most_likely(counts: Array, centres: Array) -> tuple[Peak, Peak]:
    total = counts.sum()
    cumulative = np.cumsum(counts) / total
    spread = np.subtract(*np.interp([0.7, 0.3], cumulative, centres)) + centres[1] - centres[0]
    main = float(np.interp(0.5, cumulative, centres))
    first, last = np.interp([0.002, 0.998], cumulative, centres)
    trials = []
    for other in np.linspace(first, last, 12):
        means = np.sort(np.array([main, other]))
        trials.append(_maximise(counts, centres, means, np.full(2, spread), 60))
    _, weights, means, sigmas = max(trials, key=lambda trial: trial[0])
    _, weights, means, sigmas = _maximise(counts, centres, means, sigmas, 600, weights)
    order = np.argsort(means)
    gamma, neutron = (Peak(float(weights[k] * total), float(means[k]), float(sigmas[k])) for k in order)
    return gamma, neutron


def _maximise(
    counts: Array, centres: Array, means: Array, sigmas: Array, steps: int, weights: Array | None = None
) -> tuple[float, Array, Array, Array]:
    """``steps`` of expectation and maximisation; log likelihood, weights (the last is the flat part's), means, sigmas."""
    bin_width = centres[1] - centres[0]
    flat = np.full(len(centres), 1.0 / len(centres))
    weights = np.array([0.6, 0.35, 0.05]) if weights is None else weights
    total, likelihood = counts.sum(), -math.inf
    for _ in range(steps):
        shape = np.exp(-0.5 * ((centres - means[:, None]) / sigmas[:, None]) ** 2)
        shape *= bin_width / (math.sqrt(2 * math.pi) * sigmas[:, None])
        parts = weights[:, None] * np.vstack([shape, flat])
        density = parts.sum(axis=0)
        previous, likelihood = likelihood, float(counts @ np.log(density))
        if abs(likelihood - previous) < 1e-7 * total:
            break
        share = counts * parts / density
        held = share.sum(axis=1) + 1e-12
        weights = held / held.sum()
        means = (share[:2] @ centres) / held[:2]
        variance = (share[:2] * (centres - means[:, None]) ** 2).sum(axis=1) / held[:2]
        sigmas = np.sqrt(np.maximum(variance, (0.5 * bin_width) ** 2))
    return likelihood, weights, means, sigmas


def _least_squares(counts: Array, centres: Array, first: Peak, second: Peak, steps: int = 200) -> tuple[Peak, Peak]:
    """Levenberg-Marquardt on two Gaussians; parameters are height, mean and sigma of each."""
    bin_width = centres[1] - centres[0]
    area = bin_width / math.sqrt(2 * math.pi)
    values = np.array([x for p in (first, second) for x in (area * p.signals / p.sigma, p.mean, p.sigma)])
    damping, residual = 1e-3, counts - _two_gaussians(values, centres)[0]
    for _ in range(steps):
        slope = _two_gaussians(values, centres)[1]
        normal = slope @ slope.T
        try:
            trial = values + np.linalg.solve(normal + damping * np.diag(np.diag(normal)), slope @ residual)
        except np.linalg.LinAlgError:  # a peak narrower than a bin: a parameter that changes no count
            break
        rest = counts - _two_gaussians(trial, centres)[0]
        if not rest @ rest < residual @ residual:
            damping *= 10
            if damping > 1e10:
                break
            continue
        done = residual @ residual - rest @ rest < 1e-10 * (residual @ residual)
        values, residual, damping = trial, rest, damping / 10
        if done:
            break
    peaks = [Peak(float(h * abs(s) / area), float(m), float(abs(s))) for h, m, s in values.reshape(2, 3)]
    gamma, neutron = sorted(peaks, key=lambda peak: peak.mean)
    return gamma, neutron


def _two_gaussians(values: Array, x: Array) -> tuple[Array, Array]:
    """Sum of two Gaussians at ``x``, and its derivatives with respect to the six parameters."""
    height, mean, sigma = values.reshape(2, 3, 1).swapaxes(0, 1)
    pull = (x - mean) / sigma
    shape = np.exp(-0.5 * pull**2)
    by_mean = height * shape * pull / sigma
    slopes = np.stack([shape, by_mean, by_mean * pull], axis=1).reshape(6, len(x))
    return (height * shape).sum(axis=0), slopes


def _merged(first: Peak, second: Peak) -> bool:
    """Whether the sum of both peaks has no minimum between their means, so that they are not two to the eye."""
    x = np.linspace(first.mean, second.mean, 65)
    values = np.array([v for p in (first, second) for v in (p.signals / p.sigma, p.mean, p.sigma)])
    height = _two_gaussians(values, x)[0]
    return bool(np.min(height) >= 0.999 * min(height[0], height[-1]))
