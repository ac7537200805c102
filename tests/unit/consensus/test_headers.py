"""The believed headers of one process: what the trust store refuses is believed at no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.headers import VerifiedHeaders
from consensus.light.types import Options
from consensus.sources import BlockSource
from consensus.trust_store import TrustRoot, TrustState, TrustStore
from ledger.errors import Code, ConclaveError, EnvironmentFault
from tests.support.attacks import GROUND, MISLED, TARGET, Peer, decided, equivocation, liars, panel_of

LEDGER = decided(MISLED)
CHAIN = LEDGER.chain
ROOT = TrustRoot.at(CHAIN.chain_id, GROUND, CHAIN.trusted(GROUND).hash)


def headers_over(source: BlockSource, store: TrustStore) -> VerifiedHeaders:
    """Give the headers of a process that keeps them in ``store``."""
    store.ensure(ROOT)
    headers = VerifiedHeaders(source, store, clock=lambda: CHAIN.now_ns, options=Options())
    assert headers.at(GROUND).height == GROUND
    return headers


def refusals(headers: VerifiedHeaders, height: int) -> list[Code]:
    """Give what asking for a height is refused with, three times."""
    codes = []
    for _ in range(3):
        with pytest.raises(ConclaveError) as refused:
            headers.at(height)
        codes.append(refused.value.code)
    return codes


@pytest.mark.requires("reader.saved-first")
@pytest.mark.parametrize("with_panel", [False, True])
def test_a_second_header_of_a_height_is_refused_every_time(with_panel: bool, tmp_path: Path) -> None:
    forged = equivocation(CHAIN, liars("over 1/3"))
    lying = [Peer("liar", LEDGER, forged), Peer("liar-2", LEDGER, forged)]
    source = panel_of(lying, tmp_path) if with_panel else lying[0]
    path = tmp_path / "trust.json"
    honest, misled = headers_over(Peer("h", LEDGER), TrustStore(path)), headers_over(source, TrustStore(path))
    assert honest.at(TARGET).hash == CHAIN.trusted(TARGET).hash
    assert refusals(misled, TARGET) == [Code.HEADERS_DIVERGED] * 3
    newest = misled.newest
    assert newest is not None
    assert newest.height == GROUND


@pytest.mark.requires("reader.saved-first", "trust.one-root")
def test_after_a_reset_the_old_root_is_no_ground_ever(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    headers = headers_over(Peer("h", LEDGER), TrustStore(path))
    TrustStore(path).reset(TrustRoot.at(CHAIN.chain_id, 4, CHAIN.trusted(4).hash), "a person says so", 1)
    assert refusals(headers, TARGET) == [Code.TRUST_ROOT_MISMATCH] * 3


@pytest.mark.requires("reader.saved-first", "trust.durable")
def test_what_cannot_be_kept_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TrustStore(tmp_path / "trust.json")
    headers = headers_over(Peer("h", LEDGER), store)

    def full(_: TrustState) -> None:
        raise EnvironmentFault(Code.DISK_FULL)

    with monkeypatch.context() as patched:
        patched.setattr(store, "save", full)
        assert refusals(headers, TARGET) == [Code.DISK_FULL] * 3
    assert headers.at(TARGET).hash == CHAIN.trusted(TARGET).hash
