"""The application interface: one method per ABCI 2.0 call.

Owns ``Application``, the table that maps wire requests to its methods, and the encoding of answers. Promises
that a request without a known method is refused and never ignored. It holds no state and does no I/O.

Source: CometBFT v0.38 spec/abci; field numbers in ``proto/ledger/pb/abci.proto``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from google.protobuf.message import DecodeError, Message

from ledger.errors import Code, Refused
from ledger.pb import abci_pb2 as pb

METHODS: Final = (
    "info",
    "init_chain",
    "query",
    "check_tx",
    "prepare_proposal",
    "process_proposal",
    "finalize_block",
    "commit",
    "extend_vote",
    "verify_vote_extension",
    "list_snapshots",
    "offer_snapshot",
    "load_snapshot_chunk",
    "apply_snapshot_chunk",
)
"""The calls an application answers; Echo and Flush are the server's."""


class Application(Protocol):
    """What a server serves. Methods are called one at a time, in one order over all connections.

    A method that raises ends the process: refusals of somebody's input are answers, not exceptions.
    """

    def info(self, request: pb.RequestInfo) -> pb.ResponseInfo:
        """Give the last committed height and its app hash."""
        ...

    def init_chain(self, request: pb.RequestInitChain) -> pb.ResponseInitChain:
        """Begin from genesis; may come again until height 1 is committed."""
        ...

    def query(self, request: pb.RequestQuery) -> pb.ResponseQuery:
        """Read committed state."""
        ...

    def check_tx(self, request: pb.RequestCheckTx) -> pb.ResponseCheckTx:
        """Say whether a transaction may enter, or stay in, the mempool."""
        ...

    def prepare_proposal(self, request: pb.RequestPrepareProposal) -> pb.ResponsePrepareProposal:
        """Choose the transactions of a block we propose."""
        ...

    def process_proposal(self, request: pb.RequestProcessProposal) -> pb.ResponseProcessProposal:
        """Accept or reject a proposed block; a function of the block and the committed state only."""
        ...

    def finalize_block(self, request: pb.RequestFinalizeBlock) -> pb.ResponseFinalizeBlock:
        """Execute a decided block without persisting anything."""
        ...

    def commit(self, request: pb.RequestCommit) -> pb.ResponseCommit:
        """Persist the executed block in one atomic write."""
        ...

    def extend_vote(self, request: pb.RequestExtendVote) -> pb.ResponseExtendVote:
        """Extend a precommit (not enabled by our genesis)."""
        ...

    def verify_vote_extension(self, request: pb.RequestVerifyVoteExtension) -> pb.ResponseVerifyVoteExtension:
        """Judge another validator's extension (not enabled by our genesis)."""
        ...

    def list_snapshots(self, request: pb.RequestListSnapshots) -> pb.ResponseListSnapshots:
        """List the snapshots we can serve."""
        ...

    def offer_snapshot(self, request: pb.RequestOfferSnapshot) -> pb.ResponseOfferSnapshot:
        """Accept or reject a snapshot to restore."""
        ...

    def load_snapshot_chunk(self, request: pb.RequestLoadSnapshotChunk) -> pb.ResponseLoadSnapshotChunk:
        """Give one chunk of a snapshot."""
        ...

    def apply_snapshot_chunk(self, request: pb.RequestApplySnapshotChunk) -> pb.ResponseApplySnapshotChunk:
        """Take one chunk of the snapshot being restored."""
        ...

    def close(self) -> None:
        """Release what it holds; called once, after the last call."""
        ...


class Dispatcher:
    """Turns one encoded ``Request`` into one encoded ``Response`` by calling an application."""

    def __init__(self, application: Application) -> None:
        self._calls: dict[str, tuple[bytes, Callable[[Any], Message]]] = {
            name: (_tag(name), getattr(application, name)) for name in METHODS
        }
        self._calls["echo"] = (_tag("echo"), lambda request: pb.ResponseEcho(message=request.message))
        self._calls["flush"] = (_tag("flush"), lambda _request: pb.ResponseFlush())

    def parse(self, message: bytes) -> pb.Request:
        """Read one encoded ``Request``.

        Raises:
            Refused: ABCI_REQUEST_UNREADABLE, the bytes are no Request.
        """
        try:
            return pb.Request.FromString(message)
        except DecodeError as error:
            raise Refused(
                Code.ABCI_REQUEST_UNREADABLE, got=message[:32], expected="a protobuf abci.Request"
            ) from error

    def call(self, request: pb.Request) -> tuple[str, bytes]:
        """Give the method's name and the encoded ``Response``.

        Raises:
            Refused: ABCI_REQUEST_UNKNOWN, no method we know.
            Exception: whatever the application raises; the caller must end the process.
        """
        name = request.WhichOneof("value")
        if name is None:
            raise Refused(
                Code.ABCI_REQUEST_UNKNOWN,
                got=request.SerializeToString()[:32],
                expected=f"one of echo, flush, {', '.join(METHODS)}",
                todo='use CometBFT 0.38 or 0.39 with mempool.type = "flood"',
            )
        tag, call = self._calls[name]
        body = call(getattr(request, name)).SerializeToString()
        return name, tag + uvarint(len(body)) + body


def exception(text: str) -> bytes:
    """Give an encoded ``Response`` that carries a ``ResponseException``."""
    return pb.Response(exception=pb.ResponseException(error=text)).SerializeToString()


def uvarint(number: int) -> bytes:
    """Encode an unsigned varint (protobuf wire format)."""
    if number < 0x80:
        return bytes((number,))
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _tag(name: str) -> bytes:
    number = pb.Response.DESCRIPTOR.fields_by_name[name].number
    return uvarint(number << 3 | 2)
