"""Commands on trainings: train, freeze."""

from __future__ import annotations

from pathlib import Path

import click

from psdbatch.cli.common import JSON, PATH, open_console, print_json, read_options


@click.command(short_help="Train a network or go on with it")
@click.argument("config", type=PATH)
@JSON
def train(config: Path, as_json: bool) -> None:
    """Train the network of CONFIG (training.toml, or a training directory) to its end; go on where it stopped.

    Builds the training set if there is none, trains on as many replicas as CONFIG says, freezes the best network and
    evaluates it on the test part.  'psdbatch submit' does the same as a batch
    job, 'psdbatch status DIRECTORY' shows how far it is, 'psdbatch cancel DIRECTORY' stops it.
    """
    from psdbatch.training.coordinator import run_training
    from psdbatch.training.progress import TrainingProgress
    from psdbatch.training.status import read_training_at

    console = open_console(quiet=as_json)
    summary = run_training(read_training_at(config), TrainingProgress(console))
    if as_json:
        print_json(summary.facts())
        return
    for line in summary.lines():
        console.print(line, soft_wrap=True)


@click.command(short_help="Write a network as a frozen graph")
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@click.option("--bare", is_flag=True, help="Leave the preparation out: the graph takes prepared windows.")
@click.option(
    "--config", type=PATH, help="campaign.toml or training.toml: its [signals], [preparation] and classes hold."
)
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Class name, in the order of the scores.")
@click.option("--samples", type=click.IntRange(min=1), help="Samples of the raw signals.")
@click.option("--sample-dtype", metavar="DTYPE", help="How raw samples are stored, for example uint16.")
@click.option("--signals", multiple=True, metavar="KEY=VALUE", help="Key of [signals]; may be repeated.")
@click.option("--preparation", multiple=True, metavar="KEY=VALUE", help="Key of [preparation]; may be repeated.")
@click.option("--task", help="What the network is for: classifier, autoencoder, ...")
@JSON
def freeze(
    source: Path,
    target: Path,
    bare: bool,
    config: Path | None,
    classes: tuple[str, ...],
    samples: int | None,
    sample_dtype: str | None,
    signals: tuple[str, ...],
    preparation: tuple[str, ...],
    task: str | None,
    as_json: bool,
) -> None:
    """Write SOURCE as the frozen graph TARGET.pb that takes raw signals and carries a card saying what it is.

    SOURCE is a training directory, a .keras or .h5 file, a SavedModel or a frozen graph.  TARGET appears only if it gives
    the numbers of SOURCE.
    """
    from psdbatch.monitor import tables
    from psdbatch.training.freeze_request import FreezeRequest, freeze_in_subprocess

    frozen = freeze_in_subprocess(
        FreezeRequest(
            source=str(source),
            target=str(target),
            bare=bare,
            config=None if config is None else str(config.absolute()),
            classes=classes or None,
            task=task,
            samples=samples,
            sample_dtype=sample_dtype,
            signals=read_options(signals),
            preparation=read_options(preparation),
        )
    )
    if as_json:
        print_json(frozen.to_json())
    else:
        open_console().print(tables.frozen_table(frozen))
