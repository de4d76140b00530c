"""Options of a network, checked against the signature of its function."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from psdbatch.errors import ConfigurationError
from psdbatch.wording import nearest

Function = Callable[..., Any]

_OURS = {"samples", "classes", "difference"}
"""Arguments that psdbatch gives."""


def checked_options(
    options: Mapping[str, Any], functions: Iterable[Function], name: str, typed: bool
) -> dict[str, Any]:
    """``[network.options]`` as the functions take them.

    Parameters
    ----------
    functions
        Each option must be an argument of one of them.
    name
        Of the network, for messages.
    typed
        Whether annotations are ours and say what a value may be; those of a user's function may mean anything.

    Raises
    ------
    ConfigurationError
        An option is unknown, or is not of the kind that its function takes.
    """
    functions = list(functions)
    known = {key: function for function in functions for key in option_names(function)}
    free = any(_takes_all(function) for function in functions)
    checked = {}
    for key, value in options.items():
        if key in _OURS:
            raise ConfigurationError(f"'network.options.{key}': '{key}' follows from the training set; leave it out")
        if key not in known and not free:
            listed = ", ".join(sorted(known)) or "none"
            raise ConfigurationError(
                f"'network.options.{key}': '{name}' has no such option{nearest(key, known)}; its options: {listed}"
            )
        checked[key] = _typed(known[key], key, value) if typed else value
    return checked


def option_names(function: Function) -> list[str]:
    """Arguments of a function that a user may set."""
    return [name for name in _named(function) if name not in _OURS]


def fitting(function: Function, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``values`` that are arguments of ``function``."""
    names = values if _takes_all(function) else _named(function)
    return {name: value for name, value in values.items() if name in names}


def _named(function: Function) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, argument in _parameters(function).items() if argument.kind in kinds]


def _takes_all(function: Function) -> bool:
    return any(argument.kind is inspect.Parameter.VAR_KEYWORD for argument in _parameters(function).values())


def _parameters(function: Function) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (ValueError, TypeError):  # compiled ones do not say
        raise ConfigurationError(
            f"'network.function' names {function!r}, whose arguments Python does not know; name a function written in Python"
        ) from None


def _typed(function: Function, key: str, value: Any) -> Any:
    annotation = typing.get_type_hints(function, include_extras=True)[key]
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]
        place = "".join(f"[{part + 1}]" for part in problem["loc"] if isinstance(part, int))
        raise ConfigurationError(
            f"'network.options.{key}{place}': {problem['msg']}, got {problem['input']!r}"
        ) from None
