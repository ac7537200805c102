"""The whole socket server over any bytes."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app.framing import frame
from ledger.pb import abci_pb2 as pb
from tests.kvstore.application import Kvstore
from tests.unit.abci_transport.served import FLUSH, Served, run

REQUESTS = [
    pb.Request(check_tx=pb.RequestCheckTx(tx=b"a=b")),
    pb.Request(info=pb.RequestInfo(version="x")),
    pb.Request(echo=pb.RequestEcho(message="hello")),
    FLUSH,
]
CHUNKS = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=60).map(frame),
    st.sampled_from(REQUESTS).map(lambda request: frame(request.SerializeToString())),
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("abci")
    logger.disabled = True
    yield
    logger.disabled = False


@pytest.mark.requires("transport.any-bytes")
@settings(max_examples=150, deadline=None)
@given(st.lists(CHUNKS, max_size=12))
def test_any_bytes_get_answers_or_one_exception_and_the_end(chunks: list[bytes]) -> None:
    failures: list[dict[str, object]] = []

    async def body(running: Served) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        client = await running.connect()
        for chunk in chunks:
            client.writer.write(chunk)
        client.writer.write_eof()
        try:
            names = []
            while (response := await client.receive()) is not None:
                names.append(response.WhichOneof("value"))
        except ConnectionError:
            # Bytes that the server never read reset the connection once it has been refused.
            return
        finally:
            client.writer.close()
        assert None not in names
        assert "exception" not in names[:-1]

    with tempfile.TemporaryDirectory() as folder:
        assert run(body, Kvstore(), Path(folder) / "app.sock", 4096) in (0, 70)
    assert not failures
