"""The trust store: durable, checked, and the root it begins with."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

import pytest

from consensus.light.render import validators_json
from consensus.trust_log import framed, scan
from consensus.trust_store import TrustRoot, TrustState, TrustStore
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed
from tests.support.chain import CHAIN_ID, Chain, set_of, signers

MEMBERS = signers("a", "b", "c", "d")
ROOT = TrustRoot(CHAIN_ID, 1, None, set_of(MEMBERS))


def _state() -> TrustState:
    chain = Chain(MEMBERS)
    chain.extend(3)
    return TrustState(ROOT, chain.trusted(3), 77)


def _grown(path: Path, heights: int = 4) -> list[tuple[int, TrustState]]:
    """Save a root and headers one by one; give the file's size and the state after each."""
    chain, store, known = Chain(MEMBERS), TrustStore(path), []
    chain.extend(heights)
    for height in range(heights + 1):
        state = TrustState(ROOT, chain.trusted(height), height) if height else TrustState(ROOT)
        store.save(state)
        known.append((path.stat().st_size, state))
    return known


@pytest.mark.requires("trust.durable")
def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    for name, states in {
        "genesis": (TrustState(ROOT), _state()),
        "header": (TrustState(TrustRoot.at(CHAIN_ID, 9, b"\x05" * 32)),),
    }.items():
        store = TrustStore(tmp_path / name)
        assert store.load() is None
        for state in states:
            store.save(state)
            assert store.load() == state
            assert TrustStore(tmp_path / name).load() == state
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["genesis", "header"]


@pytest.mark.requires("trust.log")
def test_the_log_tells_what_was_believed_and_from_which_ground(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    known = [state for _, state in _grown(store.path)]
    begun, *headers = store.history()
    assert (begun["kind"], begun["root"]["by"]) == ("root", "header")
    for entry, state, before in zip(headers, known[1:], known, strict=False):
        assert state.newest is not None
        assert entry["header"]["height"] == str(state.newest.height)
        ground = before.newest
        assert entry["ground"] == (
            None if ground is None else {"height": ground.height, "hash": ground.hash.hex()}
        )
    store.reset(TrustRoot.at(CHAIN_ID, 9, b"\x05" * 32), "after a long pause", 77)
    reset = store.history()[-1]
    assert (reset["kind"], reset["reason"], reset["at"]) == ("reset", "after a long pause", 77)
    assert reset["was"]["height"] == 4
    assert store.load() == TrustState(TrustRoot.at(CHAIN_ID, 9, b"\x05" * 32))
    assert len(store.history()) == len(known) + 1


@pytest.mark.requires("trust.corrupt-named")
def test_any_flipped_byte_is_noticed(tmp_path: Path) -> None:
    """It leaves the exact state (the last line end) or is named with its place: it is no torn end."""
    store = TrustStore(tmp_path / "trust.json")
    last = _grown(store.path, 1)[-1][1]
    content = store.path.read_bytes()
    for offset, byte in enumerate(content):
        for flip in (0x01, byte):
            store.path.write_bytes(content[:offset] + bytes([byte ^ flip]) + content[offset + 1 :])
            if flip == byte and offset == len(content) - 1:
                assert store.load() == last
                continue
            with pytest.raises(EnvironmentFault) as fault:
                store.load()
            line = content[:offset].count(b"\n") + 1
            assert (fault.value.code, fault.value.facts["line"]) == (Code.TRUST_STORE_CORRUPT, line)
            assert fault.value.facts["file"] == str(store.path)
            assert fault.value.facts["offset"] <= offset


@pytest.mark.requires("trust.torn-end")
def test_a_cut_anywhere_gives_an_earlier_state_or_is_named(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    known = _grown(store.path, 1)
    content = store.path.read_bytes()
    for size in range(len(content)):
        # A file system may have made room that was never filled.
        store.path.write_bytes(content[:size] + b"\0" * (size % 3))
        durable = [state for end, state in known if end - 1 <= size]
        if durable:
            assert store.load() == durable[-1]
            continue
        with pytest.raises(EnvironmentFault) as fault:
            store.load()
        assert fault.value.code is Code.TRUST_STORE_CORRUPT


@pytest.mark.requires("trust.torn-end")
def test_a_torn_end_is_written_over(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    known = _grown(store.path)
    content = store.path.read_bytes()
    for size in range(known[2][0] - 1, known[3][0] - 1, 7):
        store.path.write_bytes(content[:size])
        TrustStore(store.path).save(known[-1][1])
        assert TrustStore(store.path).load() == known[-1][1]
        assert [entry["kind"] for entry in store.history()] == ["root", "header", "header", "header"]


@pytest.mark.requires("trust.torn-end")
def test_a_torn_end_longer_than_what_follows_is_gone(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    last = _grown(store.path, 2)[-1][1]
    _, tip = scan(store.path.read_bytes())
    torn = framed([b"x" * 50_000], tip)[0][:40_000]
    store.path.write_bytes(store.path.read_bytes() + torn)
    assert store.load() == last
    chain = Chain(MEMBERS)
    chain.extend(3)
    following = TrustState(ROOT, chain.trusted(3), 3)
    store.save(following)
    assert TrustStore(store.path).load() == following


@pytest.mark.requires("trust.torn-end")
def test_a_last_record_with_a_hole_is_left_out_and_written_over(tmp_path: Path) -> None:
    """After a power cut the later blocks of a write may be there and the earlier not."""
    store = TrustStore(tmp_path / "trust.json")
    known = _grown(store.path)
    (begun, before), (end, last) = known[-2:]
    content = store.path.read_bytes()
    assert len(content) == end
    for start in range(begun, end - 3, 11):
        for size in (2, 60, 400):
            hole = content[:start] + b"\0" * size + content[start + size :]
            store.path.write_bytes(hole[:end])
            assert store.load() == before
    TrustStore(store.path).save(last)
    assert TrustStore(store.path).load() == last
    assert store.path.read_bytes() == content


@pytest.mark.requires("trust.torn-end", "trust.corrupt-named")
def test_a_hole_before_the_last_record_is_named(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    ends = [end for end, _ in _grown(store.path)]
    content = store.path.read_bytes()
    for start in (0, ends[0], ends[1] + 50, ends[2] - 20):
        store.path.write_bytes(content[:start] + b"\0" * 8 + content[start + 8 :])
        with pytest.raises(EnvironmentFault) as fault:
            store.load()
        assert fault.value.code is Code.TRUST_STORE_CORRUPT


@pytest.mark.requires("trust.shared")
def test_another_file_of_the_same_number_and_size_is_read_again(tmp_path: Path) -> None:
    chain, other = Chain(MEMBERS), Chain(MEMBERS)
    chain.extend(4)
    other.append(data_hash=b"\x07" * 32)
    other.extend(3)
    store, beside = TrustStore(tmp_path / "trust.json"), TrustStore(tmp_path / "beside.json")
    store.save(TrustState(ROOT, chain.trusted(3), 3))
    beside.save(TrustState(ROOT, other.trusted(3), 3))
    content = beside.path.read_bytes()
    assert len(content) == store.path.stat().st_size
    with store.path.open("r+b") as file:
        file.write(content)
    with pytest.raises(VerificationFailed) as refused:
        store.save(TrustState(ROOT, chain.trusted(3), 3))
    assert refused.value.code is Code.HEADERS_DIVERGED


@pytest.mark.requires("trust.durable")
def test_a_new_file_is_durable_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    store = TrustStore(tmp_path / "trust.json")
    store.save(TrustState(ROOT))
    assert synced == [False, True]
    store.save(_state())
    assert synced == [False, True, False]


@pytest.mark.requires("trust.never-back")
def test_the_newest_never_goes_back_and_never_forks(tmp_path: Path) -> None:
    known = _grown(tmp_path / "trust.json")
    store, newest = TrustStore(tmp_path / "trust.json"), known[-1][1]
    for _, state in known:
        store.save(state)
    assert store.load() == newest
    assert len(store.history()) == len(known)
    other = Chain(signers("e", "f"))
    other.extend(4)
    with pytest.raises(VerificationFailed) as refused:
        store.save(TrustState(ROOT, other.trusted(4), 1))
    assert refused.value.code is Code.HEADERS_DIVERGED
    with pytest.raises(Refused) as mismatch:
        store.save(TrustState(TrustRoot.at(CHAIN_ID, 9, b"\x05" * 32)))
    assert mismatch.value.code is Code.TRUST_ROOT_MISMATCH


@pytest.mark.requires("trust.shared")
def test_several_processes_add_to_one_log(tmp_path: Path) -> None:
    chain = Chain(MEMBERS)
    chain.extend(9)
    stores = [TrustStore(tmp_path / "trust.json") for _ in range(3)]
    for store in stores:
        store.ensure(ROOT)
    for height in range(1, 10):
        stores[height % 3].save(TrustState(ROOT, chain.trusted(height), height))
    assert stores[0].load() == TrustState(ROOT, chain.trusted(9), 9)
    assert len(stores[1].history()) == 10


@pytest.mark.requires("trust.shared")
@pytest.mark.parametrize("is_rewritten", [False, True])
def test_what_another_process_wrote_while_we_waited_for_the_lock_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_rewritten: bool
) -> None:
    chain = Chain(MEMBERS)
    chain.extend(5)
    ours, other = TrustStore(tmp_path / "trust.json"), TrustStore(tmp_path / "trust.json")
    ours.save(TrustState(ROOT, chain.trusted(1), 1))
    real = fcntl.flock

    def late(file: Any, how: int) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(fcntl, "flock", real)
            if is_rewritten:
                patched.setattr("consensus.trust_store.ENTRIES_MAX", 2)
            other.save(TrustState(ROOT, chain.trusted(3), 3))
        monkeypatch.setattr(fcntl, "flock", real)
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    ours.save(TrustState(ROOT, chain.trusted(5), 5))
    assert TrustStore(ours.path).load() == TrustState(ROOT, chain.trusted(5), 5)
    heights = [entry["header"]["height"] for entry in ours.history() if entry["kind"] == "header"]
    assert heights[-2:] == ["3", "5"]
    assert ours.history()[-1]["ground"]["height"] == 3


@pytest.mark.requires("trust.bounded")
def test_a_long_log_is_rewritten_with_its_roots_and_resets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consensus.trust_store.ENTRIES_MAX", 6)
    monkeypatch.setattr("consensus.trust_entries.ROOTS_KEPT_MAX", 3)
    chain, store = Chain(MEMBERS), TrustStore(tmp_path / "trust.json")
    chain.extend(60)
    written = 0
    for number in range(4):
        root = TrustRoot.at(CHAIN_ID, 15 * number + 1, chain.trusted(15 * number + 1).hash)
        store.reset(root, f"reason {number}", number)
        for height in range(15 * number + 1, 15 * number + 16):
            state = TrustState(root, chain.trusted(height), height)
            store.save(state)
            written += 1
            assert TrustStore(store.path).load() == state
            assert len(store.history()) <= 7
    history = store.history()
    assert [entry["reason"] for entry in history if entry["kind"] == "reset"][-3:] == [
        f"reason {n}" for n in (1, 2, 3)
    ]
    assert history[0]["kind"] == "compacted"
    assert history[0]["dropped"] + len(history) - 1 == written + 4
    assert [path.name for path in tmp_path.iterdir()] == ["trust.json"]


@pytest.mark.requires("trust.reset")
def test_a_person_ends_a_file_that_nobody_can_read(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.path.write_bytes(b"nonsense")
    store.reset(ROOT, "the disk was damaged", 5)
    assert store.load() == TrustState(ROOT)
    store.reset(ROOT, "x" * 5000, 6)
    assert len(store.history()[-1]["reason"]) == 1024


@pytest.mark.requires("trust.corrupt-named")
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b"null", b'{"checksum":1}'])
def test_any_bytes_are_named_corrupt(tmp_path: Path, content: bytes) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.path.write_bytes(content)
    with pytest.raises(EnvironmentFault) as fault:
        store.load()
    assert fault.value.code is Code.TRUST_STORE_CORRUPT


@pytest.mark.requires("trust.durable")
def test_a_save_that_fails_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.save(TrustState(ROOT))

    def full(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(EnvironmentFault) as fault:
            store.save(_state())
        assert fault.value.code is Code.DISK_FULL
    assert store.load() == TrustState(ROOT)
    store.save(_state())
    assert store.load() == _state()
    assert [path.name for path in tmp_path.iterdir()] == ["trust.json"]


@pytest.mark.requires("trust.durable")
def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault) as fault:
        TrustStore(tmp_path / "none" / "trust.json").save(TrustState(ROOT))
    assert fault.value.code is Code.HOME_INVALID


@pytest.mark.requires("trust.one-root")
def test_another_root_is_not_slipped_in(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    assert store.ensure(ROOT) == TrustState(ROOT)
    store.save(_state())
    assert store.ensure(ROOT) == _state()
    with pytest.raises(Refused) as refused:
        store.ensure(TrustRoot.at(CHAIN_ID, 2, b"\x01" * 32))
    assert refused.value.code is Code.TRUST_ROOT_MISMATCH


def _genesis(**changes: Any) -> dict[str, Any]:
    validators = [{**v, "power": v["voting_power"], "name": ""} for v in validators_json(set_of(MEMBERS))]
    base = {"chain_id": CHAIN_ID, "initial_height": "1", "validators": validators, "app_state": {}}
    return json.loads(json.dumps(base | changes))  # type: ignore[no-any-return]


@pytest.mark.requires("trust.genesis-root")
def test_the_genesis_names_the_root() -> None:
    assert TrustRoot.from_genesis(_genesis()) == ROOT
    assert TrustRoot.from_genesis(_genesis(initial_height="0")) == ROOT
    assert TrustRoot.from_genesis(_genesis(initial_height="5")).height == 5


@pytest.mark.requires("trust.genesis-root")
@pytest.mark.parametrize(
    "changes",
    [
        {"validators": []},
        {"validators": [{}]},
        {"validators": None},
        {"chain_id": ""},
        {"chain_id": 5},
        {"initial_height": "-3"},
        {"initial_height": "x"},
    ],
)
def test_a_genesis_that_names_none(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        TrustRoot.from_genesis(_genesis(**changes))
    assert refused.value.code is Code.GENESIS_INVALID


@pytest.mark.requires("trust.one-root")
@pytest.mark.parametrize(("height", "digest"), [(0, b"\x01" * 32), (1, b"\x01" * 31), (1, b"")])
def test_a_root_by_hash_is_whole(height: int, digest: bytes) -> None:
    with pytest.raises(Refused) as refused:
        TrustRoot.at(CHAIN_ID, height, digest)
    assert refused.value.code is Code.FIELD_INVALID
