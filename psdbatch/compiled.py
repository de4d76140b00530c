"""How kernels are compiled: without the interpreter lock, kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile ``function`` on its first call; other threads run while it does, and the machine code is kept.

    Sums are not reordered (no ``fastmath``), so every machine gives the same bits.
    """
    return cast(Function, numba.njit(nogil=True, cache=True)(function))
