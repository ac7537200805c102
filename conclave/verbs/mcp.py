"""``conclave mcp``: the ledger for a model, over the Model Context Protocol.

Promises that the server reads as this home does, with proof, holds no key of it, and that nothing of the
protocol's package is loaded by any other verb.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from conclave.command import CONTEXT, Session, Verb, shared, verb
from ledger.errors import Code, Refused

_EXAMPLES = (
    "conclave mcp --stdio",
    "conclave mcp --http 8765",
    "conclave mcp config claude-desktop",
)
CLIENTS = ("claude-desktop", "vscode", "cursor", "generic")


class _Group(click.Group):
    """A group that ends its help with examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        Verb("mcp", examples=_EXAMPLES).format_epilog(ctx, formatter)


@click.group("mcp", cls=_Group, context_settings=CONTEXT, invoke_without_command=True)
@click.option("--stdio", is_flag=True, help="Over standard input and output, for a client that starts it.")
@click.option("--http", "port", type=click.IntRange(0, 65535), metavar="PORT", help="Over HTTP on loopback.")
@shared
@click.pass_context
def command(ctx: click.Context, *, stdio: bool, port: int | None) -> None:
    """Serve the ledger to a model over the Model Context Protocol: proven reads, nothing else.

    Runs in the foreground until its input ends, SIGTERM or Ctrl-C. It holds no key and can change nothing.
    """
    if ctx.invoked_subcommand is not None:
        return
    if stdio == (port is not None):
        raise Refused(
            Code.USAGE,
            got="both transports" if stdio else "no transport",
            expected="--stdio, or --http PORT",
            todo="see: conclave mcp --help",
        )
    _serve(ctx.obj, port)


def _serve(session: Session, port: int | None) -> None:
    from conclave.client import connect, trust_root
    from mcp_server.__main__ import serve
    from mcp_server.source import Source

    with connect(session) as client:
        serve(Source(client.rpc, client.reader, trust_root(client.home), os.urandom(32)), port)


@verb("config", "conclave mcp config claude-desktop", "conclave mcp config vscode > .vscode/mcp.json")
@click.argument("client", type=click.Choice(CLIENTS))
def config(session: Session, client: str) -> None:
    """Print what a client's configuration needs to start this server over stdio.

    No secret is in it: the server reads this home's endpoints and root of trust, and no key.
    """
    print(json.dumps(_configuration(client, session.home.absolute()), indent=2))


def _configuration(client: str, home: Path) -> dict[str, Any]:
    program = shutil.which(sys.argv[0]) or sys.argv[0]
    started: dict[str, Any] = {
        "command": str(Path(program).absolute()),
        "args": ["mcp", "--stdio", "--home", str(home)],
    }
    if client == "vscode":
        return {"servers": {"conclave": {"type": "stdio", **started}}}
    if client == "generic":
        return {"name": "conclave", "transport": "stdio", **started}
    return {"mcpServers": {"conclave": started}}


command.add_command(config)
