"""``conclave mcp``: the ledger for a model, over the Model Context Protocol.

Promises that the server reads as this home does, with proof, signs nothing but its audit, and that nothing
of the protocol's package is loaded by any other verb.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from conclave.command import CONTEXT, Session, VerbGroup, shared, verb
from ledger.errors import Code, Refused
from mcp_server.listening import Listening
from mcp_server.options import HELP, Asked, where

if TYPE_CHECKING:
    from mcp_server.audit.around import Auditing

_EXAMPLES = (
    "conclave mcp --stdio",
    "conclave mcp --stdio --as scout",
    "conclave mcp --http 8765",
    "conclave mcp --listen 10.0.0.5:8443 --url https://mcp.example:8443 --tls-cert mcp.pem --tls-key mcp.key",
    "conclave mcp config claude-desktop",
)
_FILE = click.Path(path_type=Path, dir_okay=False)
OWN_NAME = "mcp"
"""The node identity of a home that its MCP server is, if it has one of that name."""
_SCOPED = ("clusters", "releases", "images")
_KINDS = ("ConfigMap", "Deployment.apps", "Service")
CLIENTS = ("claude-desktop", "vscode", "cursor", "generic")


@click.group("mcp", cls=VerbGroup, examples=_EXAMPLES, context_settings=CONTEXT, invoke_without_command=True)
@click.option("--stdio", is_flag=True, help=HELP["stdio"])
@click.option("--http", "port", type=click.IntRange(0, 65535), metavar="PORT", help=HELP["http"])
@click.option("--listen", "listen", metavar="IP:PORT", help=HELP["listen"])
@click.option("--url", help=HELP["url"])
@click.option("--tls-cert", "certificate", type=_FILE, metavar="FILE", help=HELP["tls-cert"])
@click.option("--tls-key", "key", type=_FILE, metavar="FILE", help=HELP["tls-key"])
@click.option("--anonymous", is_flag=True, help=HELP["anonymous"])
@click.option("--speak-for", "agents", multiple=True, metavar="NAME", help=HELP["speak-for"])
@click.option(
    "--audit", "folder", type=click.Path(path_type=Path), metavar="DIR", help=f"{HELP['audit']} [HOME/audit]"
)
@click.option("--no-audit", is_flag=True, help=HELP["no-audit"])
@click.option("--node-key", "node", metavar="NAME|FILE", help=f"{HELP['node-key']} [mcp, else its own]")
@shared
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """Serve the ledger to a model over the Model Context Protocol: proven, guarded, audited.

    Runs in the foreground until its input ends, SIGTERM or Ctrl-C. --as names, over --stdio, the agent that
    calls. The server signs its audit, and proposals of the agents named by --as or --speak-for with their own
    keys; nothing it signs can approve.
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
    if given["no_audit"] and (given["folder"] is not None or given["node"] is not None):
        raise Refused(Code.USAGE, got="--no-audit beside --audit or --node-key", todo="leave one out")
    listening = where(asked)
    with contextlib.ExitStack() as stack:
        auditing = None if given["no_audit"] else _auditing(ctx.obj, stack, given["folder"], given["node"])
        _serve(ctx.obj, listening, _caller(ctx), given["agents"], auditing)


def _caller(ctx: click.Context | None) -> str | None:
    """Give the agent named on the command line; who signs otherwise (CONCLAVE_AS) is a person."""
    while ctx is not None:
        if ctx.get_parameter_source("as_") is ParameterSource.COMMANDLINE:
            name: str | None = ctx.find_root().obj.as_name
            return name
        ctx = ctx.parent
    return None


def _auditing(
    session: Session, stack: contextlib.ExitStack, folder: Path | None, named: str | None
) -> Auditing:
    """Find out who signs the audit, and whether the ledger can know it."""
    from conclave.client import connect, open_key, open_key_file
    from conclave.home import load
    from ledger.types import SubjectKind
    from mcp_server.audit.around import Auditing, own_signer
    from mcp_server.audit.ledger_anchors import LedgerAnchors
    from mcp_server.audit.ledger_suspensions import LedgerSuspensions
    from mcp_server.audit.suspensions import Suspensions

    home = load(session.home)
    place = folder or home.path / "audit"
    nodes = {subject.name: subject for subject in home.subjects if subject.kind is SubjectKind.NODE}
    subject = nodes.get(named or OWN_NAME)
    if subject is not None:
        signer, node = open_key(home, subject), subject.did
    elif named is not None:
        signer = open_key_file(f"file:{Path(named).absolute()}", named)
        node = signer.did
    else:
        signer = own_signer(place)
        return Auditing(place, signer, signer.did, home.chain_id)
    # Beside the calls: a reader is no friend of threads, so each thread has its own.
    one, other = stack.enter_context(connect(session)), stack.enter_context(connect(session))
    anchors = LedgerAnchors(one.rpc, one.reader, node, signer)
    suspensions = Suspensions(LedgerSuspensions(other.rpc, other.reader, node, signer), time.monotonic)
    return Auditing(place, signer, node, home.chain_id, anchors, suspensions)


def _serve(
    session: Session,
    listening: Listening | None,
    name: str | None,
    agents: tuple[str, ...],
    auditing: Auditing | None,
) -> None:
    from conclave.client import connect, open_key, trust_root
    from mcp_server.chain import Principal
    from mcp_server.serving import Serving, serve_audited
    from mcp_server.source import Source

    with connect(session) as client:
        source = Source(client.rpc, client.reader, trust_root(client.home), os.urandom(32))
        principal, keys = None, {}
        for agent in (*agents, *([name] if name is not None else [])):
            subject = client.home.subject(agent)
            signer = open_key(client.home, subject)
            keys[subject.did] = [signer]
            if agent == name:
                principal = Principal(subject.did, signer.key_id)
        serve_audited(source, Serving(where=listening, principal=principal, keys=keys), auditing)


@verb("config", "conclave mcp config claude-desktop", "conclave mcp config vscode > .vscode/mcp.json")
@click.argument("client", type=click.Choice(CLIENTS))
def config(session: Session, client: str) -> None:
    """Print what a client's configuration needs to start this server over stdio, as the agent of --as.

    No secret is in it: the server reads this home's endpoints, its root of trust and, of the agent named, the
    key that is in this home.
    """
    print(
        json.dumps(
            _configuration(client, session.home.absolute(), _caller(click.get_current_context())), indent=2
        )
    )


def _configuration(client: str, home: Path, name: str | None) -> dict[str, Any]:
    program = shutil.which(sys.argv[0]) or sys.argv[0]
    started: dict[str, Any] = {
        "command": str(Path(program).absolute()),
        "args": ["mcp", "--stdio", "--home", str(home), *(["--as", name] if name else [])],
    }
    if client == "vscode":
        return {"servers": {"conclave": {"type": "stdio", **started}}}
    if client == "generic":
        return {"name": "conclave", "transport": "stdio", **started}
    return {"mcpServers": {"conclave": started}}


@verb("connect", "conclave mcp connect https://mcp.example:8443 --as scout --ca ca.pem")
@click.argument("url")
@click.option("--ca", "authority", type=_FILE, metavar="FILE", help="Whose certificates to trust, PEM.")
def connect(session: Session, url: str, authority: Path | None) -> None:
    """Let a client over standard streams work with a server over HTTP, as the agent named with --as.

    Each message goes there with a token, asked for with the agent's key, and a proof of a key of its own.
    """
    from conclave.client import open_key
    from conclave.home import load
    from mcp_server import proxy

    name = _caller(click.get_current_context())
    if name is None:
        raise Refused(Code.USAGE, got="no agent", expected="--as NAME, an agent of this home")
    home = load(session.home)
    subject = home.subject(name)
    proxy.run(url, subject.did, open_key(home, subject), authority)


@verb(
    "policy",
    "conclave mcp policy scout > policy.yaml",
    "conclave mcp policy scout --propose team-a --cluster east --guard mcp > policy.yaml",
)
@click.argument("name")
@click.option(
    "--propose", "namespaces", multiple=True, metavar="NAMESPACE", help="May propose for it; repeat."
)
@click.option("--cluster", "clusters", multiple=True, metavar="NAME", help="Where; repeat [any].")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help=f"What; repeat [{', '.join(_KINDS)}].")
@click.option("--release", "releases", multiple=True, metavar="NAME", help="Which releases; repeat [any].")
@click.option("--image", "images", multiple=True, metavar="PREFIX/*", help="Which new images; repeat [any].")
@click.option("--guard", "guards", multiple=True, metavar="NODE", help="A node that may suspend it; repeat.")
def policy(session: Session, name: str, **given: tuple[str, ...]) -> None:
    """Print an AgentPolicy of an agent of this home: it reads everything and, by default, proposes nothing.

    Make it narrower and propose it: an agent without a policy on the ledger has no tool.
    """
    from conclave.home import load
    from ledger.standard import ledger_object
    from mcp_server.policies import Scope, proposing_policy, reading_policy

    home = load(session.home)
    subject = home.subject(name)
    guards = sorted(home.subject(node).did for node in given["guards"])
    spec = {**reading_policy(subject.did), "guards": guards}
    if given["namespaces"]:
        named = {each: sorted(set(given[each])) or ["*"] for each in _SCOPED}
        kinds = sorted(set(given["kinds"])) or list(_KINDS)
        scope = Scope(sorted(set(given["namespaces"])), kinds=kinds, **named)
        spec = proposing_policy(subject.did, scope, guards)
    print(json.dumps(ledger_object("AgentPolicy", subject.name, spec), indent=2))


command.add_command(config)
command.add_command(policy)
command.add_command(connect)
