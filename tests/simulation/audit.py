"""The invariants of a simulated chain, judged after every block.

Owns ``Audit``: compares the answers and the changes of a block with the recount from the envelopes, and with
a shadow that executes the accepted transactions only. Promises to raise AssertionError on the first breach.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from abci_app.check import Constants, open_envelope
from abci_app.genesis import genesis_state
from abci_app.machine import apply_block
from ledger.errors import Code
from ledger.pb import abci_pb2 as pb
from state.reader import Overlay
from state.tree import Tree
from tests.simulation.recount import Recount
from tests.simulation.world import World
from tests.support.subjects import CHAIN_ID

NONCE = b"nonce/"


class Audit:
    """What must hold, whatever happens to the replicas."""

    def __init__(self, world: World) -> None:
        self.content = dict(genesis_state(world.genesis, CHAIN_ID))
        self.recount = Recount(world)
        self.codes: Counter[Code] = Counter()
        self._constants = Constants(CHAIN_ID, image_digest_required=True, proposal_ttl_blocks=world.ttl)
        self._height = 0

    def get(self, key: bytes) -> bytes | None:
        """Give a value of the newest height."""
        return self.content.get(key)

    def block(
        self,
        txs: Sequence[bytes],
        response: pb.ResponseFinalizeBlock,
        changes: Mapping[bytes, bytes | None],
    ) -> None:
        """Judge a block by its transactions, its answer and what a replica wrote."""
        self._height += 1
        assert len(response.tx_results) == len(txs), "not one result a transaction"
        codes = [Code(result.code) for result in response.tx_results]
        self.codes.update(codes)
        before = {did: len(used) for did, used in self.recount.nonces.items()}
        for tx, result in zip(txs, response.tx_results, strict=True):
            self.recount.transaction(tx, result.code, result.data, self._height)
        self._accepted_alone(txs, codes, response, changes)
        self._nonces(before, changes)
        for key, value in changes.items():
            assert value is not None, f"{key!r} was removed"
            self.content[key] = value
        self._records(changes)

    def whole(self, app_hash: bytes) -> None:
        """Judge that the app hash is the root of all that was written."""
        assert Tree.build(self.content.items()).root == app_hash

    def _accepted_alone(
        self,
        txs: Sequence[bytes],
        codes: Sequence[Code],
        response: pb.ResponseFinalizeBlock,
        changes: Mapping[bytes, bytes | None],
    ) -> None:
        """A block without its refused transactions changes the same, nonces aside."""
        accepted = [tx for tx, code in zip(txs, codes, strict=True) if code is Code.OK]
        shadow = Overlay(self)
        results = apply_block(
            shadow, accepted, self._height, self._constants, lambda tx: open_envelope(tx, self._constants)
        )
        assert [r.data for r in results] == [r.data for r in response.tx_results if r.code == 0]
        wanted = {key: value for key, value in shadow.changes().items() if not key.startswith(NONCE)}
        if self._height == 1:
            wanted = {**self.content, **wanted}
        written = {key: value for key, value in changes.items() if not key.startswith(NONCE)}
        assert written == wanted, "a refused transaction left more than its nonce"

    def _nonces(self, before: Mapping[str, int], changes: Mapping[bytes, bytes | None]) -> None:
        spoke = {did for did, used in self.recount.nonces.items() if len(used) != before.get(did, 0)}
        written = {key.removeprefix(NONCE).decode() for key in changes if key.startswith(NONCE)}
        assert written == spoke, "nonces of others than those who spoke"
        for did in spoke:
            record = changes[NONCE + did.encode()]
            assert record is not None
            assert json.loads(record) == self.recount.nonce_record(did)

    def _records(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Judge the records that this block wrote against the recount."""
        for key in changes:
            kind, _, rest = key.decode().partition("/")
            record = json.loads(self.content[key]) if kind in ("release", "proposal", "report") else {}
            if kind == "release":
                assert record["revision"] == self.recount.revisions[rest]
            elif kind == "report":
                cluster, _, name = rest.partition("/")
                assert record["sequence"] == self.recount.sequences[cluster, name]
            elif kind == "proposal":
                case = self.recount.cases[rest]
                assert record["state"] == case.state
                assert {entry["signer"] for entry in record["approvals"]} == case.approvers
                for entry in (*record["approvals"], *record["rejections"]):
                    assert f"envelope/{entry['envelope']}".encode() in self.content, "evidence is missing"
