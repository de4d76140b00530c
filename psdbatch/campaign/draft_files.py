"""What a draft of ``campaign.toml`` says about the acquisition files: those taken, their runs, those passed over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from psdbatch.acquisition.finding import Found
from psdbatch.acquisition.registry import formats
from psdbatch.config.commented import toml
from psdbatch.config.schema import settings_facts

NAMED = 3
"""Files that are named where many are meant."""


def say_runs(runs: Mapping[str, int]) -> str:
    """How many runs there are, and the number of files of the first ones."""
    listed = [f"{name} ({count} file{'s' * (count > 1)})" for name, count in list(runs.items())[:6]]
    more = f" and {len(runs) - 6:,} more" if len(runs) > 6 else ""
    return f"{len(runs):,} run{'s' * (len(runs) > 1)}: {', '.join(listed)}{more}"


def say_files(found: Found, looked: int) -> str:
    """How many files are in which format, and how many of them were looked at."""
    kinds = Counter(kind for _, kind in found.files)
    told = ", ".join(f"{count:,} in format {kind}" for kind, count in kinds.items())
    return f"{told}; {looked} of them were looked at" if looked < len(found.files) else told


def say_options(found: Found) -> Iterator[str]:
    """The options of the formats found, as one would write them."""
    for kind in sorted({kind for _, kind in found.files}):
        options = settings_facts(formats()[kind].Options)
        if not options:
            yield f"format {kind} has none"
        for option in options:
            default = "..." if option["default"] is None else toml(option["default"])
            yield f"{option['key']} = {default}: {option['meaning']}"


def files_passed_over(found: Found) -> Iterator[str]:
    """Sentences on the files that the draft does not count on: in another format, or in none."""
    if found.left_out:
        yield f"{_some(found.left_out)}: in another format, and left out"
    if found.suspect:
        yield f"{_some(found.suspect)}: in no known format although named like the others; 'psdbatch plan' will refuse them"
    others = [file for file in found.unknown if file not in found.suspect]
    if others:
        yield f"{_some(others)}: in no known format, and left out"


def _some(files: Sequence[tuple[Path, str]]) -> str:
    """How many files, and the first of them, each with its format or with what is wrong."""
    named = ", ".join(f"{path} ({why})" for path, why in files[:NAMED])
    more = f" and {len(files) - NAMED:,} more" if len(files) > NAMED else ""
    return f"{len(files):,} file{'s' * (len(files) > 1)}, {named}{more}"
