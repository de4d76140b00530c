"""Command on trained models: evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from psdbatch.cli.common import JSON, PATH, FiniteRange, open_console, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from psdbatch.evaluation.evaluating import Evaluation


@click.command(short_help="Judge a network on signals of known class")
@click.argument("model", type=PATH)
@click.option(
    "--set", "training_set", type=PATH, help="Training set to evaluate on; default: that of the training MODEL."
)
@click.option("--part", default="test", show_default=True, help="Part of the set: train, validation or test.")
@click.option(
    "--output",
    type=PATH,
    help="Directory of the report; default: 'evaluation' in a training, NAME-evaluation beside a model.",
)
@click.option("--signals", type=click.IntRange(min=1), help="Signals to evaluate at most; default: all of the part.")
@click.option(
    "--amplitude",
    "amplitudes",
    type=FiniteRange(0),
    multiple=True,
    help="Edge of a window, ADC units; repeat, ascending.",
)
@click.option(
    "--energy", "energies", type=FiniteRange(0), multiple=True, help="Edge of a window, keVee; repeat, ascending."
)
@click.option(
    "--rejection",
    "rejections",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    multiple=True,
    default=(0.9, 0.99, 0.999),
    show_default=True,
    help="Gamma rejection at which the neutron efficiency is given; may be repeated.",
)
@JSON
def evaluate(
    model: Path,
    training_set: Path | None,
    part: str,
    output: Path | None,
    signals: int | None,
    amplitudes: tuple[float, ...],
    energies: tuple[float, ...],
    rejections: tuple[float, ...],
    as_json: bool,
) -> None:
    """Judge a frozen MODEL (.pb with a card, or a training's directory) on signals of known class.

    Writes report.html and evaluation.json.
    """
    from psdbatch.evaluation.evaluating import REPORT, evaluate_model

    found = evaluate_model(
        model,
        training_set,
        part,
        output,
        signals=signals,
        amplitudes=amplitudes,
        energies=energies,
        rejections=rejections,
    )
    if as_json:
        print_json(found.facts())
        return
    console = open_console()
    console.print(_table(found))
    console.print(f"{found.directory / REPORT}", soft_wrap=True)


def _table(found: Evaluation) -> Table:
    from psdbatch.evaluation.tables import evaluation_table

    return evaluation_table(found.figures)
