"""Acquisition files among others: what a directory holds, and the shortest patterns that name it."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from psdbatch.acquisition.registry import recognise
from psdbatch.errors import AcquisitionFileError, UnknownFormatError

TRUTH = ".truth.npz"
"""Ending of what the simulation writes beside its files; arrays, but no signals."""


@dataclass(frozen=True)
class Found:
    """Acquisition files, and what lies beside them.

    Attributes
    ----------
    files
        Path and format, in the order of the paths.
    left_out
        Files of another format than most, with that format; a directory often holds tables and notes too.
    unknown
        Files that no format recognises, each with the reason.
    """

    files: tuple[tuple[Path, str], ...]
    left_out: tuple[tuple[Path, str], ...]
    unknown: tuple[tuple[Path, str], ...]

    @property
    def suspect(self) -> tuple[tuple[Path, str], ...]:
        """Unknown files that are named like those taken: damaged ones, most likely."""
        endings = {_ending(path) for path, _ in self.files}
        return tuple((path, why) for path, why in self.unknown if _ending(path) in endings)


def find_acquisition(places: Iterable[Path], format_name: str = "auto") -> Found:
    """Acquisition files in directories, at any depth, and those named one by one.

    Of directories only files in ``format_name`` are taken, if "auto" those of the format that most bytes are in; a file
    that is named is taken in any case.

    Raises
    ------
    AcquisitionFileError
        A place does not exist, a file that is named is in no known format, or nothing is found at all.
    """
    named: dict[Path, str] = {}
    found: dict[Path, str] = {}
    unknown: dict[Path, str] = {}
    places = [place.absolute() for place in places]
    for place in places:
        if not place.exists():
            raise AcquisitionFileError(f"{place}: no such file or directory")
        try:
            kind = recognise(place)
            named[place] = kind if format_name == "auto" else format_name
        except UnknownFormatError:
            if not place.is_dir() and format_name == "auto":
                raise
            if not place.is_dir():
                named[place] = format_name
            for path in _entries(place) if place.is_dir() else ():
                try:
                    found[path] = recognise(path)
                except AcquisitionFileError as error:
                    unknown[path] = str(error).removeprefix(f"{path}: ").partition(";")[0]
                except OSError as error:
                    unknown[path] = f"cannot be read: {error.strerror or error}"
    found = {path: kind for path, kind in found.items() if path not in named}
    main = _main_format(found) if format_name == "auto" else format_name
    files = named | {path: kind for path, kind in found.items() if kind == main}
    if not files:
        where = ", ".join(map(str, places))
        raise AcquisitionFileError(
            f"{where}: none of {len(unknown):,} files is in a format that psdbatch knows; 'psdbatch index FILE --format ...' says what is wrong with one"
        )
    left_out = tuple(sorted((path, kind) for path, kind in found.items() if kind != main))
    return Found(tuple(sorted(files.items())), left_out, tuple(sorted(unknown.items())))


def patterns(files: Iterable[Path]) -> list[str]:
    """Glob patterns that match these files and no others; a file that no pattern can stand for stands for itself."""
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(_ending(path), []).append(path)
    return [pattern for ending, group in sorted(groups.items()) for pattern in _patterns(ending, group)]


def _patterns(ending: str, files: list[Path]) -> list[str]:
    if len(files) == 1:
        return [glob.escape(str(files[0]))]
    wanted = {str(path) for path in files}
    folders = sorted({str(path.parent) for path in files})
    common = os.path.commonpath(folders)
    for pattern in ("*", "*/*", "**/*"):
        whole = str(Path(glob.escape(common), f"{pattern}{glob.escape(ending)}"))
        if set(glob.glob(whole, recursive=True)) == wanted:  # noqa: PTH207 - what the campaign will do
            return [whole]
    if len(folders) == 1:
        return [glob.escape(name) for name in sorted(wanted)]
    return [
        pattern
        for folder in folders
        for pattern in _patterns(ending, [path for path in files if str(path.parent) == folder])
    ]


def _ending(path: Path) -> str:
    return "".join(path.suffixes[-2:] if path.suffix in (".gz", ".zst") else path.suffixes[-1:])


def _entries(folder: Path) -> Iterator[Path]:
    """Files below a directory, and directories that are an acquisition file themselves; hidden ones are passed over."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.endswith(TRUTH):
            continue
        if not path.is_dir():
            yield path
            continue
        try:
            recognise(path)
        except UnknownFormatError:
            yield from _entries(path)
        else:
            yield path


def _main_format(found: dict[Path, str]) -> str | None:
    sizes: Counter[str] = Counter()
    for path, kind in found.items():
        sizes[kind] += sum(entry.stat().st_size for entry in path.rglob("*")) if path.is_dir() else path.stat().st_size
    return sizes.most_common(1)[0][0] if sizes else None
