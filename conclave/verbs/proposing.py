"""What every verb that proposes shares: its options, and how a proven proposal is told.

Promises that success is told only with a proven receipt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from conclave.client import Client
from conclave.command import Session
from conclave.home import Subject
from consensus.submit import ProvenReceipt
from ledger.bodies import proposal_body
from ledger.types import JsonObject

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Wording:
    """What goes with a change: why, and under which break-glass object."""

    reason: str = ""
    break_glass: str | None = None


def proposal_options(function: F) -> F:
    """Add ``--reason`` and ``--break-glass``."""
    for decorate in (
        click.option(
            "--break-glass",
            metavar="NAME",
            help="Ask for approval under this BreakGlass object instead of the rules; makes an incident.",
        ),
        click.option("--reason", default="", metavar="TEXT", help="Why, for those who approve."),
    ):
        function = decorate(function)
    return function


def submit_change(
    client: Client, speaker: Subject, change: JsonObject, wording: Wording, against: int | None = None
) -> ProvenReceipt:
    """Sign and send the proposal of ``change``.

    Raises:
        ConclaveError: as ``Client.say``.
    """
    body = proposal_body(change, reason=wording.reason, against=against, break_glass=wording.break_glass)
    return client.say(speaker, body)


def receipt_json(proven: ProvenReceipt) -> JsonObject:
    """Give what a program wants to know of a proposal just made."""
    receipt = proven.receipt
    return {
        "proposal": receipt.proposal,
        "number": receipt.number,
        "state": receipt.state,
        "height": proven.height,
    }


def tell(session: Session, proven: ProvenReceipt, what: str, document: JsonObject) -> None:
    """Print a proposal: ``document`` besides its receipt for programs, ``what`` for people."""
    if session.output.document(receipt_json(proven) | document):
        return
    receipt = proven.receipt
    session.output.line(f"proposal {receipt.number} ({receipt.proposal}) at height {proven.height}", "bold")
    session.output.line(what)
    session.output.line(f"next: conclave approve {receipt.number} --as NAME")
