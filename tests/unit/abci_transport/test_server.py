"""The socket server: order, flush, fairness, back-pressure, failures, the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
from pathlib import Path

import pytest

from abci_app import server as module
from abci_app.framing import frame
from ledger.pb import abci_pb2 as pb
from runtime.status import EXIT_FAILED
from tests.kvstore.application import Kvstore
from tests.unit.abci_transport.served import FLUSH, PATIENCE_S, Served, run

CHECK = pb.Request(check_tx=pb.RequestCheckTx(tx=b"a=b"))
COMMIT = pb.Request(commit=pb.RequestCommit())
INFO = pb.Request(info=pb.RequestInfo())


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every peer here reads its last answer: how soon, is up to the machine.
    monkeypatch.setattr(module, "CLOSE_TIMEOUT_S", PATIENCE_S)


@pytest.fixture
def sock(tmp_path: Path) -> Path:
    return tmp_path / "app.sock"


@pytest.mark.requires("transport.order")
def test_answers_come_in_request_order(sock: Path) -> None:
    async def body(running: Served) -> None:
        client = await running.connect()
        echo = pb.Request(echo=pb.RequestEcho(message="hello"))
        client.send(CHECK, INFO, CHECK, echo, pb.Request(query=pb.RequestQuery(data=b"k")), FLUSH)
        assert await client.names(6) == ["check_tx", "info", "check_tx", "echo", "query", "flush"]
        client.writer.close()

    assert run(body, Kvstore(), sock) == 0


@pytest.mark.requires("transport.any-split")
def test_byte_by_byte_requests_are_answered(sock: Path) -> None:
    async def body(running: Served) -> None:
        client = await running.connect()
        for octet in frame(CHECK.SerializeToString()) * 3 + frame(FLUSH.SerializeToString()):
            client.writer.write(bytes((octet,)))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert await client.names(4) == ["check_tx"] * 3 + ["flush"]
        client.writer.close()

    assert run(body, Kvstore(), sock) == 0


@pytest.mark.requires("transport.method-table")
def test_every_method_is_answered_by_its_own_response(sock: Path) -> None:
    from abci_app.abci import METHODS

    async def body(running: Served) -> None:
        client = await running.connect()
        for name in METHODS:
            request = pb.Request()
            getattr(request, name).SetInParent()
            client.send(request, FLUSH)
            assert await client.names(2) == [name, "flush"]
        client.writer.close()

    assert run(body, Kvstore(), sock) == 0


@pytest.mark.requires("transport.flush")
def test_a_flush_writes_before_the_next_call_runs(sock: Path) -> None:
    written: list[str] = []

    class Slow(Kvstore):
        def commit(self, request: pb.RequestCommit) -> pb.ResponseCommit:
            written.extend("write" for c in servers[0].connections if not c._answers)
            return pb.ResponseCommit()

    servers: list[module.Server] = []

    async def body(running: Served) -> None:
        servers.append(running.server)
        client = await running.connect()
        client.send(CHECK, FLUSH, COMMIT, FLUSH)
        assert await client.names(4) == ["check_tx", "flush", "commit", "flush"]
        client.writer.close()

    assert run(body, Slow(), sock) == 0
    assert written == ["write"]


@pytest.mark.requires("transport.fair")
def test_a_flood_on_one_connection_does_not_starve_another(sock: Path) -> None:
    application = Kvstore()

    async def body(running: Served) -> None:
        mempool, consensus = await running.connect(), await running.connect()
        flood = 2560
        mempool.send(*[CHECK] * flood, FLUSH)
        consensus.send(COMMIT, FLUSH)
        assert await consensus.names(2) == ["commit", "flush"]
        assert await mempool.names(flood + 1) == ["check_tx"] * flood + ["flush"]
        # The flood arrives in reads of at most 256 KiB; the commit waits for a few slices, never for all.
        assert application.order.index("commit") <= 512
        mempool.writer.close()
        consensus.writer.close()

    assert run(body, application, sock) == 0


@pytest.mark.requires("transport.back-pressure")
def test_a_peer_that_does_not_read_stops_being_served(sock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_HIGH_WATER_BYTES", 4096)
    application = Kvstore()
    application.state["big"] = "v" * 10_000
    query = pb.Request(query=pb.RequestQuery(data=b"big"))
    count = 3000

    async def body(running: Served) -> None:
        client = await running.connect()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.send(*[query] * count)
        answered = -1
        while answered != len(application.order):
            answered = len(application.order)
            for _ in range(50):
                await asyncio.sleep(0)
        assert answered < count, "30 MB of answers were buffered for a peer that reads nothing"
        assert all(c._decoder.buffered < 600_000 for c in running.server.connections)
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert await client.names(count) == ["query"] * count
        client.writer.close()

    assert run(body, application, sock) == 0


@pytest.mark.requires("transport.back-pressure")
def test_requests_that_wait_stop_the_reading(sock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE_REQUESTS_MAX", 1)
    buffered: list[int] = []
    servers: list[module.Server] = []

    class Watching(Kvstore):
        def check_tx(self, request: pb.RequestCheckTx) -> pb.ResponseCheckTx:
            buffered.extend(connection._decoder.buffered for connection in servers[0].connections)
            return pb.ResponseCheckTx()

    async def body(running: Served) -> None:
        servers.append(running.server)
        client = await running.connect()
        large = pb.Request(check_tx=pb.RequestCheckTx(tx=b"=" * 20_000))
        client.send(*[large] * 300)
        assert await client.names(300) == ["check_tx"] * 300
        client.writer.close()

    assert run(body, Watching(), sock) == 0
    assert max(buffered) < 600_000, "6 MB were read ahead of the work"


@pytest.mark.requires("transport.failure-ends")
@pytest.mark.parametrize(
    "request_",
    [pb.Request(check_tx=pb.RequestCheckTx(tx=b"raise")), pb.Request()],
    ids=["the application raises", "unknown request"],
)
def test_a_failure_is_said_then_everything_ends(sock: Path, request_: pb.Request) -> None:
    async def body(running: Served) -> None:
        other, client = await running.connect(), await running.connect()
        client.send(CHECK, request_, CHECK)
        assert await client.names(3) == ["check_tx", "exception", None]
        assert await other.receive() is None
        client.writer.close()
        other.writer.close()

    assert run(body, Kvstore(), sock) == EXIT_FAILED
    assert not sock.exists()


@pytest.mark.requires("transport.failure-ends")
def test_the_exception_names_the_cause(sock: Path) -> None:
    async def body(running: Served) -> None:
        client = await running.connect()
        client.send(pb.Request(check_tx=pb.RequestCheckTx(tx=b"raise")))
        response = await client.receive()
        assert response is not None
        assert response.exception.error == "ValueError: a bug of the application"
        client.writer.close()

    run(body, Kvstore(), sock)


@pytest.mark.requires("transport.any-bytes")
@pytest.mark.parametrize("junk", [b"\xff" * 64, b"\x05\xff\xff\xff\xff\xff", frame(b"x" * 5000)])
def test_broken_bytes_close_that_connection_only(sock: Path, junk: bytes) -> None:
    async def body(running: Served) -> None:
        broken, sane = await running.connect(), await running.connect()
        broken.writer.write(junk)
        assert await broken.names(2) == ["exception", None]
        sane.send(CHECK, FLUSH)
        assert await sane.names(2) == ["check_tx", "flush"]
        broken.writer.close()
        sane.writer.close()

    assert run(body, Kvstore(), sock, 4096) == 0


@pytest.mark.requires("transport.stop")
def test_sigterm_lets_the_running_commit_finish_and_answer(sock: Path) -> None:
    application = Kvstore()

    class Stopping(Kvstore):
        def commit(self, request: pb.RequestCommit) -> pb.ResponseCommit:
            os.kill(os.getpid(), signal.SIGTERM)
            application.order.append("after the signal")
            return pb.ResponseCommit()

    async def body(running: Served) -> None:
        client = await running.connect()
        client.send(COMMIT, FLUSH)
        assert await client.receive() is not None
        assert await asyncio.wait_for(asyncio.shield(running.ended), PATIENCE_S) == 0
        client.writer.close()

    assert run(body, Stopping(), sock) == 0
    assert application.order == ["after the signal"]


@pytest.mark.requires("transport.stop")
def test_the_last_answer_leaves_even_if_the_peer_reads_late(sock: Path) -> None:
    class Stopping(Kvstore):
        def query(self, request: pb.RequestQuery) -> pb.ResponseQuery:
            os.kill(os.getpid(), signal.SIGTERM)
            return pb.ResponseQuery(value=bytes(4_000_000))

    async def body(running: Served) -> None:
        client = await running.connect()
        client.send(pb.Request(query=pb.RequestQuery()), FLUSH)
        response = await client.receive()
        assert response is not None
        assert len(response.query.value) == 4_000_000
        client.writer.close()

    assert run(body, Stopping(), sock) == 0


@pytest.mark.requires("transport.local-only")
def test_the_socket_file_is_private_and_removed(sock: Path) -> None:
    async def body(running: Served) -> None:
        assert stat.S_IMODE(sock.lstat().st_mode) == 0o600  # noqa: ASYNC240

    assert run(body, Kvstore(), sock) == 0
    assert not sock.exists()


@pytest.mark.requires("transport.bounded")
def test_connections_are_bounded(sock: Path) -> None:
    async def body(running: Served) -> None:
        clients = [await running.connect() for _ in range(module.CONNECTIONS_MAX)]
        for client in clients:
            client.send(FLUSH)
            assert await client.names(1) == ["flush"]
        extra = await running.connect()
        with contextlib.suppress(ConnectionResetError):
            assert await extra.receive() is None
        for client in (*clients, extra):
            client.writer.close()

    assert run(body, Kvstore(), sock) == 0
