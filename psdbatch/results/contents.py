"""What can be asked of a store: its columns, their single numbers, its flags, its classes, and what follows from columns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from psdbatch.columns import (
    CHARGE_LONG,
    CHARGE_RATIO,
    CHARGE_SHORT,
    FLAGS,
    IDENTITY,
    NO_LABEL,
    SHAPE,
    Column,
    charge_ratio,
    scalar,
)
from psdbatch.errors import CampaignError, ConfigurationError
from psdbatch.results.decoding import StoredColumn
from psdbatch.results.runs import StoreMetadata, store_path
from psdbatch.wording import nearest

Array = NDArray[Any]
Values = Mapping[str, Array]

_ORDER = [column.name for column in IDENTITY] + ["label", "probability"] + [column.name for column in (*SHAPE, FLAGS)]

NUMBER = scalar("signal", "uint64", "number of the signal in its run, from 0")

RUN = "run"
"""Column of tables that names the run."""
RUN_COLUMN = scalar(RUN, "uint32", "run")
"""Its declaration; the values are places in the list of runs."""
CHOOSE_RUNS = "choose runs with --run (in Python: run=...)"
"""For those who look for the run among the columns."""


@dataclass(frozen=True)
class Quantity:
    """One value per signal: how it is declared, which stored columns it ``needs``, and how it follows from them."""

    column: Column
    needs: tuple[str, ...]
    compute: Callable[[Values], Array]

    @property
    def name(self) -> str:
        """Name, as users write it."""
        return self.column.name


@dataclass(frozen=True)
class StoredRun:
    """A run of the store: its name, attributes, arrays, and number of signals."""

    name: str
    attributes: Mapping[str, Any]
    arrays: Mapping[str, zarr.Array[Any]] = field(repr=False)
    path: Path

    @property
    def signals(self) -> int:
        """Signals of the run."""
        return max((array.shape[0] for array in self.arrays.values()), default=0)

    @property
    def block(self) -> int:
        """Signals of a block, and so of a file of each array."""
        array = next(iter(self.arrays.values()))
        return int((array.shards or array.chunks)[0])

    def open(self, name: str) -> StoredColumn | None:
        """The column, or None where this run has none of that name."""
        array = self.arrays.get(name)
        return None if array is None else StoredColumn(name, array, self.path)


class Contents:
    """The runs that were asked for, and everything that can be read of them.

    Parameters
    ----------
    path
        The campaign directory or its ``results.zarr``.
    chosen
        Names of the runs; default: all.

    Raises
    ------
    CampaignError
        No results there, or no such run.
    """

    def __init__(self, path: str | Path, chosen: str | Iterable[str] | None = None) -> None:
        self.store = store_path(path)
        metadata = StoreMetadata(self.store)
        known = metadata.runs()
        names = known if chosen is None else [chosen] if isinstance(chosen, str) else [*dict.fromkeys(chosen)]
        for name in names:
            if name not in known:
                raise CampaignError(f"{self.store}: no run '{name}'{nearest(name, known)}; runs: {', '.join(known)}")
        if not names:
            raise CampaignError(f"{self.store}: holds no runs yet")
        self.attributes: dict[str, Any] = metadata.attributes
        self.runs = tuple(StoredRun(name, *metadata.run(name), self.store / name) for name in names)

    @property
    def signals(self) -> int:
        """Signals of all runs that were asked for."""
        return sum(run.signals for run in self.runs)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their labels."""
        return tuple(str(name) for name in self.attributes.get("classes") or ())

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Stored columns of any of the runs, those of all campaigns first."""
        found = {name: _declaration(name, array) for run in reversed(self.runs) for name, array in run.arrays.items()}
        return {name: found[name] for name in (*(known for known in _ORDER if known in found), *sorted(found))}

    @cached_property
    def flags(self) -> dict[str, tuple[str, int]]:
        """Column and mask of each named flag."""
        return {
            name: (column.name, int(mask))
            for column in self.columns.values()
            for name, mask in _meanings(column, "flag_masks")
        }

    @cached_property
    def _found(self) -> dict[str, Quantity]:
        found = {name: _stored(column) for name, column in self.columns.items()}
        for column in self.columns.values():
            for number in self._numbers(column):
                found.setdefault(number.name, number)
        if {CHARGE_LONG.name, CHARGE_SHORT.name} <= found.keys():
            found.setdefault(CHARGE_RATIO.name, _CHARGE_RATIO)
        found.setdefault(NUMBER.name, _stored(NUMBER))
        return found

    @property
    def names(self) -> list[str]:
        """Everything that :meth:`quantity` knows."""
        return list(self._found)

    def quantity(self, name: str) -> Quantity:
        """What has that name.

        Raises
        ------
        ConfigurationError
            Nothing has; the message names what comes near.
        CampaignError
            The runs do not agree on what it is.
        """
        found = self._found.get(name)
        if found is None:
            if name == RUN:
                raise ConfigurationError(
                    f"{self.store}: '{RUN}' is no stored column; {CHOOSE_RUNS}, tables have it anyway"
                )
            raise ConfigurationError(
                f"{self.store}: the results hold no column '{name}'{nearest(name, self._found)}; "
                f"columns: {', '.join(self._found)}"
            )
        for needed in found.needs:
            if needed in self.columns:
                self._check_same(needed)
        return found

    def numbers(self, name: str) -> list[Quantity]:
        """The same as numbers: one quantity per class of ``probability``, one per element of an array."""
        found = self.quantity(name)
        return self._numbers(found.column) if found.column.shape else [found]

    def words(self, column: str) -> dict[str, int]:
        """Values of a column that have a name, such as the classes of ``label``."""
        found = {word: int(value) for word, value in _meanings(self.columns[column], "flag_values")}
        if column == "label":
            found |= {"no_answer": NO_LABEL} | {name: number for number, name in enumerate(self.classes)}
        return found

    def _check_same(self, name: str) -> None:
        known = self.columns[name]
        for run in self.runs:
            if name in run.arrays:
                other = _declaration(name, run.arrays[name])
                for what in ("unit", "dtype", "shape"):
                    one, two = getattr(known, what), getattr(other, what)
                    if one != two:
                        raise CampaignError(
                            f"{self.store}: '{name}' has another {what} in run '{run.name}' ({two or 'none'}) than in "
                            f"'{self.runs[0].name}' ({one or 'none'}); read one run at a time"
                        )

    def _numbers(self, column: Column) -> list[Quantity]:
        """One quantity per element of a column with a trailing shape."""
        if not column.shape:
            return []
        axes = [
            self.classes if dimension == "class" and len(self.classes) == size else [str(k) for k in range(size)]
            for dimension, size in zip(column.dimensions, column.shape, strict=True)
        ]
        numbers, taken = [], set(self.columns)
        for number, labels in enumerate(product(*axes)):
            name = "_".join([column.name, *(re.sub(r"\W+", "_", label) for label in labels)])
            while name in taken:
                name += "_"
            taken.add(name)
            meaning = f"{column.meaning}: {', '.join(labels)}"
            numbers.append(
                _element(replace(column, name=name, meaning=meaning, shape=(), dimensions=()), column, number)
            )
        return numbers


def _declaration(name: str, array: zarr.Array[Any]) -> Column:
    attributes = dict(array.attrs)
    meaning, unit = str(attributes.pop("long_name", "")), str(attributes.pop("units", ""))
    dimensions = [str(dimension) for dimension in getattr(array.metadata, "dimension_names", None) or ()][1:]
    if len(dimensions) != array.ndim - 1:
        dimensions = [f"{name}_{k}" for k in range(array.ndim - 1)]
    return Column(name, np.dtype(array.dtype).name, meaning, unit, array.shape[1:], tuple(dimensions), attributes)


def _meanings(column: Column, key: str) -> Iterator[tuple[str, Any]]:
    """Words and values, as the conventions for climate and forecast metadata write them."""
    values, words = column.attributes.get(key) or [], str(column.attributes.get("flag_meanings", "")).split()
    if len(values) == len(words):
        yield from zip(words, values, strict=True)


def _stored(column: Column) -> Quantity:
    return Quantity(column, (column.name,), lambda values: values[column.name])


def _element(column: Column, source: Column, number: int) -> Quantity:
    size = math.prod(source.shape)
    return Quantity(column, (source.name,), lambda values: values[source.name].reshape(-1, size)[:, number])


_CHARGE_RATIO = Quantity(
    CHARGE_RATIO,
    (CHARGE_LONG.name, CHARGE_SHORT.name),
    lambda values: charge_ratio(values[CHARGE_LONG.name], values[CHARGE_SHORT.name]),
)
