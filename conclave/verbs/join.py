"""``conclave node join``: the home of a new node that catches up by state sync.

Promises that the header it starts from is one this home has verified, unless the operator names another.
"""

from __future__ import annotations

import re

import click

from conclave.client import connect
from conclave.command import Session, verb
from conclave.home import Home, load
from consensus.node.genesis import GENESIS_BYTES_MAX
from consensus.node.join import peer_of, read_peer, write_joining
from consensus.node.localnet import DEFAULT_BASE_PORT, PORTS_PER_NODE
from consensus.node.spec import NodeSpec, Peer, StateSync
from consensus.reader import check_fresh
from ledger.errors import Code, Refused, unwritable

_TRUST = re.compile(r"([1-9][0-9]{0,18}):([0-9A-Fa-f]{64})")
_PORT_LAST = 65_000


@verb(
    "join",
    "conclave node join 4",
    "conclave node join 0 --trust 1200:$HASH --peer $ID@10.0.0.1:26656 "
    "--server http://127.0.0.1:26657 --server http://127.0.0.1:26659",
)
@click.argument("number", type=click.IntRange(min=0))
@click.option("--trust", metavar="HEIGHT:HASH", help="A header somebody named [what this home verifies].")
@click.option(
    "--server", "servers", multiple=True, metavar="URL", help="RPC of a node [this home's endpoints]."
)
@click.option(
    "--peer", "peers", multiple=True, metavar="ID@HOST:PORT", help="A node to dial [the nodes of this home]."
)
@click.option("--base-port", type=click.IntRange(1024, _PORT_LAST), metavar="N", help="First of two ports.")
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
    home = load(session.home)
    own = [peer_of(folder) for folder in home.nodes() if folder != home.node(number)]
    dialled = [read_peer(text) for text in peers] or own
    if not dialled:
        raise Refused(
            Code.USAGE, got="no peer", expected="--peer ID@HOST:PORT", todo="name a node of the ledger"
        )
    height, header_hash = _named(trust) if trust is not None else _verified(session)
    port = base_port or _port_after(own)
    spec = NodeSpec(
        moniker=f"node{number}",
        home=home.node(number),
        p2p_port=port,
        rpc_port=port + 1,
        peers=tuple(dialled),
        state_sync=StateSync(height, header_hash, servers or home.endpoints),
    )
    write_joining(spec, _genesis(home))
    document = {"node": number, "home": str(spec.home), "trust": f"{height}:{header_hash.hex()}"}
    if not session.output.document(document):
        session.output.line(f"node {number} starts from header {height}; next: conclave node {number}")


def _named(text: str) -> tuple[int, bytes]:
    match = _TRUST.fullmatch(text)
    if match is None:
        raise Refused(
            Code.USAGE,
            got=f"--trust {text}",
            expected="HEIGHT:HASH, the hash as 64 hex digits",
            todo="ask somebody you trust",
        )
    return int(match[1]), bytes.fromhex(match[2])


def _verified(session: Session) -> tuple[int, bytes]:
    """Give the newest header that verifies from this home's root of trust."""
    with connect(session) as client:
        view = client.view()
        check_fresh(view)
        trusted = client.reader.header(view.height + 1)
    return trusted.height, trusted.hash


def _port_after(own: list[Peer]) -> int:
    return max((peer.port + PORTS_PER_NODE for peer in own), default=DEFAULT_BASE_PORT)


def _genesis(home: Home) -> bytes:
    try:
        with home.genesis.open("rb") as file:
            return file.read(GENESIS_BYTES_MAX)
    except OSError as error:
        raise unwritable(error, "the genesis file", file=str(home.genesis)) from error
