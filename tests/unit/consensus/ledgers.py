"""A reader over a ledger in memory, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.reader import VerifiedReader
from consensus.trust_store import TrustRoot, TrustStore
from ledger.errors import Code, ConclaveError
from tests.support.chain import set_of
from tests.support.ledger import Ledger, Node


def root_of(ledger: Ledger) -> TrustRoot:
    """The genesis validators as the root of trust."""
    return TrustRoot(ledger.chain.chain_id, 1, None, set_of(ledger.chain.members[1]))


def reader_of(node: Node, folder: Path) -> VerifiedReader:
    """Read ``node`` with the ledger's own time as the clock."""
    store = TrustStore(folder / "trust.json")
    store.ensure(root_of(node.ledger))
    return VerifiedReader(node, store, clock=lambda: node.ledger.chain.now_ns)


def code_of(raised: pytest.ExceptionInfo[ConclaveError]) -> Code:
    """The code of what was raised."""
    return raised.value.code
