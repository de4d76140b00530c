"""What those probably meant whose condition cannot be read."""

from __future__ import annotations

import ast
import re
from keyword import iskeyword

from psdbatch.results.contents import CHOOSE_RUNS, RUN, Contents
from psdbatch.wording import nearest


def quoting(text: str, contents: Contents) -> str | None:
    """How a class is written whose name is more than a word, where the text seems to hold it: ``label == fast neutron``."""
    for name in contents.classes:
        if (not name.isidentifier() or iskeyword(name)) and name in text:
            return f"the name of a class that is no single word is quoted: label == '{name}'"
    return None


def number_of(node: ast.expr, contents: Contents) -> str | None:
    """How one of several numbers is named, for ``probability[neutron]``."""
    if not isinstance(node, ast.Subscript) or not isinstance(node.value, ast.Name):
        return None
    name, index = node.value.id, re.sub(r"\W+", "_", ast.unparse(node.slice).strip("'\""))
    if name not in contents.columns or not contents.columns[name].shape:
        return None
    numbers, wanted = [number.name for number in contents.numbers(name)], f"{name}_{index}"
    return f"write {wanted if wanted in numbers else ' or '.join(numbers)}"


def unknown(name: str, contents: Contents) -> str:
    """What is wrong with a name that is no column and no flag."""
    if name in contents.classes:
        return f"'{name}' is a class; write label == {name}"
    if name == RUN or any(name == run.name for run in contents.runs):
        return f"'{name}' cannot be used here: {CHOOSE_RUNS}"
    known = [*contents.names, *contents.flags, *contents.classes]
    flags = ", ".join(contents.flags) or "none"
    return f"there is no column '{name}'{nearest(name, known)}; columns: {', '.join(contents.names)}; flags: {flags}"
