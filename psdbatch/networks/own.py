"""Networks of the user's own: a function in a Python file or in an installed module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from psdbatch.errors import ModelError
from psdbatch.wording import nearest


def load_function(written: str) -> Callable[..., Any]:
    """The function ``'FILE.py:FUNCTION'`` or ``'package.module:FUNCTION'``.

    A file may import modules that lie beside it.

    Raises
    ------
    ModelError
        File, module or function is not there, or importing it fails.
    """
    place, colon, name = written.rpartition(":")
    if not (place and colon and name):
        raise ModelError(f"'network.function' is '{written}'; write 'FILE.py:FUNCTION' or 'package.module:FUNCTION'")
    module = _of_file(Path(place)) if place.endswith(".py") else _of_module(place)
    function = getattr(module, name, None)
    if function is None:
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ModelError(f"{place}: has no function '{name}'{nearest(name, known)}")
    if not callable(function):
        raise ModelError(f"{place}: '{name}' is no function, but of type {type(function).__name__}")
    checked: Callable[..., Any] = function
    return checked


def file_of(written: str) -> Path | None:
    """The file that holds the function ``written``, found without running it; None if it is not there or has no source."""
    place = written.rpartition(":")[0]
    if place.endswith(".py"):
        return Path(place) if Path(place).is_file() else None
    found = _specification(place)
    source = None if found is None or found.origin is None else Path(found.origin)
    return source if source is not None and source.suffix == ".py" and source.is_file() else None


def _specification(name: str) -> ModuleSpec | None:
    """Where an installed module is.  Python's own search runs the packages that it lies in, which may load TensorFlow."""
    first, *rest = name.split(".")
    try:
        found = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    for number in range(len(rest)):
        if found is None or found.submodule_search_locations is None:
            return None
        found = PathFinder.find_spec(".".join([first, *rest[: number + 1]]), found.submodule_search_locations)
    return found


def call(function: Callable[..., Any], arguments: Mapping[str, Any], written: str) -> Any:
    """What a user's function returns.

    Raises
    ------
    ModelError
        The function raises; the message says what and in which line.
    """
    try:
        return function(**arguments)
    except (Exception, SystemExit) as error:
        listed = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ModelError(f"{written}: called with {listed}, it fails: {_said(error, _file_of(function))}") from None


def _of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file ('network.function')")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None  # the name ends in .py
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    beside = str(path.absolute().parent)
    sys.path.insert(0, beside)
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ModelError(f"{path}: cannot be imported: {_said(error, str(path))}") from None
    finally:
        sys.path.remove(beside)
    return module


def _of_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ModelError(
                f"'network.function' names the module '{name}', which is not installed here; for a file write 'FILE.py:FUNCTION'"
            ) from None
        raise ModelError(f"{name}: cannot be imported: {error}") from None
    except (Exception, SystemExit) as error:
        raise ModelError(f"{name}: cannot be imported: {_said(error, None)}") from None


def _said(error: BaseException, file: str | None) -> str:
    """Kind and words of an error, and the last line on its way that is the user's."""
    words = (str(error).strip() or "no message").split("\n")[0]
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}, line {error.lineno} of {error.filename}"
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is ours
    own = [frame for frame in frames if frame.filename == file] or frames[-1:]
    place = f" (line {own[-1].lineno} of {own[-1].filename})" if own else ""
    return f"{type(error).__name__}: {words}{place}"


def _file_of(function: Callable[..., Any]) -> str | None:
    code = getattr(function, "__code__", None)
    return None if code is None else str(code.co_filename)
