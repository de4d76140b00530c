"""The top of the page: how far a campaign is, and whether all is well.  What comes from files and messages is escaped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from html import escape

from psdbatch.monitor.dashboard.sheet import BAD, GOOD, LIGHT
from psdbatch.monitor.drift import LEAST_SIGNALS
from psdbatch.monitor.view import View
from psdbatch.wording import duration, quantity


def header(view: View) -> str:
    """Name, progress, the numbers that matter, and trouble."""
    done, quarantined = view.blocks.get("finished", 0), view.blocks.get("quarantined", 0)
    flying = view.blocks.get("in flight", 0)
    whole = max(1, sum(view.blocks.values()) + view.unread)
    parts = ((done, GOOD), (quarantined, BAD), (view.unread, "#a9d3b0"), (flying, LIGHT))
    bar = "".join(
        f'<div style="width:{100 * count / whole:.3f}%;background:{colour}"></div>' for count, colour in parts
    )
    pace = (quantity(view.rate, "signals/s") if view.rate else "–", "rate over the last minutes")
    facts = [
        (f"{100 * view.fraction:.1f} %", f"{view.done:,} of {view.signals:,} signals"),
        *([(f"{view.written:,}", "signals with an answer")] if view.written < view.done else []),
        *([pace, (_left(view), "time left at this rate")] if view.state == "running" else []),
        (f"{done:,}", "blocks finished"),
        (f"{flying:,}", "blocks in flight"),
        (f"{view.blocks.get('waiting', 0):,}", "blocks waiting"),
        (f"{quarantined:,}", "blocks quarantined"),
    ]
    told = "".join(
        f'<div class="fact"><b>{escape(value)}</b><span>{escape(what)}</span></div>' for value, what in facts
    )
    notes = "".join(f'<span class="note {kind}">{escape(note)}</span>' for kind, note in _notes(view))
    now = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(view.time))
    return (
        f'<h1>{escape(view.campaign)} <span class="faint" style="font-size:13px">{escape(now)}</span></h1>'
        f'<div class="bar">{bar}</div><div class="facts">{told}</div><div class="notes">{notes}</div>'
    )


def count(number: int, what: str) -> str:
    """``1 block``, ``2 blocks``."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def _left(view: View) -> str:
    if view.signals and view.done >= view.signals:
        return "done"
    return "–" if view.left is None else duration(view.left)


def _notes(view: View) -> Iterator[tuple[str, str]]:
    """How it ended, then trouble; that there is none is said once there is a block."""
    if view.state == "finished":
        yield "good", "finished; report.html in the campaign's directory sums it up"
    elif view.state == "stopped":
        yield "bad", f"{f'stopped: {view.end}' if view.end else 'stopped'}; the same command goes on"
    trouble = [*_trouble(view)]
    yield from trouble
    if not trouble and view.done:
        yield "good", "no trouble"
    if (
        view.state == "running"
        and not any(group.running for group in view.groups.values())
        and view.done < view.signals
    ):
        yield "busy", "no worker at the moment" if view.done else "waiting for the first worker"
    if view.unread:
        yield "busy", f"{count(view.unread, 'block')} of earlier passes still to be read"


def _trouble(view: View) -> Iterator[tuple[str, str]]:
    if view.stalled and view.last_block is not None:
        yield "bad", f"stalled: the last block was finished {duration(view.time - view.last_block)} ago"
    if quarantined := view.blocks.get("quarantined"):
        yield "bad", f"{count(quarantined, 'block')} quarantined"
    if view.drifting:
        yield "bad", f"{count(view.drifting, 'channel')} drift{'s' * (view.drifting == 1)} from the reference"
    if refused := sum(view.refused.values()):
        share = 100 * refused / max(1, view.done)
        yield "warn", f"{count(refused, 'signal')} refused ({'below 0.01' if share < 0.01 else f'{share:.2g}'} %)"
    if view.damaged_regions:
        files = count(len(view.damaged_files), "file") if len(view.damaged_files) < 50 else "50 files or more"
        yield "warn", f"{count(view.damaged_regions, 'damaged region')} in {files}"
    if view.failed_attempts:
        yield "warn", f"{count(view.failed_attempts, 'failed attempt')}"
    if view.unreadable:
        yield "bad", f"{count(view.unreadable, 'commit record')} unreadable; 'psdbatch audit' names them"
    if view.reference is not None and view.reference.state:
        yield "warn", f"reference {view.reference.name}: {view.reference.state}"


def compared(view: View) -> str:
    """How many channels could be compared with the reference."""
    if not view.channels:
        return "nothing to compare yet"
    told = f"{view.compared:,} of {count(view.channels, 'channel')} compared"
    if view.compared == view.channels:
        return told
    return f"{told}; the others have fewer than {LEAST_SIGNALS} signals, here or in the reference"
