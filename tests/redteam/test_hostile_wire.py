"""Answers that are no answers: slow, endless, deep, torn, of other types, with any status.

Whatever stands behind the endpoint, the reader ends within its time with a coded refusal.
"""

from __future__ import annotations

import contextlib
import copy
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consensus import answers
from consensus.http import Limits
from consensus.light.types import VALIDATORS_MAX
from consensus.reader import VerifiedReader
from consensus.rpc import RpcClient
from consensus.trust_store import TrustStore
from ledger.errors import Code, ConclaveError
from ledger.types import JsonObject
from tests.redteam.lying_ledger import LyingLedger, answer_of
from tests.redteam.victim import CHAIN, KEY, NODE, VALUE
from tests.unit.consensus.ledgers import root_of
from tests.unit.consensus.wire import Behaviour, answering, http, serve

PATIENT = Limits(connect_seconds=60.0, exchange_seconds=60.0, answer_bytes_max=64 * 1024)
"""No answer that is there, however busy the machine, is taken for one that comes too late."""
QUICK = replace(PATIENT, exchange_seconds=0.3)
"""For whoever never gives a whole answer."""
ASK_SECONDS_MAX = 30.0
"""Far above what an ask takes, below ``PATIENT`` and what the hostile would go on for."""
METHODS = ("status", "commit", "validators", "abci_query")


def ask(endpoint: str, folder: Path, limits: Limits = PATIENT) -> bytes | None:
    store = TrustStore(folder / "trust.json")
    store.ensure(root_of(NODE.ledger))
    with contextlib.closing(RpcClient(endpoint, limits)) as rpc:
        return VerifiedReader(rpc, store, clock=lambda: CHAIN.now_ns).at().get(KEY).value


def sent(content: bytes) -> Behaviour:
    return answering(content)


def silence(opened: socket.socket) -> None:
    opened.recv(65536)
    opened.recv(1)  # returns when the reader gives up


def drip(opened: socket.socket) -> None:
    opened.recv(65536)
    for byte in http(b" " * 60_000):
        time.sleep(0.02)
        opened.sendall(bytes([byte]))


def endless_body(opened: socket.socket) -> None:
    opened.recv(65536)
    opened.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        opened.sendall(b"[" * 65536)


def endless_headers(opened: socket.socket) -> None:
    opened.recv(65536)
    opened.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        opened.sendall(b"X-Filler: " + b"y" * 1000 + b"\r\n")


def endless_line(opened: socket.socket) -> None:
    opened.recv(65536)
    while True:
        opened.sendall(b"H" * 65536)


def endless_continue(opened: socket.socket) -> None:
    opened.recv(65536)
    while True:
        opened.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def reset(opened: socket.socket) -> None:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


_ENDLESS = {"silence", "a byte at a time", "continue without end"}
"""Only time ends these."""
_NO_ANSWERS: dict[str, tuple[Behaviour, Code]] = {
    "silence": (silence, Code.RPC_UNREACHABLE),
    "a byte at a time": (drip, Code.RPC_UNREACHABLE),
    "a body without end": (endless_body, Code.RPC_ANSWER_TOO_LARGE),
    "headers without end": (endless_headers, Code.RPC_UNREACHABLE),
    "a status line without end": (endless_line, Code.RPC_UNREACHABLE),
    "continue without end": (endless_continue, Code.RPC_UNREACHABLE),
    "a reset": (reset, Code.RPC_UNREACHABLE),
    "hung up": (sent(b""), Code.RPC_UNREACHABLE),
    "half an answer": (sent(http(b"{}", length=3000)), Code.RPC_UNREACHABLE),
    "a negative length": (sent(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"), Code.RPC_ANSWER_INVALID),
    "a chunk of no size": (
        sent(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
        Code.RPC_UNREACHABLE,
    ),
    "another protocol": (sent(b"SSH-2.0-OpenSSH_9.9\r\n"), Code.RPC_UNREACHABLE),
    "a TLS alert": (sent(b"\x15\x03\x01\x00\x02\x02\x46"), Code.RPC_UNREACHABLE),
    "a page": (sent(http(b"<html>no</html>", status="404 Not Found")), Code.RPC_ANSWER_INVALID),
    "a redirect": (
        sent(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
        Code.RPC_ANSWER_INVALID,
    ),
    "bad gateway": (sent(http(b"", status="502 Bad Gateway")), Code.RPC_ANSWER_INVALID),
    "a deep one": (sent(http(b"[" * 50_000)), Code.RPC_ANSWER_INVALID),
    "a deep result": (sent(http(b'{"result":' * 6000)), Code.RPC_ANSWER_INVALID),
    "a number of many digits": (
        sent(http(b'{"result":' + b"9" * 60_000 + b"}")),
        Code.RPC_ANSWER_INVALID,
    ),
    "NaN": (sent(http(b'{"result":NaN}')), Code.RPC_ANSWER_INVALID),
    "no UTF-8": (sent(http(b'{"result":"\xff"}')), Code.RPC_ANSWER_INVALID),
    "nothing": (sent(http(b"null")), Code.RPC_ANSWER_INVALID),
    "a refusal that says too much": (
        sent(http(json.dumps({"error": {"message": "m" * 50_000, "data": "\x1b[2J"}}).encode())),
        Code.RPC_REFUSED,
    ),
    "a refusal of no shape": (sent(http(b'{"error":[1]}')), Code.RPC_REFUSED),
}


class Said:
    """A connection on which whatever is asked the same is answered."""

    endpoint = "http://liar:1"

    def __init__(self, content: bytes) -> None:
        self._content = content

    def post(self, _: bytes) -> bytes:
        return self._content


def said(content: bytes, monkeypatch: pytest.MonkeyPatch) -> RpcClient:
    monkeypatch.setattr("consensus.rpc.Connection", lambda *_: Said(content))
    return RpcClient(Said.endpoint)


@pytest.mark.requires("redteam.hostile-wire")
@pytest.mark.parametrize(
    "form",
    ["%s", '{"result":%s}', '{"result":1,"error":%s}', '{"error":{"message":%s}}', '[{"id":0,"result":%s}]'],
)
def test_no_depth_gets_past_our_errors(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Just below the depth that the parser refuses, whatever walks or prints the value would fail."""
    for depth in range(800, 1010):
        for deep in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
            with pytest.raises(ConclaveError):
                said(form.replace("%s", deep).ljust(64 * depth).encode(), monkeypatch).status()


@pytest.mark.requires("redteam.hostile-wire")
@pytest.mark.parametrize("filler", [b"{},", b"[],", b"1,", b'"a",'])
def test_structure_that_would_take_many_times_its_bytes_is_not_parsed(
    filler: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b'{"result":[' + filler * (2**21 // len(filler)) + b"{}]}"
    client = said(content, monkeypatch)
    tracemalloc.start()
    try:
        with pytest.raises(ConclaveError) as refused:
            client.signed_header(5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.code is Code.RPC_ANSWER_INVALID
    assert peak < len(content)


@pytest.mark.requires("redteam.hostile-wire")
def test_the_densest_answer_of_an_honest_node_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: JsonObject = {
        "code": 0, "data": None, "log": "", "info": "", "gas_wanted": "0", "gas_used": "0",
        "events": [], "codespace": "",
    }  # fmt: skip
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"height": "5", "txs_results": [nothing] * 20_000}}
    content = json.dumps(answer, separators=(",", ":")).encode()
    assert len(said(content, monkeypatch).block_results(5)) == 20_000


@pytest.mark.requires("redteam.hostile-wire")
@pytest.mark.parametrize("text", [",", "[", "{", '"[', "\\,", '\\",'])
def test_what_strangers_wrote_into_a_text_keeps_no_answer_of_an_honest_node_away(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal names the object that was refused, and its author chose the name: one for a whole block."""
    done: JsonObject = {
        "code": 0, "data": None, "log": "", "info": "", "gas_wanted": "0", "gas_used": "0",
        "events": [], "codespace": "",
    }  # fmt: skip
    refused = {**done, "code": int(Code.PERMISSION_DENIED), "log": text * 300, "codespace": "conclave"}
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"height": "5", "txs_results": [done, refused]}}
    content = json.dumps(answer, separators=(",", ":")).encode()
    assert len(said(content, monkeypatch).block_results(5)) == 2
    # But no string hides what stands behind it.
    dense = content[:-1] + b',"more":[' + b'"",' * 4000 + b'""]}'
    with pytest.raises(ConclaveError) as known:
        said(dense, monkeypatch).block_results(5)
    assert known.value.code is Code.RPC_ANSWER_INVALID


@pytest.mark.requires("redteam.hostile-wire")
@pytest.mark.parametrize("name", _NO_ANSWERS)
def test_an_answer_that_is_none(name: str, tmp_path: Path) -> None:
    behaviour, code = _NO_ANSWERS[name]
    limits = QUICK if name in _ENDLESS else PATIENT
    with serve(behaviour) as endpoint:
        began = time.monotonic()
        with pytest.raises(ConclaveError) as caught:
            ask(endpoint, tmp_path, limits)
        assert time.monotonic() - began < ASK_SECONDS_MAX
    assert caught.value.code is code
    assert caught.value.expected
    assert len(str(caught.value)) < 2000
    assert str(caught.value).replace("\n", "").isprintable()
    if code is Code.RPC_UNREACHABLE:
        assert caught.value.todo
        assert caught.value.facts["endpoint"] == endpoint


@pytest.mark.requires("redteam.hostile-wire")
@pytest.mark.parametrize("method", METHODS)
def test_an_answer_that_comes_too_late(liar: LyingLedger, tmp_path: Path, method: str) -> None:
    given_up = threading.Event()

    def late(called: str, _params: JsonObject, result: Any) -> Any:
        if called == method:
            given_up.wait(2 * ASK_SECONDS_MAX)
        return result

    liar.lie = late
    began = time.monotonic()
    with pytest.raises(ConclaveError) as caught:
        ask(liar.url, tmp_path, QUICK)
    given_up.set()
    assert time.monotonic() - began < ASK_SECONDS_MAX
    assert caught.value.code is Code.RPC_UNREACHABLE
    liar.be_honest()
    assert ask(liar.url, tmp_path, Limits()) == VALUE


@pytest.mark.requires("redteam.hostile-wire")
@pytest.mark.parametrize("method", METHODS)
def test_an_answer_that_is_huge(liar: LyingLedger, tmp_path: Path, method: str) -> None:
    filler = "x" * (2 * PATIENT.answer_bytes_max)
    liar.lie = lambda called, _params, result: {**result, "filler": filler} if called == method else result
    with pytest.raises(ConclaveError) as caught:
        ask(liar.url, tmp_path)
    assert caught.value.code is Code.RPC_ANSWER_TOO_LARGE
    liar.be_honest()


@pytest.mark.requires("redteam.hostile-wire")
def test_a_set_of_too_many_validators(
    liar: LyingLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lie(method: str, _params: JsonObject, result: Any) -> Any:
        if method == "validators":
            result["validators"] = (result["validators"] * (VALIDATORS_MAX + 1))[: VALIDATORS_MAX + 1]
            result["total"] = str(VALIDATORS_MAX)
        return result

    parsed: list[int] = []
    monkeypatch.setattr(answers, "parse_validator", lambda _, index: parsed.append(index))
    liar.lie = lie
    with pytest.raises(ConclaveError) as caught:
        ask(liar.url, tmp_path, replace(PATIENT, answer_bytes_max=100 * 1024 * 1024))
    assert caught.value.code is Code.RPC_ANSWER_INVALID
    assert parsed == [], "they are counted before any of them is looked at"
    liar.be_honest()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [found for key, item in items for found in _paths(item, (*path, key))]


def _asked(method: str) -> JsonObject:
    height = str(CHAIN.height)
    if method == "abci_query":
        return {"data": KEY.hex(), "height": str(CHAIN.height - 1)}
    return {} if method == "status" else {"height": height}


HONEST = {method: answer_of(NODE, method, _asked(method)) for method in METHODS}
PLACES = [(method, path) for method in METHODS for path in _paths(HONEST[method])]
JUNK: list[Any] = [
    None, True, 0, -1, 2**80, 1.5, "", "x", "\ud800", "0" * 5000, [], [[]], {}, {"a": {"b": []}}, "-0", "1e3",
    "\uff19", " 1", "0001-01-01T00:00:00Z", "AB" * 31,
]  # fmt: skip


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = copy.copy(value)
    changed[path[0]] = _replaced(value[path[0]], path[1:], new)
    return changed


def _wrong(method: str, path: tuple[Any, ...], new: Any) -> Callable[[str, JsonObject, Any], Any]:
    def lie(called: str, _params: JsonObject, result: Any) -> Any:
        return _replaced(result, path, new) if called == method else result

    return lie


@pytest.mark.requires("redteam.wrong-types")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), st.sampled_from(JUNK))
def test_any_field_of_any_other_type(
    liar: LyingLedger, tmp_path_factory: pytest.TempPathFactory, place: tuple[str, tuple[Any, ...]], junk: Any
) -> None:
    liar.lie = _wrong(*place, junk)
    try:
        assert ask(liar.url, tmp_path_factory.mktemp("reader"), Limits()) == VALUE
    except ConclaveError:
        return
    finally:
        liar.be_honest()
