"""State sync, both sides: snapshots taken and served, one offered by peers restored.

Owns when a snapshot is taken and what CometBFT is answered. Promises that taking one never holds up a block
(a frozen version is written in a thread of its own), that a failure to take one never ends the node, that a
snapshot a peer was told of is not taken away under it, and that nothing a peer sent is written to the state
before its records have the app hash light verification gave.

Source: CometBFT v0.38 spec/abci (methods ListSnapshots … ApplySnapshotChunk) and statesync/syncer.go.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

from abci_app.snapshot_folder import KEPT, SnapshotFolder
from ledger.errors import Code, ConclaveError, VerificationFailed
from ledger.pb import abci_pb2 as pb
from runtime.log import event
from state.batch import Committed
from state.snapshot import (
    FORMAT,
    HASH_BYTES,
    Snapshot,
    check_chunk,
    check_format,
    chunks_of,
    describe,
    pairs_of,
    verified_tree,
)
from state.store import FrozenState, Store

CHUNK_PAUSE_S = 0.02
"""Between chunks: the thread shares the interpreter with consensus."""
HOLD_S = 60.0
"""Since a peer last asked: it may still be looking around (15 s), or fetching what it was told of."""
HOLD_MAX_S = 900.0
"""Nobody can keep this node from taking a new one for longer than this."""
_Offer = pb.ResponseOfferSnapshot
_Apply = pb.ResponseApplySnapshotChunk
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Restore:
    """The snapshot that was accepted, and which of its chunks are here, from whom."""

    snapshot: Snapshot
    app_hash: bytes
    senders: dict[int, str] = field(default_factory=dict)


class _Stopped(Exception):
    """The application closes."""


class Snapshots:
    """The snapshots of one application.

    Args:
        store: the state.
        folder: where they are kept; None: none are taken, served or restored.
        every: one is taken at each height this divides; 0 takes them on demand only.
        app_version: of a state that is restored.
    """

    def __init__(
        self, store: Store, folder: SnapshotFolder | None = None, every: int = 0, app_version: int = 0
    ) -> None:
        self._store, self._folder = store, folder
        self._every, self._app_version = every, app_version
        self._clock = time.monotonic
        self._asked_at = self._taken_at = float("-inf")
        self._restore: _Restore | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        if folder is not None:
            folder.prepare()

    def close(self) -> None:
        """End the writing of a snapshot; call it before the store is closed."""
        self._closing.set()
        self.wait()

    def wait(self) -> None:
        """Wait until no snapshot is being written."""
        if self._thread is not None:
            self._thread.join()

    def committed(self) -> None:
        """Take a snapshot of the newest version if one is due and nobody uses the others; returns at once."""
        folder, height = self._folder, self._store.committed.height
        if folder is None or (self._thread is not None and self._thread.is_alive()):
            return
        is_due = self._every > 0 and height % self._every == 0
        if (is_due or folder.is_wanted()) and not self._is_held(folder):
            folder.grant()
            self._taken_at = self._clock()
            arguments = (folder, self._store.freeze())
            self._thread = threading.Thread(target=self._take, args=arguments, name="snapshot")
            self._thread.start()

    def list(self) -> pb.ResponseListSnapshots:
        """Describe the snapshots that peers may fetch; they stay for a while then."""
        self._asked_at = self._clock()
        folder = self._folder
        whole = [s for s in folder.kept() if folder.is_whole(s)] if folder is not None else []
        return pb.ResponseListSnapshots(snapshots=[_to_wire(snapshot) for snapshot in whole])

    def load(self, request: pb.RequestLoadSnapshotChunk) -> pb.ResponseLoadSnapshotChunk:
        """Give a chunk; empty where there is no such, which CometBFT tells the peer."""
        self._asked_at = self._clock()
        if self._folder is None or request.format != FORMAT:
            return pb.ResponseLoadSnapshotChunk()
        found = next((s for s in self._folder.kept() if s.height == request.height), None)
        chunk = self._folder.chunk(found, request.chunk) if found is not None else None
        return pb.ResponseLoadSnapshotChunk(chunk=chunk or b"")

    def offer(self, request: pb.RequestOfferSnapshot) -> pb.ResponseOfferSnapshot:
        """Accept a snapshot of our format into an empty state; forget the one before.

        A state that is exactly the offered one is accepted too: the node may have died after the restore and
        before CometBFT noted it.
        """
        self._drop()
        offered, committed = request.snapshot, self._store.committed
        if self._folder is None:
            return _Offer(result=_Offer.REJECT_FORMAT)
        try:
            check_format(offered.format)
            snapshot = describe(offered.height, offered.metadata)
        except VerificationFailed as failure:
            return _rejected(failure)
        if snapshot.hash != offered.hash or len(snapshot.chunk_hashes) != offered.chunks:
            return _rejected(
                VerificationFailed(Code.SNAPSHOT_INVALID, got=offered.hash, height=offered.height)
            )
        same = (committed.height, committed.app_hash) == (snapshot.height, request.app_hash)
        if len(request.app_hash) != HASH_BYTES or (committed.height and not same):
            event(
                _LOG, "snapshot refused", level=logging.WARNING, offered=snapshot.height, own=committed.height
            )
            return _Offer(result=_Offer.REJECT)
        self._folder.begin_incoming()
        self._restore = _Restore(snapshot, request.app_hash)
        return _Offer(result=_Offer.ACCEPT)

    def apply(self, request: pb.RequestApplySnapshotChunk) -> pb.ResponseApplySnapshotChunk:
        """Take a chunk; with the last one, verify the whole and only then write it.

        A wrong chunk is fetched again from somebody else. Records without the trusted app hash end the
        snapshot, and everybody who sent a part of it is refused from then on.

        Raises:
            EnvironmentFault: this node's disk failed.
        """
        restore, folder = self._restore, self._folder
        if restore is None or folder is None:
            return _Apply(result=_Apply.ABORT)
        try:
            check_chunk(restore.snapshot, request.index, request.chunk)
        except VerificationFailed as failure:
            event(_LOG, "chunk refused", level=logging.WARNING, sender=request.sender, **failure.to_json())
            senders = [request.sender] if request.sender else []
            return _Apply(result=_Apply.RETRY, refetch_chunks=[request.index], reject_senders=senders)
        folder.put_incoming(request.index, request.chunk)
        restore.senders[request.index] = request.sender
        if len(restore.senders) < len(restore.snapshot.chunk_hashes):
            return _Apply(result=_Apply.ACCEPT)
        try:
            self._finish(restore, folder)
        except VerificationFailed as failure:
            event(_LOG, "snapshot refused", level=logging.ERROR, **failure.to_json())
            senders = sorted({sender for sender in restore.senders.values() if sender})
            return _Apply(result=_Apply.REJECT_SNAPSHOT, reject_senders=senders)
        finally:
            self._drop()
        event(_LOG, "snapshot restored", height=restore.snapshot.height)
        return _Apply(result=_Apply.ACCEPT)

    def _is_held(self, folder: SnapshotFolder) -> bool:
        """Tell whether a new one would take away what a peer was told of."""
        now = self._clock()
        held = now - self._asked_at < HOLD_S and now - self._taken_at < HOLD_MAX_S
        return held and len(folder.kept()) >= KEPT

    def _finish(self, restore: _Restore, folder: SnapshotFolder) -> None:
        snapshot = restore.snapshot

        def chunks() -> Iterator[bytes]:
            return map(folder.incoming, range(len(snapshot.chunk_hashes)))

        tree = verified_tree(snapshot, restore.app_hash, chunks())
        if self._store.committed.height != snapshot.height:
            version = Committed(snapshot.height, tree, self._app_version)
            self._store.restore(version, pairs_of(snapshot, chunks()))

    def _drop(self) -> None:
        self._restore = None
        if self._folder is not None:
            self._folder.end_incoming()

    def _take(self, folder: SnapshotFolder, frozen: FrozenState) -> None:
        height = frozen.committed.height
        try:
            with closing(frozen.pairs()) as pairs:
                snapshot = folder.write(height, self._paced(chunks_of(height, pairs)))
            event(_LOG, "snapshot taken", height=height, chunks=len(snapshot.chunk_hashes))
        except ConclaveError as error:
            event(_LOG, "snapshot failed", level=logging.ERROR, height=height, **error.to_json())
        except _Stopped:
            event(_LOG, "snapshot given up", height=height)
        finally:
            frozen.close()

    def _paced(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            if self._closing.wait(CHUNK_PAUSE_S):
                raise _Stopped


def _to_wire(snapshot: Snapshot) -> pb.Snapshot:
    return pb.Snapshot(
        height=snapshot.height,
        format=FORMAT,
        chunks=len(snapshot.chunk_hashes),
        hash=snapshot.hash,
        metadata=snapshot.metadata,
    )


def _rejected(failure: VerificationFailed) -> pb.ResponseOfferSnapshot:
    """Refuse a format we do not know, and whoever offers what no honest node makes."""
    event(_LOG, "offer refused", level=logging.WARNING, **failure.to_json())
    unknown = failure.code is Code.SNAPSHOT_FORMAT_UNKNOWN
    return _Offer(result=_Offer.REJECT_FORMAT if unknown else _Offer.REJECT_SENDER)
