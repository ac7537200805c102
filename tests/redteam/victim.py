"""One reader of a lying node, and how a lie is told and judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consensus.http import Limits
from consensus.light.types import LightBlock
from consensus.reader import VerifiedReader
from consensus.rpc import RpcClient
from consensus.trust_store import TrustStore
from ledger import statekeys
from ledger.errors import Code, ConclaveError
from ledger.types import JsonObject
from tests.redteam.lying_ledger import Lie, LyingLedger, a_ledger
from tests.support.ledger import Node
from tests.unit.consensus.ledgers import root_of

KEY = statekeys.ledger_object("Cluster", "east")
VALUE = b'{"authority":null,"height":0,"kind":"Cluster","labels":{},"name":"east","spec":{},"version":1}'
LIE_SECONDS_MAX = 30.0
"""A guard for a busy machine: nothing that is told here takes time."""
NODE = Node(a_ledger())
CHAIN = NODE.ledger.chain
NEWEST = CHAIN.height


class Forgetful(RpcClient):
    """Asks for every validator set anew, so that a lie in any of them is heard."""

    def light_block(self, height: int) -> LightBlock:
        self._set = None
        return super().light_block(height)


class Victim:
    """A reader of a lying node, the values it made, and what it keeps."""

    def __init__(self, url: str, folder: Path) -> None:
        self.rpc = Forgetful(url, Limits())
        self.store = TrustStore(folder / "trust.json")
        self.store.ensure(root_of(NODE.ledger))
        self.reader = VerifiedReader(self.rpc, self.store, clock=lambda: CHAIN.now_ns)

    def ask(self) -> bytes | None:
        """Read the key at the newest height."""
        return self.reader.at().get(KEY).value

    def believes_only_the_chain(self) -> bool:
        """Tell whether what is kept is a header of the true chain."""
        kept = self.store.load()
        newest = kept.newest if kept else None
        return newest is None or newest.hash == CHAIN.trusted(newest.height).hash


def refused(liar: LyingLedger, victim: Victim, made: list[Any], lie: Lie) -> Code:
    """Tell the lie, give the code of its refusal; afterwards the same reader reads the truth."""
    liar.lie = lie
    began = time.monotonic()
    with pytest.raises(ConclaveError) as caught:
        victim.ask()
    assert time.monotonic() - began < LIE_SECONDS_MAX
    assert made == []
    assert victim.believes_only_the_chain()
    assert caught.value.got or caught.value.expected
    liar.be_honest()
    assert victim.ask() == VALUE
    return caught.value.code


def of(method: str, change: Callable[[Any], None], *, height: int = NEWEST) -> Lie:
    """Lie in the answers to ``method`` about one height."""

    def lie(called: str, params: JsonObject, result: Any) -> Any:
        if called == method and params.get("height", str(height)) == str(height):
            change(result)
        return result

    return lie


def in_header(field: str, value: Any) -> Lie:
    """Lie in one field of the newest header."""
    return of("commit", lambda result: result["signed_header"]["header"].update({field: value}))


def in_commit(change: Callable[[JsonObject], None]) -> Lie:
    """Lie in the newest commit."""
    return of("commit", lambda result: change(result["signed_header"]["commit"]))


def instead(**shown: JsonObject) -> Lie:
    """Show another header or commit."""
    return of("commit", lambda result: result["signed_header"].update(shown))


def in_answer(change: Callable[[JsonObject], None]) -> Lie:
    """Lie in the answer to a query."""
    return of("abci_query", lambda result: change(result["response"]), height=NEWEST - 1)
