"""The client of CometBFT's JSON-RPC.

Owns the calls we make and the choice among several endpoints. Promises typed answers within limits, every
failure an ``EnvironmentFault`` (RPC_UNREACHABLE, RPC_ANSWER_INVALID, RPC_ANSWER_TOO_LARGE, RPC_REFUSED)
with the endpoint in its facts, or ``VerificationFailed`` for headers and validators that are no such
thing. Nothing it returns is verified.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from consensus import answers
from consensus.density import too_dense
from consensus.http import Connection, Limits
from consensus.incident import FILE_NAME, IncidentFile
from consensus.light.encoding import validators_hash
from consensus.light.types import LightBlock, SignedHeader, Validator, ValidatorSet
from consensus.sources import Rpc
from consensus.witness import Panel
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.types import JsonObject

__all__ = ["QUICK", "VALIDATORS_PER_PAGE", "Rpc", "RpcClient", "open_panel"]
QUICK = Limits(connect_seconds=2.0, exchange_seconds=15.0)
"""Of nodes that others can stand in for."""
VALIDATORS_PER_PAGE = 100
"""CometBFT's own maximum (rpc/core/env.go)."""
BATCHES = (50, 10, 1)
"""How many requests go in one exchange: 10 is CometBFT's default limit; a node may have set a lower one."""
BYTES_PER_BRACKET_MIN, BYTES_PER_COMMA_MIN = 24, 8
"""CometBFT's densest, results of transactions that did nothing, have 51 and 13."""
_METHOD_NOT_FOUND = -32601
"""JSON-RPC 2.0 §5.1."""
_ELSEWHERE = frozenset({Code.RPC_UNREACHABLE, Code.RPC_ANSWER_INVALID, Code.RPC_ANSWER_TOO_LARGE})
"""Failures of one endpoint, worth trying the next for."""
_TOO_MANY = frozenset({Code.RPC_REFUSED, Code.RPC_ANSWER_TOO_LARGE})
"""What fewer requests in one exchange may cure."""


class RpcClient:
    """A client of one node, or of several asked in turn until one answers.

    Args:
        endpoints: ``http://host:port``, one or several.
        limits: timeouts and the cap on answers.

    Raises:
        Refused: USAGE for a malformed endpoint or none.
    """

    def __init__(self, endpoints: str | Sequence[str], limits: Limits | None = None) -> None:
        named = [endpoints] if isinstance(endpoints, str) else list(endpoints)
        if not named:
            raise Refused(Code.USAGE, expected="at least one RPC endpoint")
        self._connections = [Connection(endpoint, limits or Limits()) for endpoint in named]
        self._preferred = 0
        self._batches = list(BATCHES)
        self._set: ValidatorSet | None = None

    @property
    def endpoint(self) -> str:
        """The endpoint that answered last."""
        return self._connections[self._preferred].endpoint

    def close(self) -> None:
        """Close kept connections."""
        for connection in self._connections:
            connection.close()

    def status(self) -> answers.NodeStatus:
        """Give ``/status``."""
        return answers.read_status(self._call("status", {}))

    def newest(self) -> answers.NodeStatus:
        """Give ``/header`` of the newest block: ``/status`` waits where the node is at work on one."""
        return answers.read_newest(self._call("header", {}))

    def signed_header(self, height: int) -> SignedHeader:
        """Give ``/commit`` of ``height``."""
        return answers.read_commit(self._call("commit", {"height": str(height)}))

    def validators(self, height: int) -> ValidatorSet:
        """Give the whole validator set of ``height``, page by page.

        Raises:
            EnvironmentFault: RPC_ANSWER_INVALID if the pages do not add up.
            VerificationFailed: VALIDATOR_SET_INVALID, VALIDATOR_DUPLICATE, KEY_TYPE_UNSUPPORTED.
        """
        found: list[Validator] = []
        page, total = 0, 1
        while len(found) < total:
            page += 1
            params = {"height": str(height), "page": str(page), "per_page": str(VALIDATORS_PER_PAGE)}
            answer = answers.read_validators_page(self._call("validators", params), height, page)
            total = answer.total if page == 1 else total
            # Only the last page may be short: a node must not make us ask for thousands.
            size = min(VALIDATORS_PER_PAGE, total - len(found))
            if len(answer.validators) != size or answer.total != total:
                raise EnvironmentFault(
                    Code.RPC_ANSWER_INVALID,
                    got=f"page {page} of {len(answer.validators)}, {answer.total} in all",
                    expected=f"{size} of {total}",
                    endpoint=self.endpoint,
                )
            found.extend(answer.validators)
        return ValidatorSet.of(tuple(found))

    def light_block(self, height: int) -> LightBlock:
        """Give the light block of ``height``; a set is fetched only where the one fetched last is another."""
        signed_header = self.signed_header(height)
        header = signed_header.header
        validators = self._named(header.validators_hash, height)
        return LightBlock(signed_header, validators, self._named(header.next_validators_hash, height + 1))

    def _named(self, set_hash: bytes, height: int) -> ValidatorSet:
        """Give the set that a header names by its hash: the one fetched last, where it is the same."""
        if self._set is None or validators_hash(self._set) != set_hash:
            self._set = self.validators(height)
        return self._set

    def abci_query(self, path: str, data: bytes, height: int) -> answers.QueryAnswer:
        """Give ``/abci_query`` with proof."""
        params = {"path": path, "data": data.hex(), "height": str(height), "prove": True}
        return answers.read_query(self._call("abci_query", params))

    def abci_queries(self, path: str, data: Sequence[bytes], height: int) -> list[answers.QueryAnswer]:
        """Give ``/abci_query`` with proof for each of ``data``, in as few exchanges as the node takes."""
        params = [{"path": path, "data": d.hex(), "height": str(height), "prove": True} for d in data]
        found: list[answers.QueryAnswer] = []
        while len(found) < len(params):
            size, rest = self._batches[0], params[len(found) :]
            # CometBFT answers a batch of one as if it were none (rpc/jsonrpc/server/http_server.go).
            if size == 1 or len(rest) == 1:
                return found + [answers.read_query(self._call("abci_query", one)) for one in rest]
            try:
                found += [answers.read_query(a) for a in self._call_all("abci_query", rest[:size])]
            except EnvironmentFault as fault:
                if fault.code not in _TOO_MANY:
                    raise
                # For good: a node's limit does not change while it runs.
                self._batches.pop(0)
        return found

    def broadcast_tx_sync(self, tx: bytes) -> answers.BroadcastAnswer:
        """Give ``/broadcast_tx_sync``."""
        return answers.read_broadcast(self._call("broadcast_tx_sync", {"tx": base64.b64encode(tx).decode()}))

    def broadcast_evidence(self, evidence: JsonObject) -> bytes:
        """Give ``/broadcast_evidence``: the hash; RPC_REFUSED where the node does not find it valid."""
        return answers.read_evidence(self._call("broadcast_evidence", {"evidence": evidence}))

    def tx(self, tx_hash: bytes) -> answers.TxAnswer:
        """Give ``/tx`` with proof; RPC_REFUSED while it is not included."""
        params = {"hash": base64.b64encode(tx_hash).decode(), "prove": True}
        return answers.read_tx(self._call("tx", params))

    def block_txs(self, height: int) -> tuple[bytes, ...]:
        """Give the transactions of ``/block``; RPC_REFUSED where the node has no such block."""
        return answers.read_block_txs(self._call("block", {"height": str(height)}), height)

    def block_results(self, height: int) -> tuple[answers.TxResult, ...]:
        """Give ``/block_results``."""
        return answers.read_results(self._call("block_results", {"height": str(height)}), height)

    def _call(self, method: str, params: dict[str, Any]) -> Any:
        return self._exchange(_request(1, method, params), _one, method)

    def _call_all(self, method: str, params: Sequence[dict[str, Any]]) -> list[Any]:
        """Call ``method`` with each of ``params`` in one exchange; all answers, or the first refusal."""
        batch = [_request(number, method, one) for number, one in enumerate(params)]
        found: list[Any] = self._exchange(
            batch, lambda content, where: _all(content, len(batch), where), method
        )
        return found

    def _exchange(self, request: Any, read: Callable[[Any, JsonObject], Any], method: str) -> Any:
        body = json.dumps(request).encode()
        count = len(self._connections)
        for attempt in range(count):
            chosen = (self._preferred + attempt) % count
            try:
                result = _exchanged(self._connections[chosen], body, method, read)
            except EnvironmentFault as fault:
                if fault.code not in _ELSEWHERE or attempt == count - 1:
                    raise
                continue
            self._preferred = chosen
            return result
        raise AssertionError("unreachable: the last attempt returns or raises")


def _request(number: int, method: str, params: dict[str, Any]) -> JsonObject:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def _exchanged(
    connection: Connection, body: bytes, method: str, read: Callable[[Any, JsonObject], Any]
) -> Any:
    content = connection.post(body)
    where: JsonObject = {"endpoint": connection.endpoint, "method": method}
    dense = too_dense(
        content, bytes_per_bracket_min=BYTES_PER_BRACKET_MIN, bytes_per_comma_min=BYTES_PER_COMMA_MIN
    )
    if dense:
        raise EnvironmentFault(
            Code.RPC_ANSWER_INVALID, got=dense, expected="an answer as dense as CometBFT's", **where
        )
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        raise EnvironmentFault(
            Code.RPC_ANSWER_INVALID, got=content[:80], expected="a JSON-RPC answer", **where
        ) from None
    return read(answer, where)


def _one(answer: Any, where: JsonObject) -> Any:
    if not isinstance(answer, dict) or ("result" in answer) == ("error" in answer):
        raise EnvironmentFault(
            Code.RPC_ANSWER_INVALID,
            got=f"{type(answer).__name__} without exactly one of them",
            expected="either a result or an error",
            **where,
        )
    if "error" in answer:
        error = answer["error"] if isinstance(answer["error"], dict) else {}
        raise EnvironmentFault(
            Code.RPC_REFUSED,
            got=": ".join(said for name in ("message", "data") if isinstance(said := error.get(name), str)),
            expected="a result",
            todo="the node's own words are above",
            unknown=error.get("code") == _METHOD_NOT_FOUND,
            **where,
        )
    return answer["result"]


def _all(answer: Any, count: int, where: JsonObject) -> list[Any]:
    """Give the results of a batch in the order of its requests; answers need not keep it (JSON-RPC §6)."""
    if not isinstance(answer, list):
        # A batch that is refused as a whole gets one answer.
        _one(answer, where)
        answer = []
    found = {one.get("id"): one for one in answer if isinstance(one, dict) and type(one.get("id")) is int}
    if len(answer) != count or found.keys() != set(range(count)):
        raise EnvironmentFault(
            Code.RPC_ANSWER_INVALID,
            got=f"{len(answer)} answers",
            expected=f"one to each of {count} requests",
            **where,
        )
    return [_one(found[number], where) for number in range(count)]


def open_panel(endpoints: Sequence[str], folder: Path, limits: Limits = QUICK) -> Panel:
    """Give a panel of the nodes at ``endpoints``; an attack is recorded in ``folder``.

    Raises:
        Refused: USAGE.
    """
    # One node named twice would be its own witness.
    peers = [RpcClient(endpoint, limits) for endpoint in dict.fromkeys(endpoints)]
    return Panel(peers, IncidentFile(folder / FILE_NAME))
