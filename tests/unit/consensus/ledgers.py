"""A reader over a ledger in memory, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.reader import VerifiedReader
from consensus.sources import Rpc
from consensus.trust_store import TrustRoot, TrustStore
from ledger.errors import Code, ConclaveError
from tests.support.chain import set_of
from tests.support.ledger import Ledger, Node


def root_of(ledger: Ledger) -> TrustRoot:
    """The genesis validators as the root of trust."""
    return TrustRoot(ledger.chain.chain_id, 1, None, set_of(ledger.chain.members[1]))


def reader_of(node: Node, folder: Path) -> VerifiedReader:
    """Read ``node`` with the ledger's own time as the clock."""
    return reader_through(node, node.ledger, folder)


def reader_through(rpc: Rpc, ledger: Ledger, folder: Path) -> VerifiedReader:
    """Read through ``rpc``, whose nodes show ``ledger``, as ``reader_of``."""
    store = TrustStore(folder / "trust.json")
    store.ensure(root_of(ledger))
    return VerifiedReader(rpc, store, clock=lambda: ledger.chain.now_ns)


def code_of(raised: pytest.ExceptionInfo[ConclaveError]) -> Code:
    """The code of what was raised."""
    return raised.value.code
