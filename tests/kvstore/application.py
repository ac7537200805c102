"""A small, durable ABCI application for the transport's and the supervisor's tests.

Keeps ``key=value`` transactions in one JSON file written at Commit. A transaction ``raise`` makes CheckTx
raise, the way a bug in a replicated machine would.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ledger.pb import abci_pb2 as pb


class Kvstore:
    """Implements ``abci_app.abci.Application``."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.height = 0
        self.state: dict[str, str] = {}
        self.staged: tuple[int, dict[str, str]] = (0, {})
        self.order: list[str] = []
        if file is not None and file.exists():
            kept = json.loads(file.read_text())
            self.height, self.state = kept["height"], kept["state"]

    @staticmethod
    def hash(state: dict[str, str]) -> bytes:
        return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).digest()

    def info(self, request: pb.RequestInfo) -> pb.ResponseInfo:
        self.order.append("info")
        return pb.ResponseInfo(
            last_block_height=self.height, last_block_app_hash=self.hash(self.state) if self.height else b""
        )

    def init_chain(self, request: pb.RequestInitChain) -> pb.ResponseInitChain:
        return pb.ResponseInitChain(app_hash=self.hash({}))

    def query(self, request: pb.RequestQuery) -> pb.ResponseQuery:
        self.order.append("query")
        value = self.state.get(request.data.decode(), "")
        return pb.ResponseQuery(key=request.data, value=value.encode(), height=self.height)

    def check_tx(self, request: pb.RequestCheckTx) -> pb.ResponseCheckTx:
        if request.tx == b"raise":
            raise ValueError("a bug of the application")
        self.order.append("check_tx")
        return pb.ResponseCheckTx(code=0 if b"=" in request.tx else 1)

    def prepare_proposal(self, request: pb.RequestPrepareProposal) -> pb.ResponsePrepareProposal:
        txs, size = [], 0
        for tx in request.txs:
            size += len(tx) + 16
            if size > request.max_tx_bytes:
                break
            txs.append(tx)
        return pb.ResponsePrepareProposal(txs=txs)

    def process_proposal(self, request: pb.RequestProcessProposal) -> pb.ResponseProcessProposal:
        return pb.ResponseProcessProposal(status=pb.ResponseProcessProposal.ACCEPT)

    def finalize_block(self, request: pb.RequestFinalizeBlock) -> pb.ResponseFinalizeBlock:
        state = dict(self.state)
        for tx in request.txs:
            key, _, value = tx.decode("utf-8", "replace").partition("=")
            state[key] = value
        self.staged = (request.height, state)
        results = [pb.ExecTxResult(code=0) for _ in request.txs]
        return pb.ResponseFinalizeBlock(tx_results=results, app_hash=self.hash(state))

    def commit(self, request: pb.RequestCommit) -> pb.ResponseCommit:
        self.order.append("commit")
        self.height, self.state = self.staged
        if self.file is not None:
            new = self.file.with_suffix(".new")
            new.write_text(json.dumps({"height": self.height, "state": self.state}))
            new.replace(self.file)
        return pb.ResponseCommit()

    def extend_vote(self, request: pb.RequestExtendVote) -> pb.ResponseExtendVote:
        return pb.ResponseExtendVote()

    def verify_vote_extension(self, request: pb.RequestVerifyVoteExtension) -> pb.ResponseVerifyVoteExtension:
        return pb.ResponseVerifyVoteExtension()

    def list_snapshots(self, request: pb.RequestListSnapshots) -> pb.ResponseListSnapshots:
        return pb.ResponseListSnapshots()

    def offer_snapshot(self, request: pb.RequestOfferSnapshot) -> pb.ResponseOfferSnapshot:
        return pb.ResponseOfferSnapshot()

    def load_snapshot_chunk(self, request: pb.RequestLoadSnapshotChunk) -> pb.ResponseLoadSnapshotChunk:
        return pb.ResponseLoadSnapshotChunk()

    def apply_snapshot_chunk(self, request: pb.RequestApplySnapshotChunk) -> pb.ResponseApplySnapshotChunk:
        return pb.ResponseApplySnapshotChunk()

    def close(self) -> None:
        self.order.append("close")
