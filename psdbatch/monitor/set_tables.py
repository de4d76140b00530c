"""A training set in tables: its sources, and its strata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from psdbatch.training_set.facts import PARTS, SetFacts
from psdbatch.training_set.strata import amplitude_words

MOST_FILES = 3
"""Files of a source that are all named."""


def source_table(facts: SetFacts) -> Table:
    """Sources: their files and the rule that these got, signals, labelled ones by class, and why the others were left out."""
    table = Table("source", Column("files", overflow="fold"), Column("rule", overflow="fold"), box=None, pad_edge=False)
    for name in ("signals", *facts.classes):
        table.add_column(name, justify="right")
    table.add_column("left out")
    for source in facts.provenance["sources"]:
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in source["left_out"].items())
        labelled = [f"{source['labelled'][name]:,}" for name in facts.classes]
        paths = [Path(file["path"]).name for file in facts.provenance["files"] if file["source"] == source["name"]]
        table.add_row(source["name"], _listed(paths), source["rule"], f"{source['signals']:,}", *labelled, left_out)
    return table


def _listed(names: Sequence[str]) -> str:
    """Some names, and how many there are."""
    if len(names) <= MOST_FILES:
        return ", ".join(names)
    return f"{len(names):,}: {names[0]}, {names[1]}, ... {names[-1]}"


def strata_table(facts: SetFacts) -> Table:
    """Strata of class and amplitude: signals there are, signals taken into each part, over all channels.

    The last column says in how many channels the stratum has fewer signals than another one gives.
    """
    table = Table("class", "amplitude", box=None, pad_edge=False)
    for name in ("channels", "there are", *PARTS, "short"):
        table.add_column(name, justify="right")
    strata = facts.provenance["strata"]
    taken = [sum(parts) for parts in zip(*(strata[part] for part in PARTS), strict=True)]
    for name in facts.classes:
        of_class = [number for number, found in enumerate(strata["class"]) if found == name]
        fullest = max(taken[number] for number in of_class)
        for place in range(len(strata["edges"]) - 1):
            rows = [number for number in of_class if strata["amplitude"][number] == place]
            table.add_row(
                name,
                amplitude_words(*strata["edges"][place : place + 2]),
                f"{len(rows):,}",
                f"{sum(strata['available'][number] for number in rows):,}",
                *(f"{sum(strata[part][number] for number in rows):,}" for part in PARTS),
                f"{sum(taken[number] < fullest - 1 for number in rows):,}",
            )
    return table


def set_facts(path: Path, facts: SetFacts, plot: Path) -> dict[str, Any]:
    """What ``--json`` prints."""
    record: Mapping[str, Any] = facts.to_json()
    return {"set": str(path), "order_plot": str(plot), **record}
