"""A hostile node among honest ones, over real connections: it costs a bounded time and is replaced.

Whether it is the one asked or a witness, what is read is the truth, and after a few faults it is left alone.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from consensus import time_left
from consensus.accuse import Pace
from consensus.incident import FILE_NAME, IncidentFile
from consensus.peers import PanelSettings
from consensus.reader import VerifiedReader
from consensus.rpc import RpcClient
from consensus.trust_store import TrustStore
from consensus.witness import Panel
from ledger.errors import Code, ConclaveError
from ledger.types import JsonObject
from tests.redteam.lying_ledger import LyingLedger
from tests.redteam.test_hostile_wire import (
    PATIENT,
    QUICK,
    drip,
    endless_body,
    endless_continue,
    endless_headers,
    endless_line,
    sent,
    silence,
)
from tests.redteam.victim import CHAIN, KEY, NODE, VALUE, in_header
from tests.support.attacks import Ticks
from tests.unit.consensus.ledgers import root_of
from tests.unit.consensus.wire import Behaviour, http

READ_SECONDS_MAX = 60.0
"""A guard for a busy machine: the hostile go on for longer."""
HOSTILE: dict[str, Behaviour] = {
    "silent": silence,
    "dripping": drip,
    "endless body": endless_body,
    "endless headers": endless_headers,
    "endless line": endless_line,
    "endless interim answers": endless_continue,
    "garbage": sent(http(b"\xff\xfe no json")),
    "nothing": sent(b""),
}


@pytest.fixture(scope="module")
def honest() -> Iterator[tuple[str, str]]:
    """Two honest nodes."""
    with LyingLedger(NODE.ledger) as one, LyingLedger(NODE.ledger) as other:
        yield one.url, other.url


@contextlib.contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """Serve every connection with one behaviour, until the test is over; give the endpoint."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                opened, _ = listener.accept()
                with opened:
                    opened.settimeout(2 * READ_SECONDS_MAX)
                    behaviour(opened)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        thread.join(timeout=5)
        listener.close()


@contextlib.contextmanager
def reading(
    endpoints: list[str],
    folder: Path,
    hostile: str | None = None,
    settings: PanelSettings | None = None,
    pace: Pace | None = None,
) -> Iterator[tuple[Panel, VerifiedReader]]:
    """Give a panel of nodes and a reader over it that trusts the genesis; ``hostile`` gets little time."""
    store = TrustStore(folder / "trust.json")
    store.ensure(root_of(NODE.ledger))
    peers = [RpcClient(url, QUICK if url == hostile else PATIENT) for url in endpoints]
    # Who is honest is not slow, however busy the machine.
    bounds = settings or PanelSettings(slow_seconds=READ_SECONDS_MAX)
    panel = Panel(peers, IncidentFile(folder / FILE_NAME), bounds, pace)
    with contextlib.closing(panel):
        yield panel, VerifiedReader(panel, store, clock=lambda: CHAIN.now_ns)


@pytest.mark.requires("witness.bounded", "witness.rotation")
@pytest.mark.parametrize("place", [0, 1], ids=["asked", "witness"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_node_costs_a_bounded_time(
    name: str, place: int, honest: tuple[str, str], tmp_path: Path
) -> None:
    with serving(HOSTILE[name]) as hostile:
        endpoints = [*honest[:place], hostile, *honest[place:]]
        with reading(endpoints, tmp_path, hostile) as (panel, reader):
            began = time.monotonic()
            assert reader.at(2).get(KEY).value == VALUE
            assert reader.at().get(KEY).value == VALUE
            assert time.monotonic() - began < READ_SECONDS_MAX
            assert panel.endpoint in honest


class Pages:
    """A lie of two validator sets of ten thousand, of which each page takes its time, by ``ticks``."""

    SECONDS = 60.0

    def __init__(self, ticks: Ticks) -> None:
        self.asked, self._ticks = 0, ticks

    def __call__(self, method: str, params: JsonObject, result: Any) -> Any:
        if int(params.get("height", 0)) < 2:
            return result
        if method == "commit":
            result["signed_header"]["header"] |= {
                "validators_hash": "AB" * 32,
                "next_validators_hash": "CD" * 32,
            }
        if method == "validators":
            self.asked += 1
            self._ticks.wait(self.SECONDS)
            page = int(params["page"])
            keys = [base64.b64encode(bytes([page, number]) * 16).decode() for number in range(100)]
            return {
                "block_height": params["height"],
                "count": "100",
                "total": "10000",
                "validators": [
                    {
                        "address": "",
                        "pub_key": {"type": "tendermint/PubKeyEd25519", "value": key},
                        "voting_power": "1",
                        "proposer_priority": "0",
                    }
                    for key in keys
                ],
            }
        return result


@pytest.mark.requires("witness.bounded")
@pytest.mark.parametrize("place", [0, 1], ids=["asked", "witness"])
def test_the_pages_of_one_block_take_no_more_than_its_time(
    place: int, honest: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, ticks = 10 * Pages.SECONDS, Ticks()
    monkeypatch.setattr(time_left, "time", SimpleNamespace(monotonic=ticks.look))
    with LyingLedger(NODE.ledger) as liar:
        liar.lie = pages = Pages(ticks)
        endpoints = [*honest[:place], liar.url, *honest[place:]]
        hostile = PanelSettings(seconds_max=seconds)
        with reading(endpoints, tmp_path, settings=hostile, pace=ticks.pace) as (panel, reader):
            assert reader.at(2).get(KEY).value == VALUE
            assert panel.endpoint in honest
    # The one asked is a witness too, once another is asked.
    turns = 2 - place
    assert 1 < pages.asked <= turns * (seconds / Pages.SECONDS + 1)


@pytest.mark.requires("witness.rotation")
@pytest.mark.parametrize("place", [0, 1], ids=["asked", "witness"])
def test_a_dead_node_is_replaced(place: int, honest: tuple[str, str], tmp_path: Path) -> None:
    endpoints = [*honest[:place], "http://127.0.0.1:1", *honest[place:]]
    with reading(endpoints, tmp_path) as (panel, reader):
        for height in range(1, CHAIN.height):
            assert reader.at(height).height == height
        assert panel.endpoint in honest
        assert "http://127.0.0.1:1" not in panel.witnesses


@pytest.mark.requires("witness.rotation")
def test_a_node_that_lies_about_a_header_is_replaced(honest: tuple[str, str], tmp_path: Path) -> None:
    with LyingLedger(NODE.ledger) as liar:
        liar.lie = in_header("app_hash", "AB" * 32)
        with reading([liar.url, *honest], tmp_path) as (panel, reader):
            assert reader.at().get(KEY).value == VALUE
            assert panel.endpoint == honest[0]
            assert panel.witnesses == (honest[1],)


@pytest.mark.requires("witness.none-left")
def test_hostile_nodes_alone_confirm_nothing(tmp_path: Path) -> None:
    with (
        LyingLedger(NODE.ledger) as one,
        serving(endless_body) as hostile,
        reading([one.url, hostile], tmp_path, hostile) as (_, reader),
        pytest.raises(ConclaveError) as refused,
    ):
        reader.at()
    assert refused.value.code is Code.NO_WITNESS_AGREES
