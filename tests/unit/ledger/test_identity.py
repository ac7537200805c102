"""Identities: their record, who may sign, and each rule by which keys change."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence

import pytest

from ledger import identity
from ledger.errors import Code
from ledger.identity import IdentityRecord
from ledger.key_set import KeyObject, KeyState, Purpose
from ledger.limits import KEYS_LISTED_MAX
from ledger.types import Did, SubjectKind
from tests.support.key_rings import Ring, committed, composite, identity_of, plain, presented
from tests.support.refusal import outcome, refusal_of

A, B, C, D = plain("a"), composite("b"), plain("c"), composite("d")
FIRST = identity_of((A,), (B, C), height=5)


def ids(*keys: Ring) -> tuple[str, ...]:
    """Give key ids."""
    return tuple(key.key_id for key in keys)


def states(record: IdentityRecord) -> dict[str, tuple[str, int, int | None]]:
    """Give state, since and until of each key."""
    return {key.key_id: (key.state.value, key.since, key.until) for key in record.keys}


def rotated(record: IdentityRecord = FIRST, height: int = 8) -> IdentityRecord:
    """Rotate from A to B and C, committing to D."""
    return identity.rotate(record, presented(B, C), committed(D), ids(A, B, C), height)


@pytest.mark.requires("ledger.identity-record")
def test_a_record_is_read_as_it_is_written() -> None:
    record = rotated()
    content = identity.write_identity(record)
    assert identity.read_identity(content) == record
    value = json.loads(content)
    assert list(value) == [
        *("cluster", "deactivated", "did", "height", "keys", "kind", "name"),
        *("next", "organisation", "sequence", "version"),
    ]
    assert set(value["keys"][0]) == {"keyId", "algorithm", "publicKey", "purposes", "since", "state", "until"}


@pytest.mark.requires("ledger.identity-record")
def test_a_record_of_another_shape_is_refused() -> None:
    value = json.loads(identity.write_identity(FIRST))
    key = value["keys"][0]
    for changed in (
        value | {"more": 1},
        {k: v for k, v in value.items() if k != "next"},
        value | {"version": 0},
        value | {"kind": "robot"},
        value | {"keys": [key] * (KEYS_LISTED_MAX + 1)},
        value | {"keys": [key | {"state": "lost"}]},
        value | {"keys": [key | {"algorithm": "rsa"}]},
        value | {"keys": [key | {"purposes": ["fly"]}]},
        value | {"next": ["ab"]},
        value | {"deactivated": -1},
    ):
        content = json.dumps(changed).encode()
        assert outcome(lambda c=content: identity.read_identity(c))[1] is not Code.OK  # type: ignore[misc]


@pytest.mark.requires("ledger.identity-signers")
def test_only_active_keys_with_the_purpose_sign() -> None:
    two = identity_of((A, B))
    keys = tuple(
        dataclasses.replace(key, purposes=(Purpose.PROPOSE,)) if key.key_id == A.key_id else key
        for key in two.keys
    )
    record = dataclasses.replace(two, keys=keys)
    identity.check_signers(record, ids(A), Purpose.PROPOSE)
    identity.check_signers(record, ids(A, B), Purpose.PROPOSE)
    refusal_of(lambda: identity.check_signers(record, ids(A), Purpose.APPROVE), Code.KEY_PURPOSE_MISSING)
    refusal_of(lambda: identity.check_signers(record, ids(B, A), Purpose.APPROVE), Code.KEY_PURPOSE_MISSING)
    refusal_of(lambda: identity.check_signers(record, ids(A, C), Purpose.PROPOSE), Code.KEY_NOT_OF_SIGNER)
    gone = identity.revoke(record, ids(B), 9)
    refusal_of(lambda: identity.check_signers(gone, ids(B), Purpose.PROPOSE), Code.KEY_NOT_ACTIVE)
    identity.check_signers(gone, ids(A), Purpose.PROPOSE)
    refusal_of(lambda: identity.check_signers(rotated(), ids(A), Purpose.PROPOSE), Code.KEY_NOT_ACTIVE)
    ended = identity.deactivate(record, 9)
    refusal_of(lambda: identity.check_signers(ended, ids(A), Purpose.PROPOSE), Code.SIGNER_DEACTIVATED)


@pytest.mark.requires("ledger.identity-signers")
def test_a_key_change_is_signed_by_committed_keys_and_those_that_may_rotate() -> None:
    identity.check_key_change_signers(FIRST, ids(A, B, C))
    refusal_of(lambda: identity.check_key_change_signers(FIRST, ids(A, D)), Code.KEY_NOT_OF_SIGNER)
    refusal_of(lambda: identity.check_key_change_signers(rotated(), ids(A)), Code.KEY_NOT_ACTIVE)
    mute = dataclasses.replace(
        FIRST, keys=tuple(dataclasses.replace(k, purposes=(Purpose.APPROVE,)) for k in FIRST.keys)
    )
    refusal_of(lambda: identity.check_key_change_signers(mute, ids(A)), Code.KEY_PURPOSE_MISSING)
    ended = identity.deactivate(FIRST, 9)
    refusal_of(lambda: identity.check_key_change_signers(ended, ids(B)), Code.SIGNER_DEACTIVATED)


@pytest.mark.requires("ledger.rotation")
def test_a_rotation_retires_the_old_keys_and_commits_anew() -> None:
    record = rotated()
    assert states(record) == {
        A.key_id: ("retired", 5, 8),
        B.key_id: ("active", 8, None),
        C.key_id: ("active", 8, None),
    }
    assert (record.did, record.next, record.sequence, record.version, record.height) == (
        FIRST.did,
        committed(D),
        1,
        2,
        8,
    )
    assert not record.is_revoked(A.key_id)
    partly = identity.rotate(FIRST, presented(C), (), ids(A, C), 8)
    assert [key.key_id for key in partly.active_keys] == [C.key_id]
    assert partly.next == ()


def without_rotate(record: IdentityRecord) -> IdentityRecord:
    """Give the identity with keys that may only approve."""
    keys = tuple(dataclasses.replace(key, purposes=(Purpose.APPROVE,)) for key in record.keys)
    return dataclasses.replace(record, keys=keys)


Refusal = tuple[IdentityRecord, tuple[KeyObject, ...], Sequence[str], Code]
REVEALED_AGAIN = dataclasses.replace(rotated(), next=committed(A))
ROTATIONS: list[Refusal] = [
    (FIRST, presented(D), ids(A, D), Code.KEY_NOT_COMMITTED),
    (FIRST, presented(B, D), ids(A, B, D), Code.KEY_NOT_COMMITTED),
    (FIRST, presented(A), ids(A), Code.KEY_NOT_COMMITTED),
    (FIRST, presented(B, C), ids(A, B), Code.ROTATION_UNSIGNED),
    (FIRST, presented(B), ids(B), Code.ROTATION_UNSIGNED),
    (FIRST, presented(B), ids(A, B, D), Code.KEY_NOT_OF_SIGNER),
    (FIRST, presented(B), ids(B, C), Code.KEY_NOT_OF_SIGNER),
    (without_rotate(FIRST), presented(B), ids(A, B), Code.KEY_PURPOSE_MISSING),
    (identity.revoke(FIRST, (), 6), presented(B), ids(A, B), Code.KEY_NOT_ACTIVE),
    (identity_of((A,)), presented(B), ids(A, B), Code.ROTATION_IMPOSSIBLE),
    (identity.deactivate(FIRST, 6), presented(B), ids(A, B), Code.SIGNER_DEACTIVATED),
    (REVEALED_AGAIN, presented(A), ids(A, B), Code.KEY_TAKEN),
]


@pytest.mark.requires("ledger.rotation")
@pytest.mark.parametrize(("record", "keys", "signed_by", "code"), ROTATIONS)
def test_any_other_rotation_is_refused(
    record: IdentityRecord, keys: tuple[KeyObject, ...], signed_by: Sequence[str], code: Code
) -> None:
    refusal_of(lambda: identity.rotate(record, keys, (), signed_by, 9), code)


@pytest.mark.requires("ledger.rotation")
def test_a_did_key_never_rotates() -> None:
    record = identity.did_key_identity(Did(A.did), "alice", SubjectKind.HUMAN, "a", None, 1)
    refusal_of(lambda: identity.rotate(record, presented(B), (), ids(A, B), 9), Code.ROTATION_IMPOSSIBLE)
    refusal_of(lambda: identity.recover(record, presented(B), (), ids(B), 9), Code.ROTATION_IMPOSSIBLE)


@pytest.mark.requires("ledger.recovery")
def test_a_recovery_needs_the_committed_keys_only_and_revokes_the_old() -> None:
    record = identity.recover(rotated(), presented(D), (), ids(D), 9)
    assert states(record) == {
        A.key_id: ("retired", 5, 8),
        B.key_id: ("revoked", 8, 9),
        C.key_id: ("revoked", 8, 9),
        D.key_id: ("active", 9, None),
    }
    assert [record.is_revoked(k) for k in ids(A, B, C, D)] == [False, True, True, False]
    emptied = identity.revoke(FIRST, (), 6)
    assert (emptied.is_active, emptied.is_living) == (False, True)
    assert identity.recover(emptied, presented(B), (), ids(B), 9).is_active


@pytest.mark.requires("ledger.recovery")
@pytest.mark.parametrize(
    ("record", "keys", "signed_by", "code"),
    [
        (FIRST, presented(D), ids(D), Code.KEY_NOT_COMMITTED),
        (FIRST, presented(B, C), ids(B), Code.ROTATION_UNSIGNED),
        (FIRST, presented(B), ids(A), Code.ROTATION_UNSIGNED),
        (FIRST, presented(B), ids(A, B), Code.KEY_NOT_OF_SIGNER),
        (FIRST, presented(B), ids(B, C), Code.KEY_NOT_OF_SIGNER),
        (identity_of((A,)), presented(B), ids(B), Code.ROTATION_IMPOSSIBLE),
        (identity.deactivate(FIRST, 6), presented(B), ids(B), Code.SIGNER_DEACTIVATED),
    ],
)
def test_any_other_recovery_is_refused(
    record: IdentityRecord, keys: tuple[KeyObject, ...], signed_by: Sequence[str], code: Code
) -> None:
    refusal_of(lambda: identity.recover(record, keys, (), signed_by, 9), code)


@pytest.mark.requires("ledger.revocation")
def test_a_revocation_ends_named_keys_or_all_active_ones_at_once() -> None:
    record = rotated()
    one = identity.revoke(record, ids(B), 9)
    assert states(one)[B.key_id] == ("revoked", 8, 9)
    assert states(one)[C.key_id] == ("active", 8, None)
    assert (one.version, one.height, one.sequence) == (3, 9, 1)
    every = identity.revoke(record, (), 9)
    assert not every.is_active
    assert states(every)[A.key_id] == ("retired", 5, 8)
    late = identity.revoke(record, ids(A), 9)
    assert late.is_revoked(A.key_id)
    assert states(late)[A.key_id] == ("revoked", 5, 8)
    assert states(identity.revoke(one, ids(B, C), 10))[B.key_id] == ("revoked", 8, 9)


@pytest.mark.requires("ledger.revocation")
def test_a_revocation_that_changes_nothing_is_refused() -> None:
    none = identity.revoke(rotated(), (), 9)
    attempts: list[tuple[IdentityRecord, tuple[str, ...]]] = [
        (none, ()),
        (none, ids(B)),
        (FIRST, ids(D)),
        (FIRST, ids(A, D)),
    ]
    for record, named in attempts:
        refusal_of(functools.partial(identity.revoke, record, named, 9), Code.REVOCATION_WITHOUT_EFFECT)
    ended = identity.deactivate(FIRST, 6)
    refusal_of(lambda: identity.revoke(ended, (), 9), Code.REVOCATION_WITHOUT_EFFECT)


@pytest.mark.requires("ledger.deactivation")
def test_a_deactivation_is_for_ever() -> None:
    ended = identity.deactivate(rotated(), 9)
    assert (ended.deactivated, ended.version, ended.height, ended.next) == (9, 3, 9, ())
    assert (ended.is_active, ended.is_living, ended.active_keys) == (False, False, ())
    assert all(ended.is_revoked(key_id) for key_id in ids(A, B, C))
    refusal_of(lambda: identity.deactivate(ended, 10), Code.SIGNER_DEACTIVATED)


@pytest.mark.requires("ledger.identity-record")
def test_keys_ended_long_ago_are_listed_no_more_and_count_as_revoked() -> None:
    pool = [plain(f"pool {i}") for i in range(5)]
    ended = tuple(
        dataclasses.replace(FIRST.keys[0], key_id=f"z{i}", state=KeyState.RETIRED, until=5)
        for i in range(KEYS_LISTED_MAX - 1)
    )
    full = dataclasses.replace(FIRST, keys=(*ended, *FIRST.keys), next=committed(*pool))
    after = identity.rotate(full, presented(*pool[:4]), (), ids(A, *pool[:4]), 9)
    assert len(after.keys) == KEYS_LISTED_MAX
    assert {k.key_id for k in after.active_keys} == set(ids(*pool[:4]))
    assert after.is_revoked("z3")
    assert not after.is_revoked("z4")


@pytest.mark.requires("ledger.identity-as-of")
def test_an_identity_as_of_a_height_is_its_newest_version_not_above_it() -> None:
    versions = {1: FIRST, 2: rotated()}
    versions[3] = identity.revoke(versions[2], ids(B), 8)
    versions[4] = identity.revoke(versions[3], (), 20)
    asked: list[int] = []

    def earlier(number: int) -> IdentityRecord:
        asked.append(number)
        return versions[number]

    def at(height: int) -> IdentityRecord | None:
        return identity.version_at(versions[4], earlier, height)

    assert at(4) is None
    assert at(5) == at(7) == FIRST
    assert at(8) == at(19) == versions[3]
    asked.clear()
    assert at(20) == at(10**6) == versions[4]
    assert not asked


@pytest.mark.requires("ledger.identity-as-of")
def test_a_key_was_active_from_its_first_to_its_last_block() -> None:
    record = rotated()
    found = {height: record.key_at(A.key_id, height) is not None for height in (4, 5, 8, 9)}
    assert found == {4: False, 5: True, 8: True, 9: False}
    assert record.key_at(B.key_id, 7) is None
    assert record.key_at(B.key_id, 8) is not None
    assert record.key_at("z", 8) is None
