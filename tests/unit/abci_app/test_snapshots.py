"""State sync as CometBFT drives it: taken, served, offered, applied; liars are refused and named."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import abci_app.snapshot_folder
import abci_app.snapshots
import state.snapshot
from abci_app.application import ConclaveApplication
from abci_app.settings import SNAPSHOT_EVERY_HEIGHTS, Settings, load
from abci_app.snapshot_folder import SnapshotFolder
from abci_app.snapshots import HOLD_MAX_S, HOLD_S
from ledger.errors import Code, EnvironmentFault
from ledger.pb import abci_pb2 as pb
from state.snapshot import FORMAT
from tests.support.application import Chain
from tests.support.subjects import ALICE, BOB, CAROL, CHAIN_ID, Pen, genesis_bytes

EVERY = 3
Offer = pb.ResponseOfferSnapshot
Apply = pb.ResponseApplySnapshotChunk


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state.snapshot, "SNAPSHOT_CHUNK_BYTES", 1000)
    monkeypatch.setattr(abci_app.snapshot_folder, "SNAPSHOT_CHUNK_BYTES", 1000)
    monkeypatch.setattr(abci_app.snapshots, "CHUNK_PAUSE_S", 0.0)


@contextmanager
def application(path: Path, every: int = EVERY) -> Iterator[ConclaveApplication]:
    opened = ConclaveApplication.open(path / "app", path / "app-snapshots", every)
    try:
        yield opened
    finally:
        opened.close()


def _grow(chain: Chain, to: int) -> None:
    """Commit blocks up to ``to``, the first three with a release; wait for each snapshot."""
    pen = Pen()
    proposed = pen.propose(ALICE)
    blocks = {1: [proposed], 2: [pen.approve(BOB, proposed)], 3: [pen.approve(CAROL, proposed)]}
    if not chain.height:
        chain.start()
    while chain.height < to:
        chain.block(blocks.get(chain.height + 1, []))
        chain.application._snapshots.wait()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Chain]:
    """A chain of 7 blocks with snapshots of 3 and 6."""
    with application(tmp_path / "source") as opened:
        chain = Chain(opened)
        _grow(chain, 7)
        yield chain


def _listed(chain: Chain) -> list[pb.Snapshot]:
    return list(chain.application.list_snapshots(pb.RequestListSnapshots()).snapshots)


def _chunk(chain: Chain, snapshot: pb.Snapshot, index: int) -> bytes:
    request = pb.RequestLoadSnapshotChunk(height=snapshot.height, format=snapshot.format, chunk=index)
    return chain.application.load_snapshot_chunk(request).chunk


def _offer(opened: ConclaveApplication, snapshot: pb.Snapshot, app_hash: bytes) -> int:
    return opened.offer_snapshot(pb.RequestOfferSnapshot(snapshot=snapshot, app_hash=app_hash)).result


def _apply(opened: ConclaveApplication, index: int, chunk: bytes, sender: str = "peer") -> Apply:
    return opened.apply_snapshot_chunk(pb.RequestApplySnapshotChunk(index=index, chunk=chunk, sender=sender))


def _info(opened: ConclaveApplication) -> tuple[int, bytes, int]:
    answer = opened.info(pb.RequestInfo())
    return answer.last_block_height, answer.last_block_app_hash, answer.app_version


def _newest(chain: Chain) -> tuple[pb.Snapshot, bytes]:
    """Give the newest snapshot with its true app hash: the blocks after it change nothing."""
    return _listed(chain)[0], chain.info()[1]


@pytest.mark.requires("abci.snapshot-taken")
def test_the_last_two_snapshots_are_kept_and_listed(source: Chain) -> None:
    listed = _listed(source)
    assert [(s.height, s.format) for s in listed] == [(6, FORMAT), (3, FORMAT)]
    assert listed[0].chunks > 2
    for snapshot in listed:
        chunks = [_chunk(source, snapshot, index) for index in range(snapshot.chunks)]
        assert snapshot.metadata == b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)
        assert snapshot.hash == hashlib.sha256(snapshot.metadata).digest()
        assert _chunk(source, snapshot, snapshot.chunks) == b""
    assert _chunk(source, pb.Snapshot(height=6, format=FORMAT + 1), 0) == b""
    assert _chunk(source, pb.Snapshot(height=5, format=FORMAT), 0) == b""
    source.application._snapshots._asked_at -= HOLD_S
    _grow(source, 9)
    assert [s.height for s in _listed(source)] == [9, 6]


@pytest.mark.requires("abci.snapshot-held")
def test_what_a_peer_was_told_of_stays_for_a_while(source: Chain) -> None:
    snapshots, now = source.application._snapshots, [1000.0]
    folder = snapshots._folder
    assert folder is not None
    snapshots._clock = lambda: now[0]
    snapshots._taken_at = now[0]
    for asked in (lambda: _listed(source), lambda: _chunk(source, pb.Snapshot(height=6, format=FORMAT), 0)):
        asked()
        now[0] += HOLD_S - 1
        _grow(source, source.height + EVERY)
        assert [s.height for s in folder.kept()] == [6, 3]
    now[0] += 2
    _grow(source, 15)
    assert [s.height for s in _listed(source)] == [15, 6]
    while now[0] < snapshots._taken_at + HOLD_MAX_S:
        _listed(source)
        now[0] += HOLD_S / 2
    _grow(source, 18)
    assert [s.height for s in _listed(source)] == [18, 15]


@pytest.mark.requires("abci.snapshot-taken")
def test_two_nodes_make_the_same_snapshot_also_after_a_restart(source: Chain, tmp_path: Path) -> None:
    with application(tmp_path / "other", every=0) as opened:
        chain = Chain(opened)
        _grow(chain, 5)
        assert _listed(chain) == []
    with application(tmp_path / "other") as opened:
        chain = Chain(opened)
        chain.height = 5
        _grow(chain, 6)
        assert _listed(chain)[0] == _listed(source)[0]


@pytest.mark.requires("abci.snapshot-taken")
def test_one_is_taken_on_demand_and_once(tmp_path: Path) -> None:
    with application(tmp_path, every=0) as opened:
        chain = Chain(opened)
        _grow(chain, 1)
        SnapshotFolder(tmp_path / "app-snapshots").want()
        _grow(chain, 3)
        assert [s.height for s in _listed(chain)] == [2]


@pytest.mark.requires("abci.snapshot-taken")
def test_a_full_disk_costs_the_snapshot_never_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with application(tmp_path) as opened:
        chain = Chain(opened)
        monkeypatch.setattr(abci_app.snapshot_folder, "_write", full)
        _grow(chain, 4)
        assert _listed(chain) == []
        assert "snapshot failed" in caplog.messages
        monkeypatch.undo()
        _grow(chain, 6)
        assert [s.height for s in _listed(chain)] == [6]


@pytest.mark.requires("abci.snapshot-taken")
def test_closing_ends_a_snapshot_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(abci_app.snapshots, "CHUNK_PAUSE_S", 60.0)
    caplog.set_level("INFO")
    with application(tmp_path, every=1) as opened:
        chain = Chain(opened)
        chain.start()
        chain.block([])
        chain.block([])
    assert "snapshot given up" in caplog.messages
    assert SnapshotFolder(tmp_path / "app-snapshots").kept() == []
    assert [entry.name for entry in (tmp_path / "app-snapshots").iterdir()] == []


@pytest.mark.requires("abci.snapshot-restored")
def test_a_restored_application_goes_on_with_the_others(source: Chain, tmp_path: Path) -> None:
    snapshot, app_hash = _newest(source)
    with application(tmp_path / "new") as opened:
        assert _offer(opened, snapshot, app_hash) == Offer.ACCEPT
        for index in range(snapshot.chunks):
            assert _info(opened)[0] == 0
            assert _apply(opened, index, _chunk(source, snapshot, index)).result == Apply.ACCEPT
        assert _info(opened) == (6, app_hash, 1)
        chain = Chain(opened)
        chain.height = 6
        assert chain.block([]).app_hash == source.info()[1]
        tx = Pen().propose(ALICE)
        assert chain.check(tx) == source.check(tx) != Code.GENESIS_INVALID
        assert chain.block([tx]) == source.block([tx])
    with application(tmp_path / "new") as opened:
        assert _info(opened)[:2] == source.info()


@pytest.mark.requires("abci.snapshot-restored")
def test_a_node_that_died_after_the_restore_takes_the_same_snapshot_again(
    source: Chain, tmp_path: Path
) -> None:
    snapshot, app_hash = _newest(source)
    for _ in range(2):
        with application(tmp_path / "new") as opened:
            assert _offer(opened, snapshot, app_hash) == Offer.ACCEPT
            for index in range(snapshot.chunks):
                assert _apply(opened, index, _chunk(source, snapshot, index)).result == Apply.ACCEPT
            assert _info(opened)[:2] == (6, app_hash)
            older = _listed(source)[1]
            assert _offer(opened, older, app_hash) == Offer.REJECT


@pytest.mark.requires("abci.snapshot-liar")
def test_a_corrupted_chunk_is_fetched_again_from_somebody_else(source: Chain, tmp_path: Path) -> None:
    snapshot, app_hash = _newest(source)
    with application(tmp_path / "new") as opened:
        assert _offer(opened, snapshot, app_hash) == Offer.ACCEPT
        for index in range(snapshot.chunks):
            chunk = _chunk(source, snapshot, index)
            broken = chunk[:-1] + bytes((chunk[-1] ^ 1,))
            for lie in (broken, b"", chunk + b"\0", bytes(5_000_000)):
                answer = _apply(opened, index, lie, "liar")
                assert answer.result == Apply.RETRY
                assert (list(answer.refetch_chunks), list(answer.reject_senders)) == ([index], ["liar"])
            assert _apply(opened, index, chunk).result == Apply.ACCEPT
        assert _info(opened)[:2] == (6, app_hash)


@pytest.mark.requires("abci.snapshot-liar")
def test_a_snapshot_of_another_state_is_refused_and_nothing_of_it_stays(
    source: Chain, tmp_path: Path
) -> None:
    snapshot, app_hash = _newest(source)
    trusted = hashlib.sha256(b"another").digest()
    with application(tmp_path / "new") as opened:
        assert _offer(opened, snapshot, trusted) == Offer.ACCEPT
        answers = [
            _apply(opened, i, _chunk(source, snapshot, i), f"liar{i % 2}") for i in range(snapshot.chunks)
        ]
        assert {a.result for a in answers[:-1]} == {Apply.ACCEPT}
        assert answers[-1].result == Apply.REJECT_SNAPSHOT
        assert list(answers[-1].reject_senders) == ["liar0", "liar1"]
        assert _info(opened) == (0, b"", 1)
        assert _apply(opened, 0, _chunk(source, snapshot, 0)).result == Apply.ABORT
        assert list((tmp_path / "new" / "app-snapshots").iterdir()) == []
        assert _offer(opened, snapshot, app_hash) == Offer.ACCEPT
        for index in range(snapshot.chunks):
            assert _apply(opened, index, _chunk(source, snapshot, index)).result == Apply.ACCEPT
        assert _info(opened)[:2] == (6, app_hash)


@pytest.mark.requires("abci.snapshot-liar")
def test_an_offer_that_no_honest_node_makes_is_refused(source: Chain, tmp_path: Path) -> None:
    honest, app_hash = _newest(source)
    wanted: dict[int, list[dict[str, Any]]] = {
        Offer.REJECT_FORMAT: [{"format": 2}, {"format": 0}],
        Offer.REJECT_SENDER: [
            {"hash": bytes(32)},
            {"chunks": honest.chunks + 1},
            {"metadata": honest.metadata[:-1]},
            {"metadata": b""},
            {"height": 0},
            {"height": 2**64 - 1},
        ],
    }
    with application(tmp_path / "new") as opened:
        for result, changes in wanted.items():
            for change in changes:
                offered = pb.Snapshot.FromString(honest.SerializeToString())
                for name, value in change.items():
                    setattr(offered, name, value)
                assert _offer(opened, offered, app_hash) == result, change
        assert _offer(opened, honest, b"short") == Offer.REJECT
        assert _apply(opened, 0, b"").result == Apply.ABORT


@pytest.mark.requires("abci.snapshot-liar")
def test_a_chunk_damaged_on_our_disk_is_never_given(source: Chain, tmp_path: Path) -> None:
    snapshot, _ = _newest(source)
    chunk = tmp_path / "source" / "app-snapshots" / "6" / "chunk-0001"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    assert _chunk(source, snapshot, 0) != b""
    assert _chunk(source, snapshot, 1) == b""
    (tmp_path / "source" / "app-snapshots" / "6" / "metadata").write_bytes(b"?")
    assert [s.height for s in _listed(source)] == [3]


@pytest.mark.requires("abci.app-settings")
def test_settings_are_read_strictly(tmp_path: Path) -> None:
    assert load(tmp_path) == Settings(SNAPSHOT_EVERY_HEIGHTS)
    file = tmp_path / "config" / "app.toml"
    file.parent.mkdir()
    for text, every in (("", SNAPSHOT_EVERY_HEIGHTS), ("snapshot_every = 0", 0), ("snapshot_every = 7", 7)):
        file.write_text(text)
        assert load(tmp_path) == Settings(every)
    for text in (
        "snapshot_every = -1",
        "snapshot_every = true",
        "snapshot_every = 1.5",
        "snapshot_every = 10000000000",
        'snapshot_every = "1"',
        "snapshots = 1",
        "[",
        "a = " + "[" * 20_000,
    ):
        file.write_text(text)
        with pytest.raises(EnvironmentFault) as fault:
            load(tmp_path)
        assert fault.value.code is Code.HOME_INVALID
    file.write_bytes(b"\xff")
    with pytest.raises(EnvironmentFault):
        load(tmp_path)


@pytest.mark.requires("abci.lifecycle")
def test_the_parameters_carry_the_version_that_info_gives(source: Chain) -> None:
    """CometBFT's rollback takes the version of the next header from them."""
    request = pb.RequestInitChain(chain_id=CHAIN_ID, app_state_bytes=genesis_bytes(), initial_height=1)
    parameters = source.application.init_chain(request).consensus_params
    assert parameters.version.app == source.application.info(pb.RequestInfo()).app_version == 1
    assert not parameters.HasField("block")
