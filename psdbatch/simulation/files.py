"""Simulated acquisition files in any writable format, with the truth beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from psdbatch.acquisition.format import WriterSettings
from psdbatch.acquisition.registry import formats
from psdbatch.errors import AcquisitionFileError, ConfigurationError
from psdbatch.simulation.generate import TRUTH_COLUMNS, Truth, generate
from psdbatch.simulation.settings import Simulation
from psdbatch.units import nanoseconds
from psdbatch.wording import nearest

ENDINGS = {"mfm": ".mfm", "compass": ".BIN", "packets": ".psdz", "numpy": ".npz", "zarr": ".zarr"}
"""Usual endings of the formats' file names; another format's name is its ending."""

TIMESTAMP_UNITS = {"compass": "1 ps"}
"""Unit of the timestamps where the format prescribes another one than 10 ns."""


def simulate(
    path: Path,
    settings: Simulation,
    format_name: str = "mfm",
    options: Mapping[str, Any] | None = None,
    stream: tuple[int, ...] = (),
    began: float = 0.0,
) -> Truth:
    """Write one acquisition file and its truth.

    Parameters
    ----------
    path
        The acquisition file; the truth goes to :func:`truth_path`.
    settings
        What to simulate.
    format_name, options
        A writable format and the options of its writer.
    stream, began
        See :func:`psdbatch.simulation.generate.generate`.

    Returns
    -------
    Truth
        One row per signal, in the order of the file.

    Raises
    ------
    ConfigurationError
        There is no such format, it cannot be written, or not with these settings.
    """
    try:
        kind = formats()[format_name]
    except KeyError:
        raise ConfigurationError(
            f"there is no format '{format_name}'{nearest(format_name, formats())}; known: {', '.join(sorted(formats()))}"
        ) from None
    unit = TIMESTAMP_UNITS.get(format_name, "10 ns")
    layout = WriterSettings(
        settings.samples, settings.sample_dtype, unit, settings.sampling_period, options=dict(options or {})
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    parts: list[Truth] = []
    with kind.writer(path, layout) as writer:
        for signals, truth in generate(settings, tick_ns=nanoseconds(unit), stream=stream, began=began):
            writer.write(signals)
            parts.append(truth)
    whole = Truth.joined(parts)
    save_truth(truth_path(path), whole)
    return whole


def simulate_run(
    directory: Path,
    settings: Simulation,
    run: int = 1,
    files: int = 1,
    format_name: str = "mfm",
    options: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the acquisition files of one run: ``directory/run_0042/part_000.mfm`` and following.

    Each file holds ``settings.signals`` signals in the order of classes that ``settings.order`` says; time goes on from
    file to file.  Run and file number select the random numbers, so a run can be extended without changing its first files.

    Raises
    ------
    ConfigurationError
        See :func:`simulate`.
    """
    paths, began = [], 0.0
    for number in range(files):
        path = directory / f"run_{run:04d}" / f"part_{number:03d}{ENDINGS.get(format_name, f'.{format_name}')}"
        truth = simulate(path, settings, format_name, options, (run, number), began)
        began = float(truth.time[-1]) if len(truth) else began
        paths.append(path)
    return paths


def truth_path(path: Path) -> Path:
    """Where the truth of the acquisition file ``path`` lies: ``board3.mfm`` → ``board3.mfm.truth.npz``."""
    return path.with_name(f"{path.name}.truth.npz")


def save_truth(path: Path, truth: Truth) -> None:
    """Write ``truth`` as one array per column; array ``columns`` holds their meanings and units as JSON."""
    declared = json.dumps([column.to_json() for column in TRUTH_COLUMNS])
    np.savez_compressed(
        path, columns=np.array(declared), **{column.name: getattr(truth, column.name) for column in TRUTH_COLUMNS}
    )


def load_truth(path: Path) -> Truth:
    """Read what :func:`save_truth` wrote.

    Raises
    ------
    AcquisitionFileError
        The file cannot be read or holds no truth.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Truth(*(stored[column.name] for column in TRUTH_COLUMNS))
    except (OSError, KeyError, ValueError) as error:
        raise AcquisitionFileError(
            f"{path}: is not the truth of simulated signals ({error}); simulate again"
        ) from error
