"""Snapshots: the same bytes everywhere, nothing believed unproven, nothing half restored; and going back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import state.snapshot
import state.store
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed
from state.batch import Committed, stage
from state.limits import STATE_VALUE_BYTES_MAX
from state.snapshot import Snapshot, check_chunk, chunks_of, describe, pairs_of, verified_tree
from state.store import Store
from state.tree import Tree
from tests.unit.state.chain import content_at, grow, tree_of

HEIGHT = 12
Pairs = list[tuple[bytes, bytes]]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state.snapshot, "SNAPSHOT_CHUNK_BYTES", 100)


def _pairs(height: int = HEIGHT) -> Pairs:
    return sorted(content_at(height).items())


def _snapshot(height: int = HEIGHT, pairs: Pairs | None = None) -> tuple[Snapshot, list[bytes]]:
    chunks = list(chunks_of(height, pairs or _pairs(height)))
    return describe(height, b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)), chunks


def _described(height: int, chunks: list[bytes]) -> Snapshot:
    return Snapshot(height, tuple(hashlib.sha256(chunk).digest() for chunk in chunks))


def _refusal(snapshot: Snapshot, chunks: list[bytes]) -> Code:
    with pytest.raises(VerificationFailed) as failure:
        list(pairs_of(snapshot, chunks))
    return failure.value.code


def _record(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


@pytest.mark.requires("state.snapshot-bytes")
def test_a_snapshot_has_the_bytes_of_its_format() -> None:
    (chunk,) = chunks_of(7, [(b"a", b"one"), (b"bb", b"2")])
    assert chunk == bytes(7) + b"\x07\0\0\0\x01a\0\0\0\x03one\0\0\0\x02bb\0\0\0\x012"
    snapshot = describe(7, hashlib.sha256(chunk).digest())
    assert snapshot.hash == hashlib.sha256(hashlib.sha256(chunk).digest()).digest()
    assert list(pairs_of(snapshot, [chunk])) == [(b"a", b"one"), (b"bb", b"2")]


@pytest.mark.requires("state.snapshot-bytes")
@pytest.mark.usefixtures("small_chunks")
def test_two_stores_with_another_past_give_the_same_chunks(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a") as first, Store.open(tmp_path / "b") as second:
        grow(first, HEIGHT)
        second.commit(stage(second.committed, HEIGHT, 1, dict(content_at(HEIGHT))))
        made = []
        for store in (first, second):
            frozen = store.freeze()
            made.append(list(chunks_of(frozen.committed.height, frozen.pairs())))
            frozen.close()
        assert made[0] == made[1] == _snapshot()[1]
        assert len(made[0]) > 3
        assert {len(chunk) for chunk in made[0][:-1]} == {100}


@pytest.mark.requires("state.snapshot-frozen")
def test_a_frozen_state_is_not_changed_by_later_commits(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        grow(store, HEIGHT)
        frozen = store.freeze()
        grow(store, HEIGHT + 20)
        assert (frozen.committed.height, list(frozen.pairs())) == (HEIGHT, _pairs())
        frozen.close()


@pytest.mark.requires("state.snapshot-bounded")
def test_a_state_too_large_for_a_snapshot_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state.snapshot, "SNAPSHOT_CHUNK_BYTES", 10)
    monkeypatch.setattr(state.snapshot, "SNAPSHOT_CHUNKS_MAX", 3)
    with pytest.raises(Refused) as refusal:
        list(chunks_of(HEIGHT, _pairs()))
    assert refusal.value.code is Code.LIMIT_EXCEEDED
    for height, metadata in (
        (1, bytes(32 * 4)),
        (1, b""),
        (1, bytes(33)),
        (0, bytes(32)),
        (2**63, bytes(32)),
    ):
        with pytest.raises(VerificationFailed) as failure:
            describe(height, metadata)
        assert failure.value.code is Code.SNAPSHOT_INVALID


@pytest.mark.requires("state.snapshot-checked")
@pytest.mark.usefixtures("small_chunks")
def test_a_chunk_with_any_byte_changed_is_refused() -> None:
    snapshot, chunks = _snapshot()
    for index, chunk in enumerate(chunks):
        check_chunk(snapshot, index, chunk)
        for at in range(len(chunk)):
            broken = chunk[:at] + bytes((chunk[at] ^ 1,)) + chunk[at + 1 :]
            with pytest.raises(VerificationFailed) as failure:
                check_chunk(snapshot, index, broken)
            assert failure.value.code is Code.SNAPSHOT_CHUNK_INVALID
    for index in (-1, len(chunks)):
        with pytest.raises(VerificationFailed):
            check_chunk(snapshot, index, chunks[0])
    assert _refusal(snapshot, chunks[:-1]) is Code.SNAPSHOT_CHUNK_INVALID
    assert _refusal(snapshot, [chunks[1], chunks[0], *chunks[2:]]) is Code.SNAPSHOT_CHUNK_INVALID


@pytest.mark.requires("state.snapshot-checked")
@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\0" * 7,
        bytes(8) + _record(b"a", b"1"),
        b"h" + _record(b"b", b"1") + _record(b"a", b"1"),
        b"h" + _record(b"a", b"1") + _record(b"a", b"2"),
        b"h" + _record(b"", b"1"),
        b"h" + _record(b"a", b""),
        b"h" + _record(b"a"),
        b"h" + _record(b"a", b"1")[:-1],
        b"h" + _record(b"a", b"1") + b"\0",
        b"h" + _record(bytes(513), b"1"),
        b"h" + _record(b"a") + (STATE_VALUE_BYTES_MAX + 1).to_bytes(4, "big"),
        b"h" + b"\xff" * 8,
    ],
)
def test_a_stream_of_another_shape_is_refused_though_its_hashes_match(stream: bytes) -> None:
    chunk = stream.replace(b"h", HEIGHT.to_bytes(8, "big"), 1)
    assert _refusal(_described(HEIGHT, [chunk]), [chunk]) is Code.SNAPSHOT_INVALID


@pytest.mark.requires("state.snapshot-checked")
def test_a_short_chunk_in_the_middle_is_refused() -> None:
    whole = next(chunks_of(HEIGHT, _pairs()))
    chunks = [whole[:50], whole[50:]]
    assert _refusal(_described(HEIGHT, chunks), chunks) is Code.SNAPSHOT_INVALID


@pytest.mark.requires("state.snapshot-rerooted")
def test_records_with_another_root_are_never_believed() -> None:
    snapshot, chunks = _snapshot()
    assert verified_tree(snapshot, tree_of(HEIGHT).root, chunks).root == tree_of(HEIGHT).root
    forged, forged_chunks = _snapshot(pairs=[*_pairs(), (b"zz", b"mine")])
    for described, sent in ((forged, forged_chunks), _snapshot(pairs=_pairs()[:-1])):
        with pytest.raises(VerificationFailed) as failure:
            verified_tree(described, tree_of(HEIGHT).root, sent)
        assert failure.value.code is Code.SNAPSHOT_ROOT_MISMATCH


@pytest.mark.requires("state.snapshot-restored")
def test_a_restored_state_goes_on_as_the_one_it_was_made_of(tmp_path: Path) -> None:
    version = Committed(HEIGHT, Tree.build(_pairs()), 1)
    with Store.open(tmp_path) as store:
        store.restore(version, _pairs())
        assert store.committed == version
    with Store.open(tmp_path) as store:
        assert (store.committed.height, store.committed.app_hash) == (HEIGHT, version.app_hash)
        assert store.get_at(b"height", HEIGHT) == b"%d" % HEIGHT
        with pytest.raises(Refused) as refusal:
            store.get_at(b"height", HEIGHT - 1)
        assert refusal.value.code is Code.HEIGHT_NOT_AVAILABLE
        with pytest.raises(Refused) as refusal:
            store.roll_back()
        assert refusal.value.code is Code.ROLLBACK_IMPOSSIBLE
        assert grow(store, HEIGHT + 3).app_hash == tree_of(HEIGHT + 3).root
        assert store.tree_at(HEIGHT).root == tree_of(HEIGHT).root
        with pytest.raises(Refused) as refusal:
            store.restore(version, _pairs())
        assert refusal.value.code is Code.STATE_NOT_EMPTY
        assert store.committed.height == HEIGHT + 3


@pytest.mark.requires("state.snapshot-atomic")
def test_a_restore_that_ends_in_the_middle_leaves_an_empty_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state.store, "RESTORE_BATCH_BYTES", 30)
    version = Committed(HEIGHT, Tree.build(_pairs()), 1)

    def broken() -> Iterator[tuple[bytes, bytes]]:
        yield from _pairs()[:20]
        raise EnvironmentFault(Code.DISK_FULL)

    with Store.open(tmp_path) as store:
        with pytest.raises(EnvironmentFault):
            store.restore(version, broken())
        assert store.committed == Committed()
        with pytest.raises(EnvironmentFault):
            store.commit(stage(store.committed, 1, 1, {b"a": b"1"}))
        frozen = store.freeze()
        assert 0 < len(list(frozen.pairs())) <= 20
        frozen.close()
    with Store.open(tmp_path) as store:
        assert store.committed == Committed()
        assert store.get(b"height") is None
        frozen = store.freeze()
        assert list(frozen.pairs()) == []
        frozen.close()
        store.restore(version, _pairs())
    with Store.open(tmp_path) as store:
        assert store.committed.app_hash == version.app_hash


@pytest.mark.requires("state.snapshot-atomic")
def test_a_refused_restore_leaves_a_state_that_can_begin(tmp_path: Path) -> None:
    version = Committed(HEIGHT, Tree.build(_pairs()), 1)
    with Store.open(tmp_path) as store:

        def broken() -> Iterator[tuple[bytes, bytes]]:
            yield b"leftover", b"1"
            raise VerificationFailed(Code.SNAPSHOT_CHUNK_INVALID)

        with pytest.raises(VerificationFailed):
            store.restore(version, broken())
        assert store.get(b"leftover") is None
        store.commit(stage(store.committed, 1, 1, {b"a": b"1"}))
    with Store.open(tmp_path) as store:
        assert store.committed.height == 1


@pytest.mark.requires("state.snapshot-rerooted")
def test_pairs_of_another_tree_are_never_shown(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        with pytest.raises(EnvironmentFault) as fault:
            store.restore(Committed(HEIGHT, Tree.build(_pairs()), 1), _pairs()[1:])
        assert fault.value.code is Code.STATE_CORRUPT
        assert store.committed == Committed()
    with Store.open(tmp_path) as store:
        assert store.committed == Committed()


@pytest.mark.requires("state.rollback")
def test_going_back_gives_the_height_before_also_after_reopening(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        grow(store, HEIGHT)
        for height in range(HEIGHT - 1, HEIGHT - 4, -1):
            assert store.roll_back() == store.committed
            assert (store.committed.height, store.committed.app_hash) == (height, tree_of(height).root)
            assert store.get_at(b"height", height) == b"%d" % height
            assert store.tree_at(height - 1).root == tree_of(height - 1).root
    with Store.open(tmp_path) as store:
        assert store.committed.height == HEIGHT - 3
        frozen = store.freeze()
        assert list(frozen.pairs()) == _pairs(HEIGHT - 3)
        frozen.close()
        assert grow(store, HEIGHT).app_hash == tree_of(HEIGHT).root
        assert store.tree_at(HEIGHT - 4).root == tree_of(HEIGHT - 4).root


@pytest.mark.requires("state.rollback")
@pytest.mark.parametrize("height", [0, 1])
def test_the_first_height_has_nothing_before_it(tmp_path: Path, height: int) -> None:
    with Store.open(tmp_path) as store:
        grow(store, height)
        with pytest.raises(ConclaveError) as refusal:
            store.roll_back()
        assert refusal.value.code is Code.ROLLBACK_IMPOSSIBLE
        assert store.committed.height == height
