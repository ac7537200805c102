"""Nodes that take an envelope or do not, and a clock for whoever waits, for the tests of ``submit``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NoReturn

from consensus.answers import BroadcastAnswer, TxResult
from consensus.submit import Patience
from ledger.bodies import release_body
from ledger.errors import Code, EnvironmentFault
from ledger.types import sha256
from tests.support.ledger import ALICE, Ledger, Node, a_release, envelope


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.now, self.meanwhile = 0.0, meanwhile

    def patience(self, timeout_seconds: float = 10) -> Patience:
        return Patience(timeout_seconds, poll_seconds=1, monotonic=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()


def tx_of(text: str = "one") -> bytes:
    return envelope(ALICE, release_body(a_release(text=text)))


class Taking(Node):
    """A node that takes every transaction and passes none on; ``offered`` are those."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.offered: list[bytes] = []

    def broadcast_tx_sync(self, tx: bytes) -> BroadcastAnswer:
        self.offered.append(tx)
        return BroadcastAnswer(0, "", sha256(tx))


class Refusing(Node):
    """A node that takes no transaction."""

    def broadcast_tx_sync(self, tx: bytes) -> NoReturn:
        raise EnvironmentFault(Code.RPC_REFUSED, got="mempool is full")


class Away(Node):
    """A node that answers nothing about transactions; ``offered`` counts the attempts."""

    offered = 0

    def broadcast_tx_sync(self, tx: bytes) -> NoReturn:
        self.offered += 1
        raise EnvironmentFault(Code.RPC_UNREACHABLE, got=tx)

    def tx(self, tx_hash: bytes) -> NoReturn:
        raise EnvironmentFault(Code.RPC_UNREACHABLE, got=tx_hash)


def result_with(**changes: Any) -> Callable[[tuple[TxResult, ...]], tuple[TxResult, ...]]:
    return lambda results: tuple(dataclasses.replace(r, **changes) for r in results)
