"""``conclave reject``: sign the rejection of exactly one proposal."""

from __future__ import annotations

import click

from conclave.command import Session, verb
from conclave.verbs.judge import judge
from ledger.types import ActionKind


@verb("reject", "conclave reject 1 --as bob", "conclave reject 1 --as carol --reason 'wrong image'")
@click.argument("proposal", metavar="NUMBER|ID")
@click.option("--reason", default="", metavar="TEXT", help="Why.")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask on a terminal.")
def command(session: Session, proposal: str, *, reason: str, is_sure: bool) -> None:
    """Reject a proposal, after showing what it changes.

    What is signed is the digest of the proposal's verified body: any change of it voids the signature.
    """
    judge(session, proposal, ActionKind.REJECTION, reason, is_sure=is_sure)
