"""The second transport: the same application over gRPC.

Owns the gRPC service ``tendermint.abci.ABCI``. Promises the same global order as the socket server (one lock
over all calls), loopback or a unix socket only, explicit message sizes, and the same end: a failing call is
answered with INTERNAL, then the process ends non-zero. CometBFT's client accepts answers of at most 4 MiB
(gRPC's default, it sets none), so proposals are kept below that here; large releases need the socket.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import grpc
from google.protobuf.message import Message

from abci_app.abci import METHODS, Application
from abci_app.failure import status_of
from abci_app.listen import ListenAddress, UnixAddress, clear_stale
from abci_app.server import CLOSE_TIMEOUT_S
from ledger.errors import Code, EnvironmentFault
from ledger.limits import ABCI_MESSAGE_BYTES_MAX, KIB, MIB
from ledger.pb import abci_pb2 as pb
from runtime.log import event
from runtime.status import EXIT_OK

SERVICE: Final = "tendermint.abci.ABCI"
THREADS: Final = 8
"""Four connections of the node, some room for probes; more would only wait for the lock."""
CLIENT_ANSWER_BYTES_MAX: Final = 4 * MIB
PROPOSAL_BYTES_MAX: Final = CLIENT_ANSWER_BYTES_MAX - 256 * KIB
"""Room for the answer's own framing of many small transactions."""

_LOG = logging.getLogger("abci.grpc")


class GrpcServer:
    """Serves ``application`` over gRPC until it fails or a stop is asked."""

    def __init__(self, application: Application, message_bytes_max: int = ABCI_MESSAGE_BYTES_MAX) -> None:
        self._application = application
        self._lock = threading.Lock()
        self._ending = False
        # No event: a signal handler that sets it while the same thread begins to wait for it never returns.
        self._woken = SimpleQueue[None]()
        self._status = EXIT_OK
        self._options = [
            ("grpc.max_receive_message_length", message_bytes_max),
            ("grpc.max_send_message_length", message_bytes_max),
            ("grpc.so_reuseport", 0),
        ]

    def run(self, address: ListenAddress) -> int:
        """Listen on ``address`` until SIGTERM, SIGINT or a failure; give the exit status.

        Raises:
            EnvironmentFault: PORT_TAKEN, the address cannot be bound.
        """
        server = grpc.server(
            ThreadPoolExecutor(THREADS, thread_name_prefix="abci"),
            handlers=[grpc.method_handlers_generic_handler(SERVICE, self._handlers())],
            options=self._options,
        )
        # Before anybody can see that it listens: whoever sees it may ask it to stop at once.
        old = {n: signal.signal(n, lambda *_: self.stop()) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            _bind(server, address)
            self._serve(server, address)
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
        event(_LOG, "stopped", status=self._status)
        return self._status

    def _serve(self, server: grpc.Server, address: ListenAddress) -> None:
        server.start()
        event(_LOG, "listening", address=str(address))
        try:
            self._woken.get()
        finally:
            # A running call, a Commit above all, finishes before the lock is ours.
            with self._lock:
                server.stop(CLOSE_TIMEOUT_S)
            server.stop(CLOSE_TIMEOUT_S).wait()
            if isinstance(address, UnixAddress):
                Path(address.path).unlink(missing_ok=True)

    def stop(self, status: int = EXIT_OK) -> None:
        """Ask the server to end."""
        if not self._ending:
            self._ending, self._status = True, status
            self._woken.put(None)

    def _handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        calls: dict[str, Callable[[Any], Message]] = {
            name: getattr(self._application, name) for name in METHODS
        }
        calls["prepare_proposal"] = self._prepare_proposal
        calls["echo"] = lambda request: pb.ResponseEcho(message=request.message)
        calls["flush"] = lambda _request: pb.ResponseFlush()
        return {_camel(name): self._handler(name, call) for name, call in calls.items()}

    def _handler(self, name: str, call: Callable[[Any], Message]) -> grpc.RpcMethodHandler[Any, Any]:
        def serve(request: Any, context: grpc.ServicerContext) -> Message:  # noqa: RET503  abort never returns
            with self._lock:
                if self._ending:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the application is ending")
                try:
                    return call(request)
                except Exception as error:  # noqa: BLE001  the replicated machine failed: say why, end
                    self.stop(status_of(error))
                    text = f"{type(error).__name__}: {error}"[:2000]
            context.abort(grpc.StatusCode.INTERNAL, text)

        request_type = getattr(pb, "Request" + _camel(name))
        return grpc.unary_unary_rpc_method_handler(
            serve,
            request_deserializer=request_type.FromString,
            response_serializer=lambda response: response.SerializeToString(),
        )

    def _prepare_proposal(self, request: pb.RequestPrepareProposal) -> pb.ResponsePrepareProposal:
        request.max_tx_bytes = min(request.max_tx_bytes, PROPOSAL_BYTES_MAX)
        return self._application.prepare_proposal(request)


def _bind(server: grpc.Server, address: ListenAddress) -> None:
    if isinstance(address, UnixAddress):
        clear_stale(address.path)
        target = f"unix:{address.path}"
    else:
        host = f"[{address.host}]" if ":" in address.host else address.host
        target = f"{host}:{address.port}"
    old_mask = os.umask(0o177)
    try:
        server.add_insecure_port(target)
    except RuntimeError as error:
        raise EnvironmentFault(
            Code.PORT_TAKEN,
            got=error,
            expected="an address that can be bound",
            todo="stop what listens there",
            address=target,
        ) from error
    finally:
        os.umask(old_mask)


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
