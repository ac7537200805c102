"""The gRPC transport: the same application, the same end."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from abci_app import grpc_server
from abci_app.abci import METHODS
from abci_app.listen import UnixAddress, answers
from ledger.pb import abci_pb2 as pb
from runtime.status import EXIT_FAILED, EXIT_OK
from tests.kvstore.application import Kvstore

ROOT = Path(__file__).parents[3]
PATIENCE_S = 120


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    listen = f"unix://{tmp_path}/app.sock"
    argv = [sys.executable, "-m", "tests.kvstore", "--home", str(tmp_path), "--transport", "grpc"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen([*argv, "--listen", listen], cwd=ROOT, stderr=log) as process,
    ):
        yield process
        process.kill()


@pytest.fixture
def channel(server: subprocess.Popen[bytes], tmp_path: Path) -> Iterator[grpc.Channel]:
    while not answers(f"{tmp_path}/app.sock"):
        assert server.poll() is None
    # The very limits of CometBFT's client: none set, so gRPC's default of 4 MiB for answers.
    with grpc.insecure_channel(f"unix:{tmp_path}/app.sock") as open_channel:
        grpc.channel_ready_future(open_channel).result(timeout=PATIENCE_S)
        yield open_channel


def _call(channel: grpc.Channel, name: str, request: Message) -> Message:
    camel = "".join(word.capitalize() for word in name.split("_"))
    response: type[Message] = getattr(pb, "Response" + camel)
    method = channel.unary_unary(
        f"/tendermint.abci.ABCI/{camel}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response.FromString,
    )
    answer = method(request, timeout=PATIENCE_S)
    assert isinstance(answer, response)
    return answer


@pytest.mark.requires("transport.method-table")
def test_every_method_is_served(channel: grpc.Channel, server: subprocess.Popen[bytes]) -> None:
    for name in METHODS:
        camel = "".join(word.capitalize() for word in name.split("_"))
        _call(channel, name, getattr(pb, "Request" + camel)())
    echo = _call(channel, "echo", pb.RequestEcho(message="hello"))
    assert isinstance(echo, pb.ResponseEcho)
    assert echo.message == "hello"
    _call(channel, "flush", pb.RequestFlush())


@pytest.mark.requires("transport.grpc-large")
def test_large_requests_pass_and_proposals_stay_within_the_clients_limit(channel: grpc.Channel) -> None:
    txs = [bytes(1 << 20)] * 8
    answer = _call(channel, "prepare_proposal", pb.RequestPrepareProposal(max_tx_bytes=8 << 20, txs=txs))
    assert isinstance(answer, pb.ResponsePrepareProposal)
    assert 1 <= len(answer.txs) < 4
    assert answer.ByteSize() < grpc_server.CLIENT_ANSWER_BYTES_MAX
    _call(channel, "process_proposal", pb.RequestProcessProposal(txs=txs))


@pytest.mark.requires("transport.failure-ends")
def test_a_failure_is_said_then_the_process_ends(
    channel: grpc.Channel, server: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        _call(channel, "check_tx", pb.RequestCheckTx(tx=b"raise"))
    assert error.value.code() == grpc.StatusCode.INTERNAL
    assert error.value.details() == "ValueError: a bug of the application"
    assert server.wait(PATIENCE_S) == EXIT_FAILED
    assert not (tmp_path / "app.sock").exists()


@pytest.mark.requires("transport.stop")
def test_sigterm_ends_with_status_0(
    channel: grpc.Channel, server: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert stat.S_IMODE((tmp_path / "app.sock").lstat().st_mode) == 0o600
    os.kill(server.pid, signal.SIGTERM)
    assert server.wait(PATIENCE_S) == 0


@pytest.mark.requires("transport.stop")
def test_who_is_told_to_stop_as_soon_as_it_listens_stops_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: noted.append(number))
    serving = grpc_server.GrpcServer(Kvstore())
    # Whom the signal does not reach must end, too.
    giving_up = threading.Timer(PATIENCE_S, serving.stop, (EXIT_FAILED,))
    giving_up.start()
    monkeypatch.setattr(grpc_server, "_bind", lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        assert serving.run(UnixAddress(str(tmp_path / "app.sock"))) == EXIT_OK
    finally:
        giving_up.cancel()
        signal.signal(signal.SIGTERM, before)
    assert noted == []


@pytest.mark.requires("transport.order")
def test_calls_run_one_at_a_time() -> None:
    inside: list[int] = []
    overlaps: list[int] = []

    class Watching(Kvstore):
        def check_tx(self, request: pb.RequestCheckTx) -> pb.ResponseCheckTx:
            inside.append(1)
            overlaps.append(len(inside))
            barrier.acquire(timeout=0.02)
            inside.pop()
            return pb.ResponseCheckTx()

    barrier = threading.Semaphore(0)
    handler = grpc_server.GrpcServer(Watching())._handlers()["CheckTx"]
    serve = handler.unary_unary
    assert serve is not None
    threads = [threading.Thread(target=serve, args=(pb.RequestCheckTx(), None)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == [1] * 4
