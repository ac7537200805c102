"""Sending an envelope and coming back with proof of what became of it.

Owns the way from an offer to a proven receipt, over one node or several. Promises that a receipt is
believed only when the transaction is proven to be in the verified header's block and its result in the next
verified header's results hash; that offering the same envelope again, to any node, is harmless; that a node
that is away, full, slow or lying is left for another; that an envelope is found in its block where an index
does not know it; and that a timeout says what is known. Never retries with other bytes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from consensus.answers import TxAnswer, TxResult
from consensus.included import find_in_block, find_in_blocks
from consensus.light.types import Trusted
from consensus.offering import NOT_TAKEN, USED, broadcast, find, refusal_of
from consensus.reader import VerifiedReader
from consensus.results import result_at, verify_transaction
from consensus.rpc import Rpc
from consensus.witness import Panel, ask_another
from ledger import envelope as envelopes
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed
from ledger.receipt import Receipt, from_bytes
from ledger.types import sha256
from runtime.retry import Backoff

T = TypeVar("T")

NOT_TAKEN_SECONDS = 5.0
"""How long to look for, and offer again, a transaction no node would take: one may have it already."""
USED_SECONDS = 1.0
"""How long to look for one that CheckTx calls used up: it may be this very envelope, sent before."""
SEARCH_SECONDS = 20.0
"""How long to go through blocks for one that the node's index does not know."""
BUSY_SECONDS = 15.0
"""How long to offer again to nodes whose mempools are full."""
BUSY_PAUSE_SECONDS_MAX = 2.0
CLAIM_SECONDS = 15.0
"""How long one node's word that an envelope is in a block may stay unproven before another is asked."""
LAG_BLOCKS = 5
"""How far under the newest block the search begins: what was included while it was offered."""
LOOK_BLOCKS_MAX = 20
"""How many blocks are gone through between two looks at the index."""
OFFER_AGAIN_BLOCKS = 10
"""An envelope that so many blocks did not include is offered again, elsewhere."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and how.

    Attributes:
        timeout_seconds: from broadcast to the proven receipt.
        poll_seconds: between questions.
        monotonic: gives seconds.
        sleep: waits seconds.
    """

    timeout_seconds: float = 60.0
    poll_seconds: float = 0.05
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class ProvenReceipt:
    """What an included envelope did, proven.

    Attributes:
        receipt: the ledger's answer.
        height: the block that includes the envelope.
        index: its place there, from 0.
        tx_hash: the transaction's SHA-256.
        time_ns: the time of the header that proves the result.
    """

    receipt: Receipt
    height: int
    index: int
    tx_hash: bytes
    time_ns: int


def submit(
    rpc: Rpc | Sequence[Rpc], reader: VerifiedReader, tx: bytes, *, patience: Patience | None = None
) -> ProvenReceipt:
    """Offer an envelope to the ledger and wait for its proven receipt.

    Args:
        rpc: where to send it: a node, several (the preferred one first), or a panel of them.
        reader: verifies the headers.
        tx: the envelope's bytes.
        patience: how long to wait.

    Raises:
        Refused: with the ledger's own code, from the proven result, or from CheckTx where no node takes it;
            MEMPOOL_BUSY where no node had room for ``BUSY_SECONDS``; TX_REFUSED for a code that this version
            does not know.
        VerificationFailed: TX_PROOF_INVALID, RESULTS_HASH_MISMATCH, LEDGER_RECORD_INVALID, or a header's.
        EnvironmentFault: TIMEOUT, RPC_UNREACHABLE where no node answers, or RPC_REFUSED where none would take
            it and it is not on the ledger.
    """
    nodes = list(rpc) if isinstance(rpc, Sequence) else [rpc]
    if not nodes:
        raise Refused(Code.USAGE, expected="at least one node")
    others = len(nodes) - 1 + sum(len(node.witnesses) for node in nodes if isinstance(node, Panel))
    errand = _Errand(nodes, reader, tx, others, patience or Patience())
    while True:
        try:
            return errand.run()
        except (VerificationFailed, EnvironmentFault) as failed:
            # One node told it; another may tell the truth.
            if failed.code in _LIES and others:
                others -= 1
            elif not errand.is_claim(failed):
                raise
            errand.ask_another()


class _Errand:
    """One envelope on its way; ``nodes[0]`` is the node that is asked, ``others`` may be."""

    def __init__(
        self, nodes: list[Rpc], reader: VerifiedReader, tx: bytes, others: int, patience: Patience
    ) -> None:
        self._nodes, self._reader, self._tx, self._patience = nodes, reader, tx, patience
        self._others = others
        self._end = patience.monotonic() + patience.timeout_seconds
        self._searched = self._offered_at = 0
        self._is_lost = False

    def run(self) -> ProvenReceipt:
        """Offer, find and prove.

        Raises:
            ConclaveError: as ``submit``.
        """
        not_taken = self._offer()
        if not_taken is None:
            found = self._poll(self._look, self._end, "sent; not seen in a block")
        else:
            found = self._find_soon(not_taken)
        seen = f"said to be in block {found.height}; not proven"
        reader, tx = self._reader, self._tx
        proving = self._proving(found.height + 1, seen)
        verify_transaction(tx, found.proof, reader.header(found.height).header.data_hash)
        # The header proves whoever's results: a node that has none is left for another.
        results = self._poll(lambda: self._nodes[0].block_results(found.height), self._end, seen, _NO_RESULTS)
        result = result_at(results, found.proof, proving.header.last_results_hash)
        receipt = _receipt(result, tx, found.height)
        return ProvenReceipt(receipt, found.height, found.proof.index, sha256(tx), proving.header.time_ns)

    def _proving(self, height: int, seen: str) -> Trusted:
        """Wait for the header that proves a claim: with other nodes to ask, not for ever."""
        soon = min(self._end, self._patience.monotonic() + CLAIM_SECONDS) if self._others else self._end
        try:
            return self._poll(lambda: self._header(height), soon, seen)
        except EnvironmentFault as fault:
            if fault.code is Code.TIMEOUT:
                fault.facts["claimed"] = height
            raise

    def _offer(self) -> ConclaveError | None:
        """Offer to the nodes in turn; give why none took it, where one may have it all the same.

        Raises:
            Refused: the ledger's own code; MEMPOOL_BUSY.
            EnvironmentFault: where no node answers.
        """
        backoff, rounds = Backoff(self._patience.poll_seconds, BUSY_PAUSE_SECONDS_MAX), 0
        end = min(self._end, self._patience.monotonic() + BUSY_SECONDS)
        while True:
            refusals: list[ConclaveError] = []
            for _ in range(self._others + 1):
                try:
                    refusal = broadcast(self._nodes[0], self._tx)
                except Refused as refused:
                    # One node's word: where the rules do refuse it, the others say so too.
                    refusal = refused
                if refusal is None:
                    return None
                refusals.append(refusal)
                self.ask_another()
            said, place = _foremost(refusals)
            if said.code is not Code.MEMPOOL_BUSY:
                for _ in range(place):
                    self.ask_another()
                return said
            if self._patience.monotonic() >= end:
                said.todo = "try again later: the envelope is as good as before"
                raise said
            rounds += 1
            self._patience.sleep(backoff.delay_s(rounds))

    def _find_soon(self, not_taken: ConclaveError) -> TxAnswer:
        """Look for what no node would take: it may be there already; where it is not, that is the answer."""
        seconds = USED_SECONDS if not_taken.code in USED else NOT_TAKEN_SECONDS
        soon = min(self._end, self._patience.monotonic() + seconds)
        try:
            return self._poll(self._look, soon, "not taken by the node")
        except EnvironmentFault as fault:
            # A node that went away meanwhile has not said that the ledger lacks it.
            if fault.code is not Code.TIMEOUT or fault.facts.get("last") == Code.RPC_UNREACHABLE.name:
                raise
        soon = min(self._end, self._patience.monotonic() + SEARCH_SECONDS)
        newest, patience = self._reader.newest_height(), self._patience
        found = find_in_blocks(self._nodes[0], newest, self._tx, lambda: patience.monotonic() >= soon)
        if found is None:
            raise not_taken
        return found

    def _look(self) -> TxAnswer | None:
        """Ask the index, then the blocks made since; what the chain passes over is offered again."""
        node = self._nodes[0]
        if self._is_lost:
            self._offer_again(node)
        try:
            return find(node, self._tx)
        except EnvironmentFault as fault:
            if fault.code is not Code.RPC_REFUSED:
                raise
            refused = fault
        newest = self._reader.newest_height()
        self._offered_at = self._offered_at or newest
        below = max(self._searched, newest - LOOK_BLOCKS_MAX, self._offered_at - LAG_BLOCKS, 0)
        # The newest block is left to the index: only the header after it proves what is in it.
        for height in range(newest - 1, below, -1):
            found = find_in_block(node, height, self._tx)
            if found is not None:
                return found
        self._searched = max(newest - 1, self._searched)
        if newest >= self._offered_at + OFFER_AGAIN_BLOCKS:
            self.ask_another()
        raise refused

    def _offer_again(self, node: Rpc) -> None:
        """Offer without asking what the node says of it: it may be there, or come by another node."""
        with contextlib.suppress(Refused):
            refusal = broadcast(node, self._tx)
            if refusal is not None and refusal.code in _AWAY:
                raise refusal
        self._is_lost, self._offered_at = False, 0

    def is_claim(self, failed: ConclaveError) -> bool:
        """Tell whether one node's claim was given up, with time left for that of another."""
        return "claimed" in failed.facts and self._patience.monotonic() < self._end

    def ask_another(self) -> None:
        """Go on with the next node, which may have to be told of the envelope."""
        ask_another(self._nodes[0])
        self._nodes.append(self._nodes.pop(0))
        self._is_lost = True

    def _header(self, height: int) -> Trusted | None:
        return self._reader.header(height) if self._reader.newest_height() >= height else None

    def _poll(
        self, ask: Callable[[], T | None], end: float, known: str, elsewhere: frozenset[Code] | None = None
    ) -> T:
        """Ask until there is an answer; a node that is away, behind or does not know yet is asked again.

        What fails by a code of ``elsewhere``, by default of a node that is away, is asked of the next node.
        """
        last: ConclaveError | None = None
        while True:
            try:
                answer = ask()
            except (EnvironmentFault, VerificationFailed) as error:
                if error.code not in _TRANSIENT:
                    raise
                if error.code in (elsewhere or _AWAY):
                    self.ask_another()
                last, answer = error, None
            if answer is not None:
                return answer
            if self._patience.monotonic() >= end:
                raise EnvironmentFault(
                    Code.TIMEOUT,
                    got=known,
                    expected=f"a proven receipt within {self._patience.timeout_seconds} s",
                    todo="send the same envelope again: it takes effect at most once",
                    tx=sha256(self._tx).hex(),
                    last=last.code.name if last else None,
                )
            self._patience.sleep(self._patience.poll_seconds)


_AWAY = frozenset({Code.RPC_UNREACHABLE, Code.RPC_ANSWER_INVALID, Code.RPC_ANSWER_TOO_LARGE})
_NO_RESULTS = _AWAY | {Code.RPC_REFUSED}
_TRANSIENT = _AWAY | {Code.RPC_REFUSED, Code.STALE}
_LIES = frozenset({Code.TX_PROOF_INVALID, Code.RESULTS_HASH_MISMATCH})


def _foremost(refusals: Sequence[ConclaveError]) -> tuple[ConclaveError, int]:
    """Give why no node took an envelope, and which may have it; raise it where none can have it, or answers.

    One that calls it used up, or would not even check it, may have it: from an earlier sending, whatever the
    rules say now.
    """
    codes = [refusal.code for refusal in refusals]
    for code in codes:
        if code in USED:
            return refusals[codes.index(code)], codes.index(code)
    by_rule = [refusal for refusal in refusals if refusal.code not in NOT_TAKEN]
    said = by_rule[0] if by_rule else min(refusals, key=lambda refusal: NOT_TAKEN.index(refusal.code))
    if Code.RPC_REFUSED in codes:
        return said, codes.index(Code.RPC_REFUSED)
    if said.code is Code.MEMPOOL_BUSY:
        return said, 0
    raise said


def _receipt(result: TxResult, tx: bytes, height: int) -> Receipt:
    if result.code != 0:
        raise refusal_of(result.code, result.log, f"block {height}")
    try:
        receipt = from_bytes(result.data)
        identifier = envelopes.envelope_id(envelopes.decode(tx))
    except Refused as refusal:
        raise VerificationFailed(
            Code.LEDGER_RECORD_INVALID, got=refusal.got, expected="a receipt", cause=refusal.code.name
        ) from None
    if (receipt.envelope, receipt.height) != (identifier, height):
        raise VerificationFailed(
            Code.LEDGER_RECORD_INVALID,
            got=f"a receipt of envelope {receipt.envelope} at {receipt.height}",
            expected=f"envelope {identifier} at {height}",
        )
    return receipt
