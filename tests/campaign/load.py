"""Signed load on a live ledger by several subjects, and the memory of every proven receipt.

Owns ``Load``: threads that propose releases and approve them until told to stop, sending the same envelope
again while no proof of it was seen. Promises that nothing is remembered as proven which ``consensus.submit``
has not proven.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from consensus.node.spec import NodeSpec
from consensus.reader import VerifiedReader
from consensus.rpc import RpcClient
from consensus.submit import Patience, ProvenReceipt, submit
from consensus.trust_store import TrustRoot, TrustStore
from ledger.bodies import release_body
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.types import JsonObject
from tests.campaign.judgement import Proven
from tests.support.subjects import (
    Subject,
    configmap,
    constitution,
    judgement_body,
    release,
    requirement,
    seal,
)

CHAIN_ID = "crash-campaign"
CREWS = 3
LOOKS = 5
"""How often, a second each, the node may say that it has an envelope and not show it."""
_TTL_BLOCKS = 10_000
_REQUIREMENT = requirement(ttl_blocks=_TTL_BLOCKS)
_PATIENCE = Patience(timeout_seconds=5.0)
_AWAY = frozenset({Code.TIMEOUT, Code.RPC_UNREACHABLE, Code.RPC_REFUSED, Code.RPC_ANSWER_INVALID, Code.STALE})
"""What a node that dies or comes up answers; the envelope is sent again."""


def crew(number: int) -> tuple[Subject, Subject]:
    """Give two humans of two organisations who work together and with nobody else."""
    return Subject(f"a{number}", organisation="a"), Subject(f"b{number}", organisation="b")


def genesis_document() -> JsonObject:
    """Give the genesis of the ledger under load."""
    return {
        "parameters": {"imageDigestRequired": True, "proposalTtlBlocks": _TTL_BLOCKS},
        "identities": [who.record() for number in range(CREWS) for who in crew(number)],
        "objects": constitution([who for number in range(CREWS) for who in crew(number)]),
        "clusters": [{"name": "east"}],
    }


class Load:
    """Crews at work on one node.

    Attributes:
        proven: what was proven, in no order.
        unproven: what the ledger says it has and the node cannot show.
        again: how often something was sent again.
        failures: what ended a crew.
    """

    def __init__(self, spec: NodeSpec, folder: Path) -> None:
        self.proven: list[Proven] = []
        self.unproven: list[bytes] = []
        self.again = 0
        self.failures: list[BaseException] = []
        self._spec, self._folder = spec, folder
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(CREWS)]

    def start(self) -> None:
        """Let the crews work."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let them finish what they have sent, and raise what went wrong."""
        self._stop.set()
        for thread in self._threads:
            thread.join(180)
            assert not thread.is_alive(), "a crew that does not end"
        if self.failures:
            raise self.failures[0]

    def _work(self, number: int) -> None:
        try:
            with contextlib.closing(RpcClient(self._spec.rpc_url)) as rpc:
                store = TrustStore(self._folder / f"trust{number}.json")
                store.ensure(TrustRoot.from_genesis(json.loads(self._spec.paths.genesis.read_text())))
                self._releases(number, rpc, VerifiedReader(rpc, store, clock=time.time_ns))
        except BaseException as error:  # noqa: BLE001 - told to the main thread
            self.failures.append(error)

    def _releases(self, number: int, rpc: RpcClient, reader: VerifiedReader) -> None:
        one, other = crew(number)
        nonces = itertools.count(1)

        def send(who: Subject, body: bytes) -> bytes:
            tx = seal(who, body, next(nonces), not_after=100_000, chain_id=CHAIN_ID)
            receipt = self._insist(lambda: submit(rpc, reader, tx, patience=_PATIENCE))
            if receipt is None:
                self.unproven.append(tx)
            else:
                self.proven.append(Proven(tx, receipt))
            return tx

        while not self._stop.is_set():
            manifests = [configmap(f"settings-{number}", str(len(self.proven)))]
            proposal = send(one, release_body(release(f"web-{number}", manifests=manifests)))
            send(one, judgement_body(proposal, required=_REQUIREMENT))
            send(other, judgement_body(proposal, required=_REQUIREMENT))

    def _insist(self, attempt: Callable[[], ProvenReceipt]) -> ProvenReceipt | None:
        """Send until there is a proof; None where the ledger has it and the node's index lost it."""
        used = 0
        while True:
            try:
                return attempt()
            except EnvironmentFault as fault:
                if fault.code not in _AWAY:
                    raise
            except Refused as refusal:
                used += 1
                if refusal.code is not Code.NONCE_REPLAYED:
                    raise
                if used >= LOOKS:
                    return None
            self.again += 1
            time.sleep(0.05)
