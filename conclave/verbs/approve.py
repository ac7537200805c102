"""``conclave approve``: sign the approval of exactly one proposal."""

from __future__ import annotations

import click

from conclave.command import Session, verb
from conclave.verbs.judge import judge
from ledger.types import ActionKind


@verb("approve", "conclave approve 1 --as bob", "conclave approve 1 --as carol --yes -o json")
@click.argument("proposal", metavar="NUMBER|ID")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask on a terminal.")
def command(session: Session, proposal: str, *, is_sure: bool) -> None:
    """Approve a proposal, after showing what it changes.

    What is signed is the digest of the proposal's verified body: any change of it voids the signature.
    What it needs is signed with it. Where that has changed since, it is shown on a terminal and can be
    approved again; without a terminal --yes says so.
    """
    judge(session, proposal, ActionKind.APPROVAL, "", is_sure=is_sure)
