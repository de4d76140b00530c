"""Commands on acquisition files and models: index, inspect, convert, simulate."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from psdbatch.cli import candidates
from psdbatch.cli.common import (
    DIRECTORY,
    FORMAT,
    FORMAT_OPTIONS,
    JSON,
    PATH,
    OutputFile,
    open_console,
    print_json,
    print_lines,
    read_options,
)


@click.command(short_help="Count signals and find damage in files")
@click.argument("files", nargs=-1, required=True, type=PATH)
@FORMAT
@FORMAT_OPTIONS
@click.option("--show", is_flag=True, help="List the damaged regions.")
@JSON
def index(files: tuple[Path, ...], format_name: str, options: tuple[str, ...], show: bool, as_json: bool) -> None:
    """Count signals and find damage in acquisition FILES, in one pass over their headers.

    A directory stands for the acquisition files in it, at any depth.
    """
    from psdbatch.campaign.prepare import index_files
    from psdbatch.monitor import tables

    paths, notes = _files_in(files, format_name)
    indexes = index_files(paths, format_name, read_options(options))
    if as_json:
        print_json({"files": [entry.to_json() for entry in indexes], "notes": notes})
        return
    console = open_console()
    console.print(tables.index_table(indexes))
    if show:
        console.print(tables.damage_table(indexes))
    for note in notes:
        console.print(note, soft_wrap=True)


def _files_in(places: Iterable[Path], format_name: str) -> tuple[list[Path], list[str]]:
    """The files themselves, of a directory the acquisition files in it; and what there is to say of others there."""
    from psdbatch.acquisition.finding import find_acquisition
    from psdbatch.campaign.draft_files import files_passed_over

    paths: list[Path] = []
    notes: list[str] = []
    for place in places:
        if not place.is_dir():
            paths.append(place)
            continue
        found = find_acquisition([place], format_name)
        paths += [path for path, _ in found.files]
        notes += files_passed_over(found)
    return paths, notes


@click.command(short_help="Show inputs and outputs of a model")
@click.argument("model", type=PATH)
@click.option("--input", "input_name", help="Name of the input tensor.")
@click.option("--output", "outputs", multiple=True, help="Name of an output tensor; may be repeated.")
@JSON
def inspect(model: Path, input_name: str | None, outputs: tuple[str, ...], as_json: bool) -> None:
    """Show inputs, outputs, operations and digest of a MODEL (.pb, SavedModel, .keras, .h5)."""
    import tempfile

    from psdbatch.config import ModelSource
    from psdbatch.models.describing import describe_in_subprocess
    from psdbatch.monitor import tables

    source = ModelSource(path=str(model.absolute()), input=input_name, outputs=outputs or None)
    with tempfile.TemporaryDirectory() as folder:
        facts = describe_in_subprocess(source, Path(folder))
    if as_json:
        print_json(facts.to_json())
    else:
        open_console().print(tables.model_table(facts))


@click.command(short_help="Convert a file to another format")
@click.argument("source", type=PATH)
@click.argument("target", type=OutputFile())
@click.option(
    "--format",
    "format_name",
    shell_complete=candidates.formats,
    help="Format of TARGET; default: that of its ending (.psdz, .npz, .zarr, .mfm, .bin), else packets.",
)
@click.option(
    "--from",
    "source_format",
    default="auto",
    show_default=True,
    shell_complete=candidates.formats,
    help="Format of SOURCE.",
)
@click.option(
    "--from-option", "source_options", multiple=True, metavar="KEY=VALUE", help="Option of the format of SOURCE."
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=candidates.format_options,
    help="Option of the format of TARGET.",
)
@JSON
def convert(
    source: Path,
    target: Path,
    format_name: str | None,
    source_format: str,
    source_options: tuple[str, ...],
    options: tuple[str, ...],
    as_json: bool,
) -> None:
    """Convert the acquisition file SOURCE to TARGET in another format, keeping every signal and column."""
    from dataclasses import asdict

    from psdbatch.acquisition.convert import convert as transcribe
    from psdbatch.monitor import tables

    summary = transcribe(
        source,
        target,
        format_name,
        options=read_options(options),
        source_format=source_format,
        source_options=read_options(source_options),
    )
    if as_json:
        print_json(asdict(summary))
    else:
        open_console().print(tables.conversion_table(summary))


@click.command(short_help="Simulate signals of a liquid scintillator")
@click.argument("directory", type=DIRECTORY)
@click.option(
    "--run", "run_number", type=click.IntRange(min=0), default=1, show_default=True, help="Number of the run."
)
@click.option("--files", type=click.IntRange(min=1), default=1, show_default=True, help="Acquisition files of the run.")
@click.option("--signals", type=click.IntRange(min=1), default=100_000, show_default=True, help="Signals in each file.")
@click.option(
    "--format",
    "format_name",
    default="mfm",
    show_default=True,
    shell_complete=candidates.formats,
    help="Any format that can be written.",
)
@FORMAT_OPTIONS
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=candidates.simulation_keys,
    help="Setting of the simulation; may be repeated.",
)
@click.option("--settings", "show_settings", is_flag=True, help="List the settings with their defaults and leave.")
@JSON
def simulate(
    directory: Path,
    run_number: int,
    files: int,
    signals: int,
    format_name: str,
    options: tuple[str, ...],
    settings: tuple[str, ...],
    show_settings: bool,
    as_json: bool,
) -> None:
    """Write acquisition files of a liquid scintillator into DIRECTORY, with the truth beside them."""
    from psdbatch.config import validated
    from psdbatch.config.schema import settings_facts
    from psdbatch.monitor import tables
    from psdbatch.simulation.files import simulate_run, truth_path
    from psdbatch.simulation.settings import Simulation

    if show_settings:
        if as_json:
            print_json({"settings": settings_facts(Simulation)})
        else:
            open_console().print(tables.settings_table(Simulation))
        return
    chosen = validated(Simulation, {"signals": signals, **read_options(settings)}, "--set")
    paths = simulate_run(directory, chosen, run_number, files, format_name, read_options(options))
    if as_json:
        print_json({"files": [{"path": path, "truth": truth_path(path), "signals": chosen.signals} for path in paths]})
        return
    print_lines(map(str, paths))
