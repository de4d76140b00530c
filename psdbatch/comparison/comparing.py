"""A comparison from start to end: which signals belong together, counts, changed signals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from psdbatch.campaign.extend import differences
from psdbatch.columns import TIMESTAMP
from psdbatch.comparison.agreement import Agreement
from psdbatch.comparison.changed import WriteChanged, open_changed
from psdbatch.comparison.errors import ComparisonError
from psdbatch.comparison.online import OnlineAnswers, open_online
from psdbatch.comparison.pairing import Aside, Match, pairs_by_hit, pairs_by_position
from psdbatch.comparison.rows import Pairs, State
from psdbatch.comparison.side import Side, open_side


class Watcher(Protocol):
    """Is told how it goes; :class:`psdbatch.monitor.progress.Progress` is one."""

    def begin(self, total: int, done: int) -> None:
        """Signals there are, and how many of them are done."""

    def advance(self, signals: int, written: int) -> None:
        """Signals that were compared or counted."""


@dataclass(frozen=True)
class OnlineRequest:
    """Take the answer recorded online as B.

    Attributes
    ----------
    column, threshold, classes
        See :func:`psdbatch.comparison.online.open_online`.
    """

    column: str | None = None
    threshold: float | None = None
    classes: tuple[str, str] = ("gamma", "neutron")


@dataclass(frozen=True)
class Comparison:
    """Outcome of a comparison.

    Attributes
    ----------
    a, b
        What was compared.
    match
        How signals were found: by position, or by hit.
    runs
        Runs that both have.
    only_a, only_b
        Signals of the runs that only one has, by run.
    agreement
        All counts.
    aside
        Signals that take no part.
    notes
        What differs besides the answers, and what to know.
    """

    a: Side
    b: Side
    match: Match
    runs: tuple[str, ...]
    only_a: Mapping[str, int]
    only_b: Mapping[str, int]
    agreement: Agreement
    aside: Aside
    notes: list[str] = field(default_factory=list)

    @property
    def accounting(self) -> dict[str, int]:
        """``signals = compared + only_a + only_b + neither``: answers in both, in one and in none of the two."""
        states = self.agreement.states
        answered = int(State.ANSWERED)
        compared = int(states[answered, answered])
        only_a, only_b = int(states[answered].sum()) - compared, int(states[:, answered].sum()) - compared
        total = int(states.sum())
        return {
            "signals": total,
            "compared": compared,
            "only_a": only_a,
            "only_b": only_b,
            "neither": total - compared - only_a - only_b,
        }


def compare(
    path_a: Path,
    path_b: Path | None,
    online: OnlineRequest | None = None,
    run: str | None = None,
    match: Match | None = None,
    changed: Path | None = None,
    watcher: Watcher | None = None,
) -> Comparison:
    """Compare two results on the same signals.

    Parameters
    ----------
    path_a, path_b
        Campaign directories or stores.
    online
        Compare with the answer that was recorded online, in B or, without B, in A itself.
    run
        One run only.
    match
        By position or by hit; None: by hit for online answers of frames without samples, else by position.
    changed
        File for the signals that changed class.

    Raises
    ------
    CampaignError, ComparisonError
        No results, nothing to compare, or not the same signals.
    ConfigurationError, StorageError
        The changed signals cannot be written.
    """
    a, b, match = _sides(path_a, path_b, online, run, match)
    signals_a = {stored.name: stored.signals for stored in a.contents.runs}
    signals_b = {stored.name: stored.signals for stored in b.contents.runs}
    common = tuple(name for name in signals_a if name in signals_b)
    if not common:
        raise ComparisonError(
            f"{a.name} and {b.name} have no run in common: {', '.join(signals_a)} and {', '.join(signals_b)}; "
            "'run' in [input] of campaign.toml decides how runs are named"
        )
    found = Comparison(
        a,
        b,
        match,
        common,
        {name: count for name, count in signals_a.items() if name not in signals_b},
        {name: count for name, count in signals_b.items() if name not in signals_a},
        Agreement(a.answers.classes, b.answers.classes),
        Aside(),
    )
    if not found.agreement.common:
        raise ComparisonError(
            f"{a.name} knows the classes {', '.join(a.answers.classes)}, {b.name} {', '.join(b.answers.classes)}: not one in "
            "common; classes are matched by name ('classes' in [model]; for online answers --online-classes)"
        )
    _check_runs(found)
    if watcher:
        watcher.begin(sum(signals_a[name] for name in common), 0)
    with _changed(found, changed) as write:
        for part in _pairs(found):
            differing = found.agreement.add(part)
            if write:
                write(differing)
            if watcher:
                watcher.advance(len(part.a), len(part.a))
    found.notes.extend(_notes(found))
    return found


def _changed(found: Comparison, path: Path | None) -> AbstractContextManager[WriteChanged | None]:
    if path is None:
        return nullcontext()
    facts = {"match": found.match, "answers_a": found.a.name, "answers_b": found.b.name}
    return open_changed(path, found.agreement, found.a, found.b, facts)


def _sides(
    path_a: Path, path_b: Path | None, online: OnlineRequest | None, run: str | None, match: Match | None
) -> tuple[Side, Side, Match]:
    a = open_side(path_a, run, "A")
    if online is None:
        if path_b is None:
            raise ComparisonError(
                "one store alone can only be compared with the online answers that it holds: --online"
            )
        return a, open_side(path_b, run, "B"), match or "position"
    b = open_online(path_b or path_a, run, online.column, online.threshold, online.classes)
    match = match or ("position" if b.samples is None else "hit")
    if match == "hit" and b.samples is not None:
        a = replace(a, samples=True)
    return a, b, match


def _check_runs(found: Comparison) -> None:
    """Refuse runs that cannot be compared, before hours are spent on others."""
    for name in found.runs:
        a, b = (next(run for run in side.contents.runs if run.name == name) for side in (found.a, found.b))
        units = [
            str(run.arrays[TIMESTAMP.name].attrs.get("units", "")) for run in (a, b) if TIMESTAMP.name in run.arrays
        ]
        if len({*units}) > 1:
            raise ComparisonError(f"run '{name}': timestamps in units of {units[0]} in A and of {units[1]} in B")
        if found.match == "position" and a.signals != b.signals:
            raise ComparisonError(
                f"run '{name}': {a.signals:,} signals in {found.a.name}, {b.signals:,} in {found.b.name}: not the same "
                "files; '--match hit' finds the signals that both have by time, board and channel"
            )


def _pairs(found: Comparison) -> Iterator[Pairs]:
    sides = ((found.a.run(name), found.b.run(name, detailed=False)) for name in found.runs)
    if found.match == "position":
        return pairs_by_position(sides, (found.a.name, found.b.name))
    return pairs_by_hit(sides, found.aside)


def _notes(found: Comparison) -> Iterator[str]:
    for letter, only in (("A", found.only_a), ("B", found.only_b)):
        for name, signals in only.items():
            yield f"run '{name}' is in {letter} only: its {signals:,} signals are not counted here"
    if found.match == "position" and not isinstance(found.b.answers, OnlineAnswers):
        yield from _file_differences(found)
    if not found.accounting["compared"] and found.match == "hit":
        yield (
            "not one hit of A with an answer is in B: are both of the same run, and do 'raw_location' and 'compressed_location' of "
            "format mfm read board and channel alike?"
        )
    yield from _trivial(found)
    if not isinstance(found.b.answers, OnlineAnswers):
        one, other = ({key: side.contents.attributes.get(key) for key in _COMPARED} for side in (found.a, found.b))
        for where, in_a, in_b in differences(one, other):
            yield f"{where}: {json.dumps(in_a)} in A, {json.dumps(in_b)} in B"


def _trivial(found: Comparison) -> Iterator[str]:
    """Why the agreement may say nothing."""
    online = found.b.answers
    if not isinstance(online, OnlineAnswers):
        if found.a.contents.store.resolve() == found.b.contents.store.resolve():
            yield "A and B are the same store"
        return
    given = found.agreement.confusion.any(axis=0)
    if given.sum() == 1:
        name = found.agreement.classes[int(given.argmax())]
        yield (
            f"online, every signal is {name}: '{online.column}' lies {'below' if name == online.classes[0] else 'from'} "
            f"{online.threshold:g}{'' if name == online.classes[0] else ' on'} for all of them; is it filled in these files, "
            "and is that the threshold?"
        )


_COMPARED = ("configuration", "software")
"""Attributes of the store whose differences are told: the question, and the versions."""


def _file_differences(found: Comparison) -> Iterator[str]:
    files_a, files_b = (
        {run.name: run.attributes.get("files") or [] for run in side.contents.runs} for side in (found.a, found.b)
    )
    for name in found.runs:
        one, other = ([_file(file) for file in files[name]] for files in (files_a, files_b))
        if one != other:
            yield (
                f"run '{name}': the files differ in name, size or number of signals; time, board and channel of every signal that "
                "both have are the same"
            )


def _file(facts: Mapping[str, Any]) -> tuple[Any, ...]:
    return Path(str(facts.get("path"))).name, facts.get("bytes"), facts.get("signals")
