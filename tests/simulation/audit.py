"""The invariants of a simulated chain, judged after every block.

Owns ``Audit``: compares the answers and the changes of a block with the recount from the envelopes, and with
a shadow that executes the accepted transactions only. Promises to raise AssertionError on the first breach.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from abci_app.check import Constants, open_envelope
from abci_app.genesis import genesis_state
from abci_app.machine.block import Block, apply_block
from ledger import records, statekeys
from ledger.errors import Code
from ledger.pb import abci_pb2 as pb
from state.reader import Overlay
from state.tree import Tree
from tests.simulation.recount import Recount
from tests.simulation.world import World
from tests.support.subjects import CHAIN_ID

ACCOUNT = b"account/"


class Audit:
    """What must hold, whatever happens to the replicas."""

    def __init__(self, world: World) -> None:
        self.content = dict(genesis_state(world.genesis, CHAIN_ID))
        self.recount = Recount(world)
        self.codes: Counter[Code] = Counter()
        self._height = 0

    def get(self, key: bytes) -> bytes | None:
        """Give a value of the newest height."""
        return self.content.get(key)

    def block(
        self,
        txs: Sequence[bytes],
        time: int,
        response: pb.ResponseFinalizeBlock,
        changes: Mapping[bytes, bytes | None],
    ) -> None:
        """Judge a block by its transactions, its answer and what a replica wrote."""
        self._height += 1
        assert len(response.tx_results) == len(txs), "not one result a transaction"
        codes = [Code(result.code) for result in response.tx_results]
        self.codes.update(codes)
        before = {did: account.record() for did, account in self.recount.accounts.items()}
        self.recount.events(response.events, time)
        for tx, result in zip(txs, response.tx_results, strict=True):
            self.recount.transaction(tx, result.code, result.data, self._height)
            self.recount.events(result.events, time)
        accepted = [tx for tx, code in zip(txs, codes, strict=True) if code is Code.OK]
        self._accepted_alone(Block(self._height, time, accepted), response, changes)
        self._accounts(before, changes)
        for key, value in changes.items():
            if value is None:
                self.content.pop(key, None)
            else:
                self.content[key] = value
        self._records(changes)

    def whole(self, app_hash: bytes) -> None:
        """Judge that the app hash is the root of all that was written."""
        assert Tree.build(self.content.items()).root == app_hash

    def _accepted_alone(
        self,
        block: Block,
        response: pb.ResponseFinalizeBlock,
        changes: Mapping[bytes, bytes | None],
    ) -> None:
        """A block without its refused transactions changes the same, nonces aside."""
        shadow = Overlay(self)
        constants = Constants(CHAIN_ID, records.read_parameters(self.content[statekeys.PARAMETERS]))
        results = apply_block(shadow, block, constants, lambda tx: open_envelope(tx, constants, self)).results
        assert [r.data for r in results] == [r.data for r in response.tx_results if r.code == 0]
        wanted = {key: value for key, value in shadow.changes().items() if not key.startswith(ACCOUNT)}
        if self._height == 1:
            wanted = {**self.content, **wanted}
        written = {key: value for key, value in changes.items() if not key.startswith(ACCOUNT)}
        assert written == wanted, "a refused transaction left more than its account"

    def _accounts(self, before: Mapping[str, dict[str, Any]], changes: Mapping[bytes, bytes | None]) -> None:
        now = {did: account.record() for did, account in self.recount.accounts.items()}
        spoke = {did for did, record in now.items() if record != before.get(did)}
        written = {
            key.removeprefix(ACCOUNT).decode(): changes[key] for key in changes if key.startswith(ACCOUNT)
        }
        assert spoke <= set(written), "an account that was used and not written"
        for did, record in written.items():
            assert record is not None
            assert json.loads(record) == now[did], f"the account of {did}"

    def _records(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Judge the records that this block wrote against the recount."""
        for key in changes:
            kind, _, rest = key.decode().partition("/")
            record = json.loads(self.content[key]) if kind in ("release", "proposal", "report") else {}
            if kind == "release":
                assert record["revision"] == self.recount.revisions[rest]
            elif kind == "report":
                cluster = rest.partition("/")[0]
                assert record["sequence"] <= self.recount.sequences[cluster]
            elif kind == "proposal":
                case = self.recount.cases[rest]
                assert record["state"] == case.state
                assert {entry["signer"] for entry in record["approvals"]} == case.approvers
                for entry in (*record["approvals"], *record["rejections"]):
                    assert f"envelope/{entry['envelope']}".encode() in self.content, "evidence is missing"
