"""Configuration files written for people: every key with its meaning, defaults commented out.

All of it comes from the JSON Schema of the typed models, so that a new key is in the next file without further work.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import tomli_w

WIDTH = 110
MARK = "#>"
"""Begins a remark about this file, where ``#`` begins what is true of any."""

Entry = dict[str, Any]


def commented(
    schema: Mapping[str, Any],
    values: Mapping[str, Any],
    remarks: Mapping[str, tuple[str, ...]],
    shown: Mapping[str, Any] | None = None,
) -> str:
    """A whole configuration file.

    Parameters
    ----------
    schema
        Of :func:`psdbatch.config.schema.configuration_schema`.
    values
        What the file says, by section and key as in TOML; everything else is commented out.
    remarks
        Further lines of comment by dotted key, ``"signals.polarity"``.
    shown
        Values by dotted key for keys that are commented out, instead of their defaults.
    """
    return "\n".join(_Writer(schema, remarks, shown or {}).section((), schema, values)).strip() + "\n"


def sections(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Entry, bool]]:
    """All sections of a configuration file: path, schema, and whether there may be several, ``[[path]]``."""
    yield (), dict(schema), False
    yield from _below(schema, (), schema)


def described(entry: Mapping[str, Any]) -> str:
    """Meaning of a key, and the words it may have."""
    meaning, words = str(entry.get("description", "")), [_word(word) for word in entry.get("enum", [])]
    if all(word in meaning for word in words):
        return meaning
    return f"{meaning}; one of {', '.join(words)}" if meaning else f"one of {', '.join(words)}"


def _word(word: Any) -> str:
    return f"'{word}'" if isinstance(word, str) else str(word)


def toml(value: Any) -> str:
    """A value as TOML writes it; a short list in one line."""
    if isinstance(value, (list, tuple)):
        line = f"[{', '.join(map(toml, value))}]"
        if len(line) < WIDTH - 20:
            return line
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {toml(entry)}' for key, entry in value.items())} }}" if value else "{}"
    return tomli_w.dumps({"key": value}).removeprefix("key = ").strip()


def target(schema: Mapping[str, Any], entry: Mapping[str, Any]) -> tuple[Entry | None, bool]:
    """Section that a key stands for, if it is one, and whether it is a list of such."""
    several = entry.get("type") == "array" and "$ref" in entry.get("items", {})
    reference = entry["items"]["$ref"] if several else entry.get("$ref")
    if not reference:
        return None, several
    section = dict(schema["$defs"][reference.split("/")[-1]])
    return (section if several else _in_place(section, entry)), several


def words_for_default(entry: Mapping[str, Any]) -> tuple[Entry, str]:
    """A key without what its description says of its default, and that, ``"what its input takes"``."""
    meaning, _, words = str(entry.get("description", "")).partition("; default: ")
    return {**entry, "description": meaning}, words


def _in_place(section: Entry, entry: Mapping[str, Any]) -> Entry:
    """The section with meaning and defaults that it has for this key: the window of a training is 75 samples."""
    properties = dict(section["properties"])
    for key, default in entry.get("default", {}).items():
        properties[key] = {**words_for_default(properties[key])[0], "default": default}
    return {**section, "properties": properties, "description": entry.get("description", section["description"])}


def _below(
    schema: Mapping[str, Any], path: tuple[str, ...], section: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Entry, bool]]:
    for key, entry in section["properties"].items():
        inner, several = target(schema, entry)
        if inner is not None:
            yield (*path, key), inner, several
            yield from _below(schema, (*path, key), inner)


def meaning_of(section: Mapping[str, Any]) -> str:
    """What a section is for, without its name in front, which a header says."""
    return re.sub(r"^`\[[^`]+`: ", "", section["description"])


class _Writer:
    def __init__(
        self, schema: Mapping[str, Any], remarks: Mapping[str, tuple[str, ...]], shown: Mapping[str, Any]
    ) -> None:
        self._schema, self._remarks, self._shown = schema, remarks, shown

    def section(
        self, path: tuple[str, ...], section: Mapping[str, Any], values: Mapping[str, Any], off: bool = False
    ) -> Iterator[str]:
        """Keys of a section, then the sections below it: TOML wants them in this order."""
        yield from self._notes(".".join(path))
        keys: dict[str, Entry] = {}
        below: dict[str, Entry] = {}
        for key, entry in section["properties"].items():
            (keys if target(self._schema, entry)[0] is None else below)[key] = entry
        for key in sorted(keys, key=lambda key: key not in section.get("required", ())):
            yield from self._key((*path, key), keys[key], values.get(key), off)
        for key, entry in below.items():
            inner, several = target(self._schema, entry)
            assert inner is not None
            given = values.get(key)
            if several:
                for one in given or ():
                    yield from self._table((*path, key), inner, one, "[[{}]]", False)
            else:
                absent = given is None and bool(entry.get("x-optional"))
                yield from self._table((*path, key), inner, given or {}, "[{}]", off or absent)

    def _table(
        self, path: tuple[str, ...], section: Mapping[str, Any], values: Mapping[str, Any], header: str, off: bool
    ) -> Iterator[str]:
        name = ".".join(path)
        yield from ("", *_wrapped("#", meaning_of(section).split("\n")[0].rstrip(".")))
        yield ("#" if off else "") + header.format(name)
        yield from self.section(path, section, values, off)

    def _key(self, path: tuple[str, ...], entry: Mapping[str, Any], value: Any, off: bool) -> Iterator[str]:
        name = ".".join(path)
        yield from _wrapped("#", described(entry))
        yield from self._notes(name)
        if value is not None and not off:
            yield f"{path[-1]} = {toml(value)}"
            return
        example = self._shown.get(name, entry.get("default"))
        for line in f"{path[-1]} = {'...' if example is None else toml(example)}".split("\n"):
            yield f"#{line}"

    def _notes(self, name: str) -> Iterator[str]:
        for remark in self._remarks.get(name, ()):
            yield from _wrapped(MARK, remark)


def _wrapped(mark: str, text: str) -> list[str]:
    if not text:
        return []
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{mark} ",
        subsequent_indent=f"{mark}   ",
        break_long_words=False,
        break_on_hyphens=False,
    )
