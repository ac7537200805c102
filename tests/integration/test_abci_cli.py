"""CometBFT's own ABCI client, ``abci-cli``, against the application: what it sends goes round."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from abci_app.framing import FrameDecoder, frame
from abci_app.listen import answers
from ledger.bodies import release_body
from ledger.limits import MIB
from ledger.pb import abci_pb2 as pb
from runtime.tools import Tool, find
from tests.support.subjects import ALICE, CHAIN_ID, genesis_bytes, release, seal

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120
GOOD = seal(ALICE, release_body(release()), 1)
FORGED = GOOD[:-1] + bytes([GOOD[-1] ^ 1])


@pytest.fixture(params=["socket", "grpc"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Serve the application of a ledger at height 1; give transport and address."""
    transport, path = str(request.param), tmp_path / "app.sock"
    argv = [sys.executable, "-m", "abci_app", "--home", str(tmp_path)]
    genesis = pb.Request(
        init_chain=pb.RequestInitChain(chain_id=CHAIN_ID, app_state_bytes=genesis_bytes(), initial_height=1)
    )
    first = pb.Request(finalize_block=pb.RequestFinalizeBlock(height=1))
    _serving(argv, "socket", path, [genesis, first, pb.Request(commit=pb.RequestCommit())])
    with subprocess.Popen(
        [*argv, "--listen", f"unix://{path}", "--transport", transport], cwd=ROOT
    ) as process:
        try:
            while not answers(str(path)):
                assert process.poll() is None
            yield transport, f"unix://{path}"
        finally:
            process.terminate()


def _serving(argv: list[str], transport: str, path: Path, requests: list[pb.Request]) -> None:
    """Send the application what no command of ``abci-cli`` does, and end it."""
    with subprocess.Popen(
        [*argv, "--listen", f"unix://{path}", "--transport", transport], cwd=ROOT
    ) as process:
        try:
            while not answers(str(path)):
                assert process.poll() is None
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE_S)
                client.connect(str(path))
                for request in requests:
                    client.sendall(frame(request.SerializeToString()))
                client.sendall(frame(pb.Request(flush=pb.RequestFlush()).SerializeToString()))
                decoder, told = FrameDecoder(MIB), 0
                while told <= len(requests):
                    decoder.feed(client.recv(MIB))
                    while (message := decoder.take()) is not None:
                        assert not pb.Response.FromString(message).HasField("exception")
                        told += 1
        finally:
            process.terminate()


@pytest.mark.requires("transport.abci-cli")
def test_cometbfts_own_client_goes_round(served: tuple[str, str]) -> None:
    transport, address = served
    tool = find(Tool.ABCI_CLI, progress=print, environ=os.environ)

    def ask(*arguments: str) -> bytes:
        done = subprocess.run(
            [str(tool), *arguments, "--abci", transport, "--address", address, "--log_level", "error"],
            capture_output=True, check=True, timeout=PATIENCE_S,
        )  # fmt: skip
        return done.stdout

    good, forged = (f"0x{tx.hex()}" for tx in (GOOD, FORGED))
    assert b"-> data: hello" in ask("echo", "hello")
    assert b"conclave" in ask("info")
    assert b"-> code: OK" in ask("check_tx", good)
    assert b"-> code: 203" in ask("check_tx", forged)
    assert b"ACCEPT" in ask("process_proposal", good)
    assert b"REJECT" in ask("process_proposal", forged)
    assert GOOD in ask("prepare_proposal", good)
    proven = ask("query", '"ledger"', "--path", "/state", "--prove", "--height", "1")
    assert b"-> code: OK" in proven
    assert b"-> height: 1" in proven
    assert b"-> proof:" in proven
