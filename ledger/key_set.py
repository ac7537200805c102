"""Key sets: the keys a subject presents, keeps and commits to.

Owns the key object, the record of a key and the commitment to a next one. Promises that what is read is
registrable, sorted and bounded, and that a key object's id is the id of its bytes. Never judges who may
change a key set (``ledger.identity``).

Source: docs/spec/identities.md §1, §3.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import enum
from dataclasses import dataclass
from typing import Annotated

from ledger import shape
from ledger.codec import Limits
from ledger.envelope import Resolve
from ledger.keys import PUBLIC_KEY_BYTES, Algorithm, PublicKey, check_registrable
from ledger.limits import COMMITMENTS_MAX, KEYS_PER_IDENTITY_MAX
from ledger.types import Json, JsonObject, sha256


class Purpose(enum.StrEnum):
    """What a key may sign. Where it is ``authenticate`` alone: no envelope but one that brings the key."""

    AUTHENTICATE = "authenticate"
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
    """A key an identity has or had. ``public_key`` is base64.

    Attributes:
        since: the height that made it active.
        state: where it stands now.
        until: the height that made it active no more.
    """

    key_id: str
    algorithm: Algorithm
    public_key: Annotated[str, Limits(bytes_max=4096)]
    purposes: Annotated[tuple[Purpose, ...], Limits(items_max=len(Purpose))]
    since: int
    state: KeyState = KeyState.ACTIVE
    until: int | None = None

    def ended(self, state: KeyState, height: int) -> KeyRecord:
        """Give the key as retired or revoked at ``height``; one that was revoked stays as it was."""
        if self.state is KeyState.REVOKED:
            return self
        return dataclasses.replace(self, state=state, until=height if self.until is None else self.until)


def records_of(keys: tuple[KeyObject, ...], height: int) -> tuple[KeyRecord, ...]:
    """Give the records of keys that become active at ``height``."""
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


def commitment(key_id: str) -> str:
    """Give what commits to a key without naming it: the SHA-256 of its id, in hex."""
    return sha256(key_id.encode()).hex()


def resolve_first(keys: tuple[KeyObject, ...], resolve: Resolve) -> Resolve:
    """Give a look-up that knows ``keys`` before those of ``resolve``.

    An envelope that brings new keys is signed by them, and nobody has registered them yet.
    """
    presented = {key.key_id: key.public_key for key in keys}
    return lambda key_id: presented.get(key_id) or resolve(key_id)


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
    raw = read_base64(found["publicKey"], f"{where}.publicKey", PUBLIC_KEY_BYTES[algorithm])
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


def read_base64(value: Json, where: str, size: int) -> bytes:
    """Read exactly ``size`` bytes in their one base64 spelling.

    Raises:
        Refused: FIELD_INVALID or LIMIT_EXCEEDED.
    """
    text = shape.text(value, where, bytes_max=4 * (size // 3 + 1))
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != size or base64.b64encode(raw).decode() != text:
        raise shape.invalid(where, text[:40], f"{size} bytes in base64")
    return raw
