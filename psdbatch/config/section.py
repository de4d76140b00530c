"""The base of all sections, and errors that name the key and the nearest known one."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from psdbatch.errors import ConfigurationError
from psdbatch.wording import nearest

Model = TypeVar("Model", bound=BaseModel)


RUN_BY = {"campaign": "run", "training": "train"}
"""What a configuration is of, and the command that does that work."""


class Section(BaseModel):
    """Base of all configuration sections: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_toml(path: Path) -> dict[str, Any]:
    """Content of a TOML file.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or is not TOML.
    """
    try:
        with path.open("rb") as content:  # as bytes: TOML is UTF-8 whatever the locale says
            return tomllib.load(content)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: is not valid TOML: {error}") from error


def read_configuration(path: Path, kind: str) -> dict[str, Any]:
    """Content of a TOML file that is meant to be a ``kind``.toml; its key ``kind`` names the directory of the work.

    Raises
    ------
    ConfigurationError
        The file cannot be read, is not TOML, or is a configuration of another kind.
    """
    content = read_toml(path)
    for other, command in RUN_BY.items():
        if other in content and kind not in content:
            raise ConfigurationError(
                f"{path}: is the configuration of a {other}, not of a {kind}; use 'psdbatch {command} {path}'"
            )
    return content


def validated(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """``model(**values)``, with errors that name ``where``, the key and the nearest known one.

    Raises
    ------
    ConfigurationError
        A key is unknown or missing, or a value is of the wrong kind.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        wrong: dict[tuple[str | int, ...], list[Any]] = {}
        for problem in error.errors():
            wrong.setdefault(_place(values, problem), []).append(problem)
        raise ConfigurationError(
            "\n".join(f"{where}: {_explain(model, place, problems)}" for place, problems in wrong.items())
        ) from None


def _place(values: Any, problem: Any) -> tuple[str | int, ...]:
    """Where the key is; of a key that may be of several kinds, pydantic appends each kind that it has tried."""
    location: tuple[str | int, ...] = problem["loc"]
    if problem["type"] in ("extra_forbidden", "missing"):
        return location
    for depth, part in enumerate(location):
        try:
            values = values[part]
        except (LookupError, TypeError):
            return location[:depth]
    return location


def _explain(model: type[BaseModel], location: tuple[str | int, ...], problems: Sequence[Any]) -> str:
    problem = problems[0]
    name = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{name}'{_known(str(location[-1]), _keys(model, location[:-1]))}"
    if problem["type"] == "missing":
        return f"'{name}' is missing"
    others = [", or " + other["msg"].removeprefix("Input should be ") for other in problems[1:]]
    message = problem["msg"].removeprefix("Value error, ") + "".join(others)
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):  # about several keys at once
        return f"'{name}': {message}" if name else message
    return f"'{name}': {message}, got {problem['input']!r}" if name else message


def _known(key: str, keys: Sequence[str]) -> str:
    """The key that was meant, else all that there are."""
    return nearest(key, keys) or f"; known: {', '.join(keys) or 'none at all'}"


def _keys(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Keys of the section at ``location``; a table in a list of tables is a section like any other."""
    for part in location:
        if isinstance(part, int):
            continue
        annotation: Any = model.model_fields[part].annotation
        sections = [kind for kind in (annotation, *get_args(annotation)) if _is_section(kind)]
        if not sections:
            return []
        model = sections[0]
    return list(model.model_fields)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
