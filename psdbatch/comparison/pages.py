"""The page of a comparison: one HTML file with all plots, and the facts beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from psdbatch.campaign import files
from psdbatch.comparison import plots, tables
from psdbatch.comparison.comparing import Comparison
from psdbatch.comparison.facts import channels, comparison_facts, windows
from psdbatch.errors import StorageError
from psdbatch.monitor.page import page, picture, section, table, text

PAGE, FACTS = "comparison.html", "comparison.json"


def comparison_directory(path: Path) -> Path:
    """Make the directory of a comparison, before hours are spent on what is to be written there.

    Raises
    ------
    StorageError
        It cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise _unwritable(path, error) from error


def write_comparison(found: Comparison, directory: Path) -> Path:
    """Write the page and ``comparison.json`` into ``directory``; the path of the page.

    Raises
    ------
    StorageError
        They cannot be written.
    """
    comparison_directory(directory)
    facts = dict([*tables.sides(found), *tables.accounting(found), *tables.answers(found)])
    title = f"{found.a.contents.store.parent.name} against {_name_b(found)}"
    path = directory / PAGE
    _write(directory / FACTS, json.dumps(comparison_facts(found), indent=1))
    _write(path, page(title, facts, found.notes, list(_sections(found))))
    return path


def _write(path: Path, content: str) -> None:
    try:
        files.replace_durably(path, content.encode())
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path}: cannot be written: {error.strerror or error}", lasting=True)


def _name_b(found: Comparison) -> str:
    return found.b.name if found.b.name.startswith("online") else found.b.contents.store.parent.name


def _sections(found: Comparison) -> Iterator[str]:
    agreement = found.agreement
    if not agreement.compared:
        yield section("Nothing to compare", text("Not one signal has an answer in both."))
        return
    rows = [[name, *row] for name, row in zip(agreement.classes, agreement.confusion.tolist(), strict=True)]
    yield section(
        "Confusion",
        picture(plots.confusion_plot(found), "Signals by class in A (rows) and in B (columns)."),
        table(["A \\ B", *agreement.classes], rows),
    )
    yield section(
        "Against amplitude",
        picture(plots.amplitude_plot(found), "Fractions of signals with Wilson intervals of 68 %."),
        table(
            ["amplitude [ADC units]", "signals", "same class"],
            [[w.words, w.agreement.total, tables.percent(w.agreement)] for w in windows(found)],
        ),
    )
    yield section(
        "Board and channel",
        picture(
            plots.channel_plot(found), "Fraction of the signals of each channel that changed class; white: no signals."
        ),
        table(
            ["channel", "signals", "same class"],
            [
                [f"board {board} channel {channel}", value.total, tables.percent(value)]
                for board, channel, value in sorted(channels(found), key=lambda entry: entry[2].high)[
                    : tables.MOST_ROWS
                ]
            ],
        ),
    )
    if agreement.psd.any():
        yield section(
            "Pulse shape",
            picture(
                plots.shape_plot(found),
                "Charge ratio against amplitude, as stored in A; the outermost cells hold what lies outside.",
            ),
        )
    if agreement.spread.any():
        yield section(
            "Probability",
            picture(plots.difference_plot(found), "Signals by the largest difference among their classes."),
        )
