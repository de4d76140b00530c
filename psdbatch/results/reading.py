"""Results as users read them: lazy xarray datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import zarr

from psdbatch.errors import CampaignError
from psdbatch.wording import nearest

if TYPE_CHECKING:
    import xarray


def store_path(path: str | Path) -> Path:
    """The store of a campaign directory, or ``path`` itself if it is a store.

    Raises
    ------
    CampaignError
        There are no results at ``path``.
    """
    given = Path(path)
    for candidate in (given / "results.zarr", given):
        if (candidate / "zarr.json").exists():
            return candidate
    raise CampaignError(
        f"{given}: holds no results (no results.zarr); is it a campaign directory, and has it been started?"
    )


def runs(path: str | Path) -> list[str]:
    """Names of the runs in the store."""
    return sorted(zarr.open_group(store_path(path), mode="r").group_keys())


def open_results(path: str | Path, run: str | None = None) -> xarray.Dataset:
    """Open the results of a campaign, lazily.

    Parameters
    ----------
    path
        The campaign directory or its ``results.zarr``.
    run
        Name of a run.  Without it all runs follow one another along ``signal``, with their names in coordinate
        ``run`` (index into attribute ``runs``) where there is more than one.

    Returns
    -------
    xarray.Dataset
        Dimension ``signal`` (and ``class``, ...); variables with units and meanings; the store's provenance in the
        attributes.  Nothing is read before it is used.  Columns that only some runs have are 0 (NaN) in the others.

    Raises
    ------
    CampaignError
        No results there, or no such run.

    Examples
    --------
    >>> results = open_results("my-campaign", run="run_0042")      # doctest: +SKIP
    >>> neutrons = results.isel(signal=(results.label == 1).values)    # doctest: +SKIP
    """

    store = store_path(path)
    names = runs(path)
    if run is not None and run not in names:
        raise CampaignError(f"{store}: no run '{run}'{nearest(run, names)}; runs: {', '.join(names)}")
    chosen = [run] if run is not None else names
    if not chosen:
        raise CampaignError(f"{store}: holds no runs yet")
    datasets = [_open_run(store, name) for name in chosen]
    if len(datasets) == 1:
        return datasets[0]
    return _join(datasets, chosen)


def _open_run(store: Path, run: str) -> xarray.Dataset:
    import xarray

    root = zarr.open_group(store, mode="r")
    dataset: xarray.Dataset = xarray.open_zarr(
        store, group=run, chunks=_shards(store, run), consolidated=False, mask_and_scale=False
    )
    dataset.attrs = {**dict(root.attrs), **dataset.attrs}
    classes = root.attrs.get("classes")
    if classes and "class" in dataset.dims:
        dataset = dataset.assign_coords({"class": list(cast("list[str]", classes))})
    return dataset


def _shards(store: Path, run: str) -> dict[str, int]:
    """Dask chunks as large as shards: a chunk is one file."""
    group = zarr.open_group(store / run, mode="r")
    _, array = next(iter(group.arrays()))
    return {"signal": (array.shards or array.chunks)[0]}


def _join(datasets: list[xarray.Dataset], names: list[str]) -> xarray.Dataset:
    import xarray

    _check_units(datasets)
    complete = _with_all_columns(datasets)
    numbered = [
        dataset.assign_coords(run=("signal", _filled(dataset, (), "uint32", number)))
        for number, dataset in enumerate(complete)
    ]
    joined = xarray.concat(
        numbered,
        "signal",
        data_vars="all",
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="drop_conflicts",
    )
    joined.attrs["runs"] = names
    joined["run"].attrs = {"long_name": "run, as index into attribute 'runs'"}
    return joined


def _check_units(datasets: list[xarray.Dataset]) -> None:
    """Values of one column in different units must not stand behind one another."""
    for name in {name for dataset in datasets for name in dataset.data_vars}:
        units = {str(dataset[name].attrs.get("units", "")) for dataset in datasets if name in dataset}
        if len(units) > 1:
            raise CampaignError(
                f"the runs hold '{name}' in different units ({', '.join(sorted(units))}); open one run at a time: run = ..."
            )


def _with_all_columns(datasets: list[xarray.Dataset]) -> list[xarray.Dataset]:
    """Give every run the columns that any of them has, so that integers stay integers."""
    known = {name: variable for dataset in datasets for name, variable in dataset.data_vars.items()}
    complete = []
    for dataset in datasets:
        absent = {name: variable for name, variable in known.items() if name not in dataset}
        added = {
            name: (variable.dims, _filled(dataset, variable.shape[1:], variable.dtype, _absent_value(variable.dtype)))
            for name, variable in absent.items()
        }
        complete.append(dataset.assign(added))
    return complete


def _absent_value(dtype: Any) -> float:
    return float("nan") if np.issubdtype(dtype, np.floating) else 0


def _filled(dataset: xarray.Dataset, shape: tuple[int, ...], dtype: Any, value: float) -> Any:
    import dask.array

    return dask.array.full(
        (dataset.sizes["signal"], *shape), value, dtype=dtype, chunks=(dataset.chunks["signal"], *shape)
    )
