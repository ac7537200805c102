"""``conclave node``: one validator, CometBFT and application as a unit; and care for it.

``conclave node N`` runs a validator in the foreground; ``node join N`` makes one that catches up by state
sync, ``node identity N`` says what makes it a validator, ``node rollback N`` takes a stopped one back,
``node export|import N`` copy its state.
"""

from __future__ import annotations

from pathlib import Path

import click

from conclave.command import CONTEXT, Session, VerbGroup, shared, verb
from conclave.home import load
from conclave.programs import Tool, program
from ledger.errors import Code, Refused

_NUMBER = click.IntRange(min=0)


class _NodeGroup(VerbGroup):
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


_RUN = "NUMBER"
_EXAMPLES = (
    "conclave node 0",
    "conclave node 2 --home /var/lib/conclave",
    "conclave node join 4",
    "conclave node rollback 0",
    "conclave node export 0 ./copy",
)


@click.group("node", cls=_NodeGroup, examples=_EXAMPLES, context_settings=CONTEXT)
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


@verb(
    "join",
    "conclave node join 4",
    "conclave node join 0 --trust 1200:$HASH --peer $ID@10.0.0.1:26656 "
    "--server http://127.0.0.1:26657 --server http://127.0.0.1:26659",
)
@click.argument("number", type=_NUMBER)
@click.option("--trust", metavar="HEIGHT:HASH", help="A header somebody named [what this home verifies].")
@click.option(
    "--server", "servers", multiple=True, metavar="URL", help="RPC of a node [this home's endpoints]."
)
@click.option(
    "--peer", "peers", multiple=True, metavar="ID@HOST:PORT", help="A node to dial [the nodes of this home]."
)
@click.option("--base-port", type=click.IntRange(1024, 65000), metavar="N", help="First of two ports.")
def join(
    session: Session,
    number: int,
    trust: str | None,
    servers: tuple[str, ...],
    peers: tuple[str, ...],
    base_port: int | None,
) -> None:
    """Make node NUMBER, which joins the running ledger by a snapshot of its peers.

    It follows and serves, and votes once the ledger makes it a validator.
    """
    from conclave import node_join

    node_join.join(session, number, trust, servers, peers, base_port)


@verb(
    "identity",
    "conclave node identity 4 --organisation D > node4.yaml",
    "conclave node identity 4 --organisation D --name delta --power 5 > delta.yaml",
)
@click.argument("number", type=_NUMBER)
@click.option("--organisation", required=True, metavar="NAME")
@click.option("--name", metavar="NAME", help="Of the identity and the validator [nodeNUMBER].")
@click.option("--power", type=click.IntRange(min=1), default=10, show_default=True, metavar="N")
def identity(session: Session, number: int, organisation: str, name: str | None, power: int) -> None:
    """Print what makes node NUMBER a validator: its Identity and its Validator object as YAML.

    Propose the YAML once the node has caught up: from then on it must vote.
    """
    from conclave import node_identity

    _folder(session, number)
    node_identity.identity(session, number, name, organisation, power)


@verb("export", "conclave node export 0 ./copy")
@click.argument("number", type=_NUMBER)
@click.argument("folder", type=click.Path(path_type=Path))
def export_(session: Session, number: int, folder: Path) -> None:
    """Copy the state of the running node NUMBER into FOLDER, with the blocks that prove it.

    What is printed as proof is the header that proves the copy: whoever knows it needs nothing else.
    """
    from conclave import node_copies

    _folder(session, number)
    node_copies.export_state(session, number, folder)


@verb(
    "import",
    "conclave node import 0 ./copy",
    "conclave node import 0 ./copy --trust 1201:$HASH",
)
@click.argument("number", type=_NUMBER)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--trust", metavar="HEIGHT:HASH", help="A header somebody named [this home's root of trust].")
def import_(session: Session, number: int, folder: Path, trust: str | None) -> None:
    """Verify the copy in FOLDER and make it the state of the stopped node NUMBER, whose own was lost.

    The node executes the blocks it has after that height when it starts. Without blocks of its own, use
    conclave node join.
    """
    from conclave import node_copies

    _folder(session, number)
    node_copies.import_state(session, number, folder, trust)


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


for _verb in (join, identity, rollback, export_, import_):
    command.add_command(_verb)
