"""The ABCI application: decode, call the pure machine, encode. It holds no rule.

Owns the life of a block between FinalizeBlock (computes, touches no disk) and Commit (one atomic write), the
check state of the mempool, and the memory of opened transactions. Never reads a clock and never talks to
anything but its store and its snapshots. Source: CometBFT v0.38 spec/abci.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abci_app import genesis, query, wire
from abci_app.check import Constants, Opened, admit, open_envelope
from abci_app.dry_run import dry_run
from abci_app.genesis import GenesisValidator
from abci_app.machine import membership
from abci_app.machine.block import Block, check_action, use_account
from abci_app.machine.context import Context
from abci_app.memory import OpenedMemory
from abci_app.mempool import Mempool, Waiting
from abci_app.protocols import PROTOCOLS, ApplyBlock, rules_of
from abci_app.snapshot_folder import SnapshotFolder
from abci_app.snapshots import Snapshots
from ledger import records, statekeys
from ledger.errors import Code, Refused
from ledger.pb import abci_pb2 as pb
from ledger.types import sha256
from state.batch import Staged, stage
from state.reader import Overlay, Remembered
from state.store import Store
from state.tree import Tree

_log = logging.getLogger(__name__)


class ConclaveApplication:
    """The replicated ledger behind the ABCI interface (``abci_app.abci.Application``)."""

    def __init__(
        self,
        store: Store,
        folder: SnapshotFolder | None = None,
        every: int = 0,
        protocols: Mapping[int, ApplyBlock] = PROTOCOLS,
    ) -> None:
        self._store = store
        self._snapshots = Snapshots(store, folder, every)
        self._protocols = protocols
        self._constants: Constants | None = None
        self._genesis: dict[bytes, bytes] = {}
        self._staged: Staged | None = None
        self._committed = Remembered(store)
        self._check = Overlay(self._committed)
        self._time = 0
        self._txs: tuple[bytes, ...] = ()
        self._opened = OpenedMemory()
        self._mempool = Mempool()
        if store.committed.height:
            rules_of(protocols, self._version(store.committed.height + 1), store.committed.height + 1)

    @classmethod
    def open(cls, path: Path, snapshots: Path | None = None, every: int = 0) -> ConclaveApplication:
        """Open or create the application's state under ``path``.

        Args:
            path: the state's folder.
            snapshots: the folder of snapshots; None for none.
            every: a snapshot is taken at each height this divides; 0 for on demand only.

        Raises:
            EnvironmentFault: STATE_CORRUPT, STATE_LOCKED, DISK_FULL, or UPGRADE_REQUIRED where the next
                block is to be judged by rules this binary lacks.
        """
        return cls(Store.open(path), SnapshotFolder(snapshots) if snapshots else None, every)

    def close(self) -> None:
        """Release the store."""
        self._snapshots.close()
        self._store.close()

    # -- connection: query --------------------------------------------------------------------------

    def info(self, request: pb.RequestInfo) -> pb.ResponseInfo:
        """Give the last committed height and app hash, and the version of the rules that comes next."""
        committed = self._store.committed
        return pb.ResponseInfo(
            data="conclave",
            version="0.1.0",
            app_version=self._version(committed.height + 1),
            last_block_height=committed.height,
            last_block_app_hash=committed.app_hash if committed.height else b"",
        )

    def query(self, request: pb.RequestQuery) -> pb.ResponseQuery:
        """Answer from committed state; a refusal becomes the answer's code."""
        try:
            return query.answer(request, self._store, self._would_admit, self._dry_run)
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
                opened = self._admit(self._check, request.tx, height)
            else:
                opened = self._enter(self._check, request.tx, height)
        except Refused as refusal:
            if request.type == pb.RECHECK:
                self._mempool.forget(request.tx)
            return pb.ResponseCheckTx(code=refusal.code, log=str(refusal), codespace="conclave")
        self._mempool.take(_waiting(request.tx, opened))
        return pb.ResponseCheckTx()

    # -- connection: consensus ----------------------------------------------------------------------

    def init_chain(self, request: pb.RequestInitChain) -> pb.ResponseInitChain:
        """Compute the state of height 0; it is written with height 1, so this may come again."""
        validators = [GenesisValidator(v.pub_key.ed25519, v.power) for v in request.validators]
        self._genesis = genesis.genesis_state(
            request.app_state_bytes, request.chain_id, validators, request.time.seconds
        )
        tree = Tree.build(self._genesis.items())
        self._forget_constants()
        self._check = self._base()
        # CometBFT's rollback takes the version of headers from these parameters, not from Info.
        return pb.ResponseInitChain(app_hash=tree.root, consensus_params=wire.app_version(1))

    def prepare_proposal(self, request: pb.RequestPrepareProposal) -> pb.ResponsePrepareProposal:
        """Take what may be executed, urgent ones first, then one of each signer in turn, within the size."""
        state = self._base()
        offered = [w for tx in request.txs if (w := self._wait(tx)) is not None]

        def admits(waiting: Waiting) -> bool:
            try:
                self._admit(state, waiting.tx, request.height)
            except Refused:
                return False
            return True

        return pb.ResponsePrepareProposal(
            txs=self._mempool.select(offered, admits, request.max_tx_bytes, wire.TX_OVERHEAD_BYTES)
        )

    def process_proposal(self, request: pb.RequestProcessProposal) -> pb.ResponseProcessProposal:
        """Reject only what no honest proposer makes: bytes that are no signed envelope of this chain.

        Signatures that only the exact rule takes pass no mempool, and a block full of them would stop every
        validator for minutes: they are rejected here, and judged exactly where a quorum decided all the same.
        """
        try:
            for tx in request.txs:
                self._open(tx, exact=False)
        except Refused as refusal:
            _log.warning(
                "proposed block refused", extra={"code": refusal.code.name, "height": request.height}
            )
            return pb.ResponseProcessProposal(status=pb.ResponseProcessProposal.REJECT)
        return pb.ResponseProcessProposal(status=pb.ResponseProcessProposal.ACCEPT)

    def finalize_block(self, request: pb.RequestFinalizeBlock) -> pb.ResponseFinalizeBlock:
        """Apply the block in memory; nothing is written. May be called again for the same height.

        Raises:
            EnvironmentFault: UPGRADE_REQUIRED where the block is to be judged by rules this binary lacks.
        """
        base = self._base()
        apply_block = rules_of(self._protocols, self._version(request.height), request.height)
        block = Block(request.height, request.time.seconds, request.txs)
        result = apply_block(base, block, self._known_constants(), self._open)
        following = membership.version_at(membership.protocol_of(base), request.height + 1)
        self._staged = stage(self._store.committed, request.height, following, base.changes())
        self._time, self._txs = request.time.seconds, tuple(request.txs)
        changed = following != membership.version_at(membership.protocol_of(base), request.height)
        return wire.finalized(result, self._staged.version.app_hash, version=following if changed else None)

    def commit(self, request: pb.RequestCommit) -> pb.ResponseCommit:
        """Write the finalized block: one atomic, synced batch. Then the mempool's state starts afresh."""
        assert self._staged is not None, "Commit without FinalizeBlock"
        self._store.commit(self._staged)
        if statekeys.PARAMETERS in self._staged.changes:
            self._forget_constants()
        self._staged, self._genesis = None, {}
        self._check = Overlay(self._committed)
        self._mempool.committed(self._txs)
        self._txs = ()
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

    def _version(self, height: int) -> int:
        """Give the version of the rules by which a block of ``height`` is judged."""
        return membership.version_at(membership.protocol_of(self._committed), height)

    def _wait(self, tx: bytes) -> Waiting | None:
        """Give a transaction as it waits, or None for what no block may hold."""
        try:
            return _waiting(tx, self._open(tx))
        except Refused:
            return None

    def _admit(self, state: Overlay, tx: bytes, height: int) -> Opened:
        """Judge whether the signer may speak, and use the nonce on ``state``."""
        opened = self._open(tx)
        admitted = admit(opened, state, height, self._known_constants())
        use_account(state, admitted.signer.did, admitted.account)
        return opened

    def _enter(self, state: Overlay, tx: bytes, height: int) -> Opened:
        """Judge a new transaction by every rule; if it keeps them, use its nonce on ``state``."""
        opened = self._open(tx, mempool=state)
        self._mempool.check_room(len(tx), urgent=opened.is_urgent, signer=opened.envelope.signer)
        admitted = admit(opened, state, height, self._known_constants())
        account = check_action(self._context(state, height), admitted)
        use_account(state, admitted.signer.did, account)
        return opened

    def _context(self, state: Overlay, height: int) -> Context:
        return Context(Overlay(state), height, self._time, self._known_constants())

    def _would_admit(self, tx: bytes) -> Code:
        try:
            self._enter(Overlay(self._check), tx, self._store.committed.height + 1)
        except Refused as refusal:
            return refusal.code
        return Code.OK

    def _dry_run(self, question: bytes) -> dict[str, Any]:
        ctx = self._context(Overlay(self._committed), self._store.committed.height + 1)
        return dry_run(ctx, question)

    def _open(self, tx: bytes, mempool: Overlay | None = None, *, exact: bool = True) -> Opened:
        key = sha256(tx)
        opened = self._opened.get(key)
        if opened is None:
            state = self._committed if mempool is None else mempool
            members_only = mempool is not None
            opened = open_envelope(
                tx,
                self._known_constants(),
                state,
                members_only=members_only,
                exact=exact and not members_only,
            )
            self._opened.put(key, opened, len(tx))
        return opened

    def _known_constants(self) -> Constants:
        if self._constants is None:
            base = self._base()
            ledger, parameters = base.get(statekeys.LEDGER), base.get(statekeys.PARAMETERS)
            if ledger is None or parameters is None:
                raise Refused(Code.GENESIS_INVALID, got="no genesis yet", expected="InitChain first")
            self._constants = Constants(records.read_ledger(ledger), records.read_parameters(parameters))
        return self._constants

    def _forget_constants(self) -> None:
        """Read the ledger's constants anew; what was opened by the old ones is opened again."""
        self._constants = None
        self._opened.clear()


def _waiting(tx: bytes, opened: Opened) -> Waiting:
    return Waiting(tx, opened.envelope.signer, opened.is_urgent)
