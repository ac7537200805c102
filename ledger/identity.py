"""Identities: who a subject is, which keys it has, and how they change.

Owns the record of a subject and the rules of its keys. Promises that a key set is only ever followed by keys
it committed to, that a key which ended never becomes active again, and that every change is a new version.
Never reads state, and never learns whether another identity has a key.

Source: docs/spec/identities.md.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from ledger import canonical, codec, shape
from ledger.codec import Digest, Limits, Name, Positive
from ledger.errors import Code, Refused
from ledger.inception import read_inception
from ledger.key_set import (
    KeyObject,
    KeyRecord,
    KeyState,
    Purpose,
    commitment,
    records_of,
)
from ledger.keys import DID_KEY_PREFIX, Algorithm, PublicKey, public_key_of
from ledger.limits import COMMITMENTS_MAX, KEYS_LISTED_MAX, NAME_BYTES_MAX
from ledger.types import Did, Json, SubjectKind


@dataclass(frozen=True, slots=True)
class IdentityRecord:
    """A subject as the ledger knows it. ``cluster`` is set for the nodes of bridges only."""

    did: Did
    name: Name
    kind: SubjectKind
    organisation: Annotated[str, Limits(bytes_max=NAME_BYTES_MAX)]
    cluster: Name | None
    keys: Annotated[tuple[KeyRecord, ...], Limits(items_max=KEYS_LISTED_MAX)]
    next: Annotated[tuple[Digest, ...], Limits(items_max=COMMITMENTS_MAX)]
    sequence: int
    deactivated: int | None
    version: Positive
    height: int

    @property
    def active_keys(self) -> tuple[KeyRecord, ...]:
        """The keys that may sign now."""
        if self.deactivated is not None:
            return ()
        return tuple(key for key in self.keys if key.state is KeyState.ACTIVE)

    @property
    def is_active(self) -> bool:
        """Whether the subject can speak."""
        return bool(self.active_keys)

    @property
    def is_living(self) -> bool:
        """Whether the subject can propose and, unless it is an agent, approve; or recover and then do so."""
        if self.deactivated is not None:
            return False
        has = {purpose for key in self.active_keys for purpose in key.purposes}
        needed = {Purpose.PROPOSE} | ({Purpose.APPROVE} if self.kind is not SubjectKind.AGENT else set())
        return bool(self.next) or needed <= has

    def is_revoked(self, key_id: str) -> bool:
        """Whether nothing a key ever signed counts any more in what is not yet executed.

        So it is with a key ended so long ago that it is not listed any more.
        """
        return self.deactivated is not None or not any(
            key.key_id == key_id and key.state is not KeyState.REVOKED for key in self.keys
        )

    def key_at(self, key_id: str, height: int) -> KeyRecord | None:
        """Give a key if it was active somewhere in the block of ``height``, which may also have ended it.

        Ask the version as of ``height`` (``version_at``).
        """
        return next(
            (
                key
                for key in self.keys
                if key.key_id == key_id and key.since <= height and (key.until is None or height <= key.until)
            ),
            None,
        )


@functools.lru_cache(maxsize=4096)
def read_identity(content: bytes) -> IdentityRecord:
    """Read a subject's record.

    Raises:
        Refused: any code of ``shape``.
    """
    return codec.read(IdentityRecord, canonical.load_plain(content), "identity")


def write_identity(identity: IdentityRecord) -> bytes:
    """Give the bytes of a subject's record."""
    return canonical.dump_plain(codec.to_json(identity))


def did_key_identity(
    did: Did, name: str, kind: SubjectKind, organisation: str, cluster: str | None, height: int
) -> IdentityRecord:
    """Give the identity of a did:key: one key for ever, for every purpose.

    Raises:
        Refused: KEY_INVALID.
    """
    key = KeyObject(PublicKey(Algorithm.ED25519, public_key_of(did)), tuple(sorted(Purpose)))
    keys = records_of((key,), height)
    return IdentityRecord(did, name, kind, organisation, cluster, keys, (), 0, None, 1, height)


def read_identity_object(name: str, spec: Json, where: str, *, chain_id: str, height: int) -> IdentityRecord:
    """Read the spec of an ``Identity`` object as the identity it makes (docs/spec/identities.md §2).

    Args:
        name: the object's own.
        spec: as it was signed.
        where: what a refusal calls the spec.
        chain_id: of the ledger.
        height: that registers it.

    Raises:
        Refused: INCEPTION_INVALID, KEY_INVALID, any code of ``shape``.
    """
    required = ("kind", "organisation", "cluster", "did", "inception", "proofs")
    found = shape.fields(spec, where, required=required)
    did = Did(shape.did(found["did"], f"{where}.did"))
    kind = SubjectKind(shape.choice(found["kind"], f"{where}.kind", list(SubjectKind)))
    organisation = shape.text(found["organisation"], f"{where}.organisation", bytes_max=NAME_BYTES_MAX)
    cluster = None if found["cluster"] is None else shape.name(found["cluster"], f"{where}.cluster")
    if did.startswith(DID_KEY_PREFIX):
        if found["inception"] is not None or found["proofs"] != []:
            raise Refused(
                Code.INCEPTION_INVALID,
                got="an inception or proofs",
                expected="null, and no proofs, for a did:key",
                field=f"{where}.inception",
            )
        return did_key_identity(did, name, kind, organisation, cluster, height)
    keys, following = read_inception(did, found["inception"], found["proofs"], where, chain_id=chain_id)
    records = records_of(keys, height)
    return IdentityRecord(did, name, kind, organisation, cluster, records, following, 0, None, 1, height)


def check_signers(identity: IdentityRecord, key_ids: Sequence[str], *purposes: Purpose) -> None:
    """Every key that signed is an active one of the signer, for one of these purposes.

    Raises:
        Refused: SIGNER_DEACTIVATED, KEY_NOT_OF_SIGNER, KEY_NOT_ACTIVE, KEY_PURPOSE_MISSING.
    """
    _check_not_deactivated(identity)
    for key_id in key_ids:
        _check_key(identity, key_id, *purposes)


def check_key_change_signers(identity: IdentityRecord, key_ids: Sequence[str]) -> None:
    """Every key that signed is one the signer committed to, or an active one that may rotate.

    Raises:
        Refused: SIGNER_DEACTIVATED, KEY_NOT_OF_SIGNER, KEY_NOT_ACTIVE, KEY_PURPOSE_MISSING.
    """
    _check_not_deactivated(identity)
    for key_id in key_ids:
        if commitment(key_id) not in identity.next:
            _check_key(identity, key_id, Purpose.ROTATE)


def _check_not_deactivated(identity: IdentityRecord) -> None:
    if identity.deactivated is not None:
        raise Refused(
            Code.SIGNER_DEACTIVATED,
            got=f"{identity.name}, deactivated at height {identity.deactivated}",
            expected="an identity that is not deactivated",
            signer=identity.did,
        )


def _check_key(identity: IdentityRecord, key_id: str, *purposes: Purpose) -> None:
    key = _key(identity, key_id)
    if key is None:
        raise Refused(Code.KEY_NOT_OF_SIGNER, got=key_id, expected="a key of the signer", signer=identity.did)
    if key.state is not KeyState.ACTIVE:
        raise Refused(
            Code.KEY_NOT_ACTIVE,
            got=f"{key_id}, {key.state.value}, active until height {key.until}",
            expected="an active key of the signer",
            signer=identity.did,
        )
    if not set(purposes) & set(key.purposes):
        raise Refused(
            Code.KEY_PURPOSE_MISSING,
            got=", ".join(key.purposes),
            expected=" or ".join(purposes),
            signer=identity.did,
            keyId=key_id,
        )


def _key(identity: IdentityRecord, key_id: str) -> KeyRecord | None:
    return next((key for key in identity.keys if key.key_id == key_id), None)


def rotate(
    identity: IdentityRecord,
    keys: tuple[KeyObject, ...],
    following: tuple[str, ...],
    signed_by: Sequence[str],
    height: int,
) -> IdentityRecord:
    """Replace the active keys by committed ones; the old ones retire.

    Args:
        identity: as it is now.
        keys: the new key set.
        following: what it commits to.
        signed_by: ids of all keys whose signatures verified.
        height: that includes the change.

    Raises:
        Refused: SIGNER_DEACTIVATED, ROTATION_IMPOSSIBLE, KEY_NOT_COMMITTED, KEY_TAKEN, ROTATION_UNSIGNED,
            KEY_NOT_OF_SIGNER, KEY_NOT_ACTIVE, KEY_PURPOSE_MISSING.
    """
    _check_key_set(identity, keys, signed_by)
    old = set(signed_by) - {key.key_id for key in keys}
    for key_id in sorted(old):
        _check_key(identity, key_id, Purpose.ROTATE)
    if not old:
        raise _unsigned("an active key of purpose rotate", "recover instead, if those keys are lost")
    return _follow(identity, keys, following, KeyState.RETIRED, height)


def recover(
    identity: IdentityRecord,
    keys: tuple[KeyObject, ...],
    following: tuple[str, ...],
    signed_by: Sequence[str],
    height: int,
) -> IdentityRecord:
    """Replace lost or stolen keys by committed ones; the old ones are revoked. Arguments as of ``rotate``.

    Raises:
        Refused: SIGNER_DEACTIVATED, ROTATION_IMPOSSIBLE, KEY_NOT_COMMITTED, KEY_TAKEN, ROTATION_UNSIGNED,
            KEY_NOT_OF_SIGNER.
    """
    _check_key_set(identity, keys, signed_by)
    others = sorted(set(signed_by) - {key.key_id for key in keys})
    if others:
        raise Refused(
            Code.KEY_NOT_OF_SIGNER,
            got=others[0],
            expected="signatures of the new keys only",
            todo="rotate instead, if the old keys are still yours",
            signer=identity.did,
        )
    return _follow(identity, keys, following, KeyState.REVOKED, height)


def deactivate(identity: IdentityRecord, height: int) -> IdentityRecord:
    """End an identity for ever; its keys are revoked.

    Raises:
        Refused: SIGNER_DEACTIVATED.
    """
    _check_not_deactivated(identity)
    ended = tuple(key.ended(KeyState.REVOKED, height) for key in identity.keys)
    return dataclasses.replace(
        identity, keys=ended, next=(), deactivated=height, version=identity.version + 1, height=height
    )


def revoke(identity: IdentityRecord, key_ids: tuple[str, ...], height: int) -> IdentityRecord:
    """Revoke keys, retired ones too; all active ones where none is named.

    Raises:
        Refused: REVOCATION_WITHOUT_EFFECT if no key changes, or one named is none of the subject's.
    """
    named = set(key_ids) or {key.key_id for key in identity.active_keys}
    changed = tuple(
        key.ended(KeyState.REVOKED, height) if key.key_id in named else key for key in identity.keys
    )
    if changed == identity.keys or named - {key.key_id for key in identity.keys}:
        raise Refused(
            Code.REVOCATION_WITHOUT_EFFECT,
            got=", ".join(sorted(named)) or "no active key",
            expected="keys of the subject that are not revoked yet",
            signer=identity.did,
        )
    return dataclasses.replace(identity, keys=changed, version=identity.version + 1, height=height)


def version_at(
    newest: IdentityRecord, earlier: Callable[[int], IdentityRecord], height: int
) -> IdentityRecord | None:
    """Give an identity as of a height: its version of the greatest height not above it.

    Args:
        newest: its newest version.
        earlier: gives a version by number; asked about log2 of their count.
        height: asked for; what a block changed counts from its own height on.

    Returns:
        None before it was registered.
    """
    if newest.height <= height:
        return newest
    low, high, found = 1, newest.version - 1, None
    while low <= high:
        middle = (low + high) // 2
        candidate = earlier(middle)
        if candidate.height <= height:
            low, found = middle + 1, candidate
        else:
            high = middle - 1
    return found


def _check_key_set(identity: IdentityRecord, keys: tuple[KeyObject, ...], signed_by: Sequence[str]) -> None:
    _check_not_deactivated(identity)
    if not identity.next:
        raise Refused(
            Code.ROTATION_IMPOSSIBLE,
            got=f"{identity.name} without a committed next key set",
            expected="an identity that committed to its next keys",
            todo="have a new identity registered",
        )
    for key in keys:
        if commitment(key.key_id) not in identity.next:
            raise Refused(
                Code.KEY_NOT_COMMITTED,
                got=key.key_id,
                expected="a key whose hash is among the identity's next",
                todo="reveal exactly keys of the committed next set",
            )
        if _key(identity, key.key_id) is not None:
            raise Refused(
                Code.KEY_TAKEN, got=key.key_id, expected="a key not used before", todo="make a fresh key"
            )
        if key.key_id not in signed_by:
            raise _unsigned(key.key_id, "sign with every new key")


def _unsigned(expected: str, todo: str) -> Refused:
    return Refused(
        Code.ROTATION_UNSIGNED, got="no signature of it", expected=f"a signature by {expected}", todo=todo
    )


def _follow(
    identity: IdentityRecord,
    keys: tuple[KeyObject, ...],
    following: tuple[str, ...],
    ending: KeyState,
    height: int,
) -> IdentityRecord:
    ended = tuple(k.ended(ending, height) if k.state is KeyState.ACTIVE else k for k in identity.keys)
    return dataclasses.replace(
        identity,
        keys=(*ended, *records_of(keys, height))[-KEYS_LISTED_MAX:],
        next=following,
        sequence=identity.sequence + 1,
        version=identity.version + 1,
        height=height,
    )
