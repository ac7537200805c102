"""Several validators on one host: names, ports, keys, one genesis.

Owns the plan of a local localnet; promises that every node knows every other and that all files of a home are
written together or the call fails. It starts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from consensus.node.config import write_config
from consensus.node.genesis import GenesisValidator, NodeKey, genesis, write_node_files
from consensus.node.spec import DEFAULT_TIMING, NodeSpec, Peer, Timing, Transport
from ledger.types import JsonObject

PORTS_PER_NODE = 2
DEFAULT_BASE_PORT = 26656
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Localnet:
    """What a local localnet is.

    Attributes:
        root: the folder that gets one home per node, ``node0`` ….
        chain_id: the chain.
        size: how many validators.
        base_port: node ``i`` has p2p on base + 2i and RPC on base + 2i + 1.
        transport: between CometBFT and application.
        timing: consensus timing of all nodes.
    """

    root: Path
    chain_id: str
    size: int = 4
    base_port: int = DEFAULT_BASE_PORT
    transport: Transport = "socket"
    timing: Timing = DEFAULT_TIMING


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node and its keys."""

    spec: NodeSpec
    validator: NodeKey
    node: NodeKey


def plan_localnet(localnet: Localnet, keys: tuple[tuple[NodeKey, NodeKey], ...]) -> tuple[PlannedNode, ...]:
    """Give every node of a localnet; ``keys`` are (validator, node) pairs, one per node."""
    assert len(keys) == localnet.size, (len(keys), localnet.size)
    ports = [localnet.base_port + PORTS_PER_NODE * i for i in range(localnet.size)]
    peers = tuple(Peer(node.node_id, LOOPBACK, port) for (_, node), port in zip(keys, ports, strict=True))
    return tuple(
        PlannedNode(
            NodeSpec(
                moniker=f"node{i}",
                home=localnet.root / f"node{i}",
                p2p_port=port,
                rpc_port=port + 1,
                peers=tuple(peer for peer in peers if peer.node_id != node.node_id),
                transport=localnet.transport,
                timing=localnet.timing,
            ),
            validator,
            node,
        )
        for i, ((validator, node), port) in enumerate(zip(keys, ports, strict=True))
    )


def make_keys(size: int) -> tuple[tuple[NodeKey, NodeKey], ...]:
    """Make (validator, node) keys for so many nodes."""
    return tuple((NodeKey.generate(), NodeKey.generate()) for _ in range(size))


def write_localnet(
    localnet: Localnet,
    time_ns: int,
    app_state: JsonObject,
    keys: tuple[tuple[NodeKey, NodeKey], ...] | None = None,
) -> tuple[PlannedNode, ...]:
    """Write every home of a localnet.

    Args:
        localnet: what it is.
        time_ns: of genesis.
        app_state: the ledger's genesis objects.
        keys: (validator, node) pairs, one a node; made here if not given.

    Raises:
        EnvironmentFault: HOME_EXISTS, HOME_INVALID.
        Refused: GENESIS_INVALID, LIMIT_EXCEEDED.
    """
    nodes = plan_localnet(localnet, keys or make_keys(localnet.size))
    validators = tuple(GenesisValidator(node.spec.moniker, node.validator.public) for node in nodes)
    document = genesis(localnet.chain_id, time_ns, validators, app_state)
    for node in nodes:
        write_node_files(node.spec.paths, document, node.validator, node.node)
        write_config(node.spec)
    return nodes
