"""How good charge comparison can be: the best gates and the best cut of each window of light output, beside a network.

    psdbatch train jobs/training/low-energy.toml
    python -m benchmarks.gates jobs/training/low-energy

Gates and cuts are chosen on the validation part and judged on the test part, as a network is.  The gates of a set are the
same for all signals; here every window gets its own, which no acquisition does: this is the most that the method can give.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tune_simulation import charges
from psdbatch.columns import charge_ratio
from psdbatch.config import Charge
from psdbatch.evaluation.charge_comparison import best_cut
from psdbatch.monitor.shares import Share, share
from psdbatch.training_set.store import Part, open_set

Array = NDArray[Any]

SHORT, LONG = (6, 7, 8, 9, 10, 12, 14), (20, 25, 30, 40, 50, 60, 80)
PIECE = 16_384


def ratios(part: Part, gates: list[Charge]) -> list[Array]:
    """Charge ratio of every signal of a part for each pair of gates."""
    found: list[list[Array]] = [[] for _ in gates]
    for start in range(0, len(part), PIECE):
        samples = part.read(start, start + PIECE, ["samples"])["samples"]
        for column, charge in zip(found, gates, strict=True):
            column.append(charge_ratio(*charges(samples, charge)))
    return [np.concatenate(column) for column in found]


def right(ratio: Array, neutron: Array, cut: float) -> int:
    """Signals that a cut decides right."""
    return int(((ratio >= cut) == neutron).sum())


def shown(value: Share) -> str:
    """A fraction in per cent with half its interval."""
    return f"{100 * value.value:6.2f} ± {50 * (value.high - value.low):4.2f}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", type=Path, help="directory of a finished training whose set knows the energies")
    directory: Path = parser.parse_args().training
    stored = open_set(directory / "set.zarr")
    windows = json.loads((directory / "evaluation" / "evaluation.json").read_text())["figures"]["by_energy"]
    edges = [window["low"] for window in windows] + [windows[-1]["high"]]
    gates = [Charge(short=short, long=long) for short, long in product(SHORT, LONG)]
    truth, energy, ratio = {}, {}, {}
    for name in ("validation", "test"):
        columns = stored.part(name).read(0, len(stored.part(name)), ["label", "energy"])
        truth[name], energy[name] = columns["label"] == 1, columns["energy"]
        ratio[name] = ratios(stored.part(name), gates)
    print("light output [keVee]  network [%]      set's gates [%]  best gates [%]   short  long")
    for window, (low, high) in zip(windows, pairwise(edges), strict=True):
        inside = {name: (values >= low) & (values < high) for name, values in energy.items()}
        learn, judge = inside["validation"], inside["test"]
        cuts = [best_cut(values[learn], truth["validation"][learn]) for values in ratio["validation"]]
        scores = [
            right(values[learn], truth["validation"][learn], cut)
            for values, cut in zip(ratio["validation"], cuts, strict=True)
        ]
        k = int(np.argmax(scores))
        best = share(right(ratio["test"][k][judge], truth["test"][judge], cuts[k]), int(judge.sum()))
        network, usual = Share(**window["accuracy"]), Share(**window["charge_accuracy"])
        print(
            f"{low:8g} - {high:<8g}  {shown(network)}   {shown(usual)}   {shown(best)}   {gates[k].short:5d} {gates[k].long:5d}"
        )


if __name__ == "__main__":
    main()
