"""A root of trust that people signed: enough of the named keys, or none."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from consensus.trust_bundle import SIGNATURES_MAX, TrustBundle, decode, encode, root_of, signed
from consensus.trust_store import TrustRoot
from ledger import canonical
from ledger.errors import Code, ConclaveError
from tests.support.chain import CHAIN_ID
from tests.support.ledger import ALICE, BOB, CAROL, Subject

HASH = b"\x05" * 32
BARE = TrustBundle(CHAIN_ID, 9, HASH, {})
BUNDLE = signed(signed(BARE, ALICE), BOB)
KEYS = [ALICE.did, BOB.key_id, CAROL.did]


@pytest.mark.requires("trust.bundle")
def test_enough_of_the_named_keys_make_a_root() -> None:
    read = decode(encode(BUNDLE))
    assert read == BUNDLE
    root = root_of(read, CHAIN_ID, KEYS, 2)
    assert root == TrustRoot.at(CHAIN_ID, 9, HASH)
    assert ALICE.key_id in root.by
    assert BOB.key_id in root.by


@pytest.mark.requires("trust.bundle")
@pytest.mark.parametrize(
    ("keys", "needed", "code"),
    [
        (KEYS, 3, Code.APPROVALS_INSUFFICIENT),
        ([CAROL.did], 1, Code.APPROVALS_INSUFFICIENT),
        ([ALICE.did, ALICE.key_id], 2, Code.FIELD_INVALID),
        (KEYS, 0, Code.FIELD_INVALID),
        ([], 0, Code.FIELD_INVALID),
        (["z6Mknonsense"], 1, Code.KEY_INVALID),
    ],
)
def test_too_few_make_none(keys: list[str], needed: int, code: Code) -> None:
    with pytest.raises(ConclaveError) as refused:
        root_of(BUNDLE, CHAIN_ID, keys, needed)
    assert refused.value.code is code


@pytest.mark.requires("trust.bundle")
@pytest.mark.parametrize(
    "changes", [{"height": 10}, {"hash": b"\x06" * 32}, {"chain_id": "other"}, {"signatures": {}}]
)
def test_a_signature_is_over_all_of_it(changes: dict[str, object]) -> None:
    changed = dataclasses.replace(BUNDLE, **changes)  # type: ignore[arg-type]
    with pytest.raises(ConclaveError) as refused:
        root_of(changed, changed.chain_id, KEYS, 1)
    assert refused.value.code is Code.APPROVALS_INSUFFICIENT
    with pytest.raises(ConclaveError) as refused:
        root_of(BUNDLE, "other", KEYS, 1)
    assert refused.value.code is Code.HEADER_CHAIN_MISMATCH


@pytest.mark.requires("trust.bundle")
def test_any_other_bytes_are_refused_by_code() -> None:
    content = encode(BUNDLE)
    whole = json.loads(content)
    others = [content[:-1], content + b" ", b"", b"[]", b"\xff", b"[" * 9999]
    values: tuple[Any, ...] = (None, 1, "x", {}, [])
    others += [canonical.dump({**whole, name: value}) for name in whole for value in values]
    others += [canonical.dump({k: v for k, v in whole.items() if k != name}) for name in whole]
    others.append(canonical.dump({**whole, "hash": whole["hash"].replace("0", "O")}))
    others.append(canonical.dump({**whole, "signatures": {"z" * 200: ""}}))
    others.append(canonical.dump({**whole, "signatures": {str(n): "" for n in range(SIGNATURES_MAX + 1)}}))
    refusals = {Code.PROOF_FILE_INVALID, Code.HEADER_CHAIN_MISMATCH, Code.APPROVALS_INSUFFICIENT}
    for other in others:
        with pytest.raises(ConclaveError) as refused:
            root_of(decode(other), CHAIN_ID, KEYS, 2)
        assert refused.value.code in refusals
    full = TrustBundle(CHAIN_ID, 9, HASH, {str(n): b"" for n in range(SIGNATURES_MAX)})
    with pytest.raises(ConclaveError) as refused:
        signed(full, Subject("dave", "human", "a"))
    assert refused.value.code is Code.LIMIT_EXCEEDED
