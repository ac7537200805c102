"""``conclave node``: one validator, CometBFT and application as a unit, in the foreground."""

from __future__ import annotations

import click

from conclave.command import Session, verb
from conclave.home import load
from conclave.programs import Tool, program
from ledger.errors import Code, Refused


@verb("node", "conclave node 0", "conclave node 2 --home /var/lib/conclave")
@click.argument("number", type=click.IntRange(min=0))
def command(session: Session, number: int) -> None:
    """Run validator NUMBER in the foreground until SIGTERM or Ctrl-C."""
    from consensus.node.supervise import NodeUnit, run_node
    from runtime import log

    home = load(session.home)
    folder = home.node(number)
    if not folder.is_dir():
        raise Refused(
            Code.NAME_UNKNOWN,
            got=f"node {number}",
            expected=", ".join(path.name for path in home.nodes()) or "a validator of this home",
            todo="name one that is in nodes/",
        )
    log.configure()
    run_node(NodeUnit(folder, program(Tool.COMETBFT)))
