"""Fit the simulated detector to the figure of merit measured with NE-213, and print the comparison.

    python benchmarks/tune_simulation.py                  compare the defaults of psdbatch.simulation with the measurement
    python benchmarks/tune_simulation.py --fit            fit photoelectrons per keVee and the spread of the slow light again
    python benchmarks/tune_simulation.py --gates          figure of merit for other gates of the charge comparison
    python benchmarks/tune_simulation.py --plot FILE.png  draw measured and simulated points
    python benchmarks/tune_simulation.py --data FILE.root recompute the measured values (needs uproot)

Two parameters are fitted to five measured values.  The yield of photoelectrons sets the slope at low energy, the
intrinsic spread of the slow light the plateau at high energy.  The other settings are assumptions made before the fit,
and the result leans on them: light fractions (chosen by hand, see psdbatch/simulation/scintillator.py), noise, gain and
response.  Several light fractions and noises were tried, and of those the present ones kept; other combinations, with
1 to 7 photoelectrons per keV, follow the measurement about as well.  The simulation therefore has the measured
separation at each energy; it does not measure the detector.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import charge_ratio
from psdbatch.config import Charge
from psdbatch.monitor.figure_of_merit import FigureOfMerit, Gates, figures_of_merit
from psdbatch.simulation.generate import generate
from psdbatch.simulation.settings import Simulation

Array = NDArray[Any]

EDGES_KEV = (100, 200, 300, 500, 1000, 2000)
MEASURED = (0.81, 1.13, 1.32, 1.40, 1.55)
"""NE-213, double-Gaussian fits in these windows of light output; ``--data`` recomputes them from the tree of events."""


def charges(samples: Array, charge: Charge, baseline: int = 16, polarity: int = -1) -> tuple[Array, Array]:
    """Long and short charge of every signal, shape ``(n,)``: plain NumPy, the same definition as the campaign's graph."""
    pulse = samples.astype(np.float32)
    pulse = polarity * (pulse - pulse[:, :baseline].mean(axis=1, keepdims=True))
    crossing = np.argmax(pulse >= charge.threshold * pulse.max(axis=1, keepdims=True), axis=1) + charge.offset
    rows = np.arange(len(pulse))
    total = np.zeros((len(pulse), pulse.shape[1] + 1))
    np.cumsum(pulse, axis=1, dtype=np.float64, out=total[:, 1:])
    begin, short, long = (
        total[rows, np.clip(crossing + gate, 0, pulse.shape[1])] for gate in (0, charge.short, charge.long)
    )
    return long - begin, short - begin


def simulated(settings: Simulation, charge: Charge) -> list[FigureOfMerit]:
    """Figures of merit of simulated signals; the light output is that of the calibrated long charge, as in a measurement."""
    parts = [(charges(signals.samples, charge), truth) for signals, truth in generate(settings)]
    long, short = (np.concatenate([part[k] for part, _ in parts]) for k in (0, 1))
    label, energy = (np.concatenate([getattr(truth, name) for _, truth in parts]) for name in ("label", "energy"))
    per_kev = np.median(long[label == 0] / energy[label == 0])
    gates = Gates(charge.align, charge.offset, charge.short, charge.long)
    return figures_of_merit(long / per_kev, charge_ratio(long, short), EDGES_KEV, gates)


def measured(path: Path) -> list[FigureOfMerit]:
    """The same windows in the tree ``T`` of a file with branches route (4 is NE-213), ea and psd."""
    import uproot

    tree = uproot.open(path)["T"].arrays(["route", "ea", "psd"], library="np")
    chosen = tree["route"] == 4
    energy = 1.455 * tree["ea"][chosen] - 200.0
    spread = np.random.default_rng(1).uniform(-0.5, 0.5, chosen.sum())  # integers: spread over their channel
    return figures_of_merit(energy, tree["psd"][chosen] + spread, EDGES_KEV)


def settings_for_tuning(**changes: Any) -> Simulation:
    """Equal classes in the range of the measurement, and a margin."""
    values = {"signals": 200_000, "neutrons": 0.5, "lowest_energy": 80.0, "highest_energy": 2300.0, "pile_up": 0.0}
    return Simulation(**{**values, **changes})


def fit(target: Array, charge: Charge, steps: int = 6) -> dict[str, float]:
    """Gauss-Newton on the logarithms of the parameters; the last three steps scatter by statistics and are averaged."""
    names, values = ("photoelectrons", "slow_spread"), np.log([2.5, 0.1])

    def logarithms(point: Array) -> Array:
        changes = dict(zip(names, np.exp(point), strict=True))
        return np.log([f.value for f in simulated(settings_for_tuning(**changes), charge)])

    path = []
    for _ in range(steps):
        here = logarithms(values)
        slopes = np.stack([(logarithms(values + step) - here) / 0.1 for step in 0.1 * np.eye(len(names))], axis=1)
        values = values + np.clip(np.linalg.lstsq(slopes, np.log(target) - here, rcond=None)[0], -0.5, 0.5)
        path.append(values)
        print({name: round(float(value), 4) for name, value in zip(names, np.exp(values), strict=True)}, flush=True)
    return dict(zip(names, map(float, np.exp(np.mean(path[-3:], axis=0))), strict=True))


def print_comparison(target: Array, found: list[FigureOfMerit]) -> None:
    """Table of measured and simulated figures of merit."""
    print(f"gates: {found[0].gates}\n")
    print("light output [keVee]   measured   simulated            difference   signals")
    for aim, f in zip(target, found, strict=True):
        difference = 100 * (f.value / aim - 1)
        print(
            f"{f.low:8.0f} - {f.high:5.0f}      {aim:8.2f}   {f.value:6.3f} +- {f.uncertainty:5.3f}   {difference:+9.1f} %   {f.signals:8,}"
        )


def print_gates() -> None:
    """Figure of merit at the lowest and highest window for other gates."""
    print("short  long  offset   figure of merit per window")
    for offset in (-5, -3, -2):
        for short in (8, 9, 10, 11, 12, 14):
            for long in (40, 60, 80, 100):
                charge = Charge(offset=offset, short=short, long=long)
                found = simulated(settings_for_tuning(signals=60_000), charge)
                print(f"{short:5d} {long:5d} {offset:7d}   " + "  ".join(f"{f.value:5.2f}" for f in found), flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--gates", action="store_true")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    reference = measured(options.data) if options.data else None
    target = np.array([f.value for f in reference] if reference else MEASURED)
    if options.gates:
        print_gates()
        return
    changes = fit(target, Charge()) if options.fit else {}
    found = simulated(settings_for_tuning(**changes), Charge())
    print_comparison(target, found)
    if options.plot:
        from psdbatch.monitor.plots import fom_plot

        fom_plot(options.plot, {"simulated": found}, points={"measured, NE-213": (EDGES_KEV, target)})


if __name__ == "__main__":
    main()
