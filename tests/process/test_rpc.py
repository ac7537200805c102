"""The RPC client against servers that misbehave: each failure has its code, none outlives its deadline."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import time
from dataclasses import replace
from typing import Any

import pytest

from consensus.http import Limits
from consensus.light.render import signed_header_json, validators_json
from consensus.rpc import BATCHES, RpcClient
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed
from ledger.types import sha256
from state.merkle import merkle_root
from tests.support.chain import Chain, set_of, signers
from tests.unit.consensus.wire import Behaviour, answering, http, serve

PATIENCE_S = 60.0
LIMITS = Limits(connect_seconds=PATIENCE_S, exchange_seconds=PATIENCE_S, answer_bytes_max=4096)
"""Who answers may do so on a busy machine."""
HASTY = replace(LIMITS, exchange_seconds=0.4)
STATUS = {
    "node_info": {"network": "c"},
    "sync_info": {
        "latest_block_height": "7",
        "latest_block_time": "2026-01-01T00:00:00Z",
        "catching_up": False,
    },
}


def result(value: Any) -> bytes:
    return http(json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode())


def _fails(*behaviours: Behaviour, limits: Limits = LIMITS) -> ConclaveError:
    with serve(*behaviours) as endpoint, contextlib.closing(RpcClient(endpoint, limits)) as client:
        with pytest.raises((EnvironmentFault, VerificationFailed)) as fault:
            client.status()
        if fault.value.code is not Code.RPC_ANSWER_INVALID:
            assert fault.value.facts["endpoint"] == endpoint
        return fault.value


def _dripping(begun: bytes) -> Behaviour:
    """Never end, and never keep silent for long."""

    def drip(opened: socket.socket) -> None:
        opened.recv(65536)
        opened.sendall(begun)
        while True:
            time.sleep(0.1)
            opened.sendall(b"x")

    return drip


def _endless(opened: socket.socket) -> None:
    opened.recv(65536)
    opened.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        opened.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")


@pytest.mark.requires("rpc.typed-answers")
def test_an_answer_is_typed() -> None:
    with (
        serve(answering(result(STATUS))) as endpoint,
        contextlib.closing(RpcClient(endpoint, LIMITS)) as client,
    ):
        assert (client.status().height, client.endpoint) == (7, endpoint)


@pytest.mark.requires("rpc.typed-answers")
def test_the_hash_of_evidence_is_32_bytes_in_base64() -> None:
    digest = bytes(range(32))
    good, short = ({"hash": base64.b64encode(raw).decode()} for raw in (digest, digest[1:]))
    with (
        serve(answering(result(good), result(short), result({}))) as endpoint,
        contextlib.closing(RpcClient(endpoint, LIMITS)) as client,
    ):
        assert client.broadcast_evidence({}) == digest
        for _ in range(2):
            with pytest.raises(EnvironmentFault) as fault:
                client.broadcast_evidence({})
            assert fault.value.code is Code.RPC_ANSWER_INVALID


@pytest.mark.requires("rpc.connection-kept")
def test_a_connection_is_kept_and_replaced_when_the_server_closed_it() -> None:
    kept, fresh = answering(result(STATUS), result(STATUS)), answering(result(STATUS))
    with serve(kept, fresh) as endpoint, contextlib.closing(RpcClient(endpoint, LIMITS)) as client:
        assert [client.status().height for _ in range(3)] == [7, 7, 7]


@pytest.mark.requires("rpc.deadline")
@pytest.mark.parametrize(
    "behaviour",
    [
        _dripping(b"HTTP/1.1 200 OK\r\nName: "),
        _dripping(http(b"", length=4000)),
        answering(b""),
        answering(b"", close=False),
    ],
)
def test_a_server_that_does_not_finish(behaviour: Behaviour) -> None:
    begun = time.monotonic()
    assert _fails(behaviour, limits=HASTY).code is Code.RPC_UNREACHABLE
    assert time.monotonic() - begun < PATIENCE_S


@pytest.mark.requires("rpc.answer-capped")
@pytest.mark.parametrize("behaviour", [answering(http(b" " * 5000)), _endless], ids=["stated", "endless"])
def test_an_answer_over_the_cap(behaviour: Behaviour) -> None:
    assert _fails(behaviour).code is Code.RPC_ANSWER_TOO_LARGE


@pytest.mark.requires("rpc.answer-capped")
def test_a_stated_length_is_not_believed() -> None:
    assert _fails(answering(http(b"{}", length=3000))).code is Code.RPC_UNREACHABLE


@pytest.mark.requires("rpc.unreachable-named")
def test_nobody_listens() -> None:
    # Held, so that nobody else listens there either.
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        client = RpcClient(f"http://127.0.0.1:{holder.getsockname()[1]}", LIMITS)
        with pytest.raises(EnvironmentFault) as fault:
            client.status()
    assert fault.value.code is Code.RPC_UNREACHABLE
    assert "node runs" in fault.value.todo


@pytest.mark.requires("rpc.typed-answers")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"[" * 4000,
        b'{"result":1,"error":{}}',
        b'{"result":null}',
        b'{"result":{"sync_info":{"latest_block_height":7}}}',
        b'{"result":{"node_info":{"network":"c"},"sync_info":{"latest_block_height":"7","latest_block_time":1}}}',
        b"\xff\xfe",
    ],
)
def test_any_other_body_is_invalid(body: bytes) -> None:
    assert _fails(answering(http(body))).code is Code.RPC_ANSWER_INVALID


@pytest.mark.requires("rpc.typed-answers")
def test_a_body_that_is_no_http() -> None:
    assert _fails(answering(b"\x00\x01garbage\r\n\r\n")).code is Code.RPC_UNREACHABLE


@pytest.mark.requires("rpc.refusal-named")
def test_the_nodes_own_refusal() -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "m", "data": "d"}})
    fault = _fails(answering(http(body.encode(), status="500 Internal Server Error")))
    assert (fault.code, fault.got) == (Code.RPC_REFUSED, "m: d")


@pytest.mark.requires("rpc.several-endpoints")
def test_the_first_endpoint_that_answers_is_used() -> None:
    with (
        serve(answering(http(b"nonsense"))) as broken,
        serve(answering(result(STATUS), result(STATUS))) as sound,
    ):
        client = RpcClient([broken, sound], LIMITS)
        with contextlib.closing(client):
            assert [client.status().height, client.status().height] == [7, 7]
            assert client.endpoint == sound


@pytest.mark.requires("rpc.several-endpoints")
def test_a_refusal_is_an_answer_and_not_tried_elsewhere() -> None:
    refusal = http(b'{"error":{"message":"no"}}')
    with serve(answering(refusal)) as first:
        client = RpcClient([first, "http://127.0.0.1:1"], LIMITS)
        with contextlib.closing(client), pytest.raises(EnvironmentFault) as fault:
            client.status()
    assert fault.value.code is Code.RPC_REFUSED


@pytest.mark.requires("rpc.unreachable-named")
@pytest.mark.parametrize(
    "endpoint",
    ["", "127.0.0.1:26657", "https://h:1", "http://h", "http://h:x", "http://h:1/p", "http://[::1", []],
)
def test_a_malformed_endpoint(endpoint: Any) -> None:
    with pytest.raises(Refused) as refused:
        RpcClient(endpoint)
    assert refused.value.code is Code.USAGE


def _pages(*pages: tuple[list[Any], int]) -> Behaviour:
    return answering(
        *(
            result({"block_height": "3", "validators": v, "count": str(len(v)), "total": str(total)})
            for v, total in pages
        )
    )


@pytest.mark.requires("rpc.all-validators")
def test_a_set_is_fetched_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.rpc.VALIDATORS_PER_PAGE", 2)
    members = signers("a", "b", "c")
    listed = validators_json(set_of(members))
    behaviour = _pages((listed[:2], 3), (listed[2:], 3))
    with serve(behaviour) as endpoint, contextlib.closing(RpcClient(endpoint, LIMITS)) as client:
        assert client.validators(3) == set_of(members)


@pytest.mark.requires("rpc.all-validators")
@pytest.mark.parametrize("second", [([], 3), ([], 2), ([None], 3), ([None], 4)])
def test_pages_that_do_not_add_up(second: tuple[list[Any], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.rpc.VALIDATORS_PER_PAGE", 2)
    listed = validators_json(set_of(signers("a", "b")))
    behaviour = _pages((listed, 3), second)
    with (
        serve(behaviour) as endpoint,
        contextlib.closing(RpcClient(endpoint, LIMITS)) as client,
        pytest.raises((EnvironmentFault, VerificationFailed)) as fault,
    ):
        client.validators(3)
    assert fault.value.code in (Code.RPC_ANSWER_INVALID, Code.VALIDATOR_SET_INVALID)


def _block(**changes: Any) -> dict[str, Any]:
    return {"block": {"header": {"height": "3"}, "data": {"txs": ["YQ==", "YmM="]}} | changes}


@pytest.mark.requires("rpc.typed-answers")
@pytest.mark.parametrize(
    ("answer", "txs"),
    [
        (_block(), (b"a", b"bc")),
        (_block(data={"txs": []}), ()),
        (_block(data={"txs": None}), ()),
        (_block(data={}), ()),
        (_block(data={"txs": "YQ=="}), None),
        (_block(data={"txs": ["?"]}), None),
        (_block(data={"txs": [["YQ=="]]}), None),
        (_block(data={"txs": ["A" * 6_000_000]}), None),
        (_block(data=None), None),
        (_block(header={"height": "4"}), None),
        (_block(header={}), None),
        ({"block": None}, None),
        (None, None),
    ],
)
def test_the_transactions_of_a_block(answer: Any, txs: tuple[bytes, ...] | None) -> None:
    with (
        serve(answering(result(answer))) as endpoint,
        contextlib.closing(RpcClient(endpoint, Limits(answer_bytes_max=10_000_000))) as client,
    ):
        if txs is not None:
            assert client.block_txs(3) == txs
            return
        with pytest.raises(EnvironmentFault) as fault:
            client.block_txs(3)
        assert fault.value.code is Code.RPC_ANSWER_INVALID


def _query(key: bytes) -> dict[str, Any]:
    return {"response": {"code": 0, "key": base64.b64encode(key).decode(), "height": "3"}}


def _batch(*numbered: tuple[int, bytes]) -> bytes:
    answers = [{"jsonrpc": "2.0", "id": number, "result": _query(key)} for number, key in numbered]
    return http(json.dumps(answers).encode())


_REFUSED = http(json.dumps({"jsonrpc": "2.0", "id": -1, "error": {"message": "batch too large"}}).encode())


@pytest.mark.requires("rpc.asked-together")
def test_several_queries_take_one_exchange_whatever_the_order_of_the_answers() -> None:
    with (
        serve(answering(_batch((1, b"b"), (2, b"c"), (0, b"a")))) as endpoint,
        contextlib.closing(RpcClient(endpoint, LIMITS)) as client,
    ):
        assert [a.key for a in client.abci_queries("/state", [b"a", b"b", b"c"], 3)] == [b"a", b"b", b"c"]


@pytest.mark.requires("rpc.asked-together")
def test_a_last_query_that_is_alone_is_no_batch() -> None:
    keys = [b"%d" % number for number in range(BATCHES[0] + 1)]
    whole = _batch(*enumerate(keys[:-1]))
    with (
        serve(answering(whole, result(_query(keys[-1])))) as endpoint,
        contextlib.closing(RpcClient(endpoint, Limits(answer_bytes_max=len(whole)))) as client,
    ):
        assert [a.key for a in client.abci_queries("/state", keys, 3)] == keys


@pytest.mark.requires("rpc.asked-together")
def test_a_node_that_takes_no_batches_is_asked_one_by_one() -> None:
    singles = [result(_query(key)) for key in (b"a", b"b", b"a")]
    with (
        serve(answering(_REFUSED, _REFUSED, *singles)) as endpoint,
        contextlib.closing(RpcClient(endpoint, LIMITS)) as client,
    ):
        assert [a.key for a in client.abci_queries("/state", [b"a", b"b"], 3)] == [b"a", b"b"]
        assert [a.key for a in client.abci_queries("/state", [b"a"], 3)] == [b"a"]


@pytest.mark.requires("rpc.asked-together", "rpc.typed-answers")
@pytest.mark.parametrize(
    "answer",
    [
        _batch((0, b"a")),
        _batch((0, b"a"), (0, b"b")),
        _batch((0, b"a"), (2, b"b")),
        _batch((0, b"a"), (1, b"b"), (2, b"c")),
        http(b"[]"),
        http(b"[1, 2]"),
        http(b"{}"),
        http(b'[{"id": 0, "result": 1}, {"id": true, "result": 1}]'),
        http(b'[{"id": 0}, {"id": 1}]'),
    ],
)
def test_a_batch_with_other_answers_than_requests_is_invalid(answer: bytes) -> None:
    with (
        serve(answering(answer)) as endpoint,
        contextlib.closing(RpcClient(endpoint, LIMITS)) as client,
        pytest.raises(EnvironmentFault) as fault,
    ):
        client.abci_queries("/state", [b"a", b"b"], 3)
    assert fault.value.code is Code.RPC_ANSWER_INVALID


@pytest.mark.requires("rpc.typed-answers")
@pytest.mark.parametrize("txs", [(), (b"a transaction",)])
def test_the_newest_header_tells_whether_its_block_carries_transactions(txs: tuple[bytes, ...]) -> None:
    chain = Chain(signers("a"))
    block = chain.append(data_hash=merkle_root([sha256(tx) for tx in txs]))
    answer = {"header": signed_header_json(block.signed_header)["header"]}
    with (
        serve(answering(result(answer), result({"header": {}}))) as endpoint,
        contextlib.closing(RpcClient(endpoint, LIMITS)) as client,
    ):
        told = client.newest()
        assert (told.height, told.app_hash) == (1, block.header.app_hash)
        assert told.has_transactions is bool(txs)
        with pytest.raises((EnvironmentFault, VerificationFailed)):
            client.newest()
