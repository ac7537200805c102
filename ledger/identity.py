"""Identities: the keys of a subject, and how they change.

Owns the record of a subject and the rules of its keys. Promises that a key set is only ever followed by keys it
committed to, and that what was revoked never comes back. Never reads state.

Source: docs/spec/identities.md.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import enum
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from ledger import canonical, codec, composite, shape
from ledger.codec import Digest, Limits, Name, Positive
from ledger.envelope import join
from ledger.errors import Code, Refused
from ledger.keys import (
    DID_KEY_PREFIX,
    PUBLIC_KEY_BYTES,
    Algorithm,
    PublicKey,
    base58_encode,
    check_registrable,
    public_key_of,
)
from ledger.limits import COMMITMENTS_MAX, KEYS_LISTED_MAX, KEYS_PER_IDENTITY_MAX, NAME_BYTES_MAX
from ledger.types import Did, Json, JsonObject, SubjectKind, sha256

INCEPTION_DOMAIN = b"conclave/inception/v1"
_SIGNATURE_TEXT_MAX = 8192
_SALT_BYTES_MAX = 64


class Purpose(enum.StrEnum):
    """What a key may sign."""

    PROPOSE = "propose"
    APPROVE = "approve"
    GUARD = "guard"
    REPORT = "report"
    ROTATE = "rotate"
    VALIDATE = "validate"


class KeyState(enum.StrEnum):
    """Whether a key still counts: what a retired one signed does, what a revoked one signed does not."""

    ACTIVE = "active"
    RETIRED = "retired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class KeyObject:
    """A key as somebody presents it."""

    public_key: PublicKey
    purposes: tuple[str, ...]

    @property
    def key_id(self) -> str:
        """The one text that names the key."""
        return self.public_key.key_id

    def to_json(self) -> JsonObject:
        """Give the key object of docs/spec/identities.md §1."""
        return {
            "keyId": self.key_id,
            "algorithm": self.public_key.algorithm.value,
            "publicKey": base64.b64encode(self.public_key.raw).decode(),
            "purposes": list(self.purposes),
        }


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key an identity has or had, since and until which height. ``public_key`` is base64."""

    key_id: str
    algorithm: Algorithm
    public_key: Annotated[str, Limits(bytes_max=4096)]
    purposes: Annotated[tuple[Purpose, ...], Limits(items_max=8)]
    since: int
    state: KeyState = KeyState.ACTIVE
    until: int | None = None


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
        """Whether the subject can speak, or recover and then speak."""
        return self.deactivated is None and (self.is_active or bool(self.next))

    def is_revoked(self, key_id: str) -> bool:
        """Whether nothing a key ever signed counts any more in what is not yet executed.

        So it is with a key ended so long ago that it is not listed any more.
        """
        return self.deactivated is not None or not any(
            key.key_id == key_id and key.state is not KeyState.REVOKED for key in self.keys
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
    raw = public_key_of(did)
    key = KeyObject(PublicKey(Algorithm.ED25519, raw), tuple(sorted(Purpose)))
    return IdentityRecord(
        did, name, kind, organisation, cluster, _records((key,), height), (), 0, None, 1, height
    )


def check_signers(identity: IdentityRecord, key_ids: Sequence[str], purpose: Purpose) -> None:
    """Every key that signed is an active one of the signer, for this purpose.

    Raises:
        Refused: SIGNER_DEACTIVATED, KEY_NOT_OF_SIGNER, KEY_NOT_ACTIVE, KEY_PURPOSE_MISSING.
    """
    for key_id in key_ids:
        _check_key(identity, key_id, purpose)


def check_key_change_signers(identity: IdentityRecord, key_ids: Sequence[str]) -> None:
    """Every key that signed is one of the signer, or one the signer committed to.

    Raises:
        Refused: SIGNER_DEACTIVATED, KEY_NOT_OF_SIGNER, KEY_NOT_ACTIVE, KEY_PURPOSE_MISSING.
    """
    for key_id in key_ids:
        if identity.deactivated is not None or commitment(key_id) not in identity.next:
            _check_key(identity, key_id, Purpose.ROTATE)


def _check_key(identity: IdentityRecord, key_id: str, purpose: Purpose) -> None:
    if identity.deactivated is not None:
        raise Refused(
            Code.SIGNER_DEACTIVATED,
            got=f"{identity.name}, deactivated at height {identity.deactivated}",
            expected="an identity that is not deactivated",
            signer=identity.did,
        )
    key = next((k for k in identity.keys if k.key_id == key_id), None)
    if key is None:
        raise Refused(Code.KEY_NOT_OF_SIGNER, got=key_id, expected="a key of the signer", signer=identity.did)
    if key.state is not KeyState.ACTIVE:
        raise Refused(
            Code.KEY_NOT_ACTIVE,
            got=f"{key_id}, {key.state.value} at height {key.until}",
            expected="an active key of the signer",
            signer=identity.did,
        )
    if purpose not in key.purposes:
        raise Refused(
            Code.KEY_PURPOSE_MISSING,
            got=", ".join(key.purposes),
            expected=purpose.value,
            signer=identity.did,
            keyId=key_id,
        )


def commitment(key_id: str) -> str:
    """Give what commits to a key without naming it: the SHA-256 of its id, in hex."""
    return sha256(key_id.encode()).hex()


def read_key_objects(value: Json, where: str) -> tuple[KeyObject, ...]:
    """Read a key set: sorted by key id, each once, each registrable.

    Raises:
        Refused: KEY_INVALID, any code of ``shape``.
    """
    items = shape.array(value, where, items_max=KEYS_PER_IDENTITY_MAX)
    keys = tuple(_read_key_object(item, f"{where}[{i}]") for i, item in enumerate(items))
    ids = [key.key_id for key in keys]
    if not ids or ids != sorted(set(ids)):
        raise shape.invalid(where, ids, "keys by key id, each once, at least one")
    return keys


def _read_key_object(value: Json, where: str) -> KeyObject:
    found = shape.fields(value, where, required=("keyId", "algorithm", "publicKey", "purposes"))
    algorithm = Algorithm(shape.choice(found["algorithm"], f"{where}.algorithm", list(Algorithm)))
    raw = _base64(found["publicKey"], f"{where}.publicKey", PUBLIC_KEY_BYTES[algorithm])
    purposes = shape.array(found["purposes"], f"{where}.purposes", items_max=len(Purpose))
    for item in purposes:
        shape.choice(item, f"{where}.purposes", list(Purpose))
    if not purposes or purposes != sorted(set(purposes)):
        raise shape.invalid(f"{where}.purposes", purposes, "purposes, sorted, each once, at least one")
    key = KeyObject(PublicKey(algorithm, raw), tuple(purposes))
    if found["keyId"] != key.key_id:
        raise shape.invalid(f"{where}.keyId", found["keyId"], key.key_id)
    if Purpose.VALIDATE in purposes and algorithm is not Algorithm.ED25519:
        raise shape.invalid(f"{where}.purposes", purposes, "no validate: CometBFT signs with ed25519")
    check_registrable(key.public_key)
    return key


def _base64(value: Json, where: str, size: int) -> bytes:
    text = shape.text(value, where, bytes_max=_SIGNATURE_TEXT_MAX)
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != size or base64.b64encode(raw).decode() != text:
        raise shape.invalid(where, text[:40], f"{size} bytes in base64")
    return raw


def read_next(value: Json, where: str) -> tuple[str, ...]:
    """Read what a key set commits to: sorted digests, each once, possibly none.

    Raises:
        Refused: any code of ``shape``.
    """
    items = shape.array(value, where, items_max=COMMITMENTS_MAX)
    found = [shape.digest(item, f"{where}[{i}]") for i, item in enumerate(items)]
    if found != sorted(set(found)):
        raise shape.invalid(where, found, "digests, sorted, each once")
    return tuple(found)


def did_conclave(chain_id: str, inception: JsonObject) -> Did:
    """Give the DID that an inception makes: nobody can choose it, nobody can take another's.

    Args:
        chain_id: of the ledger.
        inception: ``{"keys","next","salt"}``.
    """
    content = canonical.dump({"ledger": chain_id, "inception": inception})
    return Did(f"did:conclave:{chain_id}:{base58_encode(sha256(content))}")


def inception_sign_bytes(chain_id: str, did: str) -> bytes:
    """Give what each key of an inception signs, to prove that its holder wants to be this identity."""
    return join(INCEPTION_DOMAIN, chain_id.encode(), did.encode())


def read_identity_object(name: str, spec: Json, where: str, *, chain_id: str, height: int) -> IdentityRecord:
    """Read the spec of an ``Identity`` object as the identity it makes.

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
            raise shape.invalid(
                f"{where}.inception", found["inception"], "null, and no proofs, for a did:key"
            )
        return did_key_identity(did, name, kind, organisation, cluster, height)
    at = f"{where}.inception"
    inception = shape.fields(found["inception"], at, required=("keys", "next", "salt"))
    shape.text(inception["salt"], f"{at}.salt", bytes_max=_SALT_BYTES_MAX, empty=True)
    keys, following = (
        read_key_objects(inception["keys"], f"{at}.keys"),
        read_next(inception["next"], f"{at}.next"),
    )
    if did != did_conclave(chain_id, inception):
        raise Refused(
            Code.INCEPTION_INVALID,
            got=did,
            expected=did_conclave(chain_id, inception),
            todo="make the identity with `conclave key identity`",
        )
    _check_proofs(found["proofs"], f"{where}.proofs", keys, inception_sign_bytes(chain_id, did), chain_id)
    return IdentityRecord(
        did, name, kind, organisation, cluster, _records(keys, height), following, 0, None, 1, height
    )


def _check_proofs(
    value: Json, where: str, keys: tuple[KeyObject, ...], message: bytes, chain_id: str
) -> None:
    proofs = shape.array(value, where, items_max=KEYS_PER_IDENTITY_MAX)
    for index, item in enumerate(proofs):
        at = f"{where}[{index}]"
        shape.fields(item, at, required=("keyId", "signature"))
        shape.text(item["signature"], f"{at}.signature", bytes_max=_SIGNATURE_TEXT_MAX)
    if [item["keyId"] for item in proofs] != [key.key_id for key in keys]:
        raise shape.invalid(where, [item["keyId"] for item in proofs], "one proof a key, by key id")
    for key, item in zip(keys, proofs, strict=True):
        try:
            signature = base64.b64decode(item["signature"], validate=True)
        except (binascii.Error, ValueError):
            signature = b""
        if not composite.verify(key.public_key, message, signature, context=chain_id.encode()):
            raise Refused(
                Code.INCEPTION_INVALID,
                got=f"a proof of {key.key_id} that does not verify",
                expected="a signature by each key over the inception's sign bytes",
                todo="make the identity with `conclave key identity`",
            )


def rotate(
    identity: IdentityRecord,
    keys: tuple[KeyObject, ...],
    following: tuple[str, ...],
    signed_by: Sequence[str],
    height: int,
) -> IdentityRecord:
    """Replace the active keys by committed ones; the old ones retire.

    Raises:
        Refused: ROTATION_IMPOSSIBLE, KEY_NOT_COMMITTED, ROTATION_UNSIGNED.
    """
    active = {k.key_id for k in identity.active_keys if Purpose.ROTATE in k.purposes}
    _check_key_set(identity, keys, signed_by)
    if not active & set(signed_by):
        raise _unsigned("an active key of purpose rotate", "recover instead, if those keys are lost")
    return _follow(identity, keys, following, KeyState.RETIRED, height)


def recover(
    identity: IdentityRecord,
    keys: tuple[KeyObject, ...],
    following: tuple[str, ...],
    signed_by: Sequence[str],
    height: int,
) -> IdentityRecord:
    """Replace lost or stolen keys by committed ones; the old ones are revoked.

    Raises:
        Refused: ROTATION_IMPOSSIBLE, KEY_NOT_COMMITTED, ROTATION_UNSIGNED.
    """
    _check_key_set(identity, keys, signed_by)
    return _follow(identity, keys, following, KeyState.REVOKED, height)


def deactivate(identity: IdentityRecord, height: int) -> IdentityRecord:
    """End an identity for ever; its keys are revoked.

    Raises:
        Refused: SIGNER_DEACTIVATED.
    """
    if identity.deactivated is not None:
        raise Refused(
            Code.SIGNER_DEACTIVATED, got=identity.name, expected="an identity that is not deactivated"
        )
    ended = tuple(_end(key, KeyState.REVOKED, height) for key in identity.keys)
    return dataclasses.replace(
        identity, keys=ended, next=(), deactivated=height, version=identity.version + 1, height=height
    )


def revoke(identity: IdentityRecord, key_ids: tuple[str, ...], height: int) -> IdentityRecord:
    """Revoke keys, retired ones too; all active ones where none is named.

    Raises:
        Refused: REVOCATION_WITHOUT_EFFECT.
    """
    named = set(key_ids) or {key.key_id for key in identity.active_keys}
    changed = tuple(
        _end(key, KeyState.REVOKED, height) if key.key_id in named else key for key in identity.keys
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
    """Give an identity as of a height.

    Args:
        newest: its newest version.
        earlier: gives a version by number.
        height: asked for; what a block changed counts from its own height on.

    Returns:
        None before it was registered.
    """
    found = newest
    while found.height > height:
        if found.version == 1:
            return None
        found = earlier(found.version - 1)
    return found


def _check_key_set(identity: IdentityRecord, keys: tuple[KeyObject, ...], signed_by: Sequence[str]) -> None:
    if not identity.next or identity.deactivated is not None:
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
    ended = tuple(_end(key, ending, height) if key.state is KeyState.ACTIVE else key for key in identity.keys)
    return dataclasses.replace(
        identity,
        keys=(*ended, *_records(keys, height))[-KEYS_LISTED_MAX:],
        next=following,
        sequence=identity.sequence + 1,
        version=identity.version + 1,
        height=height,
    )


def _end(key: KeyRecord, ending: KeyState, height: int) -> KeyRecord:
    """End a key; one that was revoked stays as it was."""
    if key.state is KeyState.REVOKED:
        return key
    return dataclasses.replace(key, state=ending, until=height)


def _records(keys: tuple[KeyObject, ...], height: int) -> tuple[KeyRecord, ...]:
    return tuple(
        KeyRecord(
            key.key_id,
            key.public_key.algorithm,
            base64.b64encode(key.public_key.raw).decode(),
            tuple(Purpose(p) for p in key.purposes),
            height,
        )
        for key in keys
    )
