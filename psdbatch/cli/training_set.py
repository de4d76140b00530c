"""Commands on training sets: build-set."""

from __future__ import annotations

from pathlib import Path

import click

from psdbatch.cli.common import JSON, PATH, open_console, print_json


@click.command("build-set", short_help="Build a training set")
@click.argument("config", type=PATH)
@JSON
def build_set(config: Path, as_json: bool) -> None:
    """Build the training set that CONFIG (training.toml) describes, or show the one that is there.

    Labelled signals are drawn from all sources, evenly over class, amplitude and channel, shuffled and written once.
    """
    from psdbatch.config.training import read_training
    from psdbatch.monitor import set_tables
    from psdbatch.monitor.set_progress import SetProgress
    from psdbatch.training_set.build import build_set as build
    from psdbatch.training_set.build import order_picture

    console = open_console(quiet=as_json)
    with SetProgress(console) as progress:
        stored = build(read_training(config), progress.report)
    plot = order_picture(stored)
    if as_json:
        print_json(set_tables.set_facts(stored.path, stored.facts, plot))
        return
    for table in (set_tables.source_table(stored.facts), set_tables.strata_table(stored.facts)):
        console.print(table)
        console.print()
    for alarm in stored.facts.provenance["alarms"]:
        console.print(f"ALARM: {alarm}", style="bold red", soft_wrap=True)
    counts = {part: sum(classes.values()) for part, classes in stored.facts.counts.items()}
    console.print(", ".join(f"{part} {count:,}" for part, count in counts.items()))
    console.print(f"set: {stored.path}\norder of the sources: {plot}", soft_wrap=True)
