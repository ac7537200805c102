"""A root of trust signed by people: a header that named keys vouch for, in a small file.

Owns the file's form, its signing and its judging. Promises that it is a root only when at least as many of
the keys that the reader named have signed exactly this chain, height and hash as the reader asks for. Whose
the keys are, the reader knows from elsewhere; the file is never asked. Source: docs/spec/trust.md §3.
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from dataclasses import dataclass, replace

from consensus.light.fields import Fields
from consensus.light.types import HASH_BYTES
from consensus.trust_entries import TrustRoot
from ledger import canonical
from ledger.envelope import SigningKey, join
from ledger.errors import Code, ConclaveError, Refused, VerificationFailed, caused
from ledger.keys import Algorithm, algorithm_of, public_key_of, verify_ed25519
from ledger.limits import CHAIN_ID_BYTES_MAX, JSON_INTEGER_MAX, KEY_ID_BYTES_MAX, KIB

FORMAT = "conclave-trust/1"
BUNDLE_BYTES_MAX = 64 * KIB
SIGNATURES_MAX = 64
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """A header and who vouches for it. Nothing of it is believed.

    Attributes:
        chain_id: the chain.
        height: the header's height.
        hash: its hash.
        signatures: by key id, which is the ed25519 key itself.
    """

    chain_id: str
    height: int
    hash: bytes
    signatures: dict[str, bytes]

    @property
    def sign_bytes(self) -> bytes:
        """What each signature is over."""
        return join(FORMAT.encode(), self.chain_id.encode(), self.height.to_bytes(8, "big"), self.hash)


def signed(bundle: TrustBundle, key: SigningKey) -> TrustBundle:
    """Give the bundle with the signature of ``key`` added.

    Raises:
        Refused: KEY_INVALID for a key that is not ed25519, LIMIT_EXCEEDED.
    """
    if algorithm_of(key.key_id) is not Algorithm.ED25519:
        raise Refused(Code.KEY_INVALID, got=key.key_id, expected="an ed25519 key: its id is the key")
    signatures = {**bundle.signatures, key.key_id: key.sign(bundle.sign_bytes)}
    if len(signatures) > SIGNATURES_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED, got=len(signatures), expected=f"at most {SIGNATURES_MAX} signatures"
        )
    return replace(bundle, signatures=signatures)


def encode(bundle: TrustBundle) -> bytes:
    """Give the file's bytes."""
    return canonical.dump(
        {
            "chainId": bundle.chain_id,
            "format": FORMAT,
            "hash": bundle.hash.hex(),
            "height": bundle.height,
            "signatures": {
                key_id: base64.b64encode(value).decode() for key_id, value in bundle.signatures.items()
            },
        }
    )


def decode(content: bytes) -> TrustBundle:
    """Read a file.

    Raises:
        VerificationFailed: PROOF_FILE_INVALID.
    """
    try:
        value = canonical.load(content, bytes_max=BUNDLE_BYTES_MAX)
        fields = Fields(value, "bundle", code=Code.PROOF_FILE_INVALID)
        fields.only("chainId", "format", "hash", "height", "signatures")
        if fields.get("format") != FORMAT:
            raise fields.malformed("format", fields.get("format"), FORMAT)
        bundle = TrustBundle(
            chain_id=fields.text("chainId", CHAIN_ID_BYTES_MAX),
            height=fields.small("height", JSON_INTEGER_MAX),
            hash=fields.hex("hash", (HASH_BYTES,)),
            signatures=_signatures(fields),
        )
        again = encode(bundle)
    except ConclaveError as error:
        if error.code is Code.PROOF_FILE_INVALID:
            raise
        raise caused(VerificationFailed, Code.PROOF_FILE_INVALID, error, **error.facts) from None
    if again != content:
        raise fields.malformed("", "another spelling of the same", "the one byte form of this content")
    return bundle


def root_of(bundle: TrustBundle, chain_id: str, signers: Collection[str], needed: int) -> TrustRoot:
    """Give the root of trust that ``bundle`` names, if enough of ``signers`` signed it.

    Args:
        bundle: as read.
        chain_id: the chain the reader means.
        signers: key ids or did:keys that the reader trusts.
        needed: how many of them must have signed, at least one.

    Raises:
        Refused: FIELD_INVALID for signers that can never be enough, KEY_INVALID.
        VerificationFailed: HEADER_CHAIN_MISMATCH; APPROVALS_INSUFFICIENT, naming who is missing.
    """
    known = {signer.removeprefix("did:key:"): public_key_of(signer) for signer in signers}
    if not 1 <= needed <= len(known):
        raise Refused(Code.FIELD_INVALID, got=f"{needed} of {len(known)} signers", expected="1 … all of them")
    if bundle.chain_id != chain_id:
        raise VerificationFailed(
            Code.HEADER_CHAIN_MISMATCH, got=f"a bundle of {bundle.chain_id}", expected=chain_id
        )
    good = sorted(
        key_id
        for key_id, key in known.items()
        if verify_ed25519(key, bundle.sign_bytes, bundle.signatures.get(key_id, b""))
    )
    if len(good) < needed:
        raise VerificationFailed(
            Code.APPROVALS_INSUFFICIENT,
            got=f"{len(good)} signatures that count",
            expected=f"{needed} of those named",
            todo="have the bundle signed by more of them",
            missing=sorted(known.keys() - set(good)),
        )
    return TrustRoot.at(chain_id, bundle.height, bundle.hash, by=f"bundle signed by {', '.join(good)}")


def _signatures(fields: Fields) -> dict[str, bytes]:
    value = fields.get("signatures")
    if not isinstance(value, dict) or len(value) > SIGNATURES_MAX:
        raise fields.malformed("signatures", value, f"at most {SIGNATURES_MAX} signatures by key id")
    inner = Fields(value, "bundle.signatures", code=Code.PROOF_FILE_INVALID)
    if any(len(key_id) > KEY_ID_BYTES_MAX for key_id in value):
        raise fields.malformed("signatures", "a long key id", f"at most {KEY_ID_BYTES_MAX} bytes")
    return {key_id: inner.base64(key_id, _SIGNATURE_BYTES) for key_id in value}
