"""The ABCI application: decode, call the pure machine, encode. It holds no rule.

Owns the life of a block between FinalizeBlock (computes, touches no disk) and Commit (one atomic write), the
check state of the mempool, and the memory of opened transactions. Never reads a clock and never talks to
anything but its store and its snapshots. Source: CometBFT v0.38 spec/abci.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from abci_app import genesis, machine, query
from abci_app.check import Constants, Opened, admit, open_envelope
from abci_app.memory import OpenedMemory
from abci_app.snapshot_folder import SnapshotFolder
from abci_app.snapshots import Snapshots
from ledger import records, statekeys
from ledger.errors import Code, Refused
from ledger.pb import abci_pb2 as pb
from ledger.pb import comet_pb2
from ledger.types import sha256
from state.batch import Staged, stage
from state.reader import Overlay, Remembered
from state.store import Store
from state.tree import Tree

APP_VERSION = 1
_log = logging.getLogger(__name__)


class ConclaveApplication:
    """The replicated ledger behind the ABCI interface (``abci_app.abci.Application``)."""

    def __init__(self, store: Store, folder: SnapshotFolder | None = None, every: int = 0) -> None:
        self._store = store
        self._snapshots = Snapshots(store, folder, every, APP_VERSION)
        self._constants: Constants | None = None
        self._genesis: dict[bytes, bytes] = {}
        self._staged: Staged | None = None
        self._committed = Remembered(store)
        self._check = Overlay(self._committed)
        self._opened = OpenedMemory()

    @classmethod
    def open(cls, path: Path, snapshots: Path | None = None, every: int = 0) -> ConclaveApplication:
        """Open or create the application's state under ``path``.

        Args:
            path: the state's folder.
            snapshots: the folder of snapshots; None for none.
            every: a snapshot is taken at each height this divides; 0 for on demand only.

        Raises:
            EnvironmentFault: STATE_CORRUPT, STATE_LOCKED or DISK_FULL.
        """
        return cls(Store.open(path), SnapshotFolder(snapshots) if snapshots else None, every)

    def close(self) -> None:
        """Release the store."""
        self._snapshots.close()
        self._store.close()

    # -- connection: query --------------------------------------------------------------------------

    def info(self, request: pb.RequestInfo) -> pb.ResponseInfo:
        """Give the last committed height and app hash."""
        committed = self._store.committed
        return pb.ResponseInfo(
            data="conclave",
            version="0.1.0",
            app_version=APP_VERSION,
            last_block_height=committed.height,
            last_block_app_hash=committed.app_hash if committed.height else b"",
        )

    def query(self, request: pb.RequestQuery) -> pb.ResponseQuery:
        """Answer from committed state; a refusal becomes the answer's code."""
        try:
            return query.answer(request, self._store, self._would_admit)
        except Refused as refusal:
            return pb.ResponseQuery(code=refusal.code, log=str(refusal), codespace="conclave")

    # -- connection: mempool ------------------------------------------------------------------------

    def check_tx(self, request: pb.RequestCheckTx) -> pb.ResponseCheckTx:
        """Judge a new transaction by every rule; one that waits already need only be admitted again.

        Nothing is executed, so two that exclude each other may both wait. The later one is let into a block
        all the same: its signer gets a proven refusal instead of silence.
        """
        height = self._store.committed.height + 1
        try:
            if request.type == pb.RECHECK:
                self._admit(self._check, request.tx, height)
            else:
                self._enter(self._check, request.tx, height)
        except Refused as refusal:
            return pb.ResponseCheckTx(code=refusal.code, log=str(refusal), codespace="conclave")
        return pb.ResponseCheckTx()

    # -- connection: consensus ----------------------------------------------------------------------

    def init_chain(self, request: pb.RequestInitChain) -> pb.ResponseInitChain:
        """Compute the state of height 0; it is written with height 1, so this may come again."""
        self._genesis = genesis.genesis_state(request.app_state_bytes, request.chain_id)
        tree = Tree.build(self._genesis.items())
        parameters = records.read_parameters(self._genesis[statekeys.PARAMETERS])
        self._constants = _make_constants(request.chain_id, parameters)
        self._check = self._base()
        self._opened.clear()
        # CometBFT's rollback takes the version of headers from these parameters, not from Info.
        version = comet_pb2.ConsensusParams(version=comet_pb2.VersionParams(app=APP_VERSION))
        return pb.ResponseInitChain(app_hash=tree.root, consensus_params=version)

    def prepare_proposal(self, request: pb.RequestPrepareProposal) -> pb.ResponsePrepareProposal:
        """Keep, in order, the transactions whose signers may speak at this height, within the size."""
        state, room = self._base(), request.max_tx_bytes
        kept: list[bytes] = []
        for tx in request.txs:
            size = len(tx) + _TX_OVERHEAD_BYTES
            if size > room:
                continue
            try:
                self._admit(state, tx, request.height)
            except Refused:
                continue
            kept.append(tx)
            room -= size
        return pb.ResponsePrepareProposal(txs=kept)

    def process_proposal(self, request: pb.RequestProcessProposal) -> pb.ResponseProcessProposal:
        """Reject only what no honest proposer makes: bytes that are no signed envelope of this chain."""
        try:
            for tx in request.txs:
                self._open(tx)
        except Refused as refusal:
            _log.warning(
                "proposed block refused", extra={"code": refusal.code.name, "height": request.height}
            )
            return pb.ResponseProcessProposal(status=pb.ResponseProcessProposal.REJECT)
        return pb.ResponseProcessProposal(status=pb.ResponseProcessProposal.ACCEPT)

    def finalize_block(self, request: pb.RequestFinalizeBlock) -> pb.ResponseFinalizeBlock:
        """Apply the block in memory; nothing is written. May be called again for the same height."""
        base = self._base()
        results = machine.apply_block(base, request.txs, request.height, self._known_constants(), self._open)
        self._staged = stage(self._store.committed, request.height, APP_VERSION, base.changes())
        return pb.ResponseFinalizeBlock(tx_results=_to_wire(results), app_hash=self._staged.version.app_hash)

    def commit(self, request: pb.RequestCommit) -> pb.ResponseCommit:
        """Write the finalized block: one atomic, synced batch. Then the mempool's state starts afresh."""
        assert self._staged is not None, "Commit without FinalizeBlock"
        self._store.commit(self._staged)
        self._staged, self._genesis = None, {}
        self._check = Overlay(self._committed)
        self._snapshots.committed()
        return pb.ResponseCommit()

    def extend_vote(self, request: pb.RequestExtendVote) -> pb.ResponseExtendVote:
        """Extend nothing: vote extensions are off."""
        return pb.ResponseExtendVote()

    def verify_vote_extension(self, request: pb.RequestVerifyVoteExtension) -> pb.ResponseVerifyVoteExtension:
        """Accept the empty extension only."""
        verdict = pb.ResponseVerifyVoteExtension
        return verdict(status=verdict.REJECT if request.vote_extension else verdict.ACCEPT)

    # -- connection: snapshot -----------------------------------------------------------------------

    def list_snapshots(self, request: pb.RequestListSnapshots) -> pb.ResponseListSnapshots:
        """List the newest snapshots."""
        return self._snapshots.list()

    def offer_snapshot(self, request: pb.RequestOfferSnapshot) -> pb.ResponseOfferSnapshot:
        """Accept a snapshot of our format where there is no state yet."""
        return self._snapshots.offer(request)

    def load_snapshot_chunk(self, request: pb.RequestLoadSnapshotChunk) -> pb.ResponseLoadSnapshotChunk:
        """Give a chunk of a listed snapshot."""
        return self._snapshots.load(request)

    def apply_snapshot_chunk(self, request: pb.RequestApplySnapshotChunk) -> pb.ResponseApplySnapshotChunk:
        """Take a chunk; the last one makes the state, if it has the trusted app hash."""
        return self._snapshots.apply(request)

    # -- within -------------------------------------------------------------------------------------

    def _base(self) -> Overlay:
        """Give a fresh overlay over the committed state, or over genesis before height 1."""
        base = Overlay(self._committed)
        for key, value in self._genesis.items():
            base.put(key, value)
        return base

    def _admit(self, state: Overlay, tx: bytes, height: int) -> None:
        """Judge whether the signer may speak, and use the nonce on ``state``."""
        machine.use_nonce(state, admit(self._open(tx), state, height))

    def _enter(self, state: Overlay, tx: bytes, height: int) -> None:
        """Judge a new transaction by every rule; if it keeps them, use its nonce on ``state``."""
        admitted = admit(self._open(tx, mempool=state), state, height)
        machine.check_action(state, admitted, height)
        machine.use_nonce(state, admitted)

    def _would_admit(self, tx: bytes) -> Code:
        try:
            self._enter(Overlay(self._check), tx, self._store.committed.height + 1)
        except Refused as refusal:
            return refusal.code
        return Code.OK

    def _open(self, tx: bytes, mempool: Overlay | None = None) -> Opened:
        key = sha256(tx)
        opened = self._opened.get(key)
        if opened is None:
            opened = open_envelope(tx, self._known_constants(), mempool=mempool)
            self._opened.put(key, opened, len(tx))
        return opened

    def _known_constants(self) -> Constants:
        if self._constants is None:
            self._constants = _constants_of(self._store)
        if self._constants is None:
            raise Refused(Code.GENESIS_INVALID, got="no genesis yet", expected="InitChain first")
        return self._constants


_TX_OVERHEAD_BYTES = 8
"""Room for a transaction's tag and length in the block's protobuf."""


def _constants_of(store: Store) -> Constants | None:
    ledger, parameters = store.get(statekeys.LEDGER), store.get(statekeys.PARAMETERS)
    if ledger is None or parameters is None:
        return None
    return _make_constants(records.read_ledger(ledger), records.read_parameters(parameters))


def _make_constants(chain_id: str, parameters: records.Parameters) -> Constants:
    return Constants(chain_id, parameters.imageDigestRequired, parameters.proposalTtlBlocks)


def _to_wire(results: Iterable[machine.TxResult]) -> list[pb.ExecTxResult]:
    return [
        pb.ExecTxResult(
            code=result.code,
            data=result.data,
            log=str(result.refusal) if result.refusal else "",
            codespace="conclave" if result.refusal else "",
        )
        for result in results
    ]
