"""P3 measures real verification: what it times would refuse a wrong block and a wrong proof."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bench import p3, recorded
from consensus.light.types import CommitSig, LightBlock
from ledger.errors import EnvironmentFault, VerificationFailed

pytestmark = pytest.mark.requires("bench.p3-honest")


def _chain(tmp_path: Path, step: int) -> list[LightBlock]:
    file = tmp_path / "chain"
    recorded.write(file, recorded.blocks(4, range(1, 5 * step, step)))
    return recorded.read(file)


@pytest.mark.parametrize("step", p3.STEPS.values(), ids=p3.STEPS)
def test_a_recorded_chain_verifies_and_a_forged_one_does_not(tmp_path: Path, step: int) -> None:
    chain = _chain(tmp_path, step)
    assert p3.verify_chain(chain).seconds > 0
    signed = chain[-1].signed_header
    first, *rest = signed.commit.signatures
    wrong = dataclasses.replace(first, signature=rest[0].signature)
    chain[-1] = _with_votes(chain[-1], (wrong, *rest))
    with pytest.raises(EnvironmentFault):
        p3.verify_chain(chain)


def _with_votes(block: LightBlock, votes: tuple[CommitSig, ...]) -> LightBlock:
    signed = block.signed_header
    commit = dataclasses.replace(signed.commit, signatures=votes)
    return dataclasses.replace(block, signed_header=dataclasses.replace(signed, commit=commit))


def test_skipped_heights_change_validators() -> None:
    low, high = recorded.blocks(4, (1, 1 + p3.STEPS["skipping"]))
    assert low.validators != high.validators


@pytest.mark.parametrize("present", [True, False])
def test_recorded_proofs_verify_and_wrong_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, present: bool
) -> None:
    monkeypatch.setattr(p3, "KEYS", 20)
    monkeypatch.setattr(p3, "PROOFS", 4)
    file = tmp_path / "proofs"
    p3.write_proofs(tmp_path / "state", file, present=present)
    lines = file.read_text().splitlines()
    assert len(lines) == 4
    assert all(bool(json.loads(line)["value"]) is present for line in lines)
    assert p3.verify_proofs(lines).seconds > 0
    broken = json.loads(lines[0]) | {"root": "A" * 43 + "="}
    with pytest.raises(VerificationFailed):
        p3.verify_proofs([json.dumps(broken)])


def test_memory_is_seen_at_each_mark() -> None:
    assert all(size > 0 for size in p3.rss_growth((2, 5)))
    assert len(p3.rss_growth((2, 5))) == 2
