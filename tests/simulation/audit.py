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
from abci_app.genesis import GenesisValidator, genesis_state
from abci_app.machine.block import Block, apply_block
from ledger import records, statekeys
from ledger.errors import Code
from ledger.pb import abci_pb2 as pb
from state.reader import Overlay
from state.tree import Tree
from tests.simulation.events import segment, segments
from tests.simulation.recount import Recount
from tests.simulation.world import FOUNDING, GENESIS_SECONDS, POWER, VALIDATORS, World
from tests.support.subjects import CHAIN_ID

ACCOUNT = b"account/"
Changes = Mapping[bytes, bytes | None]


class Audit:
    """What must hold, whatever happens to the replicas."""

    def __init__(self, world: World) -> None:
        founding = [GenesisValidator(who.public_key, POWER) for who in VALIDATORS[:FOUNDING]]
        self.content = dict(genesis_state(world.genesis, CHAIN_ID, founding, GENESIS_SECONDS))
        self.recount = Recount(world)
        self.codes: Counter[Code] = Counter()
        self.powers = {who.public_key: POWER for who in VALIDATORS[:FOUNDING]}
        self.steps = 0
        self.upgrades = 0
        self._height = 0

    def get(self, key: bytes) -> bytes | None:
        """Give a value of the newest height."""
        return self.content.get(key)

    def block(
        self, txs: Sequence[bytes], time: int, response: pb.ResponseFinalizeBlock, changes: Changes
    ) -> None:
        """Judge a block by its transactions, its answer and what a replica wrote."""
        self._height += 1
        assert len(response.tx_results) == len(txs), "not one result a transaction"
        codes = [Code(result.code) for result in response.tx_results]
        self.codes.update(codes)
        recount = self.recount
        before = {did: account.record() for did, account in recount.accounts.items()}
        recount.begin_block(self._height, time)
        for step in segments(response.events):
            recount.due(step)
        for tx, result in zip(txs, response.tx_results, strict=True):
            recount.transaction(tx, result.code, result.data)
            recount.releases.watch(segment(result.events), time, recount.parameters)
        recount.end_block()
        accepted = [tx for tx, code in zip(txs, codes, strict=True) if code is Code.OK]
        self._accepted_alone(Block(self._height, time, accepted), response, changes)
        self._accounts(before, changes)
        for key, value in changes.items():
            if value is None:
                self.content.pop(key, None)
            else:
                self.content[key] = value
        self._records(changes)
        self._validators(response)
        self._upgrade(response)

    def whole(self, app_hash: bytes) -> None:
        """Judge that the app hash is the root of all that was written, and that nobody is locked out."""
        assert Tree.build(self.content.items()).root == app_hash
        assert self.recount.authority.locked_out(self._height) is None, "nobody could change the constitution"

    def _accepted_alone(self, block: Block, response: pb.ResponseFinalizeBlock, changes: Changes) -> None:
        """A block without its refused transactions changes the same, accounts aside."""
        shadow = Overlay(self)
        constants = Constants(CHAIN_ID, records.read_parameters(self.content[statekeys.PARAMETERS]))
        results = apply_block(shadow, block, constants, lambda tx: open_envelope(tx, constants, self)).results
        assert [r.data for r in results] == [r.data for r in response.tx_results if r.code == 0]
        wanted = {key: value for key, value in shadow.changes().items() if not key.startswith(ACCOUNT)}
        if self._height == 1:
            wanted = {**self.content, **wanted}
        written = {key: value for key, value in changes.items() if not key.startswith(ACCOUNT)}
        assert written == wanted, "a refused transaction left more than its account"

    def _accounts(self, before: Mapping[str, dict[str, Any]], changes: Changes) -> None:
        now = {did: account.record() for did, account in self.recount.accounts.items()}
        used = {did for did, record in now.items() if record != before.get(did)}
        written = {
            key.removeprefix(ACCOUNT).decode(): changes[key] for key in changes if key.startswith(ACCOUNT)
        }
        assert used <= set(written), "an account that was used and not written"
        for did, record in written.items():
            assert record is not None
            assert json.loads(record) == now[did], f"the account of {did}"

    def _records(self, changes: Changes) -> None:
        """Judge the records that this block wrote against the recount."""
        judges = {
            "release": self._release,
            "revision": self._revision,
            "desired": self._desired,
            "scale": self._scale,
            "proposal": self._proposal,
            "identity": self._identity,
        }
        for key in changes:
            kind, _, rest = key.decode().partition("/")
            if kind == "suspension":
                assert (key in self.content) == (rest in self.recount.suspended), f"suspension of {rest}"
            if kind == "desired" and key not in self.content:
                cluster, _, name = rest.partition("/")
                assert (cluster, name) in self.recount.releases.left, "let go before its bridge said so"
            if kind in judges and key in self.content:
                judges[kind](rest, json.loads(self.content[key]))

    def _release(self, name: str, record: dict[str, Any]) -> None:
        assert record["revision"] == len(self.recount.releases.history[name])
        assert (record["state"] == "deleted") == (name in self.recount.releases.deleted)

    def _revision(self, name: str, record: dict[str, Any]) -> None:
        revision = self.recount.releases.history[name.partition("/")[0]][record["revision"] - 1]
        assert record["content"] == revision.content, "a revision of other content"
        assert tuple(record["clusters"]) == revision.clusters
        assert self.recount.cases[revision.content].state == "final", "content that nobody approved"

    def _desired(self, place: str, record: dict[str, Any]) -> None:
        cluster, _, name = place.partition("/")
        revision = self.recount.releases.history[name][record["revision"] - 1]
        assert cluster in revision.clusters, "desired where nobody wanted it"
        assert self.recount.cases[revision.content].state == "final", "desired and never approved"
        if record["state"] == "deleted":
            assert name in self.recount.releases.removed, "gone though nobody deleted it"

    def _scale(self, place: str, record: dict[str, Any]) -> None:
        cluster, _, name = place.partition("/")
        for scale in record["objects"]:
            low, high = self.recount.releases.bounds[cluster, name][scale["object"]]
            assert low <= scale["replicas"] <= high, "replicas out of bounds"

    def _proposal(self, identifier: str, record: dict[str, Any]) -> None:
        case = self.recount.cases[identifier]
        assert record["state"] == case.state, f"{record['state']}; recounted {case.state}"
        assert {entry["signer"] for entry in record["approvals"]} == set(case.approvals)
        assert {entry["signer"] for entry in record["rejections"]} == set(case.rejections)
        for entry in (*record["approvals"], *record["rejections"]):
            assert f"envelope/{entry['envelope']}".encode() in self.content, "evidence is missing"

    def _identity(self, did: str, record: dict[str, Any]) -> None:
        person = self.recount.authority.people[did]
        assert {key["keyId"]: key["state"] for key in record["keys"]} == person.keys
        assert (record["deactivated"] is not None) == person.ended

    def _validators(self, response: pb.ResponseFinalizeBlock) -> None:
        """No block moves more than a third of the voting power, and there is always some."""
        total, moved = sum(self.powers.values()), 0
        for update in response.validator_updates:
            key = update.pub_key.ed25519
            assert update.power or self.powers.get(key), "CometBFT is told to remove who is no validator"
            moved += abs(update.power - self.powers.get(key, 0))
            self.powers[key] = update.power
        self.steps += bool(moved)
        assert 3 * moved <= total, "more than a third of the power moved in one block"
        assert sum(self.powers.values()) > 0, "nobody validates"

    def _upgrade(self, response: pb.ResponseFinalizeBlock) -> None:
        """CometBFT hears of the next version of the rules in the block before it, and only then."""
        planned = self.recount.upgrade
        due = planned is not None and planned[0] == self._height + 1
        told = response.consensus_param_updates.version.app
        assert told == (planned[1] if planned is not None and due else 0), "an upgrade at another height"
        self.upgrades += due
