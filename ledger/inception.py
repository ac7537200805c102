"""The inception of a did:conclave: the keys it begins with, and the name that follows from them.

Owns what such a DID is the hash of, and the proofs that its keys' holders want to be it. Promises that nobody
can choose a DID or take another's. Never reads state; knows public keys only.

Source: docs/spec/identities.md §2.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from ledger import canonical, composite, shape
from ledger.envelope import AnySigningKey, join, sign_with
from ledger.errors import Code, Refused
from ledger.key_set import KeyObject, read_base64, read_key_objects, read_next
from ledger.keys import SIGNATURE_BYTES, base58_encode
from ledger.limits import KEYS_PER_IDENTITY_MAX
from ledger.types import Did, Json, JsonObject, sha256

DOMAIN = b"conclave/inception/v1"
_TODO = "make the identity with `conclave key identity`"


def inception(keys: Sequence[KeyObject], following: Sequence[str], salt: str) -> JsonObject:
    """Give the inception of a new identity.

    Args:
        keys: what it begins with.
        following: ``commitment`` of each key that may follow.
        salt: 64 hex digits, so that two identities never share a name.
    """
    ordered = sorted(keys, key=lambda key: key.key_id)
    return {"keys": [key.to_json() for key in ordered], "next": sorted(following), "salt": salt}


def did_conclave(chain_id: str, inception: JsonObject) -> Did:
    """Give the DID that an inception makes.

    Args:
        chain_id: of the ledger.
        inception: ``{"keys","next","salt"}``.
    """
    content = canonical.dump({"ledger": chain_id, "inception": inception})
    return Did(f"did:conclave:{chain_id}:{base58_encode(sha256(content))}")


def inception_sign_bytes(chain_id: str, did: str) -> bytes:
    """Give what each key of an inception signs, to prove that its holder wants to be this identity."""
    return join(DOMAIN, chain_id.encode(), did.encode())


def inception_proofs(chain_id: str, did: str, signing: Sequence[AnySigningKey]) -> list[JsonObject]:
    """Sign an inception with each of its keys."""
    message = inception_sign_bytes(chain_id, did)
    return [
        {"keyId": key.key_id, "signature": base64.b64encode(sign_with(key, message, chain_id)).decode()}
        for key in sorted(signing, key=lambda key: key.key_id)
    ]


def read_inception(
    did: Did, value: Json, proofs: Json, where: str, *, chain_id: str
) -> tuple[tuple[KeyObject, ...], tuple[str, ...]]:
    """Read the keys and commitments that ``did`` is the hash of, and verify that every key signed it.

    Raises:
        Refused: INCEPTION_INVALID, KEY_INVALID, any code of ``shape``.
    """
    at = f"{where}.inception"
    found = shape.fields(value, at, required=("keys", "next", "salt"))
    shape.digest(found["salt"], f"{at}.salt")
    keys = read_key_objects(found["keys"], f"{at}.keys")
    following = read_next(found["next"], f"{at}.next")
    expected = did_conclave(chain_id, found)
    if did != expected:
        raise Refused(Code.INCEPTION_INVALID, got=did, expected=expected, todo=_TODO, field=f"{where}.did")
    _check_proofs(proofs, f"{where}.proofs", keys, did, chain_id)
    return keys, following


def _check_proofs(value: Json, where: str, keys: tuple[KeyObject, ...], did: Did, chain_id: str) -> None:
    proofs = [
        shape.fields(item, f"{where}[{i}]", required=("keyId", "signature"))
        for i, item in enumerate(shape.array(value, where, items_max=KEYS_PER_IDENTITY_MAX))
    ]
    message = inception_sign_bytes(chain_id, did)
    if [proof["keyId"] for proof in proofs] != [key.key_id for key in keys]:
        raise Refused(
            Code.INCEPTION_INVALID,
            got=f"proofs of {[proof['keyId'] for proof in proofs]}",
            expected="one proof a key, by key id",
            todo=_TODO,
            field=where,
        )
    for index, (key, proof) in enumerate(zip(keys, proofs, strict=True)):
        size = SIGNATURE_BYTES[key.public_key.algorithm]
        signature = read_base64(proof["signature"], f"{where}[{index}].signature", size)
        if not composite.verify(key.public_key, message, signature, context=chain_id.encode()):
            raise Refused(
                Code.INCEPTION_INVALID,
                got=f"a proof of {key.key_id} that does not verify",
                expected="a signature by each key over the inception's sign bytes",
                todo=_TODO,
                field=f"{where}[{index}].signature",
            )
