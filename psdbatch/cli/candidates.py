"""What shells may offer for values: formats, runs, columns, worker groups, keys.  Nothing heavy is imported for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from pydantic import BaseModel

Items = list[CompletionItem[str]]


def formats(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Names of acquisition formats, of which none is imported for that."""
    from importlib.metadata import entry_points

    names = {entry.name for entry in entry_points(group="psdbatch.formats")}
    return _beginning(names | ({"auto"} if parameter.default == "auto" else set()), incomplete)


def runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Runs of the campaign that stands before the option."""
    return _beginning((run.name for run in _runs(context)), incomplete)


def columns(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Stored columns, after those that are there already."""
    given = incomplete.split(",")[:-1]
    names = [column.name for run in _runs(context)[:1] for column in _folders(run) if column.name not in given]
    return _beginning((",".join([*given, name]) for name in names), incomplete)


def groups(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Worker groups that have left logs."""
    from psdbatch.coordination.logs import NAME

    logs = (_campaign(context) or Path()) / "logs"
    found = (NAME.fullmatch(path.name) for path in logs.glob("*.log"))
    return _beginning({match["group"] for match in found if match and match["group"]}, incomplete)


def campaign_keys(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Keys of campaign.toml, ``signals.adc_bits=``."""
    from psdbatch.config.commented import described, sections, target
    from psdbatch.config.schema import configuration_schema

    schema = configuration_schema("campaign")
    return [
        CompletionItem(f"{name}=", help=described(entry))
        for path, section, several in sections(schema)
        if not several
        for key, entry in section["properties"].items()
        if target(schema, entry)[0] is None and (name := ".".join([*path, key])).startswith(incomplete)
    ]


def simulation_keys(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Settings of the simulation, ``channels=``."""
    from psdbatch.simulation.settings import Simulation

    return _keys(Simulation, incomplete)


def format_options(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Options of the format that was given before, for reading it or, where a file is written, for writing it."""
    from psdbatch.acquisition.registry import formats as registered

    kind = registered().get(str(context.params.get("format_name")))
    if kind is None:
        return []
    options = kind.Options if context.command.name in ("index", "init") else kind.writer_options()
    return [] if options is None else _keys(options, incomplete)


def _keys(section: type[BaseModel], incomplete: str) -> Items:
    from psdbatch.config.schema import settings_facts

    return [
        CompletionItem(f"{setting['key']}=", help=setting["meaning"])
        for setting in settings_facts(section)
        if setting["key"].startswith(incomplete)
    ]


def _beginning(names: Iterable[str], incomplete: str) -> Items:
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def _runs(context: click.Context) -> list[Path]:
    campaign = _campaign(context)
    if campaign is None:
        return []
    store = campaign / "results.zarr"
    return _folders(store if store.is_dir() else campaign)


def _campaign(context: click.Context) -> Path | None:
    """The first argument; click has not given it its name yet, as the option at the end still lacks a value."""
    return Path(context.args[0]) if context.args else None


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []
