"""``conclave node``: one validator, CometBFT and application as a unit; and care for it.

``conclave node N`` runs a validator in the foreground, ``conclave node join N`` makes a new one that catches
up by state sync, ``conclave node rollback N`` takes a stopped one back.
"""

from __future__ import annotations

from pathlib import Path

import click

from conclave.command import CONTEXT, Session, Verb, shared, verb
from conclave.home import load
from conclave.programs import Tool, program
from conclave.verbs.join import join
from ledger.errors import Code, Refused

_NUMBER = click.IntRange(min=0)


class _NodeGroup(click.Group):
    """A group in which a number stands for ``run`` of that number."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; a number is the argument of ``run``."""
        if args[0].isdecimal():
            return _RUN, run, args
        return super().resolve_command(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both ways to call it."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] NUMBER | COMMAND [ARGS]...")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        Verb("node", examples=_EXAMPLES).format_epilog(ctx, formatter)


_RUN = "NUMBER"
_EXAMPLES = (
    "conclave node 0",
    "conclave node 2 --home /var/lib/conclave",
    "conclave node join 4",
    "conclave node rollback 0",
)


@click.group("node", cls=_NodeGroup, context_settings=CONTEXT)
@shared
def command() -> None:
    """Run validator NUMBER in the foreground until SIGTERM or Ctrl-C, or care for one."""


@verb(_RUN, "conclave node 0", "conclave node 2 --home /var/lib/conclave")
@click.argument("number", type=_NUMBER)
def run(session: Session, number: int) -> None:
    """Run validator NUMBER in the foreground until SIGTERM or Ctrl-C."""
    from consensus.node.supervise import NodeUnit, run_node
    from runtime import log

    folder = _folder(session, number)
    log.configure()
    run_node(NodeUnit(folder, program(Tool.COMETBFT)))


@verb("rollback", "conclave node rollback 0")
@click.argument("number", type=_NUMBER)
def rollback(session: Session, number: int) -> None:
    """Take the stopped validator NUMBER back one height.

    For a state that the others do not share (a wrong app hash). The block stays and is executed again at the
    next start.
    """
    from consensus.node.rollback import roll_back

    folder = _folder(session, number)
    done = roll_back(folder, program(Tool.COMETBFT))
    document = {"node": number, "height": done.height, "appHash": done.app_hash.hex()}
    if not session.output.document(document):
        session.output.line(f"node {number} is at height {done.height}; next: conclave node {number}")


def _folder(session: Session, number: int) -> Path:
    home = load(session.home)
    folder = home.node(number)
    if not folder.is_dir():
        raise Refused(
            Code.NAME_UNKNOWN,
            got=f"node {number}",
            expected=", ".join(path.name for path in home.nodes()) or "a validator of this home",
            todo="name one that is in nodes/",
        )
    return folder


for _verb in (join, rollback):
    command.add_command(_verb)
