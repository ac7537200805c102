"""What is asked of a node, whoever answers.

Owns the protocols of unverified sources, apart from any client: what judges a copied file must not load one.
Nothing any of them gives is verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from consensus import answers
from consensus.light.types import LightBlock, SignedHeader
from ledger.errors import EnvironmentFault
from ledger.types import JsonObject


class BlockSource(Protocol):
    """Where unverified blocks come from: a node (``consensus.rpc.Rpc``), or a copy of what one said."""

    def signed_header(self, height: int) -> SignedHeader:
        """Give header and commit of ``height``."""
        ...

    def light_block(self, height: int) -> LightBlock:
        """Give header, commit, validator set and next validator set of ``height``."""
        ...


class Rpc(Protocol):
    """What readers and submitters need of a node: ``RpcClient``, or a chain in memory in tests."""

    def status(self) -> answers.NodeStatus:
        """Give what the node says of itself."""
        ...

    def signed_header(self, height: int) -> SignedHeader:
        """Give header and commit of ``height``."""
        ...

    def light_block(self, height: int) -> LightBlock:
        """Give header, commit, validator set and next validator set of ``height``."""
        ...

    def abci_query(self, path: str, data: bytes, height: int) -> answers.QueryAnswer:
        """Query the application at ``height`` (0: newest) with proof."""
        ...

    def broadcast_tx_sync(self, tx: bytes) -> answers.BroadcastAnswer:
        """Offer a transaction and give CheckTx's verdict."""
        ...

    def tx(self, tx_hash: bytes) -> answers.TxAnswer:
        """Give an included transaction with its inclusion proof."""
        ...

    def block_txs(self, height: int) -> tuple[bytes, ...]:
        """Give the transactions of block ``height``."""
        ...

    def block_results(self, height: int) -> tuple[answers.TxResult, ...]:
        """Give the transaction results of block ``height``."""
        ...


@runtime_checkable
class Batching(Protocol):
    """A node that is asked several things in one exchange."""

    def abci_queries(self, path: str, data: Sequence[bytes], height: int) -> list[answers.QueryAnswer]:
        """Query the application with proof, once for each of ``data``; the answers in that order."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A node that tells of its newest block without waiting for the one it works at."""

    def newest(self) -> answers.NodeStatus:
        """Give what its newest header says; unverified like the rest."""
        ...


def newest_of(rpc: Rpc) -> answers.NodeStatus:
    """Give what a node says of its newest block, without waiting for the one it works at where it can.

    Raises:
        EnvironmentFault: the node does not answer.
    """
    if isinstance(rpc, Telling):
        try:
            return rpc.newest()
        except EnvironmentFault as fault:
            # A node that does not know this question is asked the other.
            if not fault.facts.get("unknown"):
                raise
    return rpc.status()


class Peer(Rpc, Protocol):
    """A node with its endpoint: ``consensus.rpc.RpcClient`` of one endpoint, or a node in memory in tests."""

    @property
    def endpoint(self) -> str:
        """Its endpoint."""
        ...

    def broadcast_evidence(self, evidence: JsonObject) -> bytes:
        """Offer evidence of an attack; gives its hash."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...
