"""Showing what the ledger says again whenever it says something else.

Owns ``--watch``. Promises that every frame is read through a view of its own, in the order of heights; that a
terminal is redrawn, and that whoever reads a pipe gets a line for what changed and nothing for what did not
(with ``-o json`` a whole document a line, with ``-o yaml`` a document); that it goes on when a node is away
and says so once; that what does not verify ends it. Never decides what is shown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from conclave.client import Client
from conclave.errors import write_error
from conclave.output import Output, cell_text, duration, printable
from consensus.reader import View
from consensus.subscription import Gap, Height, Pace, Stale, subscribe
from ledger.errors import EnvironmentFault
from ledger.types import Json, JsonObject

F = TypeVar("F", bound=Callable[..., Any])
PACE = Pace(poll_seconds=0.5)


@dataclass(frozen=True, slots=True)
class Frame:
    """What is to be seen at one height.

    Attributes:
        document: for programs.
        key: what of it makes one frame differ from another; ages do not.
        lines: one fact a line, for people behind a pipe.
        show: draws it as a whole, for people.
    """

    document: JsonObject
    key: Json
    lines: tuple[str, ...]
    show: Callable[[], None]


def watch_option(function: F) -> F:
    """Add ``--watch``."""
    decorate = click.option(
        "-w", "--watch", is_flag=True, help="Show it again at every change, until Ctrl-C; lines when piped."
    )
    return decorate(function)


def show_once_or_watch(
    client: Client, output: Output, frame_of: Callable[[View], Frame], *, watch: bool
) -> None:
    """Show the newest frame; with ``watch`` as ``frames``.

    Raises:
        ConclaveError: as ``frames``.
    """
    view = client.view()
    if watch:
        frames(client, view, output, frame_of)
        return
    frame = frame_of(view)
    if not output.document(frame.document):
        frame.show()


def lines_of(rows: Sequence[Sequence[object]]) -> tuple[str, ...]:
    """Give rows of a table as the lines of a frame."""
    return tuple("  ".join(cell_text(cell) for cell in row) for row in rows)


def frames(client: Client, view: View, output: Output, frame_of: Callable[[View], Frame]) -> None:
    """Show the frame of ``view``, then that of every later height that has another.

    Raises:
        ConclaveError: as reading; what does not verify.
    """
    last = frame_of(view)
    _draw(last, None, output)
    for signal in subscribe(client.reader, view.height, PACE):
        if not isinstance(signal, Height):
            tell_trouble(signal)
            continue
        try:
            frame = frame_of(signal.view)
        except EnvironmentFault as fault:
            # The next height shows what this one would have.
            write_error(printable(f"height {signal.view.height} not read: {fault}") + "\n")
            continue
        _draw(frame, last, output)
        last = frame


def tell_trouble(signal: Stale | Gap) -> None:
    """Tell people, on standard error, that nothing newer is known or that heights are lost."""
    if isinstance(signal, Gap):
        text = f"heights {signal.first} to {signal.last} are kept by no node any more: they were not seen"
    else:
        why = "the chain makes no blocks, or the node withholds them"
        cause = why if signal.cause is None else str(signal.cause)
        text = (
            f"STALE: nothing newer than height {signal.height} for {duration(signal.age_ns / 1e9)}: {cause}"
        )
    write_error(printable(text) + "\n")


def _draw(frame: Frame, last: Frame | None, output: Output) -> None:
    if output.is_table and output.is_terminal:
        output.clear()
        frame.show()
    elif last is not None and frame.key == last.key:
        return
    elif output.is_table:
        before = set() if last is None else set(last.lines)
        for line in frame.lines:
            if line not in before:
                output.line(line)
    else:
        output.record(frame.document)
    sys.stdout.flush()
