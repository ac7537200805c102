"""The trust store: durable, checked, and the root it begins with."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

import pytest

from consensus.light.render import validators_json
from consensus.trust_store import TrustRoot, TrustState, TrustStore
from ledger.errors import Code, EnvironmentFault, Refused
from tests.support.chain import CHAIN_ID, Chain, set_of, signers

MEMBERS = signers("a", "b", "c", "d")
ROOT = TrustRoot(CHAIN_ID, 1, None, set_of(MEMBERS))


def _state() -> TrustState:
    chain = Chain(MEMBERS)
    chain.extend(3)
    return TrustState(ROOT, chain.trusted(3), 77)


@pytest.mark.requires("trust.durable")
def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    assert store.load() is None
    for state in (TrustState(ROOT), _state(), TrustState(TrustRoot.at(CHAIN_ID, 9, b"\x05" * 32))):
        store.save(state)
        assert store.load() == state
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["trust.json"]


@pytest.mark.requires("trust.corrupt-named")
def test_any_flipped_byte_is_noticed(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.save(_state())
    content = store.path.read_bytes()
    for offset in range(0, len(content), 7):
        store.path.write_bytes(content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :])
        with pytest.raises(EnvironmentFault) as fault:
            store.load()
        assert fault.value.code is Code.TRUST_STORE_CORRUPT
        assert fault.value.facts["file"] == str(store.path)


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

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentFault) as fault:
        store.save(_state())
    assert fault.value.code is Code.DISK_FULL
    assert store.load() == TrustState(ROOT)
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
