"""``conclave mcp``: the ledger for a model, over the Model Context Protocol.

Promises that the server reads as this home does, with proof, signs nothing with a key of it, and that nothing
of the protocol's package is loaded by any other verb.
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
from mcp_server.listening import Listening
from mcp_server.options import HELP, Asked, where

_EXAMPLES = (
    "conclave mcp --stdio",
    "conclave mcp --stdio --as scout",
    "conclave mcp --http 8765",
    "conclave mcp --listen 10.0.0.5:8443 --url https://mcp.example:8443 --tls-cert mcp.pem --tls-key mcp.key",
    "conclave mcp config claude-desktop",
)
_FILE = click.Path(path_type=Path, dir_okay=False)
CLIENTS = ("claude-desktop", "vscode", "cursor", "generic")


class _Group(click.Group):
    """A group that ends its help with examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        Verb("mcp", examples=_EXAMPLES).format_epilog(ctx, formatter)


@click.group("mcp", cls=_Group, context_settings=CONTEXT, invoke_without_command=True)
@click.option("--stdio", is_flag=True, help=HELP["stdio"])
@click.option("--http", "port", type=click.IntRange(0, 65535), metavar="PORT", help=HELP["http"])
@click.option("--listen", "listen", metavar="IP:PORT", help=HELP["listen"])
@click.option("--url", help=HELP["url"])
@click.option("--tls-cert", "certificate", type=_FILE, metavar="FILE", help=HELP["tls-cert"])
@click.option("--tls-key", "key", type=_FILE, metavar="FILE", help=HELP["tls-key"])
@click.option("--anonymous", is_flag=True, help=HELP["anonymous"])
@click.option("--as", "name", metavar="NAME", help="Over --stdio: the agent of this home that calls.")
@shared
@click.pass_context
def command(ctx: click.Context, /, *, name: str | None, **given: Any) -> None:
    """Serve the ledger to a model over the Model Context Protocol: proven, guarded reads.

    Runs in the foreground until its input ends, SIGTERM or Ctrl-C. It signs nothing.
    """
    if ctx.invoked_subcommand is not None:
        return
    asked = Asked(
        stdio=given["stdio"],
        http=given["port"],
        listen=given["listen"],
        url=given["url"],
        certificate=given["certificate"],
        key=given["key"],
        is_anonymous=given["anonymous"],
    )
    _serve(ctx.obj, where(asked), name)


def _serve(session: Session, listening: Listening | None, name: str | None) -> None:
    from conclave.client import connect, open_key, trust_root
    from mcp_server.chain import Principal
    from mcp_server.serving import Serving, serve
    from mcp_server.source import Source

    with connect(session) as client:
        source = Source(client.rpc, client.reader, trust_root(client.home), os.urandom(32))
        principal = None
        if name is not None:
            subject = client.home.subject(name)
            principal = Principal(subject.did, open_key(client.home, subject).key_id)
        serve(source, Serving(where=listening, principal=principal))


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
