"""Results as users read them: lazy xarray datasets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psdbatch.errors import CampaignError
from psdbatch.results.contents import Contents, StoredRun

if TYPE_CHECKING:
    import xarray


def open_results(path: str | Path, run: str | Iterable[str] | None = None) -> xarray.Dataset:
    """Open the results of a campaign, lazily.

    Parameters
    ----------
    path
        The campaign directory or its ``results.zarr``.
    run
        Name of a run, or several.  Several runs follow one another along ``signal``, with their names in coordinate
        ``run`` (index into attribute ``runs``).  Default: all.

    Returns
    -------
    xarray.Dataset
        Dimension ``signal`` (and ``class``, ...); variables with units and meanings; the store's provenance in the
        attributes.  Nothing is read before it is used; a Dask chunk is a block.  Columns that only some runs have hold
        their fill value in the others: NaN, 255 for labels, 0 otherwise.

    Raises
    ------
    CampaignError
        No results there, or no such run; while values are computed: a shard is damaged.

    Examples
    --------
    >>> results = open_results("my-campaign", run="run_0042")      # doctest: +SKIP
    >>> neutrons = results.isel(signal=(results.label == 1).values)    # doctest: +SKIP
    """
    import xarray

    from psdbatch.results.lazy import Places, lazy_column, run_numbers  # which load Dask, as xarray takes its time too

    contents = Contents(path, run)
    _check_units(contents.runs)
    places = Places(contents.runs)
    variables = {
        name: (("signal", *column.dimensions), lazy_column(places, column), _attributes(contents.runs, name))
        for name, column in contents.columns.items()
    }
    coordinates: dict[str, Any] = {}
    if contents.classes and any("class" in column.dimensions for column in contents.columns.values()):
        coordinates["class"] = list(contents.classes)
    attributes = contents.attributes | _shared([stored.attributes for stored in contents.runs])
    if len(contents.runs) > 1:
        meaning = {"long_name": "run, as index into attribute 'runs'"}
        coordinates["run"] = ("signal", run_numbers(places), meaning)
        attributes["runs"] = [stored.name for stored in contents.runs]
    return xarray.Dataset(variables, coordinates, attributes)


def _attributes(runs: Iterable[StoredRun], name: str) -> dict[str, Any]:
    """Unit, meaning and the like of a column, as far as all runs that have it agree."""
    return _shared([dict(run.arrays[name].attrs) for run in runs if name in run.arrays])


def _shared(given: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What some say and none says otherwise."""
    found = {name: value for attributes in reversed(given) for name, value in attributes.items()}
    return {
        name: value
        for name, value in found.items()
        if all(attributes.get(name, value) == value for attributes in given)
    }


def _check_units(runs: Iterable[StoredRun]) -> None:
    """Values of one column in different units must not stand behind one another."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for name, array in run.arrays.items():
            found.setdefault(name, set()).add(str(array.attrs.get("units", "")))
    for name, units in found.items():
        if len(units) > 1:
            raise CampaignError(
                f"the runs hold '{name}' in different units ({', '.join(sorted(units))}); open one run at a time: run = ..."
            )
