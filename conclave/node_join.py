"""``conclave node join``: the home of a new node that catches up by state sync.

Promises that the header it starts from is one this home has verified, unless the operator names another.
"""

from __future__ import annotations

import re

from conclave.client import connect
from conclave.command import Session
from conclave.home import Home, load
from consensus.node.genesis import GENESIS_BYTES_MAX
from consensus.node.join import peer_of, read_peer, write_joining
from consensus.node.localnet import DEFAULT_BASE_PORT, PORTS_PER_NODE
from consensus.node.spec import NodeSpec, Peer, StateSync
from consensus.reader import check_fresh
from ledger.errors import Code, Refused, unwritable

_TRUST = re.compile(r"([1-9][0-9]{0,18}):([0-9A-Fa-f]{64})")


def join(
    session: Session,
    number: int,
    trust: str | None,
    servers: tuple[str, ...],
    peers: tuple[str, ...],
    base_port: int | None,
) -> None:
    """Make the home of node ``number`` and say so; what is None or empty is taken from this home.

    Raises:
        Refused: USAGE, FIELD_INVALID.
        VerificationFailed: this home cannot verify a fresh header.
        EnvironmentFault: HOME_EXISTS, HOME_INVALID, DISK_FULL, or no node answers.
    """
    home = load(session.home)
    own = [peer_of(folder) for folder in home.nodes() if folder != home.node(number)]
    dialled = [read_peer(text) for text in peers] or own
    if not dialled:
        raise Refused(
            Code.USAGE, got="no peer", expected="--peer ID@HOST:PORT", todo="name a node of the ledger"
        )
    height, header_hash = named_header(trust) if trust is not None else _verified(session)
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


def named_header(text: str) -> tuple[int, bytes]:
    """Read ``HEIGHT:HASH``.

    Raises:
        Refused: USAGE.
    """
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
