"""Pages that are made of the code: keys of the configuration files, options of the formats, commands.

``python docs/pages.py`` writes them to ``docs/reference``, where the repository shows them; ``make docs`` does too.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from psdbatch.acquisition.format import FormatOptions  # noqa: E402
from psdbatch.acquisition.registry import formats  # noqa: E402
from psdbatch.cli import cli  # noqa: E402
from psdbatch.config.commented import described, meaning_of, sections, target, toml, words_for_default  # noqa: E402
from psdbatch.config.schema import FILES, configuration_schema, settings_facts  # noqa: E402

TASKS = {
    "A campaign": ("init", "plan", "run", "submit", "status", "logs", "cancel", "audit"),
    "Its results": ("plot", "report", "export", "diff", "quality"),
    "Acquisition files": ("index", "convert", "simulate"),
    "Models and training": ("inspect", "build-set", "train", "freeze", "evaluate"),
    "Shells and editors": ("completion", "schema"),
}
"""The commands in the order in which one needs them."""


def pages() -> dict[str, str]:
    """All pages by name, as Markdown."""
    made = {name: _configuration(name) for name in FILES} | {"formats": _formats(), "commands": _commands()}
    return {name: "\n".join(lines).strip() + "\n" for name, lines in made.items()}


def write_pages() -> None:
    """Write what has changed."""
    folder = HERE / "reference"
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        page = folder / f"{name}.md"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def _configuration(name: str) -> Iterator[str]:
    schema = configuration_schema(name)
    yield from (f"# All keys of {name}.toml", "")
    yield from ('Times, amounts of memory and sampling periods carry their unit: `"30 min"`, `"16 GB"`, `"5 ns"`.', "")
    for path, section, several in sections(schema):
        header = ".".join(path)
        yield from (f"## `[[{header}]]`" if several else f"## `[{header}]`" if path else "## At the top", "")
        if path:
            yield from (_sentence(meaning_of(section)), "")
        keys = {key: entry for key, entry in section["properties"].items() if target(schema, entry)[0] is None}
        needed = section.get("required", ())
        rows = ((f"`{key}`", *_explained(entry, key in needed)) for key, entry in keys.items())
        yield from _table(("key", "default", "meaning"), rows)


def _formats() -> Iterator[str]:
    yield from ("# Options of the acquisition formats", "")
    yield "For reading they stand in `[input.options]` of campaign.toml or follow `--option` of `psdbatch index` and `init`; for writing they follow"
    yield from ("`--option` of `psdbatch convert` and `simulate`.", "")
    for name, kind in sorted(formats().items()):
        yield from (f"## `{name}`", "", _first_line(kind), "")
        yield from _options("Reading", kind.Options)
        yield from _options("Writing", kind.writer_options())


def _options(what: str, options: type[FormatOptions] | None) -> Iterator[str]:
    if options is None:
        yield from (f"{what}: not this format.", "")
        return
    facts = settings_facts(options)
    yield from (f"{what}:" if facts else f"{what}: no options.", "")
    if facts:
        entries = ({"default": fact["default"], "description": fact["meaning"]} for fact in facts)
        rows = ((f"`{fact['key']}`", *_explained(entry)) for fact, entry in zip(facts, entries, strict=True))
        yield from _table(("option", "default", "meaning"), rows)


def _commands() -> Iterator[str]:
    yield from (
        "# Commands",
        "",
        "What `psdbatch COMMAND --help` prints. Exit codes and JSON: [interfaces](../interfaces.md).",
        "",
    )
    for task, names in TASKS.items():
        yield from (f"## {task}", "")
        for name in names:
            command = cli.commands[name]
            context = click.Context(command, info_name=f"psdbatch {name}")
            yield from (
                f"### {name}",
                "",
                f"    {context.command_path} {' '.join(command.collect_usage_pieces(context))}",
                "",
            )
            for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
                yield from (" ".join(paragraph.split()), "")
            options = (one.get_help_record(context) for one in command.params if isinstance(one, click.Option))
            yield from _table(("option", "meaning"), ((f"`{record[0]}`", record[1]) for record in options if record))


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(' '.join(cell.replace('|', chr(92) + '|').split()) for cell in row)} |"
    yield ""


def _explained(entry: Mapping[str, Any], needed: bool = False) -> tuple[str, str]:
    """Default and meaning of a key."""
    entry, words = words_for_default(entry)
    default = entry.get("default")
    return "must be given" if needed else words if default is None else f"`{toml(default)}`", described(entry)


def _sentence(words: str) -> str:
    words = " ".join(words.split())
    return words[:1].upper() + words[1:]


def _first_line(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "").split("\n")[0].replace("``", "`")


if __name__ == "__main__":
    write_pages()
