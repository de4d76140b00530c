"""Kinds of values that options of networks take."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(gt=0)]
"""A number of units, filters or samples."""

Filters = Annotated[tuple[Count, ...], Field(min_length=1)]
"""Filters of each convolutional layer, of which there is at least one."""

Fraction = Annotated[float, Field(ge=0, lt=1)]
"""A part of a whole, never all of it."""

Positive = Annotated[float, Field(gt=0)]
"""A number above zero."""
