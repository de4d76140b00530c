"""The sampling period of a CoMPASS run, from the ``settings.xml`` that CoMPASS writes beside its data."""

from __future__ import annotations

import logging
from pathlib import Path
from xml.etree import ElementTree

from psdbatch.errors import ConfigurationError

logger = logging.getLogger(__name__)


def sampling_period_ns(data: Path, settings: str | None) -> float | None:
    """Sampling period in nanoseconds for the acquisition file ``data``.

    ``settings`` is a path relative to the acquisition file's directory, or None: then ``NAME_settings.xml`` and
    ``settings.xml`` beside the file and ``settings.xml`` one directory up (CoMPASS keeps data in ``RAW/``) are looked for.
    None is returned where there is no such file, or where its boards differ.

    Raises
    ------
    ConfigurationError
        The file that ``settings`` names is not there or not a settings file of CoMPASS.
    """
    if settings is not None:
        named = data.parent / settings
        try:
            return _common_period(named)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{named}: option 'settings': not readable as CoMPASS settings: {error}"
            ) from error
    name = data.name.split(".")[0]
    for path in (
        data.parent / f"{name}_settings.xml",
        data.parent / "settings.xml",
        data.parent.parent / "settings.xml",
    ):
        if path.is_file():
            try:
                return _common_period(path)
            except (OSError, ValueError) as error:
                logger.warning("%s: not readable as CoMPASS settings, sampling period unknown: %s", path, error)
                return None
    return None


def _common_period(path: Path) -> float | None:
    """The period all boards share; ``sampleTime`` of each ``board`` is in picoseconds."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML: {error}") from error
    periods = {float(board.findtext("sampleTime", "nan")) for board in root.iter("board")}
    if not periods or not all(0 < period < 1e9 for period in periods):
        raise ValueError("no board with a sampleTime")
    if len(periods) > 1:
        logger.warning("%s: boards sample at different periods (%s ps)", path, ", ".join(map(str, sorted(periods))))
        return None
    return periods.pop() / 1000
