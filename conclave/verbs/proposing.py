"""What every verb that proposes shares: its options, the dry run before, and how a proven proposal is told.

Promises that nothing is signed that the node says would be refused, that a proposal carries the digest of
the dry run that was shown, and that success is told only with a proven receipt.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from conclave import dry_runs
from conclave.client import Client
from conclave.command import Session
from consensus.speaking import Answer
from consensus.submit import ProvenReceipt
from ledger.bodies import proposal_body
from ledger.errors import EnvironmentFault, Refused
from ledger.types import JsonObject

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Wording:
    """What goes with a change: why, and under which break-glass object; or that it is only tried."""

    reason: str = ""
    break_glass: str | None = None
    only_tried: bool = False


@dataclass(frozen=True, slots=True)
class Submitted:
    """A proposal that the ledger took, its speaker's name, and the dry run before it, if a node made one."""

    proven: ProvenReceipt
    speaker: str
    dry_run: Answer | None


def wording_options(function: F) -> F:
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


def proposal_options(function: F) -> F:
    """Add ``--reason``, ``--break-glass`` and ``--dry-run``."""
    decorate = click.option(
        "--dry-run",
        "only_tried",
        is_flag=True,
        help="Only show whether it would pass and what it would need; sign nothing.",
    )
    return wording_options(decorate(function))


def submit_change(
    session: Session,
    client: Client,
    change: JsonObject,
    wording: Wording,
    against: int | None = None,
) -> Submitted | None:
    """Try the proposal of ``change`` on the node, then sign it as the session's speaker and send it.

    None where it was only to be tried; the answer is shown then. A node that cannot make the dry run is no
    obstacle to proposing: the proposal carries no digest then.

    Raises:
        ConclaveError: as ``Client.say``; the refusal that the proposal would meet.
    """
    speaker = client.home.speaker(session.as_name)
    body = functools.partial(
        proposal_body, change, reason=wording.reason, against=against, break_glass=wording.break_glass
    )
    try:
        answer = dry_runs.ask_of_body(client, speaker, body())
    except (Refused, EnvironmentFault) as error:
        if wording.only_tried:
            raise
        session.output.note(f"no dry run: {error}")
        answer = None
    if answer is not None and answer.refusal is not None:
        raise answer.refusal
    if answer is not None and wording.only_tried:
        dry_runs.show(session, answer)
        return None
    proven = client.say(speaker, body(dry_run=None if answer is None else answer.digest))
    return Submitted(proven, speaker.name, answer)


def receipt_json(submitted: Submitted) -> JsonObject:
    """Give what a program wants to know of a proposal just made."""
    receipt = submitted.proven.receipt
    return {
        "proposal": receipt.proposal,
        "number": receipt.number,
        "state": receipt.state,
        "height": submitted.proven.height,
        "dryRun": None if submitted.dry_run is None else submitted.dry_run.to_json(),
    }


def show_receipt(session: Session, submitted: Submitted) -> None:
    """Print the first lines of a proposal just made, for people."""
    receipt = submitted.proven.receipt
    session.output.line(
        f"proposal {receipt.number} ({receipt.proposal}) at height {submitted.proven.height}", "bold"
    )


def show_next(session: Session, submitted: Submitted) -> None:
    """Print what comes next, for people."""
    if submitted.dry_run is not None:
        dry_runs.show_missing(session.output, submitted.dry_run)
    session.output.line(f"next: conclave approve {submitted.proven.receipt.number} --as NAME")


def tell(session: Session, submitted: Submitted, what: str, document: JsonObject) -> None:
    """Print a proposal: ``document`` besides its receipt for programs, ``what`` for people."""
    if session.output.document(receipt_json(submitted) | document):
        return
    show_receipt(session, submitted)
    session.output.line(what)
    show_next(session, submitted)
